"""What a training would be, without starting it: data and settings are checked as before a real start."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from rich.filesize import decimal

from engine import api
from engine.errors import RunNameTaken
from engine.estimate import Estimate
from engine.params import LLMTrainingParams
from engine.plan import Plan
from engine.preview import close_preview
from engine.registry import spec_for


def dry_run(params: LLMTrainingParams) -> dict[str, Any]:
    """Read the data, choose every open setting and work out what the training takes; JSON values, see `told`.

    Raises:
        StudioError: what would keep the training from starting.
    """
    if params.project_name and (api.runs_root() / params.project_name).exists():
        raise RunNameTaken(f"A run called {params.project_name!r} exists.", hint="Choose another name.")
    try:
        facts = api.data_facts(params)
    finally:
        close_preview()
    chosen = api.plan(params, facts)
    found = api.estimate(chosen, facts)
    return {**_planned(chosen), **_estimated(found), "data_counted": facts.exact, "data_warnings": list(facts.warnings)}


def told(made: dict[str, Any]) -> Iterator[str]:
    """The same in lines for people."""
    params = made["settings"]
    yield f"Trainer  {spec_for(params['trainer']).title}"
    yield f"Model    {params['model']}"
    about = "" if made["data_counted"] else "about "
    yield f"Data     {params['data_path']}: {about}{made['train_rows']:,} rows to train on, {made['valid_rows']:,} held out"
    for warning in made["data_warnings"]:
        yield f"         {warning}"
    yield f"Steps    {made['total_steps']:,} ({made['tokens']:,} tokens)"
    items = ", ".join(f"{name} {decimal(size)}" for name, size in made["memory_items"].items())
    yield f"Memory   {decimal(made['memory'])} of {decimal(made['memory_free'])} free ({items})"
    yield f"Disk     {decimal(made['disk'])} of {decimal(made['disk_free'])} free"
    yield f"Time     {timedelta(seconds=round(made['seconds']))} ({made['seconds_how']})"
    for name, why in made["reasons"].items():
        yield f"  {name} {params.get(name)}: {why}"
    if not made["fits"]:
        yield f"It does not fit. {made['advice']}"
    yield "Nothing was started."


def _planned(chosen: Plan) -> dict[str, Any]:
    return {
        "settings": chosen.params.model_dump(mode="json"),
        "reasons": chosen.reasons,
        "train_rows": chosen.train_rows,
        "valid_rows": chosen.valid_rows,
        "total_steps": chosen.total_steps,
    }


def _estimated(found: Estimate) -> dict[str, Any]:
    return {
        "tokens": found.tokens,
        "memory": found.memory_total,
        "memory_items": dict(found.memory),
        "memory_free": found.memory_free,
        "disk": found.disk,
        "disk_least": found.disk_least,
        "disk_free": found.disk_free,
        "seconds": found.seconds,
        "seconds_how": found.seconds_how,
        "fits": found.fits,
        "advice": found.advice,
    }

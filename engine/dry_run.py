"""What a training would be, without starting it: data and settings are checked as before a real start."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from rich.filesize import decimal

from engine import api
from engine.data.prepare import refuse_bad
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
    return {**_planned(chosen), **_estimated(found), "data_counted": facts.exact, "data": _read(params, facts.unusable)}


def told(made: dict[str, Any]) -> Iterator[str]:
    """The same in lines for people."""
    params = made["settings"]
    yield f"Trainer  {spec_for(params['trainer']).title}"
    yield f"Model    {params['model']}"
    about = "" if made["data_counted"] else "about "
    yield f"Data     {params['data_path']}: {about}{made['train_rows']:,} rows to train on, {made['valid_rows']:,} held out"
    yield from _read_told(made["data"])
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


def _read(params: LLMTrainingParams, unusable: int) -> dict[str, Any]:
    """How the rows are read and what is odd about them, as the page says it.

    Raises:
        DataError: some cannot be used, and are not to be left out.
    """
    seen = api.inspect_data(params.data_path, params.trainer, form=params.data_format, mapping=params.column_mapping or None)
    if unusable and not params.drop_bad_rows:
        refuse_bad(unusable, seen.problems)
    return {
        "form": seen.form,
        "form_label": seen.form_label,
        "why": seen.why,
        "mapping": seen.mapping,
        "note": seen.conversion_note,
        "looked_at": seen.looked_at,
        "usable": seen.usable,
        "unusable": seen.problem_counts,
        "problems": [problem.message for problem in seen.problems[:20]],
        "warnings": seen.warnings,
    }


def _read_told(data: dict[str, Any]) -> Iterator[str]:
    yield f"Rows     {data['form_label']}. {data['why']} {data['note']}".rstrip()
    if data["unusable"]:
        rules = ", ".join(f"{rule} ({number:,})" for rule, number in data["unusable"].items())
        bad, first = sum(data["unusable"].values()), data["problems"][0]
        yield f"  {bad:,} of {data['looked_at']:,} rows looked at cannot be used and are left out: {rules}. {first}"
    for warning in data["warnings"]:
        yield f"  {warning}"


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

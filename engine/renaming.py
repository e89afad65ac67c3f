"""Gives a run another name, and says so wherever the old one stands: in runs that were trained on its model, in the adapters
of these, in pipelines and in sweeps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.errors import ModelError, RunActive, RunError
from engine.models import resolve
from engine.params import model_settings
from engine.pipelines.course import Course
from engine.registry import specs
from engine.runs import listing
from engine.runs.directory import RunDirectory, read_json, write_json
from engine.runs.listing import folders_of
from engine.sweeps.group import Group, runs_of_all

_ADAPTERS = ("model/adapter_config.json", "adapter/adapter_config.json")
_BASE = "base_model_name_or_path"


def rename(run: RunDirectory, new: str) -> None:
    """Rename a run and follow it. Raises as `engine.runs.listing.rename`, and RunActive while its sweep is under way."""
    root, old = run.path.parent, run.path.resolve()
    sweep = runs_of_all(root).get(run.name)
    if sweep and Group(sweep, root).is_driven:  # who drives it writes the same file
        raise RunActive(
            f"The run {run.name!r} is one of the sweep {sweep!r}, which is under way.",
            hint="Wait until it has ended, or stop it first.",
        )
    changes = list(_changes(root, old, new))  # while the old name still leads somewhere
    listing.rename(run, new)
    for file, values in changes:
        write_json(file, values)
    for kind in (Course, Group):
        for name in kind.names(root):
            with contextlib.suppress(RunError, FileNotFoundError):  # damaged, or taken off the list: told where they are listed
                kind(name, root).follow(run.name, new)


def _changes(root: Path, old: Path, new: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every file that names the run as a model, and what is to stand in it."""
    fields = {name for spec in specs().values() for name in model_settings(spec.params)}

    def settings(values: dict[str, Any]) -> dict[str, Any]:
        return {name: _followed(values.get(name), old, new) for name in fields if values.get(name)}

    for folder in folders_of(root):
        if folder.resolve() == old:
            continue
        yield from _changed(folder / "params.json", settings)
        yield from _changed(folder / "plan.json", lambda plan: {"params": {**plan["params"], **settings(plan["params"])}})
        for file in _ADAPTERS:
            yield from _changed(folder / file, lambda adapter: {_BASE: _followed(adapter.get(_BASE), old, new)})


def _changed(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[tuple[Path, dict[str, Any]]]:
    try:
        values = read_json(file)
        made = {**values, **change(values)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # not there, or damaged: whoever reads it says so
    if made != values:
        yield file, made


def _followed(reference: Any, old: Path, new: str) -> Any:
    """The reference, with the new name if it leads into the folder `old`."""
    if not isinstance(reference, str):
        return reference
    try:
        found = resolve(reference)
    except (ModelError, RunError, OSError, RuntimeError):
        return reference
    if found.path is None or old not in (place := found.path.resolve()).parents:
        return reference
    return new if found.kind == "run" else str(old.with_name(new) / place.relative_to(old))

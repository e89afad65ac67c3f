"""What the page may ask about sweeps, in one place: `api.sweeps`. Plain values and frozen dataclasses only."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from engine.errors import RunActive
from engine.field_words import choices_of, plain_type, values_of
from engine.registry import spec_for
from engine.sweeps.group import Group, Progress, progress_of_all, runs_of_all
from engine.sweeps.space import written
from engine.sweeps.sweep import FEWER_OR_DRAW, LIST_OR_DRAW, Sweep, built, from_mapping, from_yaml
from engine.sweeps.told import caution, measure, told

if TYPE_CHECKING:
    from engine.sweeps.outlook import Outlook
    from engine.sweeps.tries import Try

__all__ = [
    "FEWER_OR_DRAW",
    "LIST_OR_DRAW",
    "Progress",
    "Sweep",
    "asks",
    "built",
    "caution",
    "command",
    "declared",
    "forget",
    "from_mapping",
    "from_yaml",
    "go_on",
    "listed",
    "measure",
    "of_runs",
    "outlook",
    "progress",
    "sketched",
    "start",
    "stop",
    "suggested",
    "told",
    "written",
]


def asks(trainer: str, name: str) -> str:
    """What a setting may be, in words: "number, more than 0 and less than 1"."""
    return values_of(spec_for(trainer).params.model_fields[name])


def suggested(trainer: str, name: str, now: Any) -> str:
    """Values to begin with: all that a setting chooses from, or half and twice what it is `now`; "" where there are none."""
    field = spec_for(trainer).params.model_fields[name]
    kind = plain_type(field.annotation)
    if kind is bool:
        return "yes, no"
    if choices := choices_of(field):
        return ", ".join(choices)
    if kind not in (int, float) or not isinstance(now, (int, float)) or now <= 0:
        return ""
    around = [now / 2, now, now * 2] if kind is float else [max(1, int(now) // 2), int(now), int(now) * 2]
    return ", ".join(dict.fromkeys(f"{value:.3g}" if kind is float else str(value) for value in around))


def outlook(sweep: Sweep) -> Outlook:
    """What all its runs take; see engine/sweeps/outlook.py."""
    from engine.sweeps.outlook import outlook as foresee

    return foresee(sweep)


def sketched(sweep: Sweep) -> list[Try]:
    """Its runs as far as they can be told in advance; see engine/sweeps/tries.py."""
    from engine.sweeps.tries import sketched as sketch

    return sketch(sweep)


def command(sweep: Sweep) -> str:
    """The command line that does the same."""
    from engine.sweeps.written import command as write

    return write(sweep)


def start(sweep: Sweep, request: str = "") -> str:
    """Queue its runs, wait for them in a process of its own, and return its name at once; see engine/sweeps/detached.py."""
    from engine.sweeps import detached

    return detached.start(sweep, request)


def go_on(name: str) -> None:
    """Go on with a sweep that was stopped or cut off."""
    from engine.sweeps import detached

    detached.go_on(name)


def stop(name: str, *, force: bool = False) -> None:
    """Take out of the queue what waits, and end the run that trains."""
    from engine.sweeps import detached

    detached.stop(name, force=force)


def declared(name: str) -> Sweep:
    """The sweep as it was written down."""
    return Group.open(name).sweep()


def progress(name: str) -> Progress:
    """Where it stands, its runs best first."""
    return Group.open(name).progress()


def listed() -> list[Progress]:
    """Where every sweep stands, newest first."""
    return progress_of_all()


def of_runs() -> dict[str, str]:
    """Run -> the sweep that it belongs to."""
    return runs_of_all()


def forget(name: str) -> None:
    """Take a sweep off the list; its runs stay.

    Raises:
        RunActive: it is at work.
    """
    group = Group.open(name)
    if group.is_driven:
        raise RunActive(f"The sweep {name!r} is at work.", hint="Stop it first.")
    shutil.rmtree(group.folder)

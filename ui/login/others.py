"""Lists of everybody's things, for those who may see them: an admin's lists name whose a thing is before its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine import api


def of_all(listed: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What `listed` finds for whoever asks, and, for an admin, for everybody else after that."""
    people = api.people
    _, *others = people.visible()
    found = listed()
    for person in others:
        with people.acting(person):
            found += [_named(line, f"{person.id or people.LOCAL}{people.OF}") for line in listed()]
    return found


def _named(line: dict[str, Any], owner: str) -> dict[str, Any]:
    """A run, a pipeline or a sweep, with whose it is in every name of it that leads somewhere."""
    named = {key: f"{owner}{line[key]}" for key in ("name", "pipeline", "sweep", "run") if line.get(key)}
    parts = {key: [_named(part, owner) for part in line[key]] for key in ("stages", "tries") if isinstance(line.get(key), list)}
    return {**line, **named, **parts}

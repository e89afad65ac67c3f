"""docs/api.md: every public name of the package `engine`, with signature and docstring."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import engine
from engine import rewards
from engine.runs.status import State, Status

_OPENING = """# Python

```python
from engine import LLMTrainingParams, start, train
```

Importing loads no torch and starts nothing; trainings run in processes of their own, as they do for the page and the command
line, in the same queue and the same folder of runs. `LLMTrainingParams` takes [every setting](settings.md) by its name. Every
error is a `StudioError` with a sentence and a hint: [errors.md](errors.md). How all of it fits into a notebook, a cron job or
a server: [integration.md](integration.md).
"""
_FURTHER = """
## What comes back

"""
_REWARDS = """
## Rewards

To try [reward functions](rewards.md) on answers before training with them.

"""


def page() -> str:
    """The whole page."""
    public = "\n".join(_entry(name, getattr(engine, name)) for name in sorted(engine.__all__, key=_order))
    back = "\n".join((_entry("Status", Status), _states()))
    tried = _entry("read", rewards.read, "engine.rewards.")
    return f"{_OPENING}\n## Names\n\n{public}{_FURTHER}{back}{_REWARDS}{tried}"


def _order(name: str) -> tuple[bool, str]:
    """Functions first: they are what a program begins with."""
    return inspect.isclass(getattr(engine, name)), name.lower()


def _entry(name: str, what: Any, before: str = "") -> str:
    kind = "class " if inspect.isclass(what) else ""
    parts = [f"### {name}\n", f"```text\n{kind}{before}{_signature(name, what)}\n```\n", _prose(what)]
    if inspect.isclass(what):
        members = list(_members(what))
        if members:
            parts.append("\n".join(f"- `{words}`{': ' if about else ''}{about}" for words, about in members) + "\n")
    return "\n".join(parts)


def _signature(name: str, what: Any) -> str:
    """Name and parameters, each on a line of its own where one line is too long."""
    if dataclasses.is_dataclass(what):
        return name
    signature = inspect.signature(what.__init__ if inspect.isclass(what) else what)
    given = _parameters(signature)
    back = "" if inspect.isclass(what) else f" -> {_type(signature.return_annotation)}"
    line = f"{name}({', '.join(given)}){back}"
    return line if len(line) <= 110 else _on_lines(name, given, back)


def _on_lines(name: str, given: list[str], back: str) -> str:
    return "\n".join([f"{name}(", *(f"    {words}," for words in given), f"){back}"])


def _parameters(signature: inspect.Signature) -> list[str]:
    """Each parameter in words, and a star before those that must be named."""
    taken = [p for p in signature.parameters.values() if p.name != "self"]
    words = [_plain(str(p)) for p in taken]
    named = next((place for place, p in enumerate(taken) if p.kind is p.KEYWORD_ONLY), None)
    return words if named is None else [*words[:named], "*", *words[named:]]


def _plain(parameter: str) -> str:
    """A parameter without the quotes around its annotation."""
    return re.sub(r": '(.*?)'(?= =|$)", r": \1", parameter)


def _prose(what: Any) -> str:
    """A docstring as Markdown; what it raises becomes a list."""
    before, raised = _parted(what)
    lines = [f"- raises `{entry.replace(': ', '`: ', 1)}" for entry in raised]
    return before.rstrip() + "\n" + ("\n" + "\n".join(lines) + "\n" if lines else "")


def _parted(what: Any) -> tuple[str, list[str]]:
    """A docstring without its sections, and what it raises; the settings of a class have a page of their own."""
    before, _, rest = inspect.cleandoc(what.__doc__ or "").partition("Raises:\n")
    raised = itertools.takewhile(lambda line: not line or line.startswith(" "), rest.splitlines())
    return before, list(_joined(list(raised)))


def _joined(raised: list[str]) -> Iterator[str]:
    """Entries of a docstring's list, each in one line."""
    entry = ""
    for line in textwrap.dedent("\n".join(raised)).strip().splitlines():
        if line.startswith(" "):
            entry += " " + line.strip()
        else:
            if entry:
                yield entry
            entry = line
    if entry:
        yield entry


def _members(cls: type) -> Iterator[tuple[str, str]]:
    """What an object of the class has: its fields, then its properties and methods."""
    if dataclasses.is_dataclass(cls):
        for field in dataclasses.fields(cls):
            yield f"{field.name}: {_type(field.type)}", ""
    for name, member in vars(cls).items():
        if name.startswith("_") or isinstance(member, (staticmethod, classmethod)):
            continue
        if isinstance(member, property):
            yield f"{name}: {_type(inspect.signature(member.fget).return_annotation)}", _first(member)  # type: ignore[arg-type]
        elif inspect.isfunction(member) and "pydantic" not in member.__module__ and not hasattr(cls, "model_fields"):
            yield _signature(name, member), _told(member)


def _type(annotation: Any) -> str:
    return str(getattr(annotation, "__name__", annotation)).strip("'")


def _first(member: Any) -> str:
    return " ".join(inspect.cleandoc(member.__doc__ or "").split())


def _told(member: Any) -> str:
    """A method's docstring in one line."""
    before, raised = _parted(member)
    ends = [f"Raises `{entry.replace(': ', '`: ', 1)}" for entry in raised]
    return " ".join(" ".join([before, *ends]).split())


def _states() -> str:
    return f"### State\n\nWhere a run stands: {', '.join(f'`{state.value}`' for state in State)}.\n"

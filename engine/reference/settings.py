"""docs/settings.md: every setting of every trainer as a table, read off the parameter models."""

from __future__ import annotations

from engine.field_words import default_of, values_of
from engine.params import LLMTrainingParams, flag, form_of
from engine.reference.table import table
from engine.registry import specs

_OPENING = """# Settings

Every setting has one name: on the page, in YAML, in Python, and as a flag. "automatic" means chosen from data, model and
device; the page and `plan.json` say why. Which settings matter, and why, is in the guide of each [trainer](README.md#trainers).
"""


def page() -> str:
    """The whole page."""
    shared = set.intersection(*(set(spec.params.model_fields) for spec in specs().values()))
    parts = [_OPENING, "## Of every trainer\n", _table(next(iter(specs().values())).params, shared)]
    for spec in specs().values():
        own = set(spec.params.model_fields) - shared
        parts += [f"## {spec.title} (`{spec.id}`)\n", f"{spec.summary} See [its guide](trainers/{spec.id}.md).\n"]
        parts.append(_table(spec.params, own) if own else "No settings of its own.\n")
    return "\n".join(parts)


def _table(cls: type[LLMTrainingParams], names: set[str]) -> str:
    rows = [
        (
            f"`{name}`",
            f"`{flag(name)}`",
            values_of(field, "`"),
            default_of(field, auto=form_of(cls, name).auto, mark="`"),
            field.description or "",
        )
        for name, field in cls.model_fields.items()
        if name in names and name != "trainer"
    ]
    return table(("setting", "flag", "values", "default", "what it does"), rows)

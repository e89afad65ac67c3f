"""`python -m engine.reference`: every setting of every trainer as a Markdown table, read off the parameter models.

docs/settings.md is what this prints; a test keeps the two the same.
"""

from __future__ import annotations

from engine.field_words import default_of, values_of
from engine.params import LLMTrainingParams, flag, form_of
from engine.registry import specs

_OPENING = """# Settings

Every setting has one name: on the page, in YAML, in Python, and as a flag. "automatic" means chosen from data, model and
device; the page and `plan.json` say why. Made by `python -m engine.reference > docs/settings.md`.
"""


def reference() -> str:
    """The whole page."""
    shared = set.intersection(*(set(spec.params.model_fields) for spec in specs().values()))
    parts = [_OPENING, "## Of every trainer\n", _table(next(iter(specs().values())).params, shared)]
    for spec in specs().values():
        own = set(spec.params.model_fields) - shared
        parts += [f"## {spec.title} (`{spec.id}`)\n", spec.summary + "\n"]
        parts.append(_table(spec.params, own) if own else "No settings of its own.\n")
    return "\n".join(parts)


def _table(cls: type[LLMTrainingParams], names: set[str]) -> str:
    lines = ["| setting | flag | values | default | what it does |", "|---|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        if name in names and name != "trainer":
            cells = (
                f"`{name}`",
                f"`{flag(name)}`",
                values_of(field, "`"),
                default_of(field, auto=form_of(cls, name).auto, mark="`"),
                field.description or "",
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")

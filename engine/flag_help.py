"""How the flags of a trainer look in `--help`: groups in a fixed order, and for each a sentence, its range and default."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator

from engine.field_words import choices_of, default_of, plain_type, range_of
from engine.params import LLMTrainingParams, form_of
from engine.registry import specs

# The order of the groups; what a form calls otherwise comes after them.
_ORDER = ("Basic", "Data", "Training", "Adapter", "Rewards", "Trainer", "Evaluation", "Output", "Hub", "Compute", "Hardware")
_WIDEST = 110


class FlagHelp(argparse.HelpFormatter):
    """argparse's help, no wider than can be read, where each flag is shown in one spelling."""

    def __init__(self, prog: str) -> None:
        columns = min(shutil.get_terminal_size().columns, _WIDEST)
        super().__init__(prog, max_help_position=26, width=columns - 2)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        shown = [name for name in action.option_strings if "_" not in name]
        value = "" if action.nargs in (0, "?") or action.metavar is None else f" {action.metavar}"
        return ", ".join(shown) + value

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Paragraphs stay apart; each is filled."""
        return "\n\n".join(super(FlagHelp, self)._fill_text(part, width, indent) for part in text.split("\n\n"))


def grouped(cls: type[LLMTrainingParams], *, named: bool) -> Iterator[tuple[str, list[str]]]:
    """The titles of the groups with the names of their settings. `named`: whether the person has named this trainer."""
    groups: dict[str, list[str]] = {}
    for name in cls.model_fields:
        groups.setdefault(form_of(cls, name).group, []).append(name)
    trainer = cls.model_fields["trainer"].default
    own = f"The {trainer} trainer's own" if named else f"The trainer's own (those of {trainer}; --trainer X shows those of X)"
    for group in sorted(groups, key=lambda group: _ORDER.index(group) if group in _ORDER else len(_ORDER)):
        yield own if group == "Trainer" else group, groups[group]


def about(cls: type[LLMTrainingParams], name: str) -> str:
    """One sentence, and what is allowed and what is taken when nothing is given."""
    field = cls.model_fields[name]
    if name == "trainer":
        return f"The training method: {', '.join(specs())}. [must be given]"
    choices = choices_of(field)
    notes = [range_of(field), "one of " + ", ".join(choices) if choices else "", _default(cls, name)]
    sentence = str(field.description)
    return f"{sentence} [{'; '.join(note for note in notes if note)}]".replace(" []", "").replace("%", "%%")


def metavar(cls: type[LLMTrainingParams], name: str) -> str:
    """The word for a flag's value: a number, JSON, or what kind of text it is."""
    widget = form_of(cls, name).widget
    words = {"model": "MODEL", "judge": "MODEL", "data": "DATA"}
    kinds = {int: "N", float: "X", dict: "JSON", list: "JSON"}
    fallback = "TRAINER" if name == "trainer" else "FILE" if name.endswith("_path") else "TEXT"
    return words.get(widget) or kinds.get(plain_type(cls.model_fields[name].annotation), fallback)


def _default(cls: type[LLMTrainingParams], name: str) -> str:
    words = default_of(cls.model_fields[name], auto=form_of(cls, name).auto)
    fixed = {
        "must be given": "must be given",
        "automatic": "default: chosen for you",
        "none": "",
        "yes": "default: on",
        "no": "default: off",
    }
    return fixed.get(words, f"default: {words}" if words else "")

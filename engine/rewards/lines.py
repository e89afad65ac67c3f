"""Reads rewards as a person writes them, one a line: `keyword: please`, `2 * length: 40`, `-1 * regex: \\d`, `json`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.rewards import comparison, length, python_file, repetition, structure, wording
from engine.rewards.reward import Reward, Rewards, Score

_LINE = re.compile(r"(?:(?P<weight>[+-]?[\d.]+)\s*\*\s*)?(?P<kind>[\w-]+)\s*(?::\s*(?P<argument>.*))?", re.DOTALL)
_PYTHON = "python"


@dataclass(frozen=True)
class Kind:
    """One kind of reward. `argument` is what an example of it has after the colon; `needed` says whether it must."""

    make: Callable[[str], Score]
    argument: str
    needed: bool = True
    of_column: bool = False

    @property
    def gives(self) -> str:
        """Its range and what it rewards, in a sentence."""
        return " ".join((self.make.__doc__ or "").split("\n\n")[0].split())


KINDS = {
    "keyword": Kind(wording.keyword, "please, thank you"),
    "every-keyword": Kind(wording.every_keyword, "because, therefore"),
    "regex": Kind(wording.regex, "^[A-Z]"),
    "length": Kind(length.length, "40"),
    "json": Kind(structure.valid_json, "name, age", needed=False),
    "match": Kind(comparison.match, "answer", of_column=True),
    "contains": Kind(comparison.contains, "answer", of_column=True),
    "number": Kind(comparison.number, "answer", of_column=True),
    "similar": Kind(comparison.similar, "answer", of_column=True),
    "no-repeat": Kind(repetition.no_repeat, "3", needed=False),
    _PYTHON: Kind(python_file.python_function, python_file.FORM),
}


def read(lines: Sequence[str]) -> Rewards:
    """The rewards of these lines.

    Raises:
        ValueError: a line is none; the message names the line, what is wrong, and what is possible.
    """
    return Rewards(_read(line) for line in lines)


def settled(line: str) -> str:
    """The line as it is kept with a run: checked, and with the full path of a file that it names.

    Raises:
        ValueError: as `read`.
    """
    _read(line)
    _, kind, argument = _parts(line)
    line = line.strip()
    return line.removesuffix(argument) + python_file.absolute(argument) if kind == _PYTHON else line


def python_lines(lines: Sequence[str]) -> list[str]:
    """Those of the lines that would run a person's Python file."""
    return [line for line in lines if (found := _LINE.fullmatch(line.strip())) and found["kind"] == _PYTHON]


def possible() -> str:
    """Every kind with an example, separated by semicolons."""
    return "; ".join(f"{name}: {kind.argument}" if kind.needed else name for name, kind in KINDS.items())


def _read(line: str) -> Reward:
    weight, name, argument = _parts(line)
    kind = KINDS[name]
    try:
        score = kind.make(argument)
    except ValueError as error:
        raise ValueError(f"the reward {line.strip()!r} cannot be used: {error}.") from None
    return Reward(name, score, weight, argument if kind.of_column else None)


def _parts(line: str) -> tuple[float, str, str]:
    """Weight, kind and argument of a line."""
    found = _LINE.fullmatch(line.strip())
    if not found or found["kind"] not in KINDS:
        raise ValueError(f"there is no reward {line.strip()!r}. One a line, with a weight if you like (2 * …): {possible()}.")
    argument = (found["argument"] or "").strip()
    if not argument and KINDS[found["kind"]].needed:
        example = f"{found['kind']}: {KINDS[found['kind']].argument}"
        raise ValueError(f"the reward {line.strip()!r} does not say what; for example {example}.")
    try:
        weight = float(found["weight"] or 1)
    except ValueError:
        raise ValueError(f"the weight of the reward {line.strip()!r} is no number.") from None
    return weight, found["kind"], argument

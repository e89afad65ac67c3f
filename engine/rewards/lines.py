"""Reads rewards as a person writes them, one a line: `keyword: please`, `2 * length: 40`, `-1 * regex: \\d`, `json`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.errors import FieldProblem, ParamError
from engine.rewards import comparison, length, python_file, repetition, structure, wording
from engine.rewards.reward import Reward, Rewards, Score

_LINE = re.compile(r"(?:(?P<weight>[+-]?[\d.]+)\s*\*\s*)?(?P<kind>[\w-]+)\s*(?::\s*(?P<argument>.*))?", re.DOTALL)
_PYTHON = "python"
_HEAVIEST = 1000


@dataclass(frozen=True)
class Kind:
    """One kind of reward. `argument` is what an example of it has after the colon; `needed` says whether it must.

    `title` ends the sentence "An answer scores when it …", and `asks` says what the argument is.
    """

    make: Callable[[str], Score]
    argument: str
    title: str
    asks: str
    needed: bool = True
    of_column: bool = False

    @property
    def gives(self) -> str:
        """Its range and what it rewards, in a sentence."""
        return " ".join((self.make.__doc__ or "").split("\n\n")[0].split())


KINDS = {
    "keyword": Kind(wording.keyword, "please, thank you", "says one of these words", "Words or phrases, with commas between"),
    "every-keyword": Kind(
        wording.every_keyword, "because, therefore", "says all of these words", "Words or phrases, with commas between"
    ),
    "length": Kind(length.length, "20-40", "has this length", "Words; or write 200 characters"),
    "no-repeat": Kind(
        repetition.no_repeat, "3", "does not repeat itself", "Words in a row that count as a repetition", needed=False
    ),
    "contains": Kind(
        comparison.contains, "answer", "contains what a column says", "Column that holds the fact", of_column=True
    ),
    "match": Kind(
        comparison.match, "answer", "is just what a column says", "Column that holds the right answer", of_column=True
    ),
    "number": Kind(
        comparison.number, "answer", "ends in the number of a column", "Column that holds the right number", of_column=True
    ),
    "similar": Kind(comparison.similar, "answer", "is worded like a column", "Column that holds a good answer", of_column=True),
    "json": Kind(structure.valid_json, "name, age", "is valid JSON", "Keys that it must have", needed=False),
    "regex": Kind(wording.regex, "^[A-Z]", "fits a pattern", "Regular expression, as Python writes it"),
    _PYTHON: Kind(python_file.python_function, python_file.FORM, "pleases your own program", "File and function"),
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


@dataclass(frozen=True)
class Rule:
    """A line taken apart. `kind` is None and `wrong` says why where it is no reward."""

    line: str
    weight: float = 1.0
    kind: Kind | None = None
    argument: str = ""
    wrong: str = ""


def rule(line: str) -> Rule:
    """What a line says, for a page that shows it in words."""
    try:
        _read(line)
    except ValueError as error:
        return Rule(line, wrong=str(error))
    weight, name, argument = _parts(line)
    return Rule(line, weight, KINDS[name], argument)


def written(name: str, argument: str, weight: str) -> str:
    """The line for a kind, what it is asked, and how much it counts ("" for once).

    Raises:
        ParamError: the argument or the weight cannot be used; the problem's field is `argument` or `weight`.
    """
    counts = _counts(weight)
    kind, argument = KINDS[name], " ".join(argument.split())
    try:
        if kind.needed and not argument:
            raise ValueError(f"say what, for example {kind.argument}")
        kind.make(argument)
    except ValueError as error:
        said = str(error).removesuffix(".")
        raise ParamError([FieldProblem("argument", f"{said[:1].upper()}{said[1:]}.")]) from None
    line = f"{name}: {argument}" if argument else name
    return line if counts == "1" else f"{counts} * {line}"


def _counts(weight: str) -> str:
    try:
        number = float(weight.strip().replace(",", ".") or 1)
    except ValueError:
        number = math.nan
    if not 0 < abs(number) <= _HEAVIEST:  # also where it is no number
        message = f"A number such as 2, or -1 for a penalty; not {weight.strip() or 0!r}."
        raise ParamError([FieldProblem("weight", message)])
    return f"{number:.4f}".rstrip("0").rstrip(".")


def python_lines(rewards: object) -> list[str]:
    """Those lines that would run a person's Python file, of settings that nobody has judged yet: text of several lines, or a
    list of such.
    """
    texts = rewards if isinstance(rewards, (list, tuple)) else [rewards]
    lines = [line for text in texts if isinstance(text, str) for line in text.splitlines()]
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

"""What a program is made of, and how it is written: imports, settings as constants, functions, and the call that trains.

Nothing that comes from a person or from data becomes code: values are written with `repr`, words in comments lose their
line ends.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A comment stands behind its line up to this width, else above it.
_WIDTH = 110
_COMMENT_WIDTH = 116


@dataclass(frozen=True)
class Code:
    """An expression that is written as it stands; only ever text of ours."""

    text: str


@dataclass(frozen=True)
class Setting:
    """A value, and in words why it is this one ("" where a person chose it)."""

    value: Any
    why: str = ""


@dataclass
class Recipe:
    """A program in its parts.

    `imports` are (module, name) pairs, name "" for the module itself. `constants` are written at its top, `pieces` after
    them in their order. `config` and `trainer` are the classes of the last part, with what they are given, between the lines
    `before` and `after`. `files` go along with it: their names beside the program, and where they are now.
    """

    trainer: str
    config: str
    arguments: dict[str, Setting]
    call: dict[str, Code]
    imports: set[tuple[str, str]] = field(default_factory=set)
    constants: dict[str, Setting] = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    def needs(self, module: str, *names: str) -> None:
        self.imports |= {(module, name) for name in names or ("",)}


def written(recipe: Recipe, opening: str) -> str:
    """The whole program; `opening` is its docstring with quotes."""
    blocks = [opening, _imports(recipe.imports), "\n".join(_constants(recipe.constants))]
    functions = [piece.strip("\n") for piece in recipe.pieces]
    last = [*recipe.before, called("args", recipe.config, recipe.arguments)]
    given = {"args": Code("args"), **recipe.call}
    last += [called("trainer", recipe.trainer, {name: Setting(code) for name, code in given.items()}), *recipe.after]
    text = "\n\n".join(block.strip("\n") for block in blocks if block)
    return text + "\n\n\n" + "\n\n\n".join([*functions, "\n".join(block.strip("\n") for block in last)]) + "\n"


def comment(words: str) -> str:
    """Words as comment lines: whatever ends a line is a space, and what cannot be printed is left out."""
    plain = "".join(sign for sign in " ".join(words.split()) if sign.isprintable())
    lines, line = list[str](), "#"
    for word in plain.split(" "):
        if len(line) + 1 + len(word) > _COMMENT_WIDTH and line != "#":
            lines.append(line)
            line = "#"
        line += f" {word}"
    return "\n".join([*lines, line]) if plain else ""


def value(of: Any) -> str:
    """A value as Python, words in double quotes where they have none themselves."""
    if isinstance(of, Code):
        return of.text
    if isinstance(of, list):
        return f"[{', '.join(map(value, of))}]"
    text = repr(of)
    return f'"{text[1:-1]}"' if isinstance(of, str) and text[0] == "'" and '"' not in text else text


def _imports(wanted: Iterable[tuple[str, str]]) -> str:
    """Sorted as people sort them: the standard library, then the rest."""
    groups: dict[bool, list[str]] = {True: [], False: []}
    for module in sorted({module for module, _ in wanted}):
        names = sorted(name for found, name in wanted if found == module and name)
        standard = module.split(".")[0] in sys.stdlib_module_names
        if (module, "") in wanted:
            groups[standard].append(f"import {module}")
        if names:
            groups[standard].append(f"from {module} import {', '.join(names)}")
    return "\n\n".join("\n".join(sorted(lines, key=_plain_first)) for lines in groups.values() if lines)


def _plain_first(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line


def _constants(constants: Mapping[str, Setting]) -> Iterable[str]:
    for name, setting in constants.items():
        yield _explained(f"{name} = {value(setting.value)}", setting.why, "")


def called(name: str, callee: str, arguments: Mapping[str, Setting]) -> str:
    """`name = callee(...)`, an argument a line with its reason."""
    lines = [_explained(f"    {key}={value(setting.value)},", setting.why, "    ") for key, setting in arguments.items()]
    return "\n".join([f"{name} = {callee}(", *lines, ")"])


def _explained(line: str, why: str, indent: str) -> str:
    """A line with its reason behind it, or above it where that would be too wide."""
    words = comment(why)
    if not words:
        return line
    if "\n" not in words and len(line) + 2 + len(words) <= _WIDTH:
        return f"{line}  {words}"
    return "\n".join([*(indent + part for part in words.splitlines()), line])

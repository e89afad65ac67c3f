"""The code blocks of a Markdown page, and how those for a shell are run: in this process, by the program's own `main`."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.cli import main

ROOT = Path(__file__).resolve().parents[2]
MARK = "<!-- not run: "


@dataclass(frozen=True)
class Block:
    """One fenced block. `not_run` is the reason that a page gives, in a comment before it, for a block that no test can run."""

    page: str
    line: int
    kind: str
    text: str
    not_run: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    found: list[Block] = []
    kind, inside, started, reason = "", None, 0, ""
    name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```") and inside is None:
            kind, inside, started = line[3:].strip(), [], number
        elif line.startswith("```") and inside is not None:
            found.append(Block(name, started, kind, "".join(f"{one}\n" for one in inside), reason))
            inside, reason = None, ""
        elif inside is not None:
            inside.append(line)
        elif line.strip():
            reason = line.removeprefix(MARK).removesuffix("-->").strip() if line.startswith(MARK) else ""
    assert inside is None, f"{name}: the block that begins in line {started} has no end"
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a shell's block, each as its words; comments left out, lines that go on joined."""
    pending = ""
    for line in text.splitlines():
        pending += line.removesuffix("\\") + (" " if line.endswith("\\") else "\n")
        if line.endswith("\\"):
            continue
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:
            continue  # a quotation that goes on in the next line
        pending = ""
        if words:
            yield words
    assert not pending.strip(), f"no command: {pending}"


def run_command(words: list[str]) -> int:
    """Run one `aitraining …`, with `> file` behind it if it has that, and return its exit code."""
    assert words[0] == "aitraining", f"{words[0]!r} is not run here: mark its block with {MARK}why -->"
    target = None
    if ">" in words:
        place = words.index(">")
        words, target = words[:place], words[place + 1]
    with contextlib.ExitStack() as stack:
        if target:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(target).open("w", encoding="utf-8"))))
        try:
            return main(words[1:])
        except SystemExit as end:
            return int(end.code or 0)

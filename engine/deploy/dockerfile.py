"""What a Dockerfile says: its steps, and which files it takes from the checkout."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One instruction in capitals, and all that follows it, lines that go on joined."""

    name: str
    words: str

    def copied(self) -> tuple[list[str], str]:
        """What a COPY takes, and where it goes; flags are left out."""
        *sources, target = [word for word in shlex.split(self.words) if not word.startswith("--")]
        return sources, target

    def argv(self) -> list[str]:
        """The command of a CMD, ENTRYPOINT or HEALTHCHECK that is written as a list."""
        return json.loads(self.words[self.words.index("[") :])

    def assigned(self) -> dict[str, str]:
        """The names and values of an ENV or ARG."""
        return dict(re.split("=", word, maxsplit=1) for word in shlex.split(self.words) if "=" in word)


def steps(file: Path) -> list[Step]:
    """Every instruction of a Dockerfile, in order."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [Step(name.upper(), words.strip()) for name, _, words in found]


def copied(file: Path) -> list[str]:
    """Every file and folder that a Dockerfile takes from beside it."""
    return [source for step in steps(file) if step.name == "COPY" for source in step.copied()[0]]

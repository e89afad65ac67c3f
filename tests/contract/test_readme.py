"""The README is true: its file tree is the repository's, its commands parse. That its blocks run is shown in tests/docs."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from engine.cli import _parser

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [line for line in done.stdout.splitlines() if (ROOT / line).exists()]


def named_in_tree() -> dict[str, list[str]]:
    """Folder -> the names that the README's tree gives for it."""
    block = README.split("## The tree")[1].split("```")[1]
    found: dict[str, list[str]] = {}
    folder = ""
    for line in block.strip().splitlines():
        head, _, _ = line.partition("  #")
        if not line.startswith(" ") and line.split()[0].endswith("/"):
            folder = head.strip().rstrip("/") + "/"
        found.setdefault(folder, []).extend(w for w in head.split() if w.endswith((".py", ".js", ".css")) and w != "app.py")
    return found


def test_the_tree_names_every_source_file_and_no_other() -> None:
    named = {folder + name for folder, names in named_in_tree().items() for name in names if not name.endswith("/")}
    real = {
        path
        for path in tracked()
        if path.startswith(("engine/", "ui/", "assets/", "benchmarks/"))
        and path.endswith((".py", ".js", ".css"))
        and not path.endswith("__init__.py")
    }
    assert named - real == set(), "named but not there"
    assert real - named == set(), "there but not named"


def test_its_commands_parse() -> None:
    commands = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("aitraining ")]
    assert len(commands) >= 4
    for command in commands:
        words = shlex.split(command)[1:]
        if "--help" not in words:
            _parser(words).parse_args(words)

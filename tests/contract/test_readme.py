"""The README is true: its file tree is the repository's, its commands parse, its pictures are there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from engine.cli import _parser
from engine.params import LLMTrainingParams
from engine.reference import reference

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


def test_its_pictures_are_there() -> None:
    for picture in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert (ROOT / picture).is_file(), picture


def test_its_commands_parse() -> None:
    commands = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("aitraining ")]
    assert len(commands) >= 4
    for command in commands:
        words = shlex.split(command)[1:]
        if "--help" not in words:
            _parser(words).parse_args(words)


def test_the_settings_page_is_what_the_parameters_say() -> None:
    """Otherwise: python -m engine.reference > docs/settings.md"""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == reference()


def test_its_python_is_accepted() -> None:
    made = LLMTrainingParams(trainer="sft", model="starter", data_path="sample:neighbours")
    assert made.trainer in README


def test_every_promise_names_a_test_that_there_is() -> None:
    page = ROOT / "docs" / "promises.md"
    rows = [row for row in page.read_text(encoding="utf-8").splitlines() if row.startswith("| ") and "Promise |" not in row]
    assert len(rows) >= 15
    files: list[Path] = []
    for row in rows:
        named = [(page.parent / link).resolve() for link in re.findall(r"\]\(([^)]+)\)", row)]
        assert all(file.is_file() for file in named), row
        files = named or files  # "the same": the files of the row before
        for test in re.findall(r"`(test_\w+)`", row):
            assert any(f"def {test}(" in file.read_text(encoding="utf-8") for file in files), row

"""docs/promises.md has every sentence of the documentation that users know, and names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.registry import specs
from tests.docs.blocks import ROOT
from tests.docs.test_seed import SEED

PAGE = ROOT / "docs" / "promises.md"
ROWS = [row for row in PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("| ") and "| test |" not in row]


def test_every_promise_names_a_test_that_there_is() -> None:
    held = [row for row in ROWS if "tests/" in row]
    assert len(held) >= 50
    for row in held:
        for link, named in re.findall(r"\[[\w.]+\]\((\.\./tests/[^)]+)\)((?:,? `test_\w+`)+)", row):
            file = (PAGE.parent / link).resolve()
            assert file.is_file(), row
            for test in re.findall(r"`(test_\w+)`", named):
                assert f"def {test}(" in file.read_text(encoding="utf-8"), f"{link} has no {test}: {row}"
        assert row.count("`test_") == len(re.findall(r"`test_\w+`", row)) >= 1


@pytest.mark.skipif(not SEED.is_file(), reason="the original is not beside this checkout")
def test_no_sentence_of_the_documentation_is_forgotten() -> None:
    said = {" ".join(row.split("|")[1].split()) for row in ROWS}
    missing = [line for line in sentences(SEED) if line not in said]
    assert missing == []


def sentences(page: Path) -> list[str]:
    """What a page says outside of its code blocks and tables, without headings, emphasis and links' addresses."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = []
    for line in prose.splitlines():
        words = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", line).replace("**", "").replace("`", "")
        words = re.sub(r"^(- |\d+\. |> )", "", words.strip())
        if words and not words.startswith(("#", "|", "---")) and not words.endswith("see:"):
            found.append(words)
    assert len(found) > 45
    return found


@pytest.mark.skipif(not SEED.is_file(), reason="the original is not beside this checkout")
def test_the_comparison_of_the_docs_is_the_documented_one() -> None:
    rows = re.findall(r"^\| \*\*(\w+)\*\* \| (.*) \|$", SEED.read_text(encoding="utf-8"), re.MULTILINE)
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert len(rows) == 7
    for name, cells in rows:
        assert f"(trainers/{name.lower()}.md) | {cells} |" in index
    assert {name.lower() for name, _ in rows} <= set(specs())

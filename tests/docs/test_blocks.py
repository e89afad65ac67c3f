"""Every code block of README.md and docs/ is run, page by page and in order, as a reader would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.runs.listing import list_runs
from engine.runs.status import State
from engine.watch import watch
from tests.docs.blocks import ROOT, Block, blocks, commands, run_command

# Tests of their own run these pages block by block, and look closer at what comes out.
ELSEWHERE = {
    "docs/rewards.md": "tests/train/test_rewards_page.py",
    "docs/pipelines.md": "tests/train/test_pipelines_page.py",
}
RUN = {"bash", "python", "http"}
# Shown, and not run: data, output, and languages whose blocks other tests read.
SHOWN = {"", "text", "json", "csv", "yaml", "rewards", "gates"}
# What no test can run here, by page. A block is one of these only if the page says why, in a comment before it.
NOT_RUN = {
    "README.md": 2,
    "docs/compute.md": 5,
    "docs/deploy.md": 3,
    "docs/hub.md": 1,
    "docs/sharing.md": 1,
    "docs/troubleshooting.md": 1,
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HERE = [page for page in PAGES if str(page.relative_to(ROOT)) not in ELSEWHERE]


def test_every_block_is_of_a_kind_that_is_run_or_shown() -> None:
    for page in PAGES:
        found = blocks(page)
        for block in found:
            assert block.kind in RUN | SHOWN, f"{block}: blocks of the kind {block.kind!r} are neither run nor shown"
            hidden = block.kind not in RUN and re.search(r"^(aitraining|make|curl|pip|python) ", block.text, re.MULTILINE)
            assert not hidden, f"{block}: a command in a block that is not run; call it bash"
            assert not block.not_run or block.kind in RUN, f"{block}: is marked as not run, and would not be anyway"
        name = str(page.relative_to(ROOT))
        assert sum(bool(block.not_run) for block in found) == NOT_RUN.get(name, 0), name


def test_pages_with_tests_of_their_own_have_them() -> None:
    for page, test in ELSEWHERE.items():
        assert page in (ROOT / test).read_text(encoding="utf-8"), test


# Eight runs of a minute in all; tests/train/test_sweeps.py makes their like.
AT_TIMES = {"docs/sweeps.md"}


def run_pages() -> list[Any]:
    """The pages with blocks to run."""
    found = {str(page.relative_to(ROOT)): page for page in HERE if any(block.kind in RUN for block in blocks(page))}
    marks = {name: [pytest.mark.long] if name in AT_TIMES else [] for name in found}
    return [pytest.param(page, id=name, marks=marks[name]) for name, page in found.items()]


@pytest.mark.slow
@pytest.mark.parametrize("page", run_pages())
def test_a_page_runs_from_its_first_block_to_its_last(
    page: Path, world: Path, served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    for block in with_files(page):
        if block.kind == "bash":
            for words in commands(block.text):
                assert run_command(words) == 0, (str(block), words, capsys.readouterr().err)
        elif block.kind == "python":
            exec(compile(block.text.replace("http://127.0.0.1:7860", served), str(block), "exec"), names)
        elif block.kind == "http":
            answer = asked(served, block.text)
            assert answer.is_success, (str(block), answer.text)
    ended = {run.name: watch(run.name).state for run in list_runs(world / "runs")}
    assert set(ended.values()) <= {State.DONE, State.STOPPED}, ended


def with_files(page: Path) -> Iterator[Block]:
    """The blocks to run; a YAML block whose file is named in the line before it is written there first."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(page):
        if block.kind == "yaml":
            before = text.split("\n")[: block.line - 1]
            named = re.search(r"`([\w.-]+\.yaml)`:$", "\n".join(before).rstrip())
            assert named, f"{block}: the line before it does not name the file"
            Path(named[1]).write_text(block.text, encoding="utf-8")
        elif block.kind in RUN and not block.not_run:
            yield block


def asked(address: str, text: str) -> httpx.Response:
    """A request as it is written: a line, headers, an empty line, a body."""
    head, _, body = text.partition("\n\n")
    line, *headers = head.strip().splitlines()
    method, place = line.split()
    given = dict(header.split(": ", 1) for header in headers)
    return httpx.request(method, address + place, headers=given, content=body.strip() or None, timeout=60)


def test_the_table_of_addresses_is_the_api() -> None:
    from ui import http_api, http_queue

    page = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
    written = set(re.findall(r"^\| (\w+) \| `(/studio/api/[^`]*)` \|", page, re.MULTILINE))
    real = {
        (method, route.path.replace(":path", ""))  # type: ignore[attr-defined]
        for route in (*http_api.routes(), *http_queue.routes())
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    assert written == real


def test_a_block_that_cannot_be_run_is_noticed(tmp_path: Path) -> None:
    """The reader of blocks itself: marks, long lines, quotations over lines."""
    page = tmp_path / "page.md"
    marked = "<!-- not run: needs a Hub -->\n```bash\naitraining runs\n```\n\n"
    page.write_text(marked + "```bash\naitraining llm \\\n  --x '1\n2' # why\nmake app\n```\n")
    first, second = blocks(page)
    assert (first.not_run, second.not_run) == ("needs a Hub", "")
    assert list(commands(second.text)) == [["aitraining", "llm", "--x", "1\n2"], ["make", "app"]]
    with pytest.raises(AssertionError, match="mark its block"):
        run_command(["make", "app"])
    page.write_text("```json\n{}\n")
    with pytest.raises(AssertionError, match="has no end"):
        blocks(page)

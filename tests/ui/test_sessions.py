"""What the server keeps of pages that are open: little, not for ever, and nothing that an answer needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from tests.fuzz.page import NewRun
from ui import shell


@pytest.fixture(scope="module")
def page_server() -> Iterator[gr.Blocks]:
    app, options = shell.build()
    app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **options)
    yield app
    app.close(verbose=False)


def address(app: gr.Blocks) -> str:
    return str(app.local_url).rstrip("/")


def test_choices_that_came_with_an_answer_are_taken_after_a_restart(page_server: gr.Blocks, tmp_path: Path) -> None:
    """The server never offered them to this page: the one before it did."""
    file = tmp_path / "rows.csv"
    file.write_text("frage,antwort\n" + "Wann?,Um sechs.\n" * 20)
    page = NewRun(address(page_server), session="opened-before")
    form = {"field-trainer": "sft", "field-data_path": str(file), "field-data_format": ""}
    assert "8" in page.ask("preset", preset="Best quality", **form)
    mapped = page.ask("mapped", **form, **{"role-0": "antwort", "role-1": "frage"})
    assert json.loads(mapped[0]) == {"prompt": "antwort", "completion": "frage"}


def test_a_page_that_stays_open_costs_no_more_with_every_look(page_server: gr.Blocks) -> None:
    page = NewRun(address(page_server), session="stays-open")
    for data in ("sample:neighbours", "sample:manners", "sample:neighbours", "sample:neighbours"):
        page.look(data_path=data, trainer="sft")
    held = page_server.state_holder.session_data["stays-open"]
    assert set(held.blocks_config.blocks) == set(page_server.default_config.blocks)
    assert set(held.config_values) <= set(page_server.default_config.blocks)


def test_only_the_last_pages_are_remembered(page_server: gr.Blocks) -> None:
    for number in range(shell.PAGES_KEPT + 5):
        page_server.state_holder[f"page-{number}"]
    assert len(page_server.state_holder.session_data) == shell.PAGES_KEPT
    first = NewRun(address(page_server), session="page-0")
    assert "neighbour" in str(first.look(data_path="sample:neighbours", trainer="sft"))

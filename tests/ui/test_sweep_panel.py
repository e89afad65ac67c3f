"""The panel for several values: what comes late must not take away what somebody has begun to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from engine import api
from engine.errors import ParamError
from ui.fields import to_widget
from ui.form import SettingsForm
from ui.sweep_panel import SweepPanel


@pytest.fixture(scope="module")
def panel() -> SweepPanel:
    with gr.Blocks():
        form = SettingsForm()
        form.put_groups()
        for elsewhere in form.fields.keys() - form.widgets.keys():
            form.put(elsewhere)
        return SweepPanel(form)


@pytest.mark.parametrize("kept", [None, {}, {"lines": "", "kind": "grid", "tries": "10"}])
def test_where_the_browser_kept_nothing_the_boxes_are_left_alone(panel: SweepPanel, kept: Any) -> None:
    assert panel.open(kept) == [gr.skip()] * 4


def test_lines_that_the_browser_kept_come_back(panel: SweepPanel) -> None:
    lines, kind, tries, box = panel.open({"lines": "lr = 1e-5, 1e-4", "kind": "random", "tries": "5"})
    assert (lines, kind, tries) == ("lr = 1e-5, 1e-4", "random", "5") and box["open"]


def test_the_review_calls_settings_by_their_names_on_the_page(panel: SweepPanel, runs_root: Path) -> None:
    given = {name: to_widget(panel.form.fields[name], panel.form.fields[name].default) for name in panel.form.names}
    given |= {"trainer": "sft", "data_path": f"{api.SAMPLE_PREFIX}good-cheer"}
    said, start, *_ = panel.outlook("lr = 1e-5, 1e-4", "grid", "10", *given.values())
    assert "Learning rate: 1e-05, 0.0001" in said and start["value"] == "Start 2 runs"


def test_a_line_may_call_a_setting_as_the_page_does(panel: SweepPanel, runs_root: Path) -> None:
    given = {name: to_widget(panel.form.fields[name], panel.form.fields[name].default) for name in panel.form.names}
    given |= {"trainer": "sft", "data_path": f"{api.SAMPLE_PREFIX}good-cheer"}
    said, start, *_ = panel.outlook("Learning rate = 1e-5, 1e-4", "grid", "10", *given.values())
    assert "Learning rate: 1e-05, 0.0001" in said and start["value"] == "Start 2 runs"
    said, *_ = panel.outlook("learning rate = 1e-5\nlr = 1e-4", "grid", "10", *given.values())
    assert "Learning rate stands there twice" in said
    assert panel.added("lr", "1e-3", "Learning rate = 1e-5, 1e-4\nepochs = 1, 2")[0] == "epochs = 1, 2\nlr = 1e-3"


def test_a_sweep_that_was_started_uses_the_pages_ticket_up(panel: SweepPanel, runs_root: Path) -> None:
    """So that the next address which asks for something begins anew, and another sweep of the same values is another one."""
    given = {name: to_widget(panel.form.fields[name], panel.form.fields[name].default) for name in panel.form.names}
    given |= {"trainer": "sft", "data_path": f"{api.SAMPLE_PREFIX}good-cheer"}
    begun = [panel.begin({"id": "one"}, "lr = 1e-5, 1e-4", "grid", "10", *given.values()) for _ in range(2)]
    try:
        assert begun[0] == begun[1] == [begun[0][0], {}, {"id": "one", "started": begun[0][0]}]
    finally:
        api.sweeps.stop(begun[0][0])


@pytest.mark.parametrize("lines", ["lr = 1e-5..1e-3", "seed = " + ", ".join(map(str, range(300)))], ids=["a range", "too many"])
def test_what_every_combination_cannot_try_is_told_with_the_way_on_of_this_page(
    panel: SweepPanel, runs_root: Path, lines: str
) -> None:
    given = {name: to_widget(panel.form.fields[name], panel.form.fields[name].default) for name in panel.form.names}
    given |= {"trainer": "sft", "data_path": f"{api.SAMPLE_PREFIX}good-cheer"}
    said, *_ = panel.outlook(lines, "grid", "10", *given.values())
    words = panel.kind.choices[1][0]
    assert f"choose “{words}” at {panel.kind.label}" in said and "--random" not in said
    with pytest.raises(ParamError) as error:
        api.sweeps.built({"trainer": "sft", "data_path": f"{api.SAMPLE_PREFIX}good-cheer"}, dict([lines.split(" = ")]))
    assert "--random" in error.value.hint, "the command line says its own"

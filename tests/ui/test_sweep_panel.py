"""The panel for several values: what comes late must not take away what somebody has begun to write."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from ui.form import SettingsForm
from ui.sweep_panel import SweepPanel


@pytest.fixture(scope="module")
def panel() -> SweepPanel:
    with gr.Blocks():
        form = SettingsForm()
        form.put_groups()
        return SweepPanel(form)


@pytest.mark.parametrize("kept", [None, {}, {"lines": "", "kind": "grid", "tries": "10"}])
def test_where_the_browser_kept_nothing_the_boxes_are_left_alone(panel: SweepPanel, kept: Any) -> None:
    assert panel.open(kept) == [gr.skip()] * 4


def test_lines_that_the_browser_kept_come_back(panel: SweepPanel) -> None:
    lines, kind, tries, box = panel.open({"lines": "lr = 1e-5, 1e-4", "kind": "random", "tries": "5"})
    assert (lines, kind, tries) == ("lr = 1e-5, 1e-4", "random", "5") and box["open"]

"""The page "Runs": every run there is; open, rename, delete. Drawn by assets/runs.js from the addresses in ui/routes.py."""

from __future__ import annotations

import gradio as gr

from ui.mounting import mounting


def build(app: gr.Blocks) -> None:
    """Put the page's components in the current route."""
    gr.HTML(
        '<div class="runs"><h1 class="page-title">Runs</h1><div class="runs-list"></div></div>',
        apply_default_css=False,
        elem_id="runs",
        js_on_load=mounting("Runs.mount(element.querySelector('.runs-list'))"),
    )

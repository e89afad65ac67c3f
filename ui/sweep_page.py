"""The page "Sweep": the runs of one, best first, and a picture of them. Drawn by assets/sweep.js; holds no state."""

from __future__ import annotations

import gradio as gr

from ui.mounting import mounting


def build(app: gr.Blocks) -> None:
    """Put the page's components in the current route."""
    gr.HTML(
        '<div class="monitor"><noscript>This page needs JavaScript.</noscript></div>',
        apply_default_css=False,
        elem_id="sweep",
        js_on_load=mounting("SweepPage.mount(element.querySelector('.monitor'))"),
    )

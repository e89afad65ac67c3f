"""The page "Pipeline": one chain of trainings, live. Drawn by assets/pipeline.js from ui/pipeline_routes.py; holds no state."""

from __future__ import annotations

import gradio as gr

from ui.mounting import mounting


def build(app: gr.Blocks) -> None:
    """Put the page's components in the current route."""
    gr.HTML(
        '<div class="monitor"><noscript>This page needs JavaScript.</noscript></div>',
        apply_default_css=False,
        elem_id="pipeline",
        js_on_load=mounting("PipelinePage.mount(element.querySelector('.monitor'))"),
    )

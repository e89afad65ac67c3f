"""The page "Runs": the queue, every pipeline, sweep and run there is. Drawn by queue.js, pipeline.js, sweep.js and runs.js from
plain addresses."""

from __future__ import annotations

import gradio as gr

from ui.mounting import mounting


def build(app: gr.Blocks) -> None:
    """Put the page's components in the current route."""
    gr.HTML(
        '<div class="runs"><h1 class="page-title">Runs</h1><div class="queue-box"></div><div class="pipelines-list"></div>'
        '<div class="sweeps-list"></div><h2 class="all-runs">All runs</h2><div class="runs-room"></div>'
        '<div class="runs-list"></div></div>',
        apply_default_css=False,
        elem_id="runs",
        js_on_load=mounting("PipelinePage.list(element.querySelector('.pipelines-list'))")
        + mounting("SweepPage.list(element.querySelector('.sweeps-list'))")
        + mounting("Space.mount(element.querySelector('.runs-room'))")
        + mounting("Runs.mount(element.querySelector('.runs-list'), element.querySelector('.queue-box'))"),
    )

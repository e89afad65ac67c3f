"""The page "Runs"."""

from __future__ import annotations

import gradio as gr


def build() -> None:
    """Put the page's components in the current route."""
    gr.HTML("<h1>Runs</h1>", apply_default_css=False)

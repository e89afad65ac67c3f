"""Colours, fonts and sizes of the page, given to Gradio as a theme. assets/style.css builds on the same palette.

Text colours are chosen for a contrast of at least 4.5:1 (WCAG AA) on their backgrounds, light and dark.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.themes.utils.colors import Color

PINE = Color(
    name="pine",
    c50="#eef9f6",
    c100="#d4f1e9",
    c200="#a9e2d4",
    c300="#72cdba",
    c400="#3bb19c",
    c500="#189581",
    c600="#0d7768",
    c700="#0c5f54",
    c800="#0e4b44",
    c900="#0f3e39",
    c950="#042420",
)
SLATE = Color(
    name="stone",
    c50="#fafaf8",
    c100="#f4f4f1",
    c200="#e6e6e1",
    c300="#d2d2cb",
    c400="#a3a39c",
    c500="#73736d",
    c600="#55554f",
    c700="#3f3f3b",
    c800="#272725",
    c900="#191918",
    c950="#0e0e0d",
)
# The first is served from Gradio's own files, so no request leaves the machine.
SANS = [gr.themes.GoogleFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "-apple-system", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]

SETTINGS: dict[str, Any] = {
    "body_background_fill": "#f8f8f5",
    "body_background_fill_dark": "#111213",
    "body_text_color": "#22221f",
    "body_text_color_dark": "#e7e7e3",
    "body_text_color_subdued": "#5d5d57",
    "body_text_color_subdued_dark": "#a6a69f",
    "background_fill_primary": "#ffffff",
    "background_fill_primary_dark": "#191a1c",
    "background_fill_secondary": "#f4f4f1",
    "background_fill_secondary_dark": "#202124",
    "border_color_primary": "#e4e4de",
    "border_color_primary_dark": "#2d2e32",
    "block_background_fill": "#ffffff",
    "block_background_fill_dark": "#191a1c",
    "block_border_width": "1px",
    "block_border_color": "#e4e4de",
    "block_border_color_dark": "#2d2e32",
    "block_label_background_fill": "transparent",
    "block_label_background_fill_dark": "transparent",
    "block_label_text_weight": "600",
    "block_title_text_weight": "600",
    "block_title_text_color": "#2a2a27",
    "block_title_text_color_dark": "#e7e7e3",
    "block_label_text_color": "#2a2a27",
    "block_label_text_color_dark": "#e7e7e3",
    "block_info_text_color": "#5d5d57",
    "block_info_text_color_dark": "#a6a69f",
    "block_shadow": "0 1px 2px rgba(20,20,15,.04)",
    "block_shadow_dark": "none",
    "input_background_fill": "#ffffff",
    "input_background_fill_dark": "#1f2023",
    "input_border_width": "1px",
    "input_border_color": "#c9c9c2",
    "input_border_color_dark": "#44464b",
    "input_border_color_focus": "*primary_500",
    "input_border_color_focus_dark": "*primary_400",
    "input_placeholder_color": "#71716a",
    "input_placeholder_color_dark": "#94948d",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_dark": "*primary_600",
    "button_primary_background_fill_hover_dark": "*primary_500",
    "button_primary_text_color": "#ffffff",
    "button_primary_text_color_dark": "#ffffff",
    "button_primary_border_color": "*primary_600",
    "button_secondary_background_fill": "#ffffff",
    "button_secondary_background_fill_hover": "#f1f1ed",
    "button_secondary_background_fill_dark": "#232427",
    "button_secondary_background_fill_hover_dark": "#2c2d31",
    "button_secondary_border_color": "#d2d2cb",
    "button_secondary_border_color_dark": "#3b3d42",
    "button_border_width": "1px",
    "button_large_radius": "9px",
    "button_large_padding": "10px 18px",
    "button_large_text_size": "15px",
    "button_large_text_weight": "600",
    "button_medium_radius": "8px",
    "button_medium_text_weight": "550",
    "shadow_drop": "0 1px 2px rgba(20,20,15,.05)",
    "link_text_color": "*primary_700",
    "link_text_color_dark": "*primary_300",
    "error_text_color": "#b42318",
    "error_text_color_dark": "#fda29b",
    "error_border_color": "#d92d20",
}


def theme() -> gr.themes.Base:
    """The page's theme."""
    return gr.themes.Base(
        primary_hue=PINE,
        secondary_hue=PINE,
        neutral_hue=SLATE,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_md,
        font=SANS,
        font_mono=MONO,
    ).set(**SETTINGS)

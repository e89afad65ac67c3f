"""A page without Gradio: one card in the look of the studio, made of nothing that only who has signed in may load."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse, Response

from ui.routes import ASSETS, address_of

_HEADERS = {
    "Cache-Control": "no-store",
    # Nothing but our own files; another site may show the page in a frame, where nobody can be signed in
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'self'",
}


def plain_page(title: str, content: str, status: int = 200) -> Response:
    """The page with this title and, on its card, this HTML."""
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · AITraining Studio</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="{address_of(ASSETS / "logo.svg")}">'
        f'<link rel="stylesheet" href="{address_of(ASSETS / "style.css")}">'
        f'<script defer src="{address_of(ASSETS / "login.js")}"></script></head>'
        '<body class="gradio-container login"><main class="st-card">'
        f'<div class="st-brand">{(ASSETS / "logo.svg").read_text(encoding="utf-8")}<span>AITraining Studio</span></div>'
        f"{content}</main></body></html>"
    )
    return HTMLResponse(html, status_code=status, headers=_HEADERS)

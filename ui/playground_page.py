"""The page "Playground": two models, one question, side by side. Drawn by assets/playground.js; the talk is streamed."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import gradio as gr
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from engine import api
from engine.errors import StudioError
from ui.http_answers import body_of
from ui.mounting import mounting
from ui.reach import refuse_foreign
from ui.routes import answered, refuse

# Far above any real talk; keeps a request from filling the memory.
_LARGEST = 2_000_000
_session = api.chat()


def build(app: gr.Blocks) -> None:
    """Put the page's components in the current route."""
    gr.HTML(
        '<div class="playground"><h1 class="page-title">Playground</h1><div class="talk"></div></div>',
        apply_default_css=False,
        elem_id="playground",
        js_on_load=mounting("Playground.mount(element.querySelector('.talk'))"),
    )


def routes() -> list[BaseRoute]:
    """The playground's addresses."""
    return [
        Route("/studio/models", models),
        Route("/studio/chat", chat, methods=["POST"]),
        Route("/studio/chat/close", close, methods=["POST"]),
    ]


def models(request: Request) -> Response:
    """What there is to talk to, and whether models are held in memory now."""
    return answered(
        lambda: {
            "models": [
                {"id": source.reference, "label": source.label, "scores": source.scores} for source in api.model_choices()
            ],
            "open": _session.open,
        }
    )


async def chat(request: Request) -> Response:
    """One question to one or two models; answers come as JSON lines while they are made."""
    refused = refuse(request)
    if refused is not None:
        return refused
    question = _question(await body_of(request, _LARGEST))
    if question is None:
        return JSONResponse({"error": "This is not a question to one or two models.", "hint": ""}, status_code=400)
    lines = _lines(question)
    return StreamingResponse(
        lines,
        media_type="application/x-ndjson",
        headers={"Cache-Control": "no-store"},
        background=BackgroundTask(lines.close),  # a reader that went away stops the answer at once
    )


def _question(body: bytes | None) -> dict[str, Any] | None:
    """What was asked, if it is a question to one or two models."""
    try:
        asked = json.loads(body) if body else None
        question = {key: asked[key] for key in ("id", "models", "messages", "settings")} if asked else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    named, talks = question.get("models"), question.get("messages")
    if not isinstance(named, list) or not isinstance(talks, list) or not isinstance(question["settings"], dict):
        return None
    fits = 1 <= len(named) <= 2 and len(talks) == len(named) and all(isinstance(name, str) for name in named)
    return question if fits else None


def _lines(question: dict[str, Any]) -> Generator[str]:
    try:
        for name in question["models"]:
            refuse_foreign({"model": name})
        for message in _session.answer(question):
            yield json.dumps(message) + "\n"
    except StudioError as error:
        for side in range(len(question["models"])):
            yield json.dumps({"type": "error", "side": side, "message": error.message, "hint": error.hint}) + "\n"


async def close(request: Request) -> Response:
    """End the process that holds the models."""
    refused = refuse(request)
    return refused if refused is not None else await run_in_threadpool(answered, lambda: _session.close())

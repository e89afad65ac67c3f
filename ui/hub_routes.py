"""Addresses under /studio/hub/: searching the Hugging Face Hub while somebody types."""

from __future__ import annotations

from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from engine import api
from ui.reach import only_local
from ui.routes import answered


def routes() -> list[BaseRoute]:
    """The addresses."""
    return [Route("/studio/hub/models", models), Route("/studio/hub/datasets", datasets)]


def models(request: Request) -> Response:
    """Models that can be trained with `?q=` in their id."""
    return _found(request, "models")


def datasets(request: Request) -> Response:
    """Data sets with `?q=` in their id."""
    return _found(request, "datasets")


def _found(request: Request, kind: Literal["models", "datasets"]) -> Response:
    text = request.query_params.get("q", "")

    def work() -> dict[str, Any]:
        # a page that is served to others shows nobody what only its owner's account may see
        return {"q": text, "found": api.hub.search(kind, text, own=only_local())}

    return answered(work)

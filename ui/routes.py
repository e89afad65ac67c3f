"""Plain addresses beside the Gradio pages: static files and JSON for live views, all under /studio/."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

ASSETS = Path(__file__).resolve().parent.parent / "assets"
STATIC_SUFFIXES = frozenset({".css", ".js", ".svg", ".woff2"})


def routes() -> list[BaseRoute]:
    """Every address under /studio/."""
    return [Route("/studio/static/{name}", static)]


def head() -> str:
    """Further tags for the page's head, before our own style and scripts."""
    return ""


def static(request: Request) -> Response:
    """One of the page's own files; the folder also holds the starter model and samples, which are not served."""
    path = ASSETS / Path(request.path_params["name"]).name
    if path.suffix not in STATIC_SUFFIXES or not path.is_file():
        return PlainTextResponse("There is no such file.", status_code=404)
    return FileResponse(path, headers={"Cache-Control": "public, max-age=31536000, immutable"})

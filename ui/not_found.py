"""An address that is none of ours: a person is shown the way back, a program is told as before."""

from __future__ import annotations

from html import escape

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.plain_page import plain_page

# What scripts and programs ask for; what is wrong there is told in their way.
_FOR_PROGRAMS = ("/studio/", "/gradio_api/")
_SHOWN = 200


class NotFoundPages:
    """The app, whose pages that are not there are a page of ours for who asked with a browser."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _by_a_person(scope):
            await self.app(scope, receive, send)
            return
        lost = False

        async def take(message: Message) -> None:
            nonlocal lost
            lost = lost or (message["type"] == "http.response.start" and message["status"] == 404)
            if not lost:
                await send(message)

        await self.app(scope, receive, take)
        if lost:
            await plain_page("Not found", _content(scope["path"]), 404)(scope, receive, send)


def _by_a_person(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or scope["path"].startswith(_FOR_PROGRAMS):
        return False
    return "text/html" in Headers(scope=scope).get("accept", "")


def _content(path: str) -> str:
    named = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}…"
    return (
        f"<h1>There is no such page</h1><p>The studio has nothing at <code>{escape(named)}</code>. Perhaps the address was "
        'mistyped.</p><a class="st-button main" href="/">To the start</a>'
        '<p class="st-soft">What was trained here is in the <a href="/runs">list of runs</a>.</p>'
    )

"""Pages and answers are sent compressed. Gradio does so for what ends in .js, .css and the like; a page ends in nothing.

What is no text, a model or a zip, is sent as it is: it would not get smaller, and a download that goes on asks by byte.
"""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_LEVEL = 5  # a third of the time of the highest, for a few per cent more
_WORTH_IT = 1000  # bytes; below that it is one packet either way


class CompressedPages:
    """gzip for what has no file's ending and is no file of a model. Streams of events are left alone by Starlette."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.compressed = GZipMiddleware(app, minimum_size=_WORTH_IT, compresslevel=_LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        text = scope["type"] == "http" and "." not in path.rpartition("/")[2] and "/model/" not in path
        await (self.compressed if text else self.app)(scope, receive, send)

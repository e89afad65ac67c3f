"""What is refused before, or goes wrong behind, an address of the HTTP API is told as the API tells everything else.

The gate, the router and a defect of ours each have words of their own; a program that reads `error` and `hint` of every answer
that is no success finds them in all.
"""

from __future__ import annotations

import json
import traceback
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.http_answers import said

_BELOW = "/studio/api/"
_WORDS = {
    404: ("There is nothing at this address.", "docs/integration.md lists the addresses that there are."),
    500: ("This went wrong in the studio itself, which is a defect.", "What it printed where it was started says more."),
}


class ToldErrors:
    """The app, whose errors below /studio/api/ are `{"error", "hint", "settings"}`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_BELOW):
            await self.app(scope, receive, send)
            return
        answer = _Answer(scope, receive, send)
        try:
            await self.app(scope, receive, answer.take)
        except Exception:
            if answer.begun:
                raise
            traceback.print_exc()
            await answer.failed()


class _Answer:
    """One answer on its way: an error is held back until all of it is there."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.begun = False
        self.held: Message | None = None
        self.body = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self.held = message
        elif self.held is None:
            self.begun = True
            await self.send(message)
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                await self._tell(self.held["status"], Headers(raw=self.held["headers"]))

    async def failed(self) -> None:
        """Nothing was answered yet, and nothing else will be."""
        self.body = b""
        await self._tell(500, Headers())

    async def _tell(self, status: int, headers: Headers) -> None:
        self.begun = True
        answer = said(status, *self._words(status), settings=self._own.get("settings"))
        for name in ("allow", "cache-control", "www-authenticate"):
            if name in headers:
                answer.headers[name] = headers[name]
        await answer(self.scope, self.receive, self.send)

    @property
    def _own(self) -> dict[str, Any]:
        """What the answer says already, if it says it as ours do."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) and isinstance(found.get("error"), str) else {}

    def _words(self, status: int) -> tuple[str, str]:
        own = self._own
        if own:
            return own["error"], str(own.get("hint", ""))
        if status == 405:
            return f"This address does not take {self.scope['method']}.", "docs/integration.md says what each address takes."
        return _WORDS.get(status) or (self.body.decode("utf-8", "replace")[:500] or f"This was refused ({status}).", "")

"""The gate: every request passes it, and nothing answers one that it does not know somebody behind.

What is not named here is closed: of Gradio's addresses those that our pages use are open to who has signed in, and no
others; ours are open to who has signed in; to everybody only the way in. Whoever is let through is said to ask (api.people)
until the answer is given, and the engine finds nothing of anybody else's.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection
from contextlib import nullcontext
from typing import Any
from urllib.parse import parse_qs, quote

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine import api
from ui.characters import whole
from ui.login.guesses import in_words
from ui.login.pace import Pace
from ui.login.way_in import WayIn
from ui.reach import is_foreign

# For everybody: the login page's look. And what Gradio asks itself once at its start, which tells nobody anything.
_SIGNED_OUT = ("/studio/static/", "/gradio_api/startup-events")
# What a page of ours asks of Gradio. Whole addresses, and beginnings of addresses (Gradio's own files; a page that is open).
_GRADIO = frozenset(
    {
        "/config",
        "/manifest.json",
        "/theme.css",
        "/gradio_api/app_id",
        "/gradio_api/info",
        "/gradio_api/queue/data",
        "/gradio_api/queue/join",
        "/gradio_api/upload",
        "/gradio_api/upload_progress",
    }
)
_GRADIO_BELOW = ("/static/", "/assets/", "/svelte/", "/gradio_api/heartbeat/")
# Below these, a name of ours follows; an admin may put a person before it.
_NAMED = (
    "/studio/runs/",
    "/studio/api/runs/",
    "/studio/pipelines/",
    "/studio/sweeps/",
    "/studio/api/sweeps/",
    "/studio/space/",
)
_UPLOADS = ("/gradio_api/upload", "/studio/api/data/")
_ADMIN_DOES = ("stop", "delete", "forget")
_PERSON = "studio.person"
# Far above what a form of ours sends.
_LARGEST = 8_000_000
_KEPT = 50_000


class Gate:
    """The app behind the gate."""

    def __init__(self, app: ASGIApp, way_in: WayIn, pages: Collection[str]) -> None:
        self.app, self.way_in, self.pages = app, way_in, frozenset(pages)
        self._known = _Known()
        self._pace = Pace()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # nothing of ours speaks so
        else:
            await self._answer(scope, receive, _sealed(scope, send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if _foreign(request):
            answer: Response = _refusal(403, "This must be asked by the studio's own page.")
        elif self.way_in.is_public(scope["path"]) or scope["path"].startswith(_SIGNED_OUT):
            await self.app(scope, receive, send)
            return
        else:
            person = await self.way_in.asks(request)
            if isinstance(person, api.people.Person):
                await self._let_through(person, scope, receive, send)
                return
            answer = person or self._to_the_way_in(request)
        await answer(scope, receive, send)

    async def _let_through(self, person: api.people.Person, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] in ("POST", "PUT") and path.startswith(_UPLOADS) and (wait := self._pace.wait_s(person.id)):
            said = f"These are very many uploads. The next one is taken in {in_words(wait)}."
            await _refusal(429, said)(scope, receive, send)
            return
        ours = path.startswith("/studio/") or (path.rstrip("/") or "/") in self.pages
        if not ours:
            if not (path in _GRADIO or path.startswith(_GRADIO_BELOW)):
                await _nothing()(scope, receive, send)
                return
            guarded = await self._guarded(person, scope, receive, send)
            if guarded is None:
                await _nothing()(scope, receive, send)
                return
            receive, send = guarded
        person, scope = _of_another(person, scope)
        with api.people.acting(person):
            await self.app({**scope, _PERSON: person}, receive, send)

    async def _guarded(
        self, person: api.people.Person, scope: Scope, receive: Receive, send: Send
    ) -> tuple[Receive, Send] | None:
        """How a request to Gradio goes on, None if it is about something of another person: a page that they have open, a file
        that they sent. Gradio knows both by their names alone, so we remember whose they are.
        """
        path, query = scope["path"], parse_qs(scope["query_string"].decode("latin-1"))
        mine = True
        if path == "/gradio_api/upload":
            send = self._known.remembering(person, send)
        if path.startswith("/gradio_api/upload"):
            mine = all(self._known.claims("upload", text, person) for text in query.get("upload_id", []))
        if path.startswith("/gradio_api/heartbeat/"):
            mine = self._known.claims("page", path.rsplit("/", 1)[1], person)
        if path == "/gradio_api/queue/data":
            mine = all(self._known.claims("page", text, person) for text in query.get("session_hash", []))
        if path == "/gradio_api/queue/join":
            body = await _whole(receive)
            asked = _read(body)
            if body is None or not isinstance(asked, dict):
                return None
            mine = self._known.claims("page", str(asked.get("session_hash")), person)
            mine = mine and all(self._known.sent(file, person) for file in _files(asked))
            receive = _again(body)
        return (receive, send) if mine else None

    def _to_the_way_in(self, request: Request) -> Response:
        """Nobody is signed in: a person is shown where, a program is told."""
        path = request.url.path
        if request.method in ("GET", "HEAD") and (path.rstrip("/") or "/") in self.pages:
            wanted = quote(path + (f"?{request.url.query}" if request.url.query else ""))
            return RedirectResponse(f"/login?next={wanted}", 303)
        return _refusal(401, "You are not signed in.", "Load the page again to sign in.")


class GuardedBlocks(gr.Blocks):
    """Blocks whose handlers act for who asked, and answer in whole characters. Gradio answers events from a task of its own
    that knows no request's person."""

    async def process_api(
        self, block_fn: Any, inputs: list[Any], state: Any = None, request: Any = None, *further: Any, **named: Any
    ) -> dict[str, Any]:
        """As Gradio's own, for the one person that the request is of."""
        scope = getattr(getattr(request, "request", None), "scope", {})  # a batch is of nobody: no handler of ours takes one
        person = scope.get(_PERSON)
        with api.people.acting(person) if person else nullcontext():
            made = await super().process_api(block_fn, inputs, state, request, *further, **named)
        if state is not None:
            self._forget_copies(state)
        return {**made, "data": whole(made["data"])}

    def _forget_copies(self, state: Any) -> None:
        """Gradio makes a component anew whenever an answer changes it, and keeps every one of those under a number of its
        own for as long as it knows the page. Nothing asks for them by it."""
        for number in state.blocks_config.blocks.keys() - self.default_config.blocks.keys():
            del state.blocks_config.blocks[number]
            state.config_values.pop(number, None)


class _Known:
    """Which person a page that is open, and a file that was sent, belongs to. The oldest are forgotten first."""

    def __init__(self) -> None:
        self._owners: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._files: OrderedDict[tuple[str, str], None] = OrderedDict()

    def claims(self, kind: str, name: str, person: api.people.Person) -> bool:
        """Whether this is the person's, or nobody's so far: then it is theirs from now on."""
        owner = self._owners.setdefault((kind, name), person.id)
        self._owners.move_to_end((kind, name))
        while len(self._owners) > _KEPT:
            self._owners.popitem(last=False)
        return owner == person.id

    def sent(self, file: str, person: api.people.Person) -> bool:
        """Whether this person sent this file."""
        return (file, person.id) in self._files

    def remembering(self, person: api.people.Person, send: Send) -> Send:
        """`send` that keeps the names of the files that the answer to an upload gives."""
        told = b""

        async def remember(message: Message) -> None:
            nonlocal told
            if message["type"] == "http.response.body":
                told += message.get("body", b"")
                if not message.get("more_body"):
                    found = _read(told)
                    for file in found if isinstance(found, list) else []:
                        self._files[(str(file), person.id)] = None
                    while len(self._files) > _KEPT:
                        self._files.popitem(last=False)
            await send(message)

        return remember


def _of_another(person: api.people.Person, scope: Scope) -> tuple[api.people.Person, Scope]:
    """For an admin who names another's run (`ada~sft-1`) to look at it, stop or delete it: that person, and the run's own
    name. Anything else goes on as it came, and finds nothing, since no run has such a name.
    """
    path = scope["path"]
    below = next((named for named in _NAMED if path.startswith(named)), None)
    if below is None or not person.admin:
        return person, scope
    reference, *deeper = path.removeprefix(below).split("/")
    with api.people.acting(person):
        owner, name = api.people.owner_and_name(reference)
    does = scope["method"] in ("GET", "HEAD", "DELETE") or deeper[-1:] in [[word] for word in _ADMIN_DOES]
    if owner == person or not does:
        return person, scope
    path = below + "/".join([name, *deeper])
    return owner, {**scope, "path": path, "raw_path": quote(path).encode()}


def _foreign(request: Request) -> bool:
    """Whether another site's page wants something done: a browser says where such a request comes from."""
    asks_only = request.method in ("GET", "HEAD", "OPTIONS")
    return not asks_only and is_foreign(request.headers.get("origin"), request.headers.get("host"))


def _sealed(scope: Scope, send: Send) -> Send:
    """`send` that lets nobody keep what was for one person, unless the answer itself says how it may be kept."""

    async def seal(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if "cache-control" not in headers:
                headers["cache-control"] = "no-store"
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "same-origin"
        await send(message)

    return seal


def _refusal(status: int, error: str, hint: str = "") -> Response:
    return JSONResponse({"error": error, "hint": hint}, status_code=status)


def _nothing() -> Response:
    return PlainTextResponse("There is nothing here.", status_code=404)


async def _whole(receive: Receive) -> bytes | None:
    """The body of a request; None when it is larger than any of ours, or was broken off."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > _LARGEST:
            return None
        if not message.get("more_body"):
            return body


def _again(body: bytes) -> Receive:
    """A request's body, for the next reader."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return left.pop() if left else {"type": "http.disconnect"}

    return receive


def _read(body: bytes | None) -> Any:
    try:
        return json.loads(body or b"")
    except (ValueError, RecursionError):
        return None


def _files(value: Any) -> list[str]:
    """Every file of this machine that a request to Gradio names."""
    if isinstance(value, dict):
        own = [value["path"]] if isinstance(value.get("path"), str) else []
        return own + [file for inside in value.values() for file in _files(inside)]
    return [file for inside in value for file in _files(inside)] if isinstance(value, list) else []

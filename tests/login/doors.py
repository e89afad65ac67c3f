"""Every address and every handler that the app has, asked of the app itself, and ways to knock at each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Door:
    """One method of one address, as the app declares it."""

    method: str
    template: str

    def path(self, filled: dict[str, str]) -> str:
        return re.sub(r"{(\w+)(?::\w+)?}", lambda part: filled.get(part[1], filled[""]), self.template)

    @property
    def asks(self) -> bool:
        """Whether a name can be put into it."""
        return "{" in self.template


def doors(routes: Any, below: str = "") -> Iterator[Door]:
    """Every address under `routes`, those of mounted and included apps too."""
    for route in routes:
        inside = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        path = below + (getattr(route, "path", "") or "")
        if inside:
            prefix = path or below + getattr(getattr(route, "include_context", None), "prefix", "")
            yield from doors(inside, prefix)
        elif not path:
            raise AssertionError(f"{route!r} says no address: how is it reached?")
        else:
            for method in sorted(getattr(route, "methods", None) or {"GET"}):
                yield Door(method, path)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    text: str
    place: str = ""

    def without(self, *names: str) -> Answer:
        """The same without the names that were asked for: what is left tells whether they mean anything."""
        text, place = self.text, self.place
        for name in names:
            text, place = text.replace(name, "NAME"), place.replace(name, "NAME")
        return Answer(self.status, text, place)


def knock(client: httpx.Client, method: str, path: str, body: Any = None) -> Answer:
    """Ask, as our own page would. Of what never ends the beginning is read."""
    sent: dict[str, Any] = {"headers": {"X-Studio": "1"}}
    if method not in ("GET", "HEAD"):
        sent["json"] = body or {}
    with client.stream(method, path, timeout=httpx.Timeout(60, read=20), **sent) as answer:
        endless = answer.headers.get("content-type", "").startswith("text/event-stream")
        pieces = answer.iter_bytes()
        read = next(pieces, b"") if endless else b"".join(pieces)
        return Answer(answer.status_code, read.decode("utf-8", "replace"), answer.headers.get("location", ""))


def handlers(app: Any) -> dict[tuple[Any, tuple[int, ...]], list[int]]:
    """Every handler of Gradio's that runs on the server: what it is and what it is given -> its numbers. Many events call the
    same one with the same boxes."""
    found: dict[tuple[Any, tuple[int, ...]], list[int]] = {}
    for number, fn in app.fns.items():
        if fn.fn is not None:
            found.setdefault((fn.fn, tuple(block._id for block in fn.inputs)), []).append(number)
    return found


def filled_in(app: Any, number: int, values: dict[str, Any], text: str) -> list[Any]:
    """What a page sends to a handler: the boxes as they are, `values` in those with these ids, `text` in other empty ones."""
    made: list[Any] = []
    for block in app.fns[number].inputs:
        config = block.get_config()
        name, value = str(config.get("elem_id") or ""), config.get("value")
        if name in values:
            value = values[name]
        elif config["name"] == "file":
            value = values["file"]
        elif config["name"] == "textbox" and not value:
            value = text if not name.startswith("field-") else ""
        made.append(value)
    return made


def call(client: httpx.Client, number: int, data: list[Any], page: str, query: str = "") -> Answer:
    """Let a handler answer, over the queue as a page does."""
    event = {"data": data, "fn_index": number, "session_hash": page, "event_data": {"index": 0}, "trigger_id": None}
    joined = knock(client, "POST", f"/gradio_api/queue/join?{query}", event)
    if joined.status != 200:
        return joined
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": page}, timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data:") and (message := json.loads(line[5:]))["msg"] in ("process_completed", "close_stream"):
                return Answer(200 if message.get("success") else 500, json.dumps(message, ensure_ascii=False))
    raise AssertionError("the stream ended without an answer")

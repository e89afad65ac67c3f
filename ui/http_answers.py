"""How requests of other programs are answered: JSON, errors in words with the status that fits, no foreign web page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from engine import api
from engine.errors import DataError, ModelError, ParamError, RunError, RunNotFound, StudioError
from ui.characters import WholeJSON
from ui.reach import is_foreign, refuse_foreign

# Far above any real settings; keeps a request from filling the memory. Data is streamed and may be as large as the disk.
_LARGEST = 1_000_000
_STATUS: tuple[tuple[type[StudioError], int], ...] = (
    (RunNotFound, 404),
    (RunError, 409),
    (ParamError, 422),
    (DataError, 422),
    (ModelError, 422),
)


class Refused(Exception):
    """A request that is not answered, with its status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def name_in(request: Request) -> str:
    return request.path_params["name"]


def created_in(request: Request) -> float | None:
    text = request.query_params.get("created")
    try:
        return None if text is None else float(text)
    except ValueError:
        raise Refused(400, "`created` is a number: the one that the run's own answer has.") from None


def offset_in(request: Request, name: str) -> int:
    """The whole number that the address gives as `name`; 0 for none, or for what is no place in a file."""
    text = request.query_params.get(name, "0")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


async def answered_body(request: Request, work: Callable[[dict[str, Any]], Any], status: int = 200) -> Response:
    """What `work` makes of the JSON object in the request's body."""
    try:
        values = await object_of(request)
    except Refused as refused:
        return said(refused.status, str(refused))
    return await answered(request, lambda: work(values), status)


async def answered(request: Request, work: Callable[[], Any], status: int = 200) -> Response:
    """What `work` returns, as JSON; an error in its own words, with the status that fits."""
    try:
        refuse_foreign_page(request)
        made = await run_in_threadpool(work)
    except Refused as refused:
        return said(refused.status, str(refused))
    except StudioError as error:
        wrong = {problem.field: problem.message for problem in error.problems} if isinstance(error, ParamError) else {}
        code = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
        return said(code, error.message, hint=error.hint, settings=wrong)
    except OSError as error:
        away = api.retention.unusable(error)
        return said(409, away.message, hint=away.hint)
    if isinstance(made, Response):
        return made
    return WholeJSON(made, status_code=status, headers={"Cache-Control": "no-store"})


def said(status: int, error: str, hint: str = "", settings: dict[str, str] | None = None) -> Response:
    return WholeJSON({"error": error, "hint": hint, "settings": settings or {}}, status_code=status)


def refuse_foreign_page(request: Request) -> None:
    """No web page but our own may ask, whatever other defences let through."""
    foreign = is_foreign(request.headers.get("origin"), request.headers.get("host"))
    if foreign or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Refused(403, "This is not for the pages of other sites.")


async def body_of(request: Request, most: int) -> bytes | None:
    """What was sent along; None when it is longer than `most` bytes, of which no more are kept."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            return None
    return body


async def object_of(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise Refused(415, "Send JSON, with the header Content-Type: application/json.")
    body = await body_of(request, _LARGEST)
    if body is None:
        raise Refused(413, f"This is longer than {_LARGEST:,} bytes; settings are a few lines. Upload data as a file.")
    try:
        values = json.loads(body)
        json.dumps(values, ensure_ascii=False).encode()  # half a character cannot be written down
    except (ValueError, RecursionError):
        raise Refused(400, "The body is not JSON of whole characters.") from None
    if not isinstance(values, dict):
        raise Refused(400, 'The body must be a JSON object, such as {"trainer": "…", "data_path": "…"}.')
    return values


def refuse_places(values: dict[str, Any]) -> None:
    """What may not be named is not even looked for, so it is refused before the settings are read."""
    refuse_foreign({name: value for name, value in values.items() if isinstance(value, str) and name != "rl_rewards"})

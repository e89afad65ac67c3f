"""The HTTP API for other programs, all under /studio/api/: settings and data go in, runs and models come out.

docs/integration.md shows its use. It obeys the same rules as the page: what a browser may name (ui/reach.py) is what a
program may name here, and a foreign web page is not answered. A browser says where a request comes from and cannot send JSON,
PUT or DELETE elsewhere unasked; programs say nothing and are answered.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from engine import api
from engine.errors import DataError, ModelError, ParamError, RunError, RunNotFound, StudioError
from ui.login.others import of_all
from ui.reach import refuse_foreign, refuse_foreign_sweep
from ui.space_routes import pruned

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


def routes() -> list[BaseRoute]:
    """Every address of the API."""
    return [
        Route("/studio/api/trainers", trainers),
        Route("/studio/api/trainers/{trainer}", trainer),
        Route("/studio/api/data/{file}", upload, methods=["PUT"]),
        Route("/studio/api/runs", list_runs, methods=["GET"]),
        Route("/studio/api/runs", start, methods=["POST"]),
        Route("/studio/api/space", space),
        Route("/studio/api/prune", prune, methods=["POST"]),
        Route("/studio/api/runs/{name}", run, methods=["GET"]),
        Route("/studio/api/runs/{name}", delete, methods=["DELETE"]),
        Route("/studio/api/queue", queue, methods=["GET"]),
        Route("/studio/api/queue", set_queue, methods=["POST"]),
        Route("/studio/api/runs/{name}/events", events),
        Route("/studio/api/runs/{name}/move", move, methods=["POST"]),
        Route("/studio/api/runs/{name}/cancel", cancel, methods=["POST"]),
        Route("/studio/api/runs/{name}/stop", stop, methods=["POST"]),
        Route("/studio/api/runs/{name}/resume", resume, methods=["POST"]),
        Route("/studio/api/runs/{name}/model", model),
        Route("/studio/api/runs/{name}/model/{file:path}", model_file),
        Route("/studio/api/sweeps", list_sweeps, methods=["GET"]),
        Route("/studio/api/sweeps", start_sweep, methods=["POST"]),
        Route("/studio/api/sweeps/{name}", sweep, methods=["GET"]),
        Route("/studio/api/sweeps/{name}/stop", stop_sweep, methods=["POST"]),
        Route("/studio/api/sweeps/{name}/resume", resume_sweep, methods=["POST"]),
    ]


# ---- what there is -------------------------------------------------------------------------------------------------------


async def trainers(request: Request) -> Response:
    """The trainers: id, title, when to use it, the kind of rows it learns from."""
    return await _answer(request, lambda: [_trainer(spec) for spec in api.specs().values()])


async def trainer(request: Request) -> Response:
    """One trainer, and its settings as a JSON schema: types, ranges, defaults, descriptions."""

    def work() -> dict[str, Any]:
        try:
            spec = api.spec_for(request.path_params["trainer"])
        except ParamError as error:
            raise Refused(404, error.message) from None
        return {**_trainer(spec), "settings": spec.params.model_json_schema()}

    return await _answer(request, work)


def _trainer(spec: api.TrainerSpec) -> dict[str, Any]:
    return {"id": spec.id, "title": spec.title, "summary": spec.summary, "use_when": spec.use_when, "rows": spec.rows}


async def upload(request: Request) -> Response:
    """Keep a file of data; the answer's `data_path` is what a run is started with."""
    try:
        _refuse_foreign_page(request)
    except Refused as refused:
        return _said(refused.status, str(refused))
    with tempfile.NamedTemporaryFile(dir=os.environ.get("GRADIO_TEMP_DIR"), delete=False) as kept:
        try:
            async for piece in request.stream():
                await run_in_threadpool(kept.write, piece)
        except OSError as error:
            Path(kept.name).unlink(missing_ok=True)
            return _said(507, f"The file could not be kept: {error.strerror}.", hint="Delete old runs, then send it again.")
        except BaseException:  # whoever sent it went away: half a file is no data
            Path(kept.name).unlink(missing_ok=True)
            raise
    name = request.path_params["file"]
    return await _answer(request, lambda: {"data_path": api.store_upload(kept.name, name)}, status=201)


# ---- runs ----------------------------------------------------------------------------------------------------------------


async def list_runs(request: Request) -> Response:
    """Every run, newest first."""
    return await _answer(request, lambda: of_all(lambda: [one.to_dict() for one in api.runs()]))


async def start(request: Request) -> Response:
    """Start a run with the settings of the body, or put it in the queue. The same Idempotency-Key gives the same run."""
    key = request.headers.get("idempotency-key")

    def work(values: dict[str, Any]) -> dict[str, Any]:
        _refuse_places(values)
        params = api.validate(values)
        refuse_foreign(params.model_dump())
        return api.run_report(api.start(params, request_id=key and f"api {key}"))

    return await _answer_body(request, work, status=201)


def _refuse_places(values: dict[str, Any]) -> None:
    """What may not be named is not even looked for, so it is refused before the settings are read."""
    refuse_foreign({name: value for name, value in values.items() if isinstance(value, str) and name != "rl_rewards"})


async def run(request: Request) -> Response:
    """One run: state, step, metrics, and why it ended if it did."""
    return await _answer(request, lambda: api.run_report(_name(request)))


async def delete(request: Request) -> Response:
    """Delete a run and all it wrote; refused while it works, or while a run that does needs its model. `?created=` means the
    run that was made then, and no other."""
    return await _answer(request, lambda: api.delete_run(_name(request), created=_created(request)))


async def events(request: Request) -> Response:
    """What has happened since `?after=`, which is `next` of the last answer."""
    text = request.query_params.get("after", "0")
    return await _answer(request, lambda: api.run_events(_name(request), int(text) if text.isdigit() else 0))


async def stop(request: Request) -> Response:
    """Finish the step, save and end; `{"force": true}` ends it at once. Returns without waiting. `{"discard": true}` ends it at
    once and deletes it: `deleted` says whether it is gone already, or will be as soon as its process is."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        name, discard = _name(request), values.get("discard") is True
        done = api.stop(name, force=values.get("force") is True, discard=discard, created=values.get("created"))
        return {"name": name, "deleted": done} if discard else api.run_report(name)

    return await _answer_body(request, work)


async def resume(request: Request) -> Response:
    """Go on from the last checkpoint."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        api.resume(_name(request), created=values.get("created"))
        return api.run_report(_name(request))

    return await _answer_body(request, work)


async def cancel(request: Request) -> Response:
    """Take a run that waits out of the queue; refused when it has begun."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        api.queue.cancel(_name(request), created=values.get("created"))
        return api.run_report(_name(request))

    return await _answer_body(request, work)


async def move(request: Request) -> Response:
    """Let a run that waits wait elsewhere: `{"to": "up"}`, `down`, `first`, `last`, a place from 1. Answers with the queue."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        to = values.get("to")
        if not isinstance(to, (str, int)) or isinstance(to, bool):
            raise Refused(400, 'Say where to: {"to": "up"}, "down", "first", "last", or a number from 1.')
        api.queue.move(_name(request), to, created=values.get("created"))
        return api.queue.now().to_dict()

    return await _answer_body(request, work)


async def queue(request: Request) -> Response:
    """The queue: whether it is paused, how many may work at once, which do, and which wait, the next one first."""
    return await _answer(request, lambda: api.queue.now().to_dict())


async def set_queue(request: Request) -> Response:
    """`{"paused": true}` starts nothing from now on, `{"paused": false}` goes on. Answers with the queue."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(values.get("paused"), bool):
            raise Refused(400, 'Say {"paused": true} or {"paused": false}.')
        api.queue.pause() if values["paused"] else api.queue.go_on()
        return api.queue.now().to_dict()

    return await _answer_body(request, work)


async def space(request: Request) -> Response:
    """What runs take on disk, the largest first."""
    return await _answer(request, api.retention.space)


async def prune(request: Request) -> Response:
    """Remove the checkpoints of `{"runs": [names]}`; says of each what was freed or why not."""
    return await _answer_body(request, lambda values: pruned(values.get("runs")))


async def model(request: Request) -> Response:
    """The files of the finished model."""
    return await _answer(request, lambda: {"files": api.model_files(_name(request))})


async def model_file(request: Request) -> Response:
    """One file of the finished model; a part of it where the request asks for a range."""
    return await _answer(request, lambda: FileResponse(api.model_file(_name(request), request.path_params["file"])))


# ---- sweeps --------------------------------------------------------------------------------------------------------------


async def list_sweeps(request: Request) -> Response:
    """Every sweep, newest first."""
    return await _answer(request, lambda: [one.to_dict() for one in api.sweeps.listed()])


async def start_sweep(request: Request) -> Response:
    """Queue a run for each combination of the body, which is a sweep file's. The same Idempotency-Key gives the same sweep."""
    key = request.headers.get("idempotency-key")

    def work(values: dict[str, Any]) -> dict[str, Any]:
        if isinstance(values.get("settings"), dict):
            _refuse_places(values["settings"])
        asked = api.sweeps.from_mapping(values)
        refuse_foreign_sweep(asked)
        return api.sweeps.progress(api.sweeps.start(asked, f"api {key}" if key else "")).to_dict()

    return await _answer_body(request, work, status=201)


async def sweep(request: Request) -> Response:
    """One sweep: where it stands, and its runs best first."""
    return await _answer(request, lambda: api.sweeps.progress(_name(request)).to_dict())


async def stop_sweep(request: Request) -> Response:
    """Take out of the queue what waits, and end the run that trains; `{"force": true}` ends it at once."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        api.sweeps.stop(_name(request), force=values.get("force") is True)
        return api.sweeps.progress(_name(request)).to_dict()

    return await _answer_body(request, work)


async def resume_sweep(request: Request) -> Response:
    """Queue again what was stopped or cut off."""

    def work(_: dict[str, Any]) -> dict[str, Any]:
        api.sweeps.go_on(_name(request))
        return api.sweeps.progress(_name(request)).to_dict()

    return await _answer_body(request, work)


# ---- how requests are answered -------------------------------------------------------------------------------------------


def _name(request: Request) -> str:
    return request.path_params["name"]


def _created(request: Request) -> float | None:
    text = request.query_params.get("created")
    try:
        return None if text is None else float(text)
    except ValueError:
        raise Refused(400, "`created` is a number: the one that the run's own answer has.") from None


async def _answer_body(request: Request, work: Callable[[dict[str, Any]], Any], status: int = 200) -> Response:
    """What `work` makes of the JSON object in the request's body."""
    try:
        values = await _object(request)
    except Refused as refused:
        return _said(refused.status, str(refused))
    return await _answer(request, lambda: work(values), status)


async def _answer(request: Request, work: Callable[[], Any], status: int = 200) -> Response:
    """What `work` returns, as JSON; an error in its own words, with the status that fits."""
    try:
        _refuse_foreign_page(request)
        made = await run_in_threadpool(work)
    except Refused as refused:
        return _said(refused.status, str(refused))
    except StudioError as error:
        wrong = {problem.field: problem.message for problem in error.problems} if isinstance(error, ParamError) else {}
        code = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
        return _said(code, error.message, hint=error.hint, settings=wrong)
    except OSError as error:
        away = api.retention.unusable(error)
        return _said(409, away.message, hint=away.hint)
    if isinstance(made, Response):
        return made
    return JSONResponse(made, status_code=status, headers={"Cache-Control": "no-store"})


def _said(status: int, error: str, hint: str = "", settings: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": error, "hint": hint, "settings": settings or {}}, status_code=status)


def _refuse_foreign_page(request: Request) -> None:
    """No web page but our own may ask, whatever other defences let through."""
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Refused(403, "This is not for the pages of other sites.")


async def _object(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise Refused(415, "Send JSON, with the header Content-Type: application/json.")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST:
            raise Refused(413, f"This is longer than {_LARGEST:,} bytes; settings are a few lines. Upload data as a file.")
    try:
        values = json.loads(body)
        json.dumps(values, ensure_ascii=False).encode()  # half a character cannot be written down
    except (ValueError, RecursionError):
        raise Refused(400, "The body is not JSON of whole characters.") from None
    if not isinstance(values, dict):
        raise Refused(400, 'The body must be a JSON object, such as {"trainer": "…", "data_path": "…"}.')
    return values

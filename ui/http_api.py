"""The HTTP API for other programs, all under /studio/api/: settings and data go in, runs and models come out.

docs/integration.md shows its use. It obeys the same rules as the page: what a browser may name (ui/reach.py) is what a
program may name here, and a foreign web page is not answered. A browser says where a request comes from and cannot send JSON,
PUT or DELETE elsewhere unasked; programs say nothing and are answered.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from engine import api
from engine.errors import ParamError, RunError
from ui.http_answers import (
    Refused,
    answered,
    answered_body,
    created_in,
    name_in,
    offset_in,
    refuse_foreign_page,
    refuse_places,
    said,
)
from ui.login.others import of_all
from ui.packing import zipped
from ui.reach import refuse_foreign, refuse_renting_again, upload_limit


def routes() -> list[BaseRoute]:
    """Every address of the API."""
    return [
        Route("/studio/api/trainers", trainers),
        Route("/studio/api/trainers/{trainer}", trainer),
        Route("/studio/api/data/{file}", upload, methods=["PUT"]),
        Route("/studio/api/runs", list_runs, methods=["GET"]),
        Route("/studio/api/runs", start, methods=["POST"]),
        Route("/studio/api/runs/{name}", run, methods=["GET"]),
        Route("/studio/api/runs/{name}", delete, methods=["DELETE"]),
        Route("/studio/api/runs/{name}/events", events),
        Route("/studio/api/runs/{name}/stop", stop, methods=["POST"]),
        Route("/studio/api/runs/{name}/resume", resume, methods=["POST"]),
        Route("/studio/api/runs/{name}/model", model),
        Route("/studio/api/runs/{name}/model.zip", model_zip),
        Route("/studio/api/runs/{name}/model/{file:path}", model_file),
    ]


# ---- what there is -------------------------------------------------------------------------------------------------------


async def trainers(request: Request) -> Response:
    """The trainers: id, title, when to use it, the kind of rows it learns from."""
    return await answered(request, lambda: [_trainer(spec) for spec in api.specs().values()])


async def trainer(request: Request) -> Response:
    """One trainer, and its settings as a JSON schema: types, ranges, defaults, descriptions."""

    def work() -> dict[str, Any]:
        try:
            spec = api.spec_for(request.path_params["trainer"])
        except ParamError as error:
            raise Refused(404, error.message) from None
        return {**_trainer(spec), "settings": spec.params.model_json_schema()}

    return await answered(request, work)


def _trainer(spec: api.TrainerSpec) -> dict[str, Any]:
    return {"id": spec.id, "title": spec.title, "summary": spec.summary, "use_when": spec.use_when, "rows": spec.rows}


async def upload(request: Request) -> Response:
    """Keep a file of data; the answer's `data_path` is what a run is started with."""
    try:
        refuse_foreign_page(request)
    except Refused as refused:
        return said(refused.status, str(refused))
    try:
        descriptor, kept = tempfile.mkstemp(dir=os.environ.get("GRADIO_TEMP_DIR"))
        try:
            if not await _received(request, descriptor, limit := upload_limit()):
                hint = "Send fewer rows, or compress it: .gz is read."
                return said(413, f"The file has more than {limit:,} bytes.", hint=hint)
            name = request.path_params["file"]
            return await answered(request, lambda: {"data_path": api.store_upload(kept, name)}, status=201)
        finally:  # the store has its own; half a file, of somebody who went away or on a full disk, is no data
            Path(kept).unlink(missing_ok=True)
    except OSError as error:
        return said(507, f"The file could not be kept: {error.strerror}.", hint="Delete old runs, then send it again.")


async def _received(request: Request, descriptor: int, limit: int | None) -> bool:
    """Write down what is sent; False as soon as it is too long. A full disk may show only when the file is closed."""
    length = 0
    with open(descriptor, "wb") as file:
        async for piece in request.stream():
            length += len(piece)
            if limit is not None and length > limit:
                return False
            await run_in_threadpool(file.write, piece)
    return True


# ---- runs ----------------------------------------------------------------------------------------------------------------


async def list_runs(request: Request) -> Response:
    """Every run, newest first."""
    return await answered(request, lambda: of_all(lambda: [one.to_dict() for one in api.runs()]))


async def start(request: Request) -> Response:
    """Start a run with the settings of the body, or put it in the queue. The same Idempotency-Key gives the same run."""
    key = request.headers.get("idempotency-key")

    def work(values: dict[str, Any]) -> dict[str, Any]:
        refuse_places(values)
        params = api.validate(values)
        refuse_foreign(params.model_dump())
        return api.run_report(api.start(params, request_id=key and f"api {key}"))

    return await answered_body(request, work, status=201)


async def run(request: Request) -> Response:
    """One run: state, step, metrics, and why it ended if it did."""
    return await answered(request, lambda: api.run_report(name_in(request)))


async def delete(request: Request) -> Response:
    """Delete a run and all it wrote; refused while it works, or while a run that does needs its model. `?created=` means the
    run that was made then, and no other."""
    return await answered(request, lambda: api.delete_run(name_in(request), created=created_in(request)))


async def events(request: Request) -> Response:
    """What has happened since `?after=`, which is `next` of the last answer."""
    after = offset_in(request, "after")
    return await answered(request, lambda: api.run_events(name_in(request), after))


async def stop(request: Request) -> Response:
    """Finish the step, save and end; `{"force": true}` ends it at once. Returns without waiting. `{"discard": true}` ends it at
    once and deletes it: `deleted` says whether it is gone already, or will be as soon as its process is."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        name, discard = name_in(request), values.get("discard") is True
        done = api.stop(name, force=values.get("force") is True, discard=discard, created=values.get("created"))
        return {"name": name, "deleted": done} if discard else api.run_report(name)

    return await answered_body(request, work)


async def resume(request: Request) -> Response:
    """Go on from the last checkpoint."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        refuse_renting_again(name_in(request))
        api.resume(name_in(request), created=values.get("created"))
        return api.run_report(name_in(request))

    return await answered_body(request, work)


async def model(request: Request) -> Response:
    """The files of the finished model."""
    return await answered(request, lambda: {"files": api.model_files(name_in(request))})


async def model_zip(request: Request) -> Response:
    """All of them in one zip, in a folder of the run's name."""

    def work() -> Response:
        name = name_in(request)
        files = _opened(name)
        told = {"content-disposition": f'attachment; filename="{name}.zip"'}
        return StreamingResponse(zipped(files), media_type="application/zip", headers=told)

    return await answered(request, work)


def _opened(name: str) -> list[tuple[str, BinaryIO]]:
    opened: list[tuple[str, BinaryIO]] = []
    try:
        for one in api.model_files(name):
            opened.append((f"{name}/{one['name']}", api.model_file(name, one["name"]).open("rb")))
    except FileNotFoundError:
        for _, file in opened:
            file.close()
        raise RunError(f"The model of {name!r} is being changed or deleted.", hint="Try it again.") from None
    return opened


async def model_file(request: Request) -> Response:
    """One file of the finished model; a part of it where the request asks for a range."""
    return await answered(request, lambda: FileResponse(api.model_file(name_in(request), request.path_params["file"])))

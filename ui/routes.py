"""Plain addresses beside the Gradio pages, all under /studio/: static files, live views of runs, what is done to a run.

Gradio's event queue costs fifteen times a plain request and a connection for each page, so what is asked every second
is asked here. Whatever changes something wants the header X-Studio, which no foreign page can send.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from engine import api
from engine.errors import RunNotFound, StudioError
from ui.characters import WholeJSON
from ui.http_answers import body_of, offset_in
from ui.login.others import of_all
from ui.reach import is_foreign, only_local, refuse_foreign, refuse_renting_again

ASSETS = Path(__file__).resolve().parent.parent / "assets"
STATIC_SUFFIXES = frozenset({".css", ".js", ".svg", ".woff2"})
# uPlot draws the curves; its file comes with the package that carries it.
UPLOT = {"uplot.js": "uplot.iife.min.js", "uplot.css": "uplot.min.css"}
# Lines of the list of runs that are shown at once.
PAGE = 50
# Far above what a wish of a page of ours says.
_LARGEST = 1_000_000
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}


def routes() -> list[BaseRoute]:
    """Every address under /studio/, those of the playground excepted."""
    return [
        Route("/studio/static/{name}", static),
        Route("/studio/runs", run_list),
        Route("/studio/overview", overview),
        Route("/studio/queue/{action}", act_on_queue, methods=["POST"]),
        Route("/studio/runs/{name}/about", about),
        Route("/studio/runs/{name}/findings", findings),
        Route("/studio/runs/{name}/live", live),
        Route("/studio/runs/{name}/export.zip", exported),
        Route("/studio/runs/{name}/settings.yaml", exported_settings),
        Route("/studio/runs/{name}/{action}", act, methods=["POST"]),
    ]


def address_of(file: Path) -> str:
    """Where one of the page's own files is fetched. The version in it lets a browser keep the file until it changes."""
    return f"/studio/static/{file.name}?v={hashlib.sha256(file.read_bytes()).hexdigest()[:10]}"


def static(request: Request) -> Response:
    """One of the page's own files; the folder also holds the starter model and samples, which are not served."""
    name = Path(request.path_params["name"]).name
    path = Path(str(files("youplot") / "vendor" / UPLOT[name])) if name in UPLOT else ASSETS / name
    if path.suffix not in STATIC_SUFFIXES or not path.is_file():
        return PlainTextResponse("There is no such file.", status_code=404)
    return FileResponse(path, headers=_FOREVER)


def answered(work: Callable[[], Any]) -> Response:
    """The result as JSON, or the error in the words of the page."""
    try:
        return WholeJSON(work(), headers={"Cache-Control": "no-store"})
    except StudioError as error:
        return told(error)
    except OSError as error:  # the disk of the runs went away, or cannot be written
        return told(api.retention.unusable(error))


def told(error: StudioError) -> Response:
    """An error in the words of the page."""
    status = 404 if isinstance(error, RunNotFound) else 409
    return WholeJSON({"error": error.message, "hint": error.hint}, status_code=status)


def run_list(request: Request) -> Response:
    """Every run, newest first."""

    def found() -> list[dict[str, Any]]:
        part_of = _part_of()
        return [_listed(run, part_of) for run in api.runs()]

    return answered(lambda: of_all(found))


def overview(request: Request) -> Response:
    """What the list of runs shows now: runs from place `from` on, `count` of those that have the words of `find`, how many
    there are, and the queue with its lines."""

    def found() -> dict[str, Any]:
        count = min(offset_in(request, "count") or PAGE, 200)
        runs, total, queue, waiting = api.queue.overview(
            offset_in(request, "from"), count, request.query_params.get("find", "")
        )
        part_of = _part_of()
        lines = [{**line, "data": api.own_name(line["data_path"]), **part_of(line["name"])} for line in waiting]
        shown = {**queue.to_dict(), "waiting": lines, "more": len(queue.waiting) - len(lines)}
        return {"runs": [_listed(run, part_of) for run in runs], "total": total, "queue": shown}

    return answered(found)


def _part_of() -> Callable[[str], dict[str, str | None]]:
    """Tells by a run's name the pipeline and the sweep that it belongs to, as they are at this moment."""
    pipelines, sweeps = api.pipelines.of_runs(), api.sweeps.of_runs()
    return lambda name: {"pipeline": pipelines.get(name), "sweep": sweeps.get(name)}


def _listed(run: Any, part_of: Callable[[str], dict[str, str | None]]) -> dict[str, Any]:
    """A line of the list: also what it belongs to, and the metrics that say how good it is (the held-out one, and its like
    in training)."""
    spec = api.specs().get(run.trainer)
    return {**run.to_dict(), **part_of(run.name), "measures": [spec.judged_by, spec.headline] if spec else []}


def live(request: Request) -> Response:
    """What is new in a run since the byte offsets that the watcher has."""
    return answered(lambda: api.live(request.path_params["name"], offset_in(request, "events"), offset_in(request, "log")))


def findings(request: Request) -> Response:
    """What is wrong with a run, and the one change most likely to help."""
    return answered(lambda: api.told_findings(request.path_params["name"]))


def about(request: Request) -> Response:
    """What does not change about a run: its settings, its charts, its command."""
    return answered(lambda: _about(request.path_params["name"]))


def _about(name: str) -> dict[str, Any]:
    params = api.run_params(name)
    spec = api.spec_for(params.trainer)
    return {
        "name": name,
        **_part_of()(name),
        "trainer": spec.title,
        "model": params.model,
        "data": api.own_name(params.data_path),
        "judged_by": spec.judged_by,
        "headline": spec.headline,
        "makes": spec.makes,
        "exports_plain": spec.export is not None,
        "charts": [{"title": c.title, "series": c.series, "good": c.good, "smooth": c.smooth} for c in spec.charts],
        "command": api.command(params),
        "yaml": api.yaml_of_run(name),
    }


def exported(request: Request) -> Response:
    """The run as a program with its rows beside it, zipped; from a server of others without files of its own."""
    try:
        made = api.export_run(request.path_params["name"])
    except StudioError as error:
        return told(error)
    folder = tempfile.TemporaryDirectory()
    zipped = Path(folder.name) / f"{made.name}-export.zip"
    with zipped.open("wb") as target:
        made.zip(target, own_files=only_local())
    return FileResponse(zipped, filename=zipped.name, background=BackgroundTask(folder.cleanup))


def exported_settings(request: Request) -> Response:
    """The run's settings as YAML, those that were chosen for it included."""
    try:
        made = api.export_run(request.path_params["name"])
    except StudioError as error:
        return told(error)
    headers = {"Content-Disposition": f'attachment; filename="{made.name}.yaml"', "Cache-Control": "no-store"}
    return PlainTextResponse(made.yaml, media_type="text/yaml", headers=headers)


def refuse(request: Request) -> Response | None:
    """An answer to a request that did not come from one of our own pages; None for one that did."""
    foreign = is_foreign(request.headers.get("origin"), request.headers.get("host"))
    if foreign or request.headers.get("x-studio") != "1":
        return WholeJSON({"error": "This must be asked by the studio's own page.", "hint": ""}, status_code=403)
    return None


async def asked_with(request: Request) -> dict[str, Any]:
    """What a page sends along with a wish, as a mapping; empty when it is nothing of the kind."""
    try:
        body = json.loads(await body_of(request, _LARGEST) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


async def act(request: Request) -> Response:
    """Stop, discard, resume, rename or delete a run, upload its model, take it out of the queue or move it there. The wish says
    when the run that its page showed was made: a later one of the same name is another run, and nothing is done to it."""
    refused = refuse(request)
    if refused is not None:
        return refused
    name, action = request.path_params["name"], request.path_params["action"]
    body = await asked_with(request)
    meant: dict[str, Any] = {"created": body.get("created")}
    work: dict[str, Callable[[], Any]] = {
        "stop": lambda: api.stop(name, force=bool(body.get("force")), **meant),
        "discard": lambda: api.stop(name, discard=True, **meant),
        "resume": lambda: _resume(name, meant),
        "rename": lambda: api.rename_run(name, str(body.get("to", "")).strip(), **meant),
        "delete": lambda: api.delete_run(name, **meant),
        "cancel": lambda: api.queue.cancel(name, **meant),
        "move": lambda: api.queue.move(name, str(body.get("to", "")), **meant),
        "upload": lambda: _upload(name, body),
    }
    if action not in work:
        return PlainTextResponse("There is no such action.", status_code=404)
    return await run_in_threadpool(answered, work[action])


async def act_on_queue(request: Request) -> Response:
    """Pause the queue, or let it go on."""
    refused = refuse(request)
    if refused is not None:
        return refused
    work: dict[str, Callable[[], Any]] = {"pause": api.queue.pause, "continue": api.queue.go_on}
    action = request.path_params["action"]
    if action not in work:
        return PlainTextResponse("There is no such action.", status_code=404)
    return await run_in_threadpool(answered, work[action])


def _resume(name: str, meant: dict[str, Any]) -> None:
    refuse_renting_again(name)
    api.resume(name, **meant)


def _upload(name: str, body: dict[str, Any]) -> None:
    """Begin to send the run's model to the Hub."""
    refuse_foreign({"push_to_hub": True})
    to, private, adapter = str(body.get("to") or "").strip(), body.get("private") is not False, body.get("adapter") is True
    api.hub.begin_upload(name, to or None, private=private, adapter=adapter)

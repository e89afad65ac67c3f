"""The queue, room on the disk and sweeps for other programs, under /studio/api/; see ui/http_api.py."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from engine import api
from ui.http_answers import Refused, answered, answered_body, name_in, refuse_places
from ui.login.others import of_all
from ui.reach import refuse_foreign_sweep, refuse_renting_tries
from ui.space_routes import pruned


def routes() -> list[BaseRoute]:
    """Every address of these."""
    return [
        Route("/studio/api/space", space),
        Route("/studio/api/prune", prune, methods=["POST"]),
        Route("/studio/api/queue", queue, methods=["GET"]),
        Route("/studio/api/queue", set_queue, methods=["POST"]),
        Route("/studio/api/runs/{name}/move", move, methods=["POST"]),
        Route("/studio/api/runs/{name}/cancel", cancel, methods=["POST"]),
        Route("/studio/api/sweeps", list_sweeps, methods=["GET"]),
        Route("/studio/api/sweeps", start_sweep, methods=["POST"]),
        Route("/studio/api/sweeps/{name}", sweep, methods=["GET"]),
        Route("/studio/api/sweeps/{name}/stop", stop_sweep, methods=["POST"]),
        Route("/studio/api/sweeps/{name}/resume", resume_sweep, methods=["POST"]),
    ]


async def cancel(request: Request) -> Response:
    """Take a run that waits out of the queue; refused when it has begun."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        api.queue.cancel(name_in(request), created=values.get("created"))
        return api.run_report(name_in(request))

    return await answered_body(request, work)


async def move(request: Request) -> Response:
    """Let a run that waits wait elsewhere: `{"to": "up"}`, `down`, `first`, `last`, a place from 1. Answers with the queue."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        to = values.get("to")
        if not isinstance(to, (str, int)) or isinstance(to, bool):
            raise Refused(400, 'Say where to: {"to": "up"}, "down", "first", "last", or a number from 1.')
        api.queue.move(name_in(request), to, created=values.get("created"))
        return api.queue.now().to_dict()

    return await answered_body(request, work)


async def queue(request: Request) -> Response:
    """The queue: whether it is paused, how many may work at once, which do, and which wait, the next one first."""
    return await answered(request, lambda: api.queue.now().to_dict())


async def set_queue(request: Request) -> Response:
    """`{"paused": true}` starts nothing from now on, `{"paused": false}` goes on. Answers with the queue."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(values.get("paused"), bool):
            raise Refused(400, 'Say {"paused": true} or {"paused": false}.')
        api.queue.pause() if values["paused"] else api.queue.go_on()
        return api.queue.now().to_dict()

    return await answered_body(request, work)


async def space(request: Request) -> Response:
    """What runs take on disk, the largest first."""
    return await answered(request, api.retention.space)


async def prune(request: Request) -> Response:
    """Remove the checkpoints of `{"runs": [names]}`; says of each what was freed or why not."""
    return await answered_body(request, lambda values: pruned(values.get("runs")))


# ---- sweeps --------------------------------------------------------------------------------------------------------------


async def list_sweeps(request: Request) -> Response:
    """Every sweep, newest first."""
    return await answered(request, lambda: of_all(lambda: [one.to_dict() for one in api.sweeps.listed()]))


async def start_sweep(request: Request) -> Response:
    """Queue a run for each combination of the body, which is a sweep file's. The same Idempotency-Key gives the same sweep."""
    key = request.headers.get("idempotency-key")

    def work(values: dict[str, Any]) -> dict[str, Any]:
        if isinstance(values.get("settings"), dict):
            refuse_places(values["settings"])
        asked = api.sweeps.from_mapping(values)
        refuse_foreign_sweep(asked)
        return api.sweeps.progress(api.sweeps.start(asked, f"api {key}" if key else "")).to_dict()

    return await answered_body(request, work, status=201)


async def sweep(request: Request) -> Response:
    """One sweep: where it stands, and its runs best first."""
    return await answered(request, lambda: api.sweeps.progress(name_in(request)).to_dict())


async def stop_sweep(request: Request) -> Response:
    """Take out of the queue what waits, and end the run that trains; `{"force": true}` ends it at once."""

    def work(values: dict[str, Any]) -> dict[str, Any]:
        api.sweeps.stop(name_in(request), force=values.get("force") is True)
        return api.sweeps.progress(name_in(request)).to_dict()

    return await answered_body(request, work)


async def resume_sweep(request: Request) -> Response:
    """Queue again what was stopped or cut off."""

    def work(_: dict[str, Any]) -> dict[str, Any]:
        refuse_renting_tries(name_in(request))
        api.sweeps.go_on(name_in(request))
        return api.sweeps.progress(name_in(request)).to_dict()

    return await answered_body(request, work)

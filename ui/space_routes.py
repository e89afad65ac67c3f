"""Room on the disk under /studio/: what runs take there, and removing the checkpoints of several."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from engine import api
from ui.routes import answered, asked_with, refuse


def routes() -> list[BaseRoute]:
    """Its addresses."""
    return [
        Route("/studio/space", space),
        Route("/studio/space/{name}", space_of),
        Route("/studio/prune", prune, methods=["POST"]),
    ]


def space(request: Request) -> Response:
    """What every run takes."""
    return answered(api.retention.space)


def space_of(request: Request) -> Response:
    """What one run takes."""
    return answered(lambda: api.retention.space_of(request.path_params["name"]).to_dict())


async def prune(request: Request) -> Response:
    """Remove the checkpoints of the named runs; says of each what was freed or why not."""
    refused = refuse(request)
    if refused is not None:
        return refused
    names = (await asked_with(request)).get("runs")
    return await run_in_threadpool(answered, lambda: pruned(names))


def pruned(names: Any) -> dict[str, Any]:
    """What came of it, for a page or a program; names that are none are passed over."""
    made = api.retention.prune([name for name in names if isinstance(name, str)] if isinstance(names, list) else [])
    return {"freed": sum(one.freed for one in made), "runs": [one.to_dict() for one in made]}

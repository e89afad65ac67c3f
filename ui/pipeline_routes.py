"""Plain addresses of pipelines under /studio/pipelines: where they stand, and what is done to one. See ui/routes.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from engine import api
from ui.login.others import of_all
from ui.reach import refuse_renting_stages
from ui.routes import answered, asked_with, refuse

_AT_WORK = ("queued", "preparing", "training", "evaluating", "saving")


def routes() -> list[BaseRoute]:
    """Every address of pipelines."""
    return [
        Route("/studio/pipelines", listed),
        Route("/studio/pipelines/{name}", one),
        Route("/studio/pipelines/{name}/{action}", act, methods=["POST"]),
    ]


def listed(request: Request) -> Response:
    """Every pipeline, newest first."""
    return answered(lambda: of_all(lambda: [_stages(found) for found in api.pipelines.listed()]))


def one(request: Request) -> Response:
    """One pipeline with all that its page shows."""
    return answered(lambda: _one(request.path_params["name"]))


def _one(name: str) -> dict[str, Any]:
    progress, declared = api.pipelines.progress(name), api.pipelines.declared(name)
    said, hint = api.pipelines.told(progress)
    made = _stages(progress)
    for shown, stage in zip(made["stages"], declared.stages, strict=True):
        shown["on"] = api.pipelines.builds_on(stage.trainer, declared.references(stage))
    return {
        **made,
        "said": said,
        "hint": hint,
        "base": str(declared.stages[0].settings.get("model") or "starter"),
        "scores": api.spec_for(declared.stages[-1].trainer).makes == "score",
        "command": api.pipelines.command(declared),
        "yaml": declared.to_yaml(),
    }


def _stages(progress: api.pipelines.Progress) -> dict[str, Any]:
    known, made = api.specs(), progress.to_dict()
    for stage in made["stages"]:
        stage["title"] = known[stage["trainer"]].title if stage["trainer"] in known else stage["trainer"]
        stage["gate_words"] = api.pipelines.in_words(stage["trainer"], stage["gate"])
    return {**made, "at_work": any(stage["state"] in _AT_WORK for stage in made["stages"])}


async def act(request: Request) -> Response:
    """Stop, resume, go on without a gate, or forget a pipeline."""
    refused = refuse(request)
    if refused is not None:
        return refused
    name, action = request.path_params["name"], request.path_params["action"]
    body = await asked_with(request)
    work: dict[str, Callable[[], Any]] = {
        "stop": lambda: api.pipelines.stop(name, force=bool(body.get("force"))),
        "resume": lambda: _go_on(name),
        "pass": lambda: _go_on(name, gates={str(body.get("stage", "")): None}),
        "forget": lambda: api.pipelines.forget(name),
    }
    if action not in work:
        return PlainTextResponse("There is no such action.", status_code=404)
    return await run_in_threadpool(answered, work[action])


def _go_on(name: str, **further: Any) -> None:
    refuse_renting_stages(name)
    api.pipelines.go_on(name, **further)

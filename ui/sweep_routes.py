"""Plain addresses of sweeps under /studio/sweeps: where they stand, and what is done to one. See ui/routes.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from engine import api
from engine.errors import StudioError
from ui.login.others import of_all
from ui.reach import refuse_renting_tries
from ui.routes import answered, asked_with, refuse


def routes() -> list[BaseRoute]:
    """Every address of sweeps."""
    return [
        Route("/studio/sweeps", listed),
        Route("/studio/sweeps/{name}", one),
        Route("/studio/sweeps/{name}/{action}", act, methods=["POST"]),
    ]


def listed(request: Request) -> Response:
    """Every sweep, newest first."""
    return answered(lambda: of_all(lambda: [found.to_dict() for found in api.sweeps.listed()]))


def one(request: Request) -> Response:
    """One sweep with all that its page shows."""
    return answered(lambda: _one(request.path_params["name"]))


def _one(name: str) -> dict[str, Any]:
    progress, declared = api.sweeps.progress(name), api.sweeps.declared(name)
    said, hint = api.sweeps.told(progress, labels=True)
    spec = declared.spec
    made = progress.to_dict()
    for shown in made["tries"]:
        shown["words"] = {name: api.sweeps.written(value) for name, value in shown["values"].items()}
    return {
        **made,
        "said": said,
        "hint": hint,
        "title": spec.title,
        "measure": api.sweeps.measure(progress),
        "caution": api.sweeps.caution(declared, labels=True),
        "axes": [_axis(spec, name, axis) for name, axis in declared.axes.items()],
        "base": str(declared.settings.get("model") or "starter"),
        "scores": spec.makes == "score",
        "command": _command(declared),
        "yaml": declared.to_yaml(),
    }


def _axis(spec: api.TrainerSpec, name: str, axis: Any) -> dict[str, Any]:
    """A setting that varies: its label, and the values in the order in which they were listed."""
    label = api.form_of(spec.params, name).label
    plain = axis.plain()
    listed = [api.sweeps.written(value) for value in plain] if isinstance(plain, list) else []
    return {"name": name, "label": label, "listed": listed, "tried": str(axis)}


def _command(declared: api.sweeps.Sweep) -> str:
    try:
        return api.sweeps.command(declared)
    except StudioError:  # a model or a reward file that is gone since: the page shows the runs all the same
        return f"aitraining sweep {declared.name}.yaml"


async def act(request: Request) -> Response:
    """Stop, go on with, or forget a sweep."""
    refused = refuse(request)
    if refused is not None:
        return refused
    name, action = request.path_params["name"], request.path_params["action"]
    body = await asked_with(request)
    work: dict[str, Callable[[], Any]] = {
        "stop": lambda: api.sweeps.stop(name, force=bool(body.get("force"))),
        "resume": lambda: _go_on(name),
        "forget": lambda: api.sweeps.forget(name),
    }
    if action not in work:
        return PlainTextResponse("There is no such action.", status_code=404)
    return await run_in_threadpool(answered, work[action])


def _go_on(name: str) -> None:
    refuse_renting_tries(name)
    api.sweeps.go_on(name)

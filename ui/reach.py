"""Who may ask the studio, which files a browser may name, and that it may not name programs.

On this machine alone: all that its user can read, asked under this machine's own names. Served to others: uploads and runs.

A server that listens beyond this machine must not read its files, or those of its other users, on a stranger's word.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine import api
from engine.errors import FieldProblem, ParamError, StudioError

_LOCAL = ("127.0.0.1", "localhost", "::1")
_ONLY_READ = ("GET", "HEAD", "OPTIONS")
_PATHS = ("data_path", "valid_path", "model", "model_ref", "rl_reward_model_path", "teacher_model")
_PYTHON_ALLOWED = "AITRAINING_ALLOW_PYTHON_REWARDS"
# Other servers that this one would be made to ask, with its owner's key.
_ADDRESSES = ("teacher_endpoint",)
_UPLOAD_MB = "AITRAINING_UPLOAD_MB"


class KnownHosts:
    """Answers no other site's page; and while the page is served to this machine alone, only what was asked under its names.

    A browser sends what a foreign page asks for, an upload say, and tells where it came from. And any site can point a name of
    its own at 127.0.0.1 and then speak to what listens there as if to itself (DNS rebinding). AITRAINING_HOSTS names further
    hosts, separated by commas, for a proxy in front of the page.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif (refused := _refused(scope)) is not None:
            await refused(scope, receive, send)
        else:
            await self.app(scope, receive, _unframed(send) if only_local() else send)


def _refused(scope: Scope) -> Response | None:
    """The answer to a request that is not to be answered, None for one that is."""
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    try:
        parts = urlsplit(f"//{host}")
        asked, _ = parts.hostname, parts.port
    except ValueError:
        return PlainTextResponse("The Host header of this request is no name of a host.", status_code=400)
    further = [name.strip() for name in os.environ.get("AITRAINING_HOSTS", "").split(",")]
    if bound_here() and asked not in (*_LOCAL, *further):
        refusal = f"This studio answers to {_LOCAL[0]} only, not to {asked}. AITRAINING_HOSTS={asked} allows it."
        return PlainTextResponse(refusal, status_code=403)
    if scope.get("method") not in _ONLY_READ and is_foreign(headers.get("origin"), host):
        return PlainTextResponse("This must be asked by the studio's own page.", status_code=403)
    return None


def is_foreign(origin: str | None, host: str | None) -> bool:
    """Whether a browser says that a page of another site asks. Programs say nothing."""
    try:
        return origin is not None and urlsplit(origin).netloc != host
    except ValueError:  # no address at all
        return True


def _unframed(send: Send) -> Send:
    """`send` that lets no other site show the page in a frame of its own, where clicks that were meant for that site would
    start and delete runs. Where people sign in nobody is signed in within a frame, and huggingface.co shows a Space in one.
    """

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = MutableHeaders(scope=message)
            added.append("content-security-policy", "frame-ancestors 'self'")
            added["x-frame-options"] = "SAMEORIGIN"
        await send(message)

    return told


def bound_here() -> bool:
    """Whether the page listens to this machine alone."""
    return os.environ.get("AITRAINING_HOST", _LOCAL[0]) in _LOCAL


def only_local() -> bool:
    """Whether the page is for this machine's user: nobody else reaches it, and nobody has to sign in."""
    return bound_here() and not api.people.logins()


def upload_limit() -> int | None:
    """How many bytes a file may have that is sent to the page; None for as many as the disk has. Without a word from whoever
    started the app, 2 GB where the page is served to others.

    Raises:
        StudioError: AITRAINING_UPLOAD_MB is no number above 0.
    """
    said = os.environ.get(_UPLOAD_MB, "")
    if not said:
        return None if only_local() else 2_000_000_000
    if not said.isdecimal() or not int(said):
        raise StudioError(f"{_UPLOAD_MB} is {said!r}.", hint="It is a whole number of megabytes, such as 500.")
    return int(said) * 1_000_000


def programs_allowed() -> bool:
    """Whether whoever started the app lets a browser name a Python file to run. Never where several people sign in: a program
    reads what all of them have."""
    return os.environ.get(_PYTHON_ALLOWED) == "1" and api.people.logins() != "people"


def refuse_foreign(values: dict[str, Any]) -> None:
    """Refuse what a browser may not ask for.

    Raises:
        ParamError: it names a Python file to run, or, on a page served to others, a file outside the studio's own folders,
            another server to be asked, an upload, or a machine to be rented.
    """
    _refuse_programs(values)
    if only_local():
        return
    wrong = [name for name in _PATHS if values.get(name) and not _ours(str(values[name]))]
    if wrong:
        sentence = "This page is served to others, so it reads uploaded files, samples and finished runs only."
        raise ParamError([FieldProblem(name, sentence) for name in wrong], hint="Upload the file.")
    if values.get("push_to_hub"):
        sentence = "This page is served to others, so it uploads nothing under its owner's name."
        raise ParamError([FieldProblem("push_to_hub", sentence)], hint="Use `aitraining push` on the machine that trained it.")
    if values.get("compute") not in (None, "", "local"):
        raise ParamError([FieldProblem("compute", renting_refused())], hint="Start such a run from the command line.")
    if values.get("deepspeed"):  # which may name files to write
        sentence = "This page is served to others, so it takes no configuration of DeepSpeed."
        raise ParamError([FieldProblem("deepspeed", sentence)], hint="Start such a run from the command line.")
    afar = [name for name in _ADDRESSES if values.get(name)]
    if afar:
        sentence = "This page is served to others, so it asks no other servers."
        raise ParamError([FieldProblem(name, sentence) for name in afar], hint="Start such a run from the command line.")


def renting_refused() -> str:
    """Why nobody rents a machine from this page, "" where one may. Whoever signs in lends us no token of theirs: it would be
    rented on the account of whoever runs the studio.
    """
    return "" if only_local() else "This page is served to others, so it rents no machines on its owner's account."


def refuse_renting_again(name: str) -> None:
    """Refuse to resume a run that trains on a rented machine, which would be paid for once more. Raises as `refuse_foreign`."""
    if renting_refused():
        refuse_foreign({"compute": api.run_params(name).compute})


def refuse_renting_stages(pipeline: str) -> None:
    """The same for a pipeline that is to go on, whose stages may rent."""
    for stage in api.pipelines.declared(pipeline).stages if renting_refused() else ():
        refuse_foreign({"compute": stage.settings.get("compute")})


def refuse_renting_tries(sweep: str) -> None:
    """The same for a sweep that is to go on."""
    for one in api.sweeps.sketched(api.sweeps.declared(sweep)) if renting_refused() else ():
        refuse_foreign({"compute": one.params.compute})


def refuse_foreign_sweep(sweep: api.sweeps.Sweep) -> None:
    """The same for everything that a sweep would try, as it was written and as its runs would have it. Raises as
    `refuse_foreign`, and ParamError for combinations that cannot be used.
    """
    refuse_foreign(sweep.settings)
    for name, axis in sweep.axes.items():
        for value in axis.plain() if isinstance(axis.plain(), list) else []:
            refuse_foreign({name: value})
    for one in api.sweeps.sketched(sweep):
        refuse_foreign(one.params.model_dump())


def _refuse_programs(values: dict[str, Any]) -> None:
    """A program is run for the command line and for Python; for a browser only if whoever started the app said so."""
    if api.rewards.python_lines(values.get("rl_rewards")) and not programs_allowed():
        sentence = f"The page runs no Python file. Start the app with {_PYTHON_ALLOWED}=1, or train from the command line."
        raise ParamError([FieldProblem("rl_rewards", sentence)])


def _ours(reference: str) -> bool:
    """True for what is no path (a sample, a run's name, a Hub id) and for a path inside the runs folder."""
    if ":/" in reference:  # an address
        return False
    try:
        path = Path(reference).expanduser()
        folder = path if path.exists() else Path(api.without_part(reference)).expanduser()  # `folder:split` names a folder
        there = folder.exists()
    except (OSError, RuntimeError):  # too long for a name, or in the home of nobody
        return False
    if there and not reference.startswith(api.SAMPLE_PREFIX):
        return api.people.may_read(folder) if api.people.logins() else folder.resolve().is_relative_to(api.runs_root())
    return not path.is_absolute() and ".." not in path.parts and not reference.startswith("~")

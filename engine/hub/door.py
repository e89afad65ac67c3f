"""What the page and the command line may ask of the Hub; the client is imported when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from engine.params import LLMTrainingParams
from engine.registry import parse
from engine.runs.directory import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def search(kind: Literal["models", "datasets"], text: str, *, own: bool = True) -> list[dict[str, Any]]:
    """Models that can be trained, or data sets, of the Hugging Face Hub with `text` in their id; see engine/hub/search.py.

    `own`: as the account that is logged in.

    Raises:
        ModelOffline: the Hub gives no answer.
    """
    from engine.hub.search import search as ask

    return ask(kind, text, own=own)


def room() -> int:
    """Bytes that are free where what comes from the Hugging Face Hub is kept."""
    from engine.hub.fetch import room as free

    return free()


def push(
    name: str,
    model_id: str | None = None,
    *,
    private: bool | None = None,
    adapter: bool = False,
    tell: Callable[[int, int, str], None] = lambda done, total, file: None,
    root: Path | None = None,
) -> str:
    """Upload a run's finished model to the Hugging Face Hub; what is not given is as the run's settings say.

    `adapter` sends the adapter alone. `tell` is called with the bytes sent, the bytes in all, and the file that is next. The
    run is one of `root`, or of whoever asks.
    """
    from engine.hub_upload import upload

    run = RunDirectory.open(name, root)
    params = parse(run.params())
    private = params.hub_private if private is None else private
    return upload(run, model_id or params.hub_model_id, private=private, adapter=adapter, tell=tell)


def begin_upload(name: str, model_id: str | None = None, *, private: bool = True, adapter: bool = False) -> None:
    """The same as `push` in a process of its own, without waiting; `live` says how far it is."""
    from engine.hub.sending import begin

    begin(RunDirectory.open(name), model_id or _params(name).hub_model_id, private=private, adapter=adapter)


def _params(name: str) -> LLMTrainingParams:
    return parse(RunDirectory.open(name).params())

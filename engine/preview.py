"""Asks the inspect process how rows look as tokens; keeps it for the next question and lets it go when it is idle."""

from __future__ import annotations

import json
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import errors
from engine.data.checks import one_sided
from engine.data.parts import without_part
from engine.params import LLMTrainingParams
from engine.people import who
from engine.plan import DataFacts
from engine.registry import parse, spec_for
from engine.runs.channel import Channel
from engine.samples import data_file
from engine.uploads import own_name

_IDLE_S = 300.0
_ANSWER_S = 120.0


class Inspector:
    """The inspect process: started by the first question, ended when nobody has asked for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._hub = False  # whether the process may ask the Hub, and has the token for it
        self._of = ""  # the person for whom it was started: it knows their files by heart
        self._used = 0.0

    def ask(self, params: LLMTrainingParams, limit: int) -> dict[str, Any]:
        """One question, one answer.

        Raises:
            StudioError: what the process says is wrong with the data or the model.
        """
        from engine.hub.needs import refuse_unknown

        request = {"params": params.model_dump(mode="json"), "limit": limit}
        refuse_unknown(params.model)  # before the others' questions have to wait for it
        with self._lock:
            if _needs_hub(params) and not self._hub:
                self._drop()
                self._hub = True
            answer = self._exchange(request) or self._exchange(request)  # a process that has died is started again
        if answer is None:
            raise errors.DataError(
                "The process that looks at data ended without an answer.",
                hint="It may have run out of memory: try a smaller file or model.",
            )
        if "error" in answer:
            raise getattr(errors, answer["kind"], errors.DataError)(answer["error"], hint=answer["hint"])
        return answer

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any] | None:
        from engine.runs.launcher import open_worker

        if self._of != who().id:
            self._drop()
        if self._channel is None:
            self._channel, self._of = open_worker("inspect", {}, hub=self._hub), who().id
            threading.Thread(target=self._end_when_idle, name="inspect", daemon=True).start()
        self._used = time.monotonic()
        try:
            self._channel.send(request)
            answer = self._channel.receive(_ANSWER_S)
        except (BrokenPipeError, TimeoutError):
            answer = None
        if answer is None:
            self._drop()
        return answer

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _end_when_idle(self) -> None:
        while True:
            time.sleep(_IDLE_S / 10)
            with self._lock:
                if self._channel is None:
                    return
                if time.monotonic() - self._used > _IDLE_S:
                    self._drop()
                    self._hub = False
                    return


def _needs_hub(params: LLMTrainingParams) -> bool:
    """Whether rows cannot be shown as tokens with what is on this machine."""
    from engine.hub.needs import hub_data, lacks

    return lacks(params.model, "tokenizer_config.json") or bool(hub_data(params))


_inspector = Inspector()


def token_preview(params: LLMTrainingParams, limit: int) -> dict[str, Any]:
    """How the first rows look as tokens, and how long rows are; see engine/worker/inspect.py."""
    return _inspector.ask(params, limit)


def data_facts(params: LLMTrainingParams) -> DataFacts:
    """Rows and token lengths for the plan. Remembered until the data, the model or the way of reading them changes.

    Raises:
        StudioError: the data or the model cannot be used.
    """
    asked = {name: getattr(params, name) for name in _DECIDING if name in type(params).model_fields}
    stamps = [_stamp(data_file(path)) for path in (params.data_path, params.valid_path) if path]
    return _facts(json.dumps([asked, stamps, who().id], sort_keys=True))


# Settings that decide which tokens a row becomes.
_DECIDING = (
    "trainer",
    "model",
    "data_path",
    "valid_path",
    "data_format",
    "column_mapping",
    "chat_template",
    "train_on_prompt",
    "teacher_prompt_template",
    "student_prompt_template",
    "teacher_model",
    "teacher_endpoint",
)


@lru_cache(maxsize=64)
def _facts(key: str) -> DataFacts:
    from engine.data import inspect

    asked = json.loads(key)[0]
    # what else a trainer cannot do without decides no token
    params = parse({**spec_for(asked["trainer"]).example_settings, **asked, "max_length": None})
    kind, form, mapping = spec_for(params.trainer).rows, params.data_format, params.column_mapping or None
    seen = inspect(data_file(params.data_path), kind, form=form, mapping=mapping)
    share = seen.usable / max(seen.looked_at, 1)
    if kind == "feedback" and seen.liked in (0.0, 1.0) and seen.looked_at == seen.rows:
        raise one_sided(bool(seen.liked))
    own = _held_out_rows(params) if params.valid_path else seen.held_out
    counted = _inspector.ask(params, 0)["facts"]
    rows, bad = max(1, round(seen.rows * share)), sum(seen.problem_counts.values())
    return DataFacts(rows=rows, valid_rows=own, exact=seen.rows_exact, liked=seen.liked, unusable=bad, **counted)


def _held_out_rows(params: LLMTrainingParams) -> int:
    """How many rows of the file of held-out rows can be used.

    Raises:
        DataError: it cannot be read as the rows that are trained on are; says which of the two files is meant.
    """
    from engine.data import inspect

    path, mapping = str(params.valid_path), params.column_mapping or None
    try:
        seen = inspect(data_file(path), spec_for(params.trainer).rows, form=params.data_format, mapping=mapping)
    except errors.DataError as error:
        name = Path(own_name(path)).name
        said = f"The held-out file {name} cannot be used: {error.message}"
        raise errors.DataError(said, hint=f"It is read as the rows to train on are. {error.hint}") from None
    return round(seen.rows * seen.usable / max(seen.looked_at, 1))  # a look ends after some thousand rows


def _stamp(path: str) -> float:
    """When the file, or anything in the folder, was last changed."""
    found = Path(path if Path(path).exists() else without_part(path))
    inside = found.rglob("*") if found.is_dir() else ()
    return max((file.stat().st_mtime for file in (found, *inside) if file.exists()), default=0.0)


def close_preview() -> None:
    _inspector.close()

"""Finding models and data sets on the Hub by a piece of their name, with what decides between them, before any download."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engine.errors import ModelOffline

Kind = Literal["models", "datasets"]

# How long somebody waits who types, how long an answer is good for, how long the Hub is left alone once it gave none.
WAIT_S, _FRESH_S, _PAUSE_S = 6.0, 120.0, 15.0
_SHORTEST, _LONGEST, _MOST, _KEPT = 2, 96, 10, 256
# Models that transformers loads, from weights that cannot run code, and that write.
_WRITES = {"pipeline_tag": "text-generation", "filter": ["transformers", "safetensors"]}
_ASKED: dict[Kind, list[Any]] = {
    "models": ["downloads", "gated", "private", "safetensors", "tags"],
    "datasets": ["downloads", "gated", "mainSize", "private", "tags"],
}
# Bytes of one weight in each of the formats that safetensors knows.
_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


@dataclass(frozen=True)
class Found:
    """One line of what was found: `parameters` counts weights, `bytes` is what their files or those of a data set take (0: the
    Hub does not say); `rows` is a range, for data sets."""

    id: str
    parameters: int
    bytes: int
    rows: str
    licence: str
    downloads: int
    gated: bool
    private: bool


class _Remembered:
    """Answers of the last minutes, the oldest first to go, and until when the Hub is not asked."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.answers: OrderedDict[tuple[Any, ...], tuple[float, list[dict[str, Any]]]] = OrderedDict()
        self.silent_until = 0.0

    def get(self, key: tuple[Any, ...]) -> list[dict[str, Any]] | None:
        with self.lock:
            when, answer = self.answers.get(key, (0.0, None))
            return answer if time.monotonic() - when < _FRESH_S else None

    def put(self, key: tuple[Any, ...], answer: list[dict[str, Any]]) -> None:
        with self.lock:
            self.answers[key] = (time.monotonic(), answer)
            while len(self.answers) > _KEPT:
                self.answers.popitem(last=False)


_remembered = _Remembered()
_pool = ThreadPoolExecutor(4, thread_name_prefix="hub search")


def search(kind: Kind, text: str, *, own: bool = True) -> list[dict[str, Any]]:
    """Models or data sets with `text` in their id, those that are downloaded most first, as `Found` in a dict each.

    `own`: as the account that is logged in, which then sees its private ones too.

    Raises:
        ModelOffline: the Hub gave no answer in time.
    """
    from huggingface_hub import get_token

    text = text.strip().lower()
    if not _SHORTEST <= len(text) <= _LONGEST:
        return []
    own = own and get_token() is not None
    key = (kind, text, own)
    if (known := _remembered.get(key)) is not None:
        return known
    if time.monotonic() < _remembered.silent_until:
        raise _offline()
    try:
        found = _pool.submit(_ask, kind, text, own).result(WAIT_S)
    except OSError as error:  # of the client, the network and the clock alike
        _remembered.silent_until = time.monotonic() + _PAUSE_S
        raise _offline() from error
    _remembered.put(key, found)
    return found


def forget() -> None:
    """Remember nothing: neither answers nor that there was none."""
    _remembered.answers.clear()
    _remembered.silent_until = 0.0


def _ask(kind: Kind, text: str, own: bool) -> list[dict[str, Any]]:
    """Ask once, in the time that somebody waits.

    `HfApi.list_models` would ask up to six times, the last time half a minute later and for nobody; and at each refusal it
    closes the connections that everything in this process shares, a download's too.
    """
    from huggingface_hub import DatasetInfo, ModelInfo, constants
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    asked = {
        "search": text,
        "sort": "downloads",
        "limit": _MOST,
        "expand": _ASKED[kind],
        **(_WRITES if kind == "models" else {}),
    }
    headers = build_hf_headers(token=None if own else False)
    try:
        answer = _get(f"{constants.ENDPOINT}/api/{kind}", asked, headers)
        hf_raise_for_status(answer)
        info: Any = ModelInfo if kind == "models" else DatasetInfo
        return [asdict(_found(info(**one))) for one in answer.json()]
    except (HTTPError, ValueError) as error:  # a hotel's login page, say, is no JSON
        raise OSError(str(error)) from error


def _get(address: str, asked: dict[str, Any], headers: dict[str, str]) -> Any:
    """The answer; asked a second time where the connection had been closed meanwhile, by the Hub or by this process."""
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import get_session

    began = time.monotonic()
    try:
        return get_session().get(address, params=asked, headers=headers, timeout=WAIT_S)
    except HTTPError:
        left = WAIT_S - (time.monotonic() - began)
        if left <= 0:
            raise
        return get_session().get(address, params=asked, headers=headers, timeout=left)


def _found(one: Any) -> Found:
    weights = getattr(one, "safetensors", None)
    by_type = dict(weights.parameters) if weights else {}
    return Found(
        id=one.id,
        parameters=sum(by_type.values()),
        bytes=sum(count * _BYTES.get(kind, 1) for kind, count in by_type.items()) or getattr(one, "main_size", None) or 0,
        rows=_tagged(one, "size_categories:"),
        licence=_tagged(one, "license:"),
        downloads=one.downloads or 0,
        gated=bool(one.gated),
        private=bool(one.private),
    )


def _tagged(one: Any, prefix: str) -> str:
    return next((tag.removeprefix(prefix) for tag in one.tags or [] if tag.startswith(prefix)), "")


def _offline() -> ModelOffline:
    return ModelOffline(
        "The Hugging Face Hub cannot be reached, so it cannot be searched.",
        hint="What is on this machine can be chosen all the same.",
    )

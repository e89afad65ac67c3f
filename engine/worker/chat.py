"""Talks with one or two models at once, word by word, in a process that gives all memory back when it ends.

Requests are `{"do": "answer", "id", "models": [reference, …], "messages": [[turn, …], …], "settings": {…}}`; while an
answer is made, `{"do": "stop"}` ends it. Replies: `{"type": "text", "id", "side", "text"}` pieces, then for each side
`{"type": "end", "id", "side", "tokens", "seconds"}`; `{"type": "error", "id", "side", "message", "hint"}` in place of a
side's answer; `{"type": "done", "id"}` at last. A side whose model scores waits for the other side's answer and then
gives `{"type": "score", "id", "side", "score"}`; alone, it scores the answer that its own messages end with.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from engine.device import device
from engine.errors import DataError
from engine.models import resolve
from engine.runs.channel import Channel
from engine.worker.answers import context_of, stop_tokens
from engine.worker.failures import explained
from engine.worker.hub import stay_here
from engine.worker.models import load_any, load_tokenizer
from engine.worker.scoring import score_ids
from engine.worker.templates import choose_template
from engine.worker.tokens import chat_tokens, prompt_text

_MORE_ROOM = "Choose a smaller model or one side only, or wait until the training has ended."
# Two sides, and one to change to and fro.
_LOADED = 3


def main(args: dict[str, Any], channel: Channel | None) -> int:
    """Answer until the other side is gone."""
    assert channel is not None
    if not args.get("hub"):
        stay_here()
    shelf = _Shelf()
    while (request := channel.receive()) is not None:
        if request.get("do") == "answer":
            _answer(request, shelf, channel)
    return 0


class _Shelf:
    """The models that are loaded, the one unused for longest first to go."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[str, tuple[Any, Any]] = OrderedDict()

    def get(self, reference: str) -> tuple[Any, Any]:
        """(model, tokenizer); the model writes or scores."""
        source = resolve(reference)
        changed = max(file.stat().st_mtime for file in source.path.glob("*.json")) if source.path else 0
        key = f"{source.location}@{changed}"
        if key not in self._loaded:
            while len(self._loaded) >= _LOADED:
                self._loaded.popitem(last=False)
            tokenizer = load_tokenizer(source)
            choose_template(tokenizer, "auto")
            found = device()
            kind = found.kind
            dtype = torch.float32 if kind == "cpu" and not found.bf16 else "auto"
            sort = AutoModelForSequenceClassification if source.scores else AutoModelForCausalLM
            model = load_any(source, sort, dtype=dtype, use_safetensors=True, trust_remote_code=False).eval()
            self._loaded[key] = (model.to(kind if torch.accelerator.is_available() else "cpu"), tokenizer)
        self._loaded.move_to_end(key)
        return self._loaded[key]


def _answer(request: dict[str, Any], shelf: _Shelf, channel: Channel) -> None:
    """Let the sides that write answer in turns, one token each; then those that score."""
    writers: dict[int, Iterator[str]] = {}
    judges: dict[int, tuple[Any, Any]] = {}

    def tell(kind: str, **values: Any) -> None:
        channel.send({"type": kind, "id": request["id"], **values})

    for side, reference in enumerate(request["models"]):
        try:
            model, tokenizer = shelf.get(reference)
            if model.can_generate():
                writers[side] = _speak(model, tokenizer, request["messages"][side], request["settings"])
            else:
                judges[side] = (model, tokenizer)
        except Exception as error:  # whatever a foreign model or template does, the other side is answered
            _tell_error(tell, side, error)
    said = _write(writers, channel, tell)
    _judge(judges, request["messages"], said, tell)
    tell("done")


def _write(writers: dict[int, Iterator[str]], channel: Channel, tell: Any) -> str:
    """Send what the sides write until all have ended or the page has had enough; returns what was written."""
    began, counts, said = time.monotonic(), dict.fromkeys(writers, 0), ""
    while writers:
        stopped = channel.readable(0) and (channel.receive() or {"do": "stop"})["do"] == "stop"
        for side, pieces in list(writers.items()):
            try:
                piece = None if stopped else next(pieces, None)
            except Exception as error:
                _tell_error(tell, side, error)
                del writers[side]
                continue
            if piece is None:
                del writers[side]
                tell("end", side=side, tokens=counts[side], seconds=time.monotonic() - began)
                continue
            counts[side] += 1
            if piece:
                said += piece
                tell("text", side=side, text=piece)
    return said


def _judge(judges: dict[int, tuple[Any, Any]], messages: list[Any], answer: str, tell: Any) -> None:
    """Let the sides that score say what they think of the answer."""
    for side, (model, tokenizer) in judges.items():
        try:
            tell("score", side=side, score=_score(model, tokenizer, messages[side], answer))
        except Exception as error:
            _tell_error(tell, side, error)


def _score(model: Any, tokenizer: Any, messages: list[dict[str, str]], answer: str) -> float:
    """The score of a talk with an answer at its end: the other side's, or the one that is there already.

    Raises:
        DataError: there is no answer to score.
    """
    if messages[-1]["role"] != "assistant":
        if not answer.strip():
            raise DataError("There is no answer to score.", hint="Choose a model that writes on the other side, or type one.")
        messages = [*messages, {"role": "assistant", "content": answer}]
    return score_ids(model, [chat_tokens({"messages": messages}, tokenizer).input_ids])[0]


def _tell_error(tell: Any, side: int, error: Exception) -> None:
    told = explained(error)
    # what frees memory for a training does not help who talks
    hint = _MORE_ROOM if told.cause == "memory" else told.hint
    tell("error", side=side, message=told.message, hint=hint)


def _speak(model: Any, tokenizer: Any, messages: list[dict[str, str]], settings: dict[str, Any]) -> Iterator[str]:
    """Pieces of text, one for every token ("" while a character is incomplete); ends at the model's end of turn."""
    raw = settings.get("raw")
    text = prompt_text({"text": messages[-1]["content"]} if raw else {"messages": messages}, tokenizer)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"].to(model.device)
    context = context_of(model)
    room = int(settings.get("max_tokens") or 128)
    if ids.shape[1] >= context:
        ids = ids[:, -(context - min(room, context // 2)) :]  # a long talk forgets its beginning
    warp, draw = _warpers(settings), _generator(settings)
    ends, cache, shown, made = set(stop_tokens(model, tokenizer)), None, "", []
    given = ids
    with torch.no_grad():
        for _ in range(min(room, context - ids.shape[1])):
            out = model(input_ids=given, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            seen: Any = torch.cat([ids, *made], 1)
            scores = warp(seen, out.logits[:, -1].float())
            given = _pick(scores, settings, draw)
            if int(given) in ends:
                return
            made.append(given)
            whole = tokenizer.decode(torch.cat(made, 1)[0], skip_special_tokens=True)
            piece = "" if whole.endswith("\ufffd") else whole[len(shown) :]
            shown += piece
            yield piece


def _warpers(settings: dict[str, Any]) -> LogitsProcessorList:
    """The usual ways to shape what is drawn from, each at work only when its setting asks for it."""
    chosen = LogitsProcessorList()
    penalty, heat = float(settings.get("repetition_penalty") or 1), float(settings.get("temperature") or 0)
    if penalty != 1:
        chosen.append(RepetitionPenaltyLogitsProcessor(penalty))
    if heat > 0:
        chosen.append(TemperatureLogitsWarper(heat))
        if int(settings.get("top_k") or 0):
            chosen.append(TopKLogitsWarper(int(settings["top_k"])))
        if 0 < float(settings.get("top_p") or 1) < 1:
            chosen.append(TopPLogitsWarper(float(settings["top_p"])))
    return chosen


def _generator(settings: dict[str, Any]) -> torch.Generator:
    seed = settings.get("seed")
    made = torch.Generator()
    made.manual_seed(int(seed)) if seed not in (None, "") else made.seed()
    return made


def _pick(scores: torch.Tensor, settings: dict[str, Any], draw: torch.Generator) -> torch.Tensor:
    if float(settings.get("temperature") or 0) <= 0:
        return scores.argmax(-1, keepdim=True)
    return torch.multinomial(scores.softmax(-1).cpu(), 1, generator=draw).to(scores.device)

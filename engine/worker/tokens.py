"""From a row to token ids and labels: THE one place where it is decided which tokens are trained.

A label is the token itself where it is trained and -100 where it is not. The page's preview calls the same functions.
Data is never a template: the row's text is only ever a value that the chat template prints.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers.utils.chat_template_utils import render_jinja_template

from engine.data.weights import greeting
from engine.errors import DataError

IGNORED = -100
# Where a part of a text begins and ends, in characters.
Span = tuple[int, int]
RENDERS_NOTHING = "The model's chat template renders this conversation as nothing."


@dataclass(frozen=True)
class Tokens:
    """One row: `input_ids` and `labels` of equal length."""

    input_ids: list[int]
    labels: list[int]

    @property
    def trained(self) -> int:
        """How many tokens are trained; the first has nothing before it to be predicted from."""
        return sum(label != IGNORED for label in self.labels[1:])

    def cut(self, max_length: int | None) -> Tokens:
        """The first `max_length` tokens."""
        return self if max_length is None else Tokens(self.input_ids[:max_length], self.labels[:max_length])


def text_tokens(row: dict[str, Any], tokenizer: Any) -> Tokens:
    """A document and the end-of-text token, begun as the model was taught; every token is trained."""
    ids = [*opening(tokenizer), *tokenizer(row["text"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return Tokens(ids, list(ids))


def opening(tokenizer: Any) -> list[int]:
    """The token that every text begins with for this model, or nothing. A chat template writes it itself."""
    return [token for token in tokenizer("")["input_ids"][:1] if token == tokenizer.bos_token_id]


def chat_tokens(row: dict[str, Any], tokenizer: Any, *, train_on_prompt: bool = False) -> Tokens:
    """A conversation in the model's chat template with the assistant's turns (end-of-turn token included) trained.

    In rows of `prompt` and `completion` only the completion is, even where the prompt is a talk with answers of its own;
    without a template the two are simply joined.

    Raises:
        DataError: the template cannot show this conversation, or hides where the answers are.
    """
    first = 0
    if "messages" not in row:
        prompt: Any = row["prompt"]
        first = len(prompt) if isinstance(prompt, list) else 0
        if tokenizer.chat_template is None:
            return _joined(row["prompt"], row["completion"], tokenizer, train_on_prompt)
        row = {**row, "messages": _exchange(row["prompt"], row["completion"])}
    tools = row.get("tools") or None
    messages = _shown(row["messages"], tools, tokenizer, first)
    first -= min(first, len(row["messages"]) - len(messages))
    if train_on_prompt:  # where the answers are does not matter, and need not be told
        whole = _rendered(messages, tools, tokenizer, tokenize=False)
        spans = [(0, len(whole))]
    else:
        find = _marked if _marks_answers(tokenizer) else _by_prefix
        whole, spans = find(messages, tools, tokenizer, first)
    made = _labelled(whole, spans, tokenizer)
    if not made.input_ids:
        raise DataError(RENDERS_NOTHING, hint="Choose another template.")
    return made


def pair_tokens(row: dict[str, Any], tokenizer: Any) -> tuple[Tokens, Tokens]:
    """The prompt with the chosen answer and the same prompt with the rejected one; only the answers are trained.

    Raises:
        DataError: as `chat_tokens`.
    """
    chosen, rejected = ({"prompt": row["prompt"], "completion": row[side]} for side in ("chosen", "rejected"))
    return chat_tokens(chosen, tokenizer), chat_tokens(rejected, tokenizer)


def prompt_tokens(row: dict[str, Any], tokenizer: Any) -> Tokens:
    """What the model is given when it should answer; nothing of it is trained."""
    ids = tokenizer(prompt_text(row, tokenizer), add_special_tokens=False)["input_ids"]
    return Tokens(ids, [IGNORED] * len(ids))


def prompt_text(row: dict[str, Any], tokenizer: Any) -> str:
    """What the model is given when it should answer this row: everything up to the last answer.

    Raises:
        DataError: the template cannot show this conversation.
    """
    if "prompt" not in row and "text" in row:  # beside a prompt it is a column of the data like any other
        return "".join(tokenizer.convert_ids_to_tokens(opening(tokenizer))) + row["text"]
    if "prompt" not in row and "messages" in row:
        messages, tools = list(row["messages"]), row.get("tools") or None
        while messages and messages[-1]["role"] == "assistant":
            messages.pop()
        messages = _shown(messages, tools, tokenizer)
        return _rendered(messages, tools, tokenizer, tokenize=False, add_generation_prompt=True)
    if isinstance(row["prompt"], str) and tokenizer.chat_template is None:
        return prompt_text({"text": row["prompt"]}, tokenizer)
    messages = row["prompt"] if isinstance(row["prompt"], list) else [{"role": "user", "content": row["prompt"]}]
    messages = _shown(messages, None, tokenizer)
    return _rendered(messages, None, tokenizer, tokenize=False, add_generation_prompt=True)


def spelt_control_tokens(row: dict[str, Any], tokenizer: Any) -> set[str]:
    """The control tokens (`<|im_end|>`, `</s>`, …) that the row's own text spells, and that the model will take for real."""
    text = json.dumps(row, ensure_ascii=False, default=str)
    controls = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return {token for token in controls if token in text}


def turn_end(rows: Iterable[dict[str, Any]], tokenizer: Any) -> int | None:
    """The control token that ends most of these tokenised rows' answers; None when they end in ordinary text.

    A line break that the template writes after it (and that is learned with the questions) is passed over.
    """
    ends = Counter(_last_written(row["labels"][row["labels"] != IGNORED], tokenizer) for row in rows)
    token = ends.most_common(1)[0][0] if ends else None
    return token if token in tokenizer.added_tokens_decoder else None


def _last_written(labels: Any, tokenizer: Any) -> int:
    """The last trained token that is no white space."""
    written = (int(token) for token in reversed(labels) if tokenizer.decode([int(token)]).strip())
    return next(written, -1)


def template_end(tokenizer: Any) -> int | None:
    """The control token with which this model's chat template ends an answer; None when it writes none."""
    made = chat_tokens({"prompt": "?", "completion": "!"}, tokenizer)
    return turn_end([{"labels": np.asarray(made.labels)}], tokenizer)


def _rendered(messages: list[dict[str, Any]], tools: Any, tokenizer: Any, **options: Any) -> Any:
    with _refusals_told():
        return tokenizer.apply_chat_template(messages, tools=tools, **options)


@contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # templates are programs of the model's author and raise whatever they like
        raise DataError(
            f"The model's chat template refuses this conversation: {error}.",
            hint="Some templates want user and assistant to take turns, or know no system or tool turns.",
        ) from error


def _shown(messages: list[dict[str, Any]], tools: Any, tokenizer: Any, first: int | None = None) -> list[dict[str, Any]]:
    """The conversation as the template can show it: many refuse a greeting of the assistant (in the first `first` messages)
    before anybody has asked, which then is left out.

    Raises:
        DataError: the template leaves out the call of a tool, so that an empty answer would be learned in its place.
    """
    if any(message.get("tool_calls") for message in messages):
        _require_calls(messages, tools, tokenizer)
    places = greeting(messages[: first or None])
    if not places:
        return messages
    try:
        _rendered(messages, tools, tokenizer, tokenize=False)
    except DataError:
        return [message for place, message in enumerate(messages) if place not in places]
    return messages


def _require_calls(messages: list[dict[str, Any]], tools: Any, tokenizer: Any) -> None:
    silent = [{name: value for name, value in message.items() if name != "tool_calls"} for message in messages]
    whole = _rendered(messages, tools, tokenizer, tokenize=False)
    try:
        same = whole == _rendered(silent, tools, tokenizer, tokenize=False)
    except DataError:  # the template minds that they are missing
        same = False
    if same:
        raise DataError(
            "The model's chat template has no place for the call of a tool, and an empty answer would be learned instead.",
            hint="Choose a model whose template shows calls of tools.",
        )


def _exchange(prompt: Any, completion: Any) -> list[dict[str, Any]]:
    before = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    after = completion if isinstance(completion, list) else [{"role": "assistant", "content": completion}]
    return [*before, *after]


def _joined(prompt: str, completion: str, tokenizer: Any, train_on_prompt: bool) -> Tokens:
    before = [*opening(tokenizer), *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    after = [*tokenizer(completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return Tokens(before + after, (before if train_on_prompt else [IGNORED] * len(before)) + after)


def _marks_answers(tokenizer: Any) -> bool:
    """Whether the template itself says which part is the assistant's, with {% generation %} blocks."""
    return "generation %}" in tokenizer.chat_template or "generation -%}" in tokenizer.chat_template


def _marked(messages: list[dict[str, Any]], tools: Any, tokenizer: Any, first: int) -> tuple[str, list[Span]]:
    """Where the template marks the assistant's turns; those before message number `first` are given and not learned."""
    whole, spans = _with_marks(messages, tools, tokenizer)
    if any(message["role"] == "assistant" for message in messages[:first]):
        spans = spans[len(_with_marks(messages[:first], tools, tokenizer)[1]) :]
    return whole, _with_ends(whole, spans, tokenizer)


def _with_marks(messages: list[dict[str, Any]], tools: Any, tokenizer: Any) -> tuple[str, list[Span]]:
    """The conversation as text, and where each of its marks is: a turn of no words has one too, which no token shows."""
    turns = [{name: value for name, value in message.items() if value is not None} for message in messages]
    with _refusals_told():
        template = tokenizer.get_chat_template(tools=tools)
        known = {"chat_template": template, "return_assistant_tokens_mask": True, **tokenizer.special_tokens_map}
        made: Any = render_jinja_template([turns], tools=tools, **known)
    (whole,), (spans,) = made
    return whole, spans


def _with_ends(whole: str, spans: list[Span], tokenizer: Any) -> list[Span]:
    """The marks of a template that marks only what is said, each with the control token that ends the turn."""
    controls = tuple(token.content for token in tokenizer.added_tokens_decoder.values())
    open_ended = {
        end for start, end in spans if not whole[start:end].rstrip().endswith(controls) and whole.startswith(controls, end)
    }
    ending = _ending(controls, tokenizer) if open_ended else ""
    reaches = {end: end + len(ending) for end in open_ended if ending and whole.startswith(ending, end)}
    return [(start, reaches.get(end, end)) for start, end in spans]


def _ending(controls: tuple[str, ...], tokenizer: Any) -> str:
    """The control token that follows the last answer: what follows an earlier one may begin the next turn."""
    try:
        whole, spans = _with_marks(_exchange("?", "!"), None, tokenizer)
    except DataError:
        return ""
    after = whole[spans[-1][1] :] if spans else ""
    return max((token for token in controls if after.startswith(token)), key=len, default="")


def _by_prefix(messages: list[dict[str, Any]], tools: Any, tokenizer: Any, first: int) -> tuple[str, list[Span]]:
    """Find the answers by rendering the conversation up to each one and checking that the longer text begins with it, or with
    what stands of it there."""

    def text(count: int, **options: Any) -> str:
        return _rendered(messages[:count], tools, tokenizer, tokenize=False, **options)

    whole = text(len(messages))
    spans = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant" or index < first:
            continue
        before, upto = text(index, add_generation_prompt=True), text(index + 1)
        if whole.startswith(before) and whole.startswith(upto):
            spans.append((len(before), len(upto.rstrip("\n"))))
        elif whole.startswith(before) and (end := _amid(whole, len(before), upto, message)):
            spans.append((len(before), end))
        elif index == len(messages) - 1:
            raise DataError(
                "This model's chat template rewrites earlier turns, so where the answer begins cannot be told.",
                hint="Choose the ChatML template (--chat-template chatml), or learn the questions too.",
            )
    return whole, spans


def _amid(whole: str, start: int, upto: str, message: dict[str, Any]) -> int:
    """The end of an answer that the template writes otherwise once more turns follow, as Qwen3 leaves out its thoughts: its
    words begin at `start`, and the same ends the turn. 0 where that is not so.
    """
    content = message.get("content") or ""
    for said in (content.strip(), content.rpartition("</think>")[2].strip()):
        _, found, ending = upto.rpartition(said) if said else ("", "", "")
        turn = said + ending.rstrip("\n")
        if found and whole.startswith(turn, start):
            return start + len(turn)
    return 0


def _labelled(whole: str, spans: list[Span], tokenizer: Any) -> Tokens:
    """The text's tokens, trained in the spans. One that is only partly in a span is an answer's first or last word."""
    spans = [(begin, last) for begin, last in spans if begin < last]
    made = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids = list(made["input_ids"])
    labels = [
        token if any(begin < end and start < last for begin, last in spans) else IGNORED
        for token, (start, end) in zip(ids, made["offset_mapping"], strict=True)
    ]
    return Tokens(ids, labels)

"""From a row to token ids and labels: THE one place where it is decided which tokens are trained.

A label is the token itself where it is trained and -100 where it is not. The page's preview calls the same functions.
Data is never a template: the row's text is only ever a value that the chat template prints.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import DataError

IGNORED = -100
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
    messages, tools = row["messages"], row.get("tools") or None
    mark = _marked if _marks_answers(tokenizer) else _by_prefix
    made = mark(messages, tools, tokenizer, first)
    if not made.input_ids:
        raise DataError(RENDERS_NOTHING, hint="Choose another template.")
    return Tokens(made.input_ids, list(made.input_ids)) if train_on_prompt else made


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
        messages = list(row["messages"])
        while messages and messages[-1]["role"] == "assistant":
            messages.pop()
        return _rendered(messages, row.get("tools") or None, tokenizer, tokenize=False, add_generation_prompt=True)
    if isinstance(row["prompt"], str) and tokenizer.chat_template is None:
        return prompt_text({"text": row["prompt"]}, tokenizer)
    messages = row["prompt"] if isinstance(row["prompt"], list) else [{"role": "user", "content": row["prompt"]}]
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
    try:
        return tokenizer.apply_chat_template(messages, tools=tools, **options)
    except Exception as error:  # templates are programs of the model's author and raise whatever they like
        raise DataError(
            f"The model's chat template refuses this conversation: {error}.",
            hint="Some templates want user and assistant to take turns, or know no system or tool turns.",
        ) from error


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


def _marked(messages: list[dict[str, Any]], tools: Any, tokenizer: Any, first: int) -> Tokens:
    """Where the template marks the assistant's turns; those before message number `first` are given and not learned."""
    made = _rendered(messages, tools, tokenizer, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = list(made["input_ids"]), list(made["assistant_masks"])
    given, place = sum(message["role"] == "assistant" for message in messages[:first]), 0
    for is_answer, run in itertools.groupby(made["assistant_masks"]):
        length = len(list(run))
        if is_answer and given:
            given -= 1
            mask[place : place + length] = [0] * length
        place += length
    return Tokens(ids, [token if answer else IGNORED for token, answer in zip(ids, mask, strict=True)])


def _by_prefix(messages: list[dict[str, Any]], tools: Any, tokenizer: Any, first: int) -> Tokens:
    """Find the answers by rendering the conversation up to each one and checking that the longer text begins with it."""

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
        elif index == len(messages) - 1:
            raise DataError(
                "This model's chat template rewrites earlier turns, so where the answer begins cannot be told.",
                hint="Choose the ChatML template (--chat-template chatml), or learn the questions too.",
            )
    made = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids = list(made["input_ids"])
    labels = [
        token if any(start < end and start >= begin and end <= last for begin, last in spans) else IGNORED
        for token, (start, end) in zip(ids, made["offset_mapping"], strict=True)
    ]
    return Tokens(ids, labels)

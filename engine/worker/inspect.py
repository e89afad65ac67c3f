"""Shows what training will see: examples token by token with what is trained, and the lengths of many rows.

Runs in a process of its own because it needs the tokenizer, and calls the very functions that make the label masks.
The answer to `{"params": …, "limit": n}` is one message:

- examples: [{row, parts: [{label, pieces: [[text, trained], …]}, …], tokens, trained, problem}]: the texts of a row (a
  preference has two, and a prompt may be read by a teacher), each in pieces that are wholly trained or wholly not
- lengths: tokens of each row looked at · max_length: as given, or None · over: share of rows that are longer
- lost: share of the looked-at tokens that a cut takes away · facts: what the plan needs to know · note: on the template
- learns: what is done with the marked tokens, in a sentence
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Iterable
from typing import Any

import numpy as np

from engine.data import Problem, rows
from engine.data.checks import NONE_LIKED
from engine.errors import DataError, StudioError
from engine.models import resolve
from engine.params import LLMTrainingParams
from engine.registry import parse, spec_for
from engine.runs.channel import Channel
from engine.samples import data_file
from engine.worker.hub import stay_here
from engine.worker.lengths import figures
from engine.worker.models import load_tokenizer
from engine.worker.rows import Part, parts_of
from engine.worker.templates import choose_template
from engine.worker.tokens import IGNORED, Tokens

# Rows whose lengths are looked at; enough for a histogram, read in about a second.
_ROWS = 1000
# Tokens of one example that are shown.
_SHOWN = 2000


def main(args: dict[str, Any], channel: Channel | None) -> int:
    """Answer requests until the other side is gone; tokenizers stay loaded in between."""
    assert channel is not None
    if not args.get("hub"):
        stay_here()
    tokenizers: dict[str, Any] = {}
    while (request := channel.receive()) is not None:
        try:
            answer = preview(parse(request["params"]), int(request["limit"]), tokenizers)
        except StudioError as error:
            answer = {"error": error.message, "hint": error.hint, "kind": type(error).__name__}
        except Exception as error:  # a foreign tokenizer or template may raise anything; the page is told and may ask again
            traceback.print_exc()
            answer = {
                "error": f"The data cannot be shown as tokens: {error}.",
                "hint": "Try another model.",
                "kind": "ModelError",
            }
        channel.send(answer)
    return 0


def preview(params: LLMTrainingParams, limit: int, tokenizers: dict[str, Any]) -> dict[str, Any]:
    """The message described above.

    Raises:
        DataError: no row can be used. ModelError: the tokenizer cannot be loaded.
    """
    spec = spec_for(params.trainer)
    if params.model not in tokenizers:
        tokenizers[params.model] = load_tokenizer(resolve(params.model))
    tokenizer = tokenizers[params.model]
    own = tokenizer.chat_template
    note = choose_template(tokenizer, params.chat_template) if spec.rows != "text" else ""
    try:
        make = parts_of(spec, params, tokenizer)
        source = rows(data_file(params.data_path), spec.rows, form=params.data_format, mapping=params.column_mapping or None)
        examples, seen, problem = _look(source, make, tokenizer, limit, params.max_length)
    finally:
        tokenizer.chat_template = own
    if not seen:
        if not problem:
            raise DataError("No row of this file can be used.", hint=NONE_LIKED)
        raise DataError("No row of this file can be used.", hint=f"The first of them: {problem}")
    return {"examples": examples, "note": note, "learns": spec.learns, **_lengths(seen, params.max_length)}


def _look(
    source: Iterable[tuple[int, Any]], make: Any, tokenizer: Any, limit: int, max_length: int | None
) -> tuple[list[dict[str, Any]], list[Part], str]:
    """Examples, every text of the rows looked at, and what is wrong with the first that cannot be used."""
    examples: list[dict[str, Any]] = []
    made: list[Part] = []
    first = ""
    for number, row in itertools.islice(source, _ROWS):
        if isinstance(row, Problem):
            first = first or row.message
            continue
        try:
            parts, problem = make(row), ""
        except DataError as error:
            parts, problem = [], str(error)
        made += parts
        first = first or problem
        if len(examples) < limit:
            examples.append(_example(number, parts, tokenizer, max_length, problem))
    return examples, made, first


def _example(number: int, parts: list[Part], tokenizer: Any, max_length: int | None, problem: str) -> dict[str, Any]:
    cut = [part.tokens.cut(max_length) if part.trained else part.tokens for part in parts]
    answered = any(part.tokens.trained for part in parts)  # prompts alone have nothing that could be cut away
    if answered and not all(tokens.trained for tokens in cut):
        problem = "Nothing of this row is trained: its answer is cut away or empty."
    return {
        "row": number,
        "parts": [
            {"label": part.label, "pieces": _pieces(tokens.cut(_SHOWN), tokenizer)}
            for part, tokens in zip(parts, cut, strict=True)
        ],
        "tokens": sum(len(part.tokens.input_ids) for part in parts),
        "trained": sum(tokens.trained for tokens in cut),
        "problem": problem,
    }


def _pieces(tokens: Tokens, tokenizer: Any) -> list[list[Any]]:
    """The row's text in pieces that are wholly trained or wholly not."""
    flags = [label != IGNORED for label in tokens.labels]
    if flags:
        flags[0] = False  # the first token has nothing before it to be predicted from
    pairs = zip(tokens.input_ids, flags, strict=True)
    grouped = ((trained, [token for token, _ in group]) for trained, group in itertools.groupby(pairs, key=lambda p: p[1]))
    return [[tokenizer.decode(ids), trained] for trained, ids in grouped]


def _lengths(seen: list[Part], max_length: int | None) -> dict[str, Any]:
    made = [part.tokens for part in seen if part.trained]
    lengths = np.array([len(tokens.input_ids) for tokens in made])
    cut = [tokens.cut(max_length) for tokens in made]
    kept = np.array([len(tokens.input_ids) for tokens in cut])
    return {
        "lengths": lengths.tolist(),
        "max_length": max_length,
        "over": float((lengths > (max_length or lengths.max())).mean()),
        "lost": float(1 - kept.sum() / max(int(lengths.sum()), 1)),
        "facts": figures(
            lengths.tolist(),
            [tokens.trained for tokens in cut],
            sum(len(part.tokens.input_ids) for part in seen if not part.trained),
        ),
    }

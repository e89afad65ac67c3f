"""The run's rows as tokens: read from the prepared files, cut, counted, and what is left out told.

The page's preview and the count before the plan use `parts_of`, which is how the trainers' rows become tokens.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import DataError
from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.spec import TrainerSpec
from engine.worker.longest import way_out
from engine.worker.reporter import Reporter
from engine.worker.token_rows import RowWriter, TokenRows
from engine.worker.tokens import (
    RENDERS_NOTHING,
    Tokens,
    chat_tokens,
    pair_tokens,
    prompt_tokens,
    spelt_control_tokens,
    text_tokens,
)

Row = dict[str, Any]
Make = Callable[[Row], Sequence[Tokens]]
Source = Callable[[Path], Iterator[Row]]

# Rows between two looks at whether somebody wants the run to stop.
_BETWEEN_STOPS = 200


class Rows(NamedTuple):
    """Tokenised rows to train on, and those to measure with (None: there are none)."""

    train: Sequence[dict[str, Any]]
    valid: Sequence[dict[str, Any]] | None


class Part(NamedTuple):
    """One text of a row as it is read; `label` tells it from the row's other texts.

    `trained` is false for what others than the trained model read.
    """

    label: str
    tokens: Tokens
    trained: bool = True


def parts_of(spec: TrainerSpec, params: LLMTrainingParams, tokenizer: Any) -> Callable[[Row], list[Part]]:
    """How this trainer's rows become tokens."""
    on_prompt = bool(params.model_dump().get("train_on_prompt"))

    def pair(row: Row) -> list[Part]:
        chosen, rejected = pair_tokens(row, tokenizer)
        return [Part("better", chosen), Part("worse", rejected)]

    def asked(row: Row) -> list[Part]:
        if spec.views is None:
            return [Part("", prompt_tokens(row, tokenizer))]
        return [Part(view.label, prompt_tokens(view.row, tokenizer), view.trained) for view in spec.views(params, row)]

    makes: dict[str, Callable[[Row], list[Part]]] = {
        "text": lambda row: [Part("", text_tokens(row, tokenizer))],
        "chat": lambda row: [Part("", chat_tokens(row, tokenizer, train_on_prompt=on_prompt))],
        "preference": pair,
        "prompts": asked,
        "feedback": lambda row: [Part("good" if row["label"] else "bad", chat_tokens(row, tokenizer))],
    }
    return makes[spec.rows]


def read_rows(file: Path, limit: int | None = None) -> Iterator[Row]:
    """Canonical rows of a prepared file, one JSON object a line."""
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as lines:
        for line in itertools.islice(lines, limit):
            yield json.loads(line)


def tokenised(
    run: RunDirectory,
    reporter: Reporter,
    tokenizer: Any,
    make: Make,
    max_length: int | None,
    *,
    whole: bool = False,
    source: Source = read_rows,
) -> Rows:
    """Training and held-out rows, read by `source`; `whole` leaves rows out that would have to be cut.

    Raises:
        DataError: no training row is left.
    """
    reporter.phase(State.PREPARING, "Tokenising")
    one = _File(run, reporter, tokenizer, make, max_length, whole, source)
    train, refused = one.tokenise("train")
    if not len(train) and refused:
        raise DataError(f"No row can be shown to the model. The first of them: {refused[0]}")
    if not len(train):
        why = "The rows are too long." if one.whole else "The answers may be empty, or cut away."
        raise DataError("No row has a token to train on.", hint=f"{why} {way_out(run)}")
    valid, _ = one.tokenise("valid")
    return Rows(train, valid if len(valid) else None)


def kept(run: RunDirectory) -> Rows:
    """The rows that `tokenised` has left in the run's folder."""
    train, valid = (TokenRows(_place(run, part)) for part in ("train", "valid"))
    return Rows(train, valid if len(valid) else None)


def _place(run: RunDirectory, part: str) -> Path:
    return run.data_dir / f"{part}.tokens"


class _File(NamedTuple):
    """How the rows of one prepared file are tokenised."""

    run: RunDirectory
    reporter: Reporter
    tokenizer: Any
    make: Make
    max_length: int | None
    whole: bool
    source: Source

    def tokenise(self, part: str) -> tuple[TokenRows, list[str]]:
        """The rows, and why others were refused."""
        writer = RowWriter(_place(self.run, part))
        seen = _Seen("held-out" if part == "valid" else "training", self.max_length, self.whole)
        for row in self.source(self.run.data_dir / f"{part}.jsonl"):
            if seen.rows % _BETWEEN_STOPS == 0:
                self.reporter.heed_stop()
            seen.rows += 1
            seen.spelt.update(spelt_control_tokens(row, self.tokenizer))
            try:
                made = self.make(row)
            except DataError as error:
                seen.refuse(error)
                continue
            cut = [tokens.cut(self.max_length) for tokens in made]
            lost = seen.look(made, cut)
            if not all(tokens.trained for tokens in cut) or (self.whole and cut != list(made)):
                seen.empty += 1
                continue
            seen.shortened += lost
            for tokens in cut:
                writer.add(tokens, float(row.get("label", row.get("margin")) or 0.0))
        seen.tell(self.reporter, self.run)
        return writer.close(), seen.refused


@dataclass
class _Seen:
    """What is to be told of one file's rows."""

    which: str
    max_length: int | None
    whole: bool
    rows: int = 0
    empty: int = 0
    shortened: int = 0
    longest: int = 0
    nothing: int = 0
    refused: list[str] = field(default_factory=list)
    spelt: Counter[str] = field(default_factory=Counter)

    def refuse(self, error: DataError) -> None:
        self.refused.append(str(error))
        self.nothing += error.message == RENDERS_NOTHING

    def look(self, made: Sequence[Tokens], cut: Sequence[Tokens]) -> bool:
        """Whether the row loses something of what is trained."""
        self.longest = max(self.longest, *(len(tokens.input_ids) for tokens in made))
        return any(after.trained < before.trained for after, before in zip(cut, made, strict=True))

    def tell(self, reporter: Reporter, run: RunDirectory) -> None:
        facts = {"about": "cut", "of": self.rows, "longest": self.longest}
        if self.empty:
            why = "are longer than" if self.whole else "have no token to train on within"
            reporter.warn(
                f"{self.empty} {self.which} rows {why} {self.max_length} tokens and were left out.",
                way_out(run),
                rows=self.empty,
                **facts,
            )
        if self.shortened:
            reporter.warn(
                f"{self.shortened} {self.which} rows are longer than {self.max_length} tokens and lose their end.",
                "A model learns from the end of an answer where to stop.",
                rows=self.shortened,
                **facts,
            )
        for token, count in self.spelt.most_common(3):
            reporter.warn(
                f"{count} {self.which} rows spell {token}, which the model takes for the real control token.",
                "Delete it from the text, unless it was put there on purpose.",
            )
        if self.refused:
            about = {"about": "template", "rows": self.nothing, "of": self.rows} if self.nothing else {}
            reporter.warn(f"{len(self.refused)} rows were left out. The first of them: {self.refused[0]}", **about)

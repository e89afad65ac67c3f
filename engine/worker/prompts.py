"""The run's prompts: what the model is given, with the data's other columns beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.errors import DataError
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.worker.longest import way_out
from engine.worker.reporter import Reporter
from engine.worker.rows import Row, Rows, read_rows
from engine.worker.tokens import prompt_tokens

_BETWEEN_STOPS = 200


def prompt_rows(run: RunDirectory, reporter: Reporter, tokenizer: Any, max_length: int | None) -> Rows:
    """Training and held-out prompts, each {"row": the data's row, "input_ids": int32 array}.

    A prompt that is longer than the longest row is left out and told: cut, it would ask something else.

    Raises:
        DataError: no prompt is left.
    """
    reporter.phase(State.PREPARING, "Tokenising")
    train = _read(run, "train", reporter, tokenizer, max_length)
    if not train:
        raise DataError("No prompt is short enough to be used.", hint=way_out(run))
    return Rows(train, _read(run, "valid", reporter, tokenizer, max_length) or None)


def _read(run: RunDirectory, part: str, reporter: Reporter, tokenizer: Any, max_length: int | None) -> list[Row]:
    kept, long, refused = [], 0, list[str]()
    for number, row in enumerate(read_rows(run.data_dir / f"{part}.jsonl")):
        if number % _BETWEEN_STOPS == 0:
            reporter.heed_stop()
        try:
            ids = np.asarray(prompt_tokens(row, tokenizer).input_ids, np.int32)
        except DataError as error:
            refused.append(str(error))
            continue
        if len(ids) > (max_length or len(ids)):
            long += 1
        else:
            kept.append({"row": row, "input_ids": ids})
    if long:
        reporter.warn(f"{long} prompts are longer than {max_length} tokens and were left out.", way_out(run))
    if refused:
        reporter.warn(f"{len(refused)} prompts were left out. The first of them: {refused[0]}")
    return kept

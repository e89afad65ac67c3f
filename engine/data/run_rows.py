"""The rows of a run, prepared as its settings say, wherever it then trains."""

from __future__ import annotations

from pathlib import Path

from engine.data.prepare import Prepared, prepare
from engine.params import LLMTrainingParams
from engine.registry import spec_for
from engine.samples import data_file


def prepare_for(params: LLMTrainingParams, folder: Path) -> Prepared:
    """Read the data of `params` and write training and held-out rows into `folder`.

    Raises:
        DataError: it cannot be read, or has no usable row.
    """
    return prepare(
        data_file(params.data_path),
        spec_for(params.trainer).rows,
        folder,
        form=params.data_format,
        mapping=params.column_mapping or None,
        valid_path=data_file(params.valid_path) if params.valid_path else None,
        valid_fraction=params.valid_fraction,
        seed=params.seed,
        max_samples=params.max_samples,
        drop_bad_rows=params.drop_bad_rows,
    )

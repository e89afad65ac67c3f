"""Reads data of any usual format, recognises its form, checks it, and writes the rows a trainer needs. No torch.

`inspect` looks, `rows` streams, `prepare` writes. Everything is streamed; a file larger than memory works.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.data.forms import FORMS, RowForm
from engine.data.inspect import Column, Inspection, inspect
from engine.data.prepare import Prepared, held_out_fraction, prepare
from engine.data.records import Problem
from engine.data.stream import converted, layout
from engine.spec import RowKind

__all__ = [
    "FORMS",
    "Column",
    "Inspection",
    "Prepared",
    "Problem",
    "RowForm",
    "held_out_fraction",
    "inspect",
    "prepare",
    "rows",
]


def rows(
    path: str | Path, kind: RowKind, *, form: str | None = None, mapping: dict[str, str] | None = None
) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """Every row of the data at `path` with its number, as a canonical row of `kind` or as a problem.

    Raises:
        DataError: it is no data set, or cannot serve `kind`.
    """
    how = layout(path, form, mapping)
    return converted(how.files, how, kind)

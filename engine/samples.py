"""The bundled sample data sets: what they are, and where their files lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from engine.errors import DataError
from engine.runs.directory import read_json

ASSETS = Path(__file__).resolve().parent.parent / "assets"
PREFIX = "sample:"


@dataclass(frozen=True)
class Sample:
    """One bundled data set; `prompts` are questions that show what a model learned from it.

    `settings` are what its trainer needs to know besides: a prompt, a teacher.
    """

    id: str
    trainer: str
    title: str
    sentence: str
    rows: int
    prompts: tuple[str, ...]
    path: Path
    settings: dict[str, Any] = field(default_factory=dict)


@cache
def samples() -> tuple[Sample, ...]:
    """Every bundled sample, in the order of its index."""
    folder = ASSETS / "samples"
    return tuple(
        Sample(
            id=entry["id"],
            trainer=entry["trainer"],
            title=entry["title"],
            sentence=entry["sentence"],
            rows=entry["rows"],
            prompts=tuple(entry["sample_prompts"]),
            path=folder / entry["file"],
            settings=entry.get("settings", {}),
        )
        for entry in read_json(folder / "index.json")
    )


def data_file(data_path: str) -> str:
    """`data_path` with `sample:ID` replaced by the file it stands for; anything else unchanged.

    Raises:
        DataError: there is no such sample.
    """
    if not data_path.startswith(PREFIX):
        return data_path
    wanted = data_path.removeprefix(PREFIX)
    for sample in samples():
        if sample.id == wanted:
            return str(sample.path)
    known = ", ".join(sample.id for sample in samples())
    raise DataError(f"There is no bundled sample {wanted!r}.", hint=f"Choose one of: {known}.")

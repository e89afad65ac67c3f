"""Records as a file of JSON Lines, and its rows as the studio reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import engine.data


def jsonl_file(folder: Path, *records: Any) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def rows_of(path: Path, kind: Any, **how: Any) -> list[Any]:
    return [row for _, row in engine.data.rows(path, kind, **how)]

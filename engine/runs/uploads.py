"""The store of uploaded files, beside the runs: a content is kept once, under the name that it came with."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from engine.runs.directory import runs_root


def store(source: Path, name: str) -> str:
    """Move an uploaded file into the store and return its new path."""
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = runs_root() / ".uploads" / digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (re.sub(r"[^\w.\- ]+", "_", Path(name).name).strip(". ") or "data")
    if target.exists():
        source.unlink(missing_ok=True)
    else:
        shutil.move(source, target)
    return str(target)

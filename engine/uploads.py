"""Files that come through the page: kept in the studio's own store, the same content once."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from engine.runs.directory import runs_root
from engine.runs.place import writing


def store_upload(path: str | Path, name: str) -> str:
    """Move an uploaded file into the studio's own store and return its new path; the same content is kept once.

    Raises:
        RunError: the folder of the runs cannot be written.
    """
    source = Path(path)
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = runs_root() / ".uploads" / digest[:16]
    with writing(runs_root()):
        return _kept(source, folder, name)


def _kept(source: Path, folder: Path, name: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (re.sub(r"[^\w.\- ]+", "_", Path(name).name).strip(". ") or "data")
    if target.exists():
        source.unlink(missing_ok=True)
    else:
        shutil.move(source, target)
    return str(target)


def own_name(data_path: str) -> str:
    """What a person calls this data: an uploaded file by the name it came with, anything else as it is."""
    return re.sub(r"^.*[/\\]\.uploads[/\\][0-9a-f]{16}[/\\]", "", data_path)

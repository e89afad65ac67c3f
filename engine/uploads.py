"""Files that come through the page: kept in the studio's own store, the same content once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from engine.errors import DataError
from engine.runs.directory import runs_root
from engine.runs.place import writing

# Characters that are kept of a longer name, the last ones: they say what kind of file it is. No name may have above 255 bytes.
_LONGEST = 60


def store_upload(path: str | Path, name: str) -> str:
    """Take an uploaded file into the studio's own store and return its path there; the same content is kept once.

    It also stays where it came in: what lies there is called by its content, so two people who send the same send one file.

    Raises:
        DataError: it is not there any more.
        RunError: the folder of the runs cannot be written.
    """
    source, root = Path(path), runs_root()
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        why = "What was sent is cleared away when nobody has taken it for a day."
        raise DataError(f"The file {name!r} is not here any more. {why}", hint="Send it again.") from None
    with writing(root):
        return _kept(source, root / ".uploads" / digest[:16], name)


def _kept(source: Path, folder: Path, name: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    plain = re.sub(r"[^\w.\- ]+", "_", Path(name).name)
    target = folder / (plain[-_LONGEST:].strip(". ") or "data")
    if not target.exists():
        try:
            os.link(source, target)  # takes no room, and stays when the other one is cleared away
        except FileExistsError:
            pass  # somebody who sent the same was faster
        except OSError:  # another disk, or one without links
            _copy(source, target)
    return str(target)


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that nobody finds half of it under its name."""
    part = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        shutil.copyfile(source, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def own_name(data_path: str) -> str:
    """What a person calls this data: an uploaded file by the name it came with, anything else as it is."""
    return re.sub(r"^.*[/\\]\.uploads[/\\][0-9a-f]{16}[/\\]", "", data_path)

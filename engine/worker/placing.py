"""Files that take a while to write: written aside, brought to the disk, and put in place in one step.

Whoever looks, or goes on after a kill, finds the old or the new, and never half of one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

_HERE, _EXCHANGE = -100, 2  # Linux's AT_FDCWD and RENAME_EXCHANGE
# File systems and systems that cannot exchange two names.
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


def put(part: Path, target: Path) -> None:
    """Give the folder `part` the name of `target`, and delete what had it."""
    _to_disk(part)
    if not target.exists():
        os.replace(part, target)
    elif _exchanged(part, target):
        shutil.rmtree(part)
    else:
        old = target.with_name(f".{target.name}.old.part")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(target, old)
        os.replace(part, target)
        shutil.rmtree(old)
    _sync(target.parent)


def put_back(target: Path) -> None:
    """Undo half of a `put` where names cannot be exchanged: a kill between its two steps left nothing in place."""
    old = target.with_name(f".{target.name}.old.part")
    if old.exists() and not target.exists():
        os.replace(old, target)


def _exchanged(one: Path, other: Path) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if exchange is None:
        return False
    if exchange(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(one))


def _to_disk(folder: Path) -> None:
    """Without this a power cut may leave the new name with empty files behind it, after the old ones are gone."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

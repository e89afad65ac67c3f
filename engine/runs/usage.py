"""What a run takes on disk: worked out once and remembered while nothing in its folder changes."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from engine.runs.directory import RunDirectory

# While a run is at work its files come and go: it is looked at again after so many seconds.
_AGAIN_S = 20.0
_known: dict[Path, tuple[tuple[Any, ...], float, Usage]] = {}


class Usage(NamedTuple):
    """Bytes on disk: `total`, and of these what is only there to go on from (checkpoints and the best weights)."""

    total: int
    checkpoints: int

    def to_dict(self) -> dict[str, int]:
        return self._asdict()


def usage(run: RunDirectory) -> Usage:
    """What `run` takes. Cheap when asked again: an ended run is walked through once."""
    known, alive = _known.get(run.path), run.alive
    # a run at work writes its state at every step, and says by it when it has ended
    files = (run.path, run.checkpoints_dir, run.model_dir, run.status_file)
    seen = (alive, *(0 if alive else _changed(path) for path in files))
    if known and known[0] == seen and (not alive or time.monotonic() - known[1] < _AGAIN_S):
        return known[2]
    found = Usage(bytes_in(run.path), sum(bytes_in(path) for path in only_to_go_on(run)))
    if len(_known) > 20_000:
        _known.clear()
    _known[run.path] = seen, time.monotonic(), found
    return found


def only_to_go_on(run: RunDirectory) -> list[Path]:
    """What a finished model does not need: the checkpoints, and the weights of the best measurement so far."""
    return [path for path in (run.checkpoints_dir, run.path / "best.safetensors") if path.exists()]


def bytes_in(path: Path) -> int:
    """Bytes that a file or a folder takes on its disk; what goes away while we look counts nothing, nor does what a link
    points to."""
    try:
        if not path.is_dir() or path.is_symlink():
            return _blocks(path.lstat())
        with os.scandir(path) as entries:
            return sum(bytes_in(Path(one)) if one.is_dir(follow_symlinks=False) else _of(one) for one in entries)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def free_bytes(root: Path) -> int:
    """What is free where `root` is, or will be."""
    while not root.exists():
        root = root.parent
    return shutil.disk_usage(root).free


def _of(entry: os.DirEntry[str]) -> int:
    try:
        return _blocks(entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return 0


def _blocks(found: os.stat_result) -> int:
    """A file's blocks; its length where the system counts none (or lags behind, as for what was written just now)."""
    return max(getattr(found, "st_blocks", 0) * 512, 0) or found.st_size


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0

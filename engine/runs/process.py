"""Which process a number means: numbers are given again, so a process is known by when it began, on a clock nobody can set."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Two readings of the same process differ by no more, where only the wall clock tells.
_NEAR_S = 2.0
# Above it a number is of the wall clock, as older versions of this program wrote it.
_WALL = 1e9


def began(pid: int) -> float:
    """When a process began: seconds after the machine's start on Linux, elsewhere since 1970.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    try:
        # the name of the program may hold spaces and brackets; what follows the last bracket does not
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return int(told[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return psutil.Process(pid).create_time()


def is_same(pid: int, start: float) -> bool:
    """Whether the process `pid` is the one that began at `start`.

    Raises:
        psutil.NoSuchProcess: there is none of that number.
    """
    found = psutil.Process(pid).create_time() if start > _WALL else began(pid)
    return abs(found - start) < _NEAR_S


def lives(pid: int, start: float | None = None) -> bool:
    """Whether there is a process of that number that has not ended, and that began at `start` where that is known."""
    try:
        same = start is None or is_same(pid, start)
        return same and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def boot_id() -> str:
    """What tells one start of the machine from the next; "" where the system does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""

"""What the system says of processes that ended without a word: whether it restarted, and whom it killed for want of memory."""

from __future__ import annotations

from pathlib import Path

import psutil

from engine.runs.process import boot_id

# Of this process's own group first (a container counts for itself), else of the whole machine. Linux alone has them.
_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


def out_of_memory_kills() -> int | None:
    """How many processes the system has killed for want of memory since it began to count; None where it does not say."""
    for file in _COUNTERS:
        try:
            lines = file.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.strip().isdigit():
                return int(count)
    return None


def restarted_since(moment: float, boot: str = "") -> bool:
    """Whether the machine was started after `moment` (seconds since 1970); `boot`, where it is known, names the start of the
    machine that was then, which no clock that was set can change."""
    now = boot_id()
    return boot != now if boot and now else psutil.boot_time() > moment

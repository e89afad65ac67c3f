"""A file lock that the operating system drops when its holder dies, however it dies.

Owns flock and nothing else. A lock is the only proof of life here: after SIGKILL an unreaped child still answers
`kill(pid, 0)`, while its lock is free at once.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

# How much longer than asked for somebody is waited who only looks.
_LOOKER_S = 120.0


class FileLock:
    """An exclusive lock on one file; a context manager. The file stays, only the lock comes and goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self, timeout_s: float = 0.0) -> bool:
        """Take the lock, waiting up to `timeout_s` seconds; False when somebody else keeps it.

        Whoever only looks (`is_held`) has it for a moment. One that is stopped in that moment (a debugger, a suspended
        machine) is waited for beyond that time: the lock is nobody's.
        """
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                late = time.monotonic() - deadline
                if late >= 0 and (not timeout_s or late >= _LOOKER_S or is_held(self.path)):
                    os.close(fd)
                    return False
                time.sleep(0.02)
            else:
                self._fd = fd
                return True

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def fileno(self) -> int:
        """The open file that is locked. A process that inherits it keeps the lock when we let our copy go."""
        if self._fd is None:
            raise ValueError(f"The lock on {self.path} is not held.")
        return self._fd

    def __enter__(self) -> FileLock:
        if not self.acquire(timeout_s=60):
            raise TimeoutError(f"Another process has held {self.path} for a minute.")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock on `path` now. Asks for a shared lock, so that two askers never see each other."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False

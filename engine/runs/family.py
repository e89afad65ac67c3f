"""A worker and the processes that it has started: its process group, ended as a whole and never one that is not ours."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import psutil

from engine.runs import process

# A worker that has said its last word needs this long to let go of its libraries.
_FAREWELL_S = 10.0


@dataclass(frozen=True)
class Family:
    """The process group that `leader` leads, or has led: its number is not given to anybody else while a member lives."""

    leader: psutil.Process

    @classmethod
    def of(cls, pid: int, started: float | None) -> Family | None:
        """The family of the process `pid`, which began at `started` if that is known; None when it is gone."""
        try:
            leader = psutil.Process(pid)
            same = started is None or process.is_same(pid, started)
            return cls(leader) if same and os.getpgid(pid) == pid else None
        except (psutil.NoSuchProcess, ProcessLookupError):
            return None

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to every member, as one act; nothing when there is none."""
        if self.members():
            try:
                os.killpg(self.leader.pid, which)
            except ProcessLookupError:
                return  # the last of them ended just now

    def members(self) -> list[psutil.Process]:
        """Those that live, zombies left out."""
        found = [one for one in psutil.process_iter() if _group_of(one.pid) == self.leader.pid]
        if any(one.pid == self.leader.pid and one != self.leader for one in found):
            return []  # all of ours are gone: the number is another process's now
        return [one for one in found if _lives(one)]

    def end_those_left(self, timeout_s: float) -> None:
        """Once the worker has said its last word and ended by itself, kill what it has left behind."""
        deadline = time.monotonic() + _FAREWELL_S
        while _lives(self.leader) and time.monotonic() < deadline:
            time.sleep(0.05)
        deadline = time.monotonic() + timeout_s
        while self.members() and time.monotonic() < deadline:
            self.signal(signal.SIGKILL)
            time.sleep(0.05)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _lives(member: psutil.Process) -> bool:
    try:
        return member.is_running() and member.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

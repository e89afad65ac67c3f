"""What the benchmarks share: CPU seconds and memory of a process and its children, and waiting for something to be true."""

from __future__ import annotations

import os
import socket
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Use:
    """CPU seconds since the process began, and resident bytes now."""

    cpu_s: float
    rss: int


def use_of(pid: int, *, children: bool = True) -> Use:
    """The use of a process; of its whole tree with `children`, ended children included."""
    root = psutil.Process(pid)
    tree = [root, *root.children(recursive=True)] if children else [root]
    cpu = rss = 0.0
    for process in tree:
        try:
            times = process.cpu_times()
            cpu += times.user + times.system + (times.children_user + times.children_system if children else 0)
            rss += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return Use(cpu, int(rss))


def wait_for(what: Callable[[], bool], *, timeout_s: float, poll_s: float = 0.02) -> float:
    """Seconds until `what()` is true.

    Raises:
        TimeoutError: it never was.
    """
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"not within {timeout_s} s")
        time.sleep(poll_s)
    return time.monotonic() - began


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether the address serves a page now."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def environment(**extra: str) -> dict[str, str]:
    """This process's environment, offline and quiet, with `extra` over it."""
    quiet = {"HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return {**os.environ, **quiet, **extra}

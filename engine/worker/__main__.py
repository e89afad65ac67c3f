"""`python -m engine.worker JOB JSON_ARGS [CHANNEL_FD]`: one job in a process of its own, started cold."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from typing import Any

from engine.runs.channel import Channel

JOBS = {"train": "engine.worker.train", "inspect": "engine.worker.inspect", "chat": "engine.worker.chat"}


def run_job(job: str, args: dict[str, Any], channel: Channel | None) -> int:
    """Do one job; every job's module has `main(args, channel) -> exit code`.

    `args["environment"]` is set before the job's libraries are loaded, which look there for GPUs and threads.
    """
    os.environ.update(args.get("environment", {}))
    return importlib.import_module(JOBS[job]).main(args, channel)


def main(argv: list[str]) -> int:
    channel = Channel(socket.socket(fileno=int(argv[2]))) if len(argv) > 2 else None
    return run_job(argv[0], json.loads(argv[1]), channel)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

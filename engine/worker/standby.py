"""The fork server: imports the heavy libraries once, then forks a process for each job that it is asked for.

Safe because it stays a process of one thread that has run no tensor operation and never touched a GPU: forking after
OpenMP has started its threads hangs the child. `python -m engine.worker.standby SOCKET`; prints "ready" when warm.
It ends when its standard input does, that is, when the app that started it is gone; its children go on.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.runs.channel import Channel
from engine.worker.__main__ import run_job

# Who remembers whether bitsandbytes is there.
_REMEMBERED = {
    "peft.import_utils": ("is_bnb_available", "is_bnb_4bit_available"),
    "transformers.utils.import_utils": ("is_bitsandbytes_available",),
}


def preload() -> None:
    """Import what jobs need, transformers' lazily loaded parts included."""
    with _unseen_bitsandbytes():
        import accelerate
        import peft  # noqa: F401
        import torch
        import torch._dynamo
        import torch.optim
        import transformers.integrations
        import transformers.models.llama.modeling_llama
        import transformers.models.qwen2.modeling_qwen2
        import transformers.trainer  # noqa: F401

        import engine.worker.chat
        import engine.worker.inspect
        import engine.worker.train  # noqa: F401

    assert accelerate.__version__
    threads = len(os.listdir("/proc/self/task"))  # Python's own count does not know the threads of libraries
    assert threads == 1, f"a fork server must have one thread, and this one has {threads}"
    assert not torch.cuda.is_initialized(), "a fork server must not have touched the GPU"


@contextmanager
def _unseen_bitsandbytes() -> Iterator[None]:
    """While it is imported bitsandbytes asks the GPU what it can do, and peft imports it where it is installed: a job that
    needs it does so itself. Nobody remembers afterwards that it was not to be seen.
    """
    sys.modules["bitsandbytes"] = None  # type: ignore[assignment]  # Python's own sign for a module that cannot be imported
    try:
        yield
    finally:
        del sys.modules["bitsandbytes"]
    for module, names in _REMEMBERED.items():
        for name in names:
            getattr(importlib.import_module(module), name).cache_clear()


def serve(address: str) -> None:
    """Answer requests until the owner is gone."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(16)
    gc.collect()
    gc.freeze()  # children share these pages; a collection in a child would copy them
    os.write(sys.stdout.fileno(), b"ready\n")
    owner = sys.stdin.fileno()
    while True:
        ready, _, _ = select.select([listener, owner], [], [])
        if owner in ready:
            return
        connection, _ = listener.accept()
        with Channel(connection) as channel:
            try:
                request = channel.receive(5)
                if request is not None:
                    _fork(request, channel, listener)
            except (OSError, ValueError):  # a caller that hangs or talks nonsense, no memory for a child: others go on
                traceback.print_exc()


def _fork(request: dict[str, Any], channel: Channel, listener: socket.socket) -> None:
    """Fork twice, so that the job belongs to nobody and leaves no zombie."""
    middle = os.fork()
    if middle:
        os.waitpid(middle, 0)
        return
    if os.fork():
        os._exit(0)
    code = 1
    try:
        listener.close()
        os.setsid()
        code = _job(request, channel)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _job(request: dict[str, Any], channel: Channel) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    nothing = os.open(os.devnull, os.O_RDWR)
    output = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if request["log"] else nothing
    channel.send({"pid": os.getpid()})  # whoever has given up waiting has found another way: this process ends here
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    if request["job"] == "train":
        channel.close()
    return run_job(request["job"], request["args"], channel)


if __name__ == "__main__":
    preload()
    with contextlib.suppress(BrokenPipeError):  # the owner was killed before we were ready
        serve(sys.argv[1])
    shutil.rmtree(os.path.dirname(sys.argv[1]), ignore_errors=True)  # an owner that was killed leaves it lying

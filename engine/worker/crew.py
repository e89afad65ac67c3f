"""The further processes of a run that trains in several: started, watched and ended by its first one.

All are in the process group of the first, so that whoever ends a run ends them all. They are not put under torchrun's agent:
it starts its workers in sessions of their own, which live on when the agent is killed. A pipe to each tells both sides
when the other one is gone, however it went.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from engine.errors import TrainingError
from engine.runs.directory import RunDirectory
from engine.runs.lock import FileLock
from engine.runs.status import State
from engine.worker.failures import explained
from engine.worker.ranks import Ranks
from engine.worker.reporter import Reporter, StopRequested

Help = Callable[[RunDirectory, Ranks], None]

_PROJECT = Path(__file__).resolve().parents[2]
# A process that is told that it lost another one may be slower than whoever sees why.
_NEWS_S = 5.0
# So long the first may take to notice by itself that another one is gone, before it is ended where it stands.
_GRACE_S = 20.0
_DONE = b"done"
# How gloo and NCCL say that the other side is gone.
_LOST = ("gloo", "NCCL", "ProcessGroup", "Connection closed by peer", "Connection reset by peer", "Broken pipe")


class Crew:
    """The helpers of one run. Made before anything is computed: only then can this process be forked."""

    def __init__(self, size: int, reporter: Reporter, lock: FileLock, help_out: Help) -> None:
        """Start `size` - 1 helpers that do `help_out`; `reporter` learns that it is the first of as many.

        `lock` is the run's: it stays ours alone.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="aitraining-ranks-"))
        reporter.ranks = self.ranks = Ranks(0, size, self.folder / "meeting")
        self._reporter, self._lock, self._help = reporter, lock, help_out
        self._news: dict[int, int] = {}  # rank: the pipe that it tells its end by
        self._pids: dict[int, int] = {}
        self._lost: TrainingError | None = None
        self._ended = False
        self._noticed = threading.Event()
        alive, self._alive = os.pipe()  # its end closes when we are gone
        for rank in range(1, size):
            heard, told = os.pipe()
            self._news[rank] = heard
            place = Ranks(rank, size, self.ranks.meeting)
            self._pids[rank] = self._fork(place, alive, told) if _may_fork() else _cold(reporter.run, place, alive, told)
            os.close(told)
        os.close(alive)
        for rank in self._news:
            threading.Thread(target=self._watch, args=(rank,), daemon=True, name=f"rank {rank}").start()

    def _fork(self, place: Ranks, alive: int, told: int) -> int:
        pid = os.fork()
        if pid == 0:
            for end in (self._alive, *self._news.values()):
                os.close(end)
            self._lock.release()  # the copy that came with the fork
            helper(self._reporter.run, place, self._help, alive, told)
        return pid

    def blamed(self, error: BaseException) -> BaseException:
        """What is to be told of `error`: that another process is gone, if it is no more than the echo of that."""
        echo = isinstance(error, (RuntimeError, torch.distributed.DistError)) and any(word in str(error) for word in _LOST)
        if echo:
            self._noticed.wait(_NEWS_S)
        return self._lost if echo and self._lost else error

    def end(self) -> None:
        """End whoever is still there."""
        self._ended = True
        for pid in list(self._pids.values()):
            _kill(pid)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _watch(self, rank: int) -> None:
        with os.fdopen(self._news[rank], "rb") as pipe:
            words = pipe.read()
        _, code = os.waitpid(self._pids[rank], 0)
        del self._pids[rank]  # its number may soon be another's
        if words == _DONE or self._ended or self._lost:
            return
        if not words and not os.WIFSIGNALED(code):
            return  # it lost somebody itself: whoever is gone first is told of
        self._lost = _loss(rank, self.ranks.size, words, code)
        self._noticed.set()
        time.sleep(_GRACE_S)
        if not self._ended:
            self._abandon(self._lost)

    def _abandon(self, lost: TrainingError) -> NoReturn:
        """End this process, which waits for one that is gone, and tell why."""
        told = {"reason": lost.message, "hint": lost.hint, "cause": lost.cause}
        self._reporter.set(state=State.FAILED, **told, ended=time.time(), phase="")
        self.end()
        os._exit(1)


def helper(run: RunDirectory, place: Ranks, help_out: Help, alive: int, told: int) -> NoReturn:
    """What a further process does from its start to its end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first one decides when all end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_live_on, args=(alive,), daemon=True).start()
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # what all do is told once
    try:
        help_out(run, place)
        os.write(told, _DONE)
        code = 0
    except StopRequested:  # which the first one tells of
        os.write(told, _DONE)
        code = 0
    except BaseException as error:
        code = 1
        if not any(word in str(error) for word in _LOST):
            import traceback

            traceback.print_exc()
            cause = explained(error)
            os.write(told, json.dumps([cause.message, cause.hint, cause.cause]).encode())
    sys.stderr.flush()
    os._exit(code)


def _live_on(alive: int) -> None:
    """End this process when the first one is gone."""
    os.read(alive, 1)
    os._exit(1)


def _loss(rank: int, size: int, words: bytes, code: int) -> TrainingError:
    which = f"process {rank + 1} of {size}"
    if words:
        message, hint, cause = json.loads(words)
        return TrainingError(f"{message} (In {which}.)", hint=hint, cause=cause)
    return TrainingError(
        f"One of the training processes ended without a word ({which}, by signal {os.WTERMSIG(code)}), and all ended with it.",
        hint="It was killed or ran out of memory. Resume the run, with fewer processes if memory is short.",
        cause="killed",
    )


def _may_fork() -> bool:
    """Whether this process is one thread and has touched no GPU: then a fork is safe, quick, and shares its memory."""
    tasks = Path("/proc/self/task")
    return tasks.is_dir() and len(list(tasks.iterdir())) == 1 and not torch.cuda.is_initialized()


def _cold(run: RunDirectory, place: Ranks, alive: int, told: int) -> int:
    """Start a helper as a program of its own, in our process group."""
    given: dict[str, Any] = {"run": str(run.path), "rank": place.rank, "size": place.size, "meeting": str(place.meeting)}
    done = subprocess.Popen(
        [sys.executable, "-m", "engine.worker.rank", json.dumps({**given, "alive": alive, "told": told})],
        stdin=subprocess.DEVNULL,
        pass_fds=[alive, told],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_PROJECT), os.environ.get("PYTHONPATH")]))},
    )
    done.returncode = 0  # we wait for it ourselves
    return done.pid


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

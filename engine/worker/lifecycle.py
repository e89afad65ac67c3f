"""How the process of a run begins and ends: the run's lock, signals, and a failure told in the run's own status."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import time
import traceback

import torch
import transformers

from engine.runs.directory import RunDirectory
from engine.runs.lock import FileLock
from engine.runs.status import State
from engine.worker.failures import LastWords, explained, out_of_room
from engine.worker.reporter import Reporter


def tell_failure(run: RunDirectory, reporter: Reporter, last_words: LastWords, error: BaseException) -> None:
    told = explained(error, disk_full=last_words.no_room)
    state = State.FAILED
    if told.cause == "disk":
        last_words.make_room()
        state, told = out_of_room(run, reporter.status, told)
    with contextlib.suppress(OSError):  # the log may lie on a full disk
        traceback.print_exception(error)
    reporter.set(state=state, reason=told.message, hint=told.hint, cause=told.cause, ended=time.time(), phase="")


def take(run: RunDirectory, launched: float | None) -> FileLock | None:
    """The run's lock, held for life; None when the run is another process's."""
    lock = run.lock()
    if not lock.acquire(timeout_s=10):
        print(f"Another process works on {run.name} already.", file=sys.stderr)
        return None
    if launched not in (None, run.written_status().launched):
        print(f"{run.name} was launched anew meanwhile; this process leaves.", file=sys.stderr)
        lock.release()
        return None
    return lock


def settle(run: RunDirectory, environment: dict[str, str]) -> None:
    """What holds for the whole process."""
    if threads := environment.get("OMP_NUM_THREADS"):  # PyTorch, when it is loaded already, looks there no more
        torch.set_num_threads(int(threads))
    # the system's own word that everything ends, unless somebody asked for the stop before
    signal.signal(signal.SIGTERM, lambda *_: None if run.stop_requested else run.request_stop("shutdown"))
    transformers.logging.set_verbosity_warning()
    transformers.logging.disable_progress_bar()  # bars are for terminals; this output is a file
    faulthandler.enable(2)  # a crash inside a library leaves its place in the log, wherever Python's own stderr goes

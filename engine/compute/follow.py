"""`python -m engine.compute.follow RUN`: sends a run to Hugging Face Jobs and writes down here what happens there.

This process holds the run's lock, as a worker does, and outlives the page. When it is gone (the machine restarted) the job
goes on; a new one takes up where it was, since job.json knows the job and every line of its log has a number.
"""

from __future__ import annotations

import itertools
import json
import os
import queue as waiting
import secrets
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from engine.compute import parcel
from engine.compute.ending import why_it_ended
from engine.compute.errand import LABEL, errand
from engine.compute.hf_jobs import TARGET
from engine.compute.hub_answers import Unreachable, asked
from engine.compute.in_job import MARK
from engine.compute.rented import Rented, note, rented
from engine.errors import DeviceError, StudioError, TrainingError
from engine.people import act_for_owner_of
from engine.registry import parse
from engine.runs import events, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import ENDED, State, Status

_POLL_S = 2.0
_OVER = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
# After a job's end its last lines may still be on their way.
_LAST_LINES_S = 15.0
# What of the status there is true here as well.
_SAME = ("phase", "step", "total_steps", "best_step", "best_value", "kept_step", "kept_value", "device", "metrics")


class Follower:
    """Follows one run's job from wherever it stands to its end."""

    def __init__(self, run: RunDirectory) -> None:
        from huggingface_hub import HfApi

        self.run, self.hub = run, HfApi()
        self.job: Rented | None = rented(run)
        self.there: Status | None = None  # the status of the run on the rented machine
        self.sent = False
        size = run.events_file.stat().st_size if run.events_file.is_file() else 0
        found, _ = events.read(run.events_file, 0, limit_bytes=size + 1)
        self.seen = max((event.get("n", 0) for event in found), default=0)
        self._lines: waiting.Queue[str] = waiting.Queue()
        self._told_silence = False

    # ---- sending

    def go(self) -> None:
        """Send what is not sent, and follow it to its end."""
        self.job = self._hired(self.job or self._agreed())
        self.run.log_file.write_bytes(b"")  # the whole log comes again
        threading.Thread(target=self._read, daemon=True, name="log").start()
        self._follow()

    def _agreed(self) -> Rented:
        """The machine, its price and its owner, written down before anything is sent."""
        params = parse(self.run.params())
        machine = TARGET.chosen(params)
        owner = params.job_owner or asked(self.hub.whoami)["name"]
        key = f"{self.run.name}-{secrets.token_hex(4)}"
        repo = f"{owner}/aitraining-{key}"
        hours = params.job_hours * 3600
        return note(self.run, Rented(key, owner, repo, machine.name, machine.title, machine.per_hour, hours))

    def _hired(self, job: Rented) -> Rented:
        """The job itself: the one that was begun, or a new one."""
        if job.id:
            return job
        begun = next(iter(self._begun(job)), None)
        if begun is None:
            self._phase("Sending data and settings to Hugging Face")
            parcel.send(self.run, job.repo)
            self._heed_stop()
            self._phase(f"Waiting for {job.title}")
            from huggingface_hub import get_token

            try:
                begun = asked(self.hub.run_job, **errand(parse(self.run.params()), job, get_token() or ""))
            except DeviceError:
                parcel.clear(self.run, note(self.run, job, ended=time.time()).repo)
                raise
        return note(self.run, job, id=begun.id, url=begun.url)

    def _heed_stop(self) -> None:
        if self.run.stop_requested:
            raise TrainingError("Stopped on request before it was sent.", cause="stopped")

    # ---- following

    def _follow(self) -> None:
        cancelled = False
        while True:
            self._take_lines(_POLL_S)
            self.run.lock_file.touch()
            try:
                stage, words = self._stage()
                if self.run.stop_requested and not cancelled and stage not in _OVER:
                    self._phase("Cancelling the job")
                    asked(self.hub.cancel_job, job_id=self._id, namespace=self._owner)
                    cancelled = True
                self._told_silence = False
            except Unreachable as error:
                self._tell_silence(error)
                continue
            if stage in _OVER:
                self._end(stage, words)
                return

    def _stage(self) -> tuple[str, str]:
        found = asked(self.hub.inspect_job, job_id=self._id, namespace=self._owner)
        stage = str(getattr(found.status.stage, "value", found.status.stage))
        ran = found.durations.running_secs if found.durations else None
        began = found.started_at.timestamp() if found.started_at else (time.time() - ran if ran else None)
        job = self.job
        assert job is not None
        if began and job.started is None:
            job = note(self.run, job, started=began)
        if stage in _OVER and job.ended is None:
            ended = found.finished_at.timestamp() if found.finished_at else time.time()
            job = note(self.run, job, ended=ended)
        self.job = job
        return stage, found.status.message or ""

    def _read(self) -> None:
        """Hand on the job's log, line by line, until it ends; a connection that breaks is made anew."""
        heard = 0
        while True:
            try:
                lines = self.hub.fetch_job_logs(job_id=self._id, namespace=self._owner, follow=True)
                for line in itertools.islice(lines, heard, None):
                    self._lines.put(line)
                    heard += 1
                return
            except Exception as error:  # the log alone is lost, which the run need not be
                print(f"The job's log broke off ({type(error).__name__}).", file=sys.stderr, flush=True)
            time.sleep(_POLL_S)

    def _take_lines(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                self._take(self._lines.get(timeout=left))
            except waiting.Empty:
                return

    def _take(self, line: str) -> None:
        if not line.startswith(MARK):
            self._log(line)
            return
        try:
            told = json.loads(line.removeprefix(MARK))
        except ValueError:
            self._log(line)
            return
        if "log" in told:
            self._log(told["log"])
        elif "event" in told and told["n"] > self.seen:
            self.seen = told["n"]
            event = {key: value for key, value in told["event"].items() if key not in ("t", "type")}
            self.run.log_event(told["event"]["type"], **event, n=told["n"])
        elif "status" in told and told["n"] > self.seen:  # one that is older than the events we have would go back in time
            self._know(Status.from_dict(told["status"]))
        elif "sent" in told:
            self.sent = True

    def _know(self, there: Status) -> None:
        self.there = there
        state = State.SAVING if there.state in ENDED else there.state
        if state is not State.QUEUED:
            self.run.update_status(state=state, **{name: getattr(there, name) for name in _SAME})

    def _log(self, line: str) -> None:
        from huggingface_hub import get_token

        token = get_token()
        with self.run.log_file.open("a", encoding="utf-8") as file:
            file.write((line.replace(token, "hf_…") if token else line).rstrip("\n") + "\n")

    # ---- ending

    def _end(self, stage: str, words: str) -> None:
        until = time.monotonic() + _LAST_LINES_S
        while stage in ("COMPLETED", "ERROR") and not self._heard_all() and time.monotonic() < until:
            self._take_lines(1.0)
        self._take_lines(0.2)
        there, job = self.there, self.job
        assert job is not None
        if self.sent or stage == "COMPLETED":  # a job that ended well has sent it, whether or not the log came to say so
            self._bring(job, there if self.sent else None)
            return
        parcel.clear(self.run, job.repo)
        raise why_it_ended(stage, words, there, job, stopped=self.run.stop_requested)

    def _bring(self, job: Rented, there: Status | None) -> None:
        """Fetch the model; `there` is what the run said at its end, None if that was not heard."""
        self._phase("Fetching the model", State.SAVING)
        self._patiently(lambda: parcel.bring(self.run, job.repo))
        step = there.step if there else self.run.status().step
        if there is None:
            told = (
                "The end of the log did not arrive from Hugging Face, so the last points are missing here. The model is whole."
            )
            self.run.log_event("warning", message=told, hint=f"The job's own page has all of it: {job.url}")
        self.run.log_event("saved", step=step, path="model")
        parcel.clear(self.run, job.repo)
        done = {
            "state": State.DONE,
            "reason": there.reason if there else "",
            "hint": "",
            "cause": "",
            "phase": "",
            "step": step,
        }
        self.run.update_status(**done, ended=time.time())

    def _heard_all(self) -> bool:
        return self.sent or (self.there is not None and self.there.state in ENDED and self.there.state is not State.DONE)

    def _patiently(self, work: Callable[[], None]) -> None:
        """Do it once the Hub answers; a stop ends the waiting."""
        while True:
            try:
                work()
                return
            except Unreachable as error:
                if self.run.stop_requested:
                    raise
                self._tell_silence(error)
                self.run.lock_file.touch()
                time.sleep(_POLL_S)

    def give_up(self) -> None:
        """End the job, if there is one: nobody would follow it, and it costs."""
        job = rented(self.run)
        if job is None or not job.at_work:
            return
        found = [job.id] if job.id else [one.id for one in self._begun(job)]
        for one in found:
            asked(self.hub.cancel_job, job_id=one, namespace=job.namespace)
        note(self.run, job, ended=time.time())

    def _begun(self, job: Rented) -> list[Any]:
        return asked(lambda: list(self.hub.list_jobs(labels={LABEL: job.key}, namespace=job.namespace)))

    def _tell_silence(self, error: StudioError) -> None:
        if not self._told_silence:
            self._told_silence = True
            self.run.log_event("warning", message=f"{error.message} The job goes on; it is asked again.", hint="")

    def _phase(self, words: str, state: State = State.PREPARING) -> None:
        self.run.update_status(state=state, phase=words)
        self.run.log_event("phase", phase=words, state=state.value)

    @property
    def _id(self) -> str:
        return self.job.id if self.job else ""

    @property
    def _owner(self) -> str:
        return self.job.namespace if self.job else ""


def main(argv: list[str]) -> int:
    run = RunDirectory(Path(argv[0]))
    act_for_owner_of(run.path)
    lock = run.lock()
    if not lock.acquire(timeout_s=10):
        print(f"Another process follows {run.name} already.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: run.request_stop())
    _begin(run)
    ended = _followed(run)
    if ended:
        run.update_status(**ended, ended=time.time(), phase="")
    lock.release()
    queue.dispatch(run.path.parent)
    return 0 if not ended or ended["state"] is State.STOPPED else 1


def _followed(run: RunDirectory) -> dict[str, Any]:
    """Follow the run to its end; what is to be said of an end without a model."""
    follower = Follower(run)
    try:
        follower.go()
        return {}
    except TrainingError as error:
        state = State.STOPPED if error.cause == "stopped" else State.FAILED
        told = {"state": state, "reason": error.message, "hint": error.hint, "cause": error.cause}
    except StudioError as error:
        cause = "device" if isinstance(error, DeviceError) else "data"
        told = {"state": State.FAILED, "reason": error.message, "hint": error.hint, "cause": cause}
    except BaseException as error:  # whatever ended the work must be told
        traceback.print_exc()
        hint = "The log's last lines say where it happened."
        told = {"state": State.FAILED, "reason": f"{type(error).__name__}: {error}", "hint": hint, "cause": "error"}
    try:
        follower.give_up()
    except Exception as error:
        still = f"Its job may still run and cost: look at https://huggingface.co/settings/jobs ({error})"
        told["hint"] = f"{told['hint']} {still}"
    return told


def _begin(run: RunDirectory) -> None:
    pid = os.getpid()
    status = replace(run.written_status(), started=time.time(), pid=pid, pid_started=psutil.Process(pid).create_time())
    state = State.PREPARING if status.state is State.QUEUED else status.state
    run.write_status(replace(status, state=state))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""One run's course: begun through the API, struck, resumed until it is done, and looked at after every strike."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psutil

from engine.registry import specs
from engine.samples import samples
from engine.spec import TrainerSpec
from tests.faults import checks, killer
from tests.faults.checks import ENDED, WORKING, within
from tests.faults.studio import PROJECT, NoAnswer, Studio
from tests.faults.tally import Tally

STEPS = 6
# Longer than a worker that was launched may take to show itself (engine/runs/status.py), and then to train.
END_S = 240.0
# No run may stand still for longer than this once everything around it lives again.
SLOW_S = 180.0
_SHORT = {
    "max_steps": STEPS,
    "epochs": 50,
    "batch_size": 2,
    "max_samples": 24,
    "valid_fraction": 0.25,
    "eval_steps": 3,
    "save_steps": 2,
    "logging_steps": 1,
    "sample_tokens": 4,
    "max_length": 96,
    "lr": 1e-4,
    "gradient_accumulation": 1,
    "device": "cpu",
}
_OF_WRITERS = {"rl_max_new_tokens": 8, "distill_max_teacher_length": 8, "rl_num_generations": 4, "rl_rounds": 2}


def settings(spec: TrainerSpec, *, peft: bool) -> dict[str, Any]:
    """A run of the trainer on its own sample that takes seconds."""
    sample = next(sample for sample in samples() if sample.trainer == spec.id)
    own = {key: value for key, value in _OF_WRITERS.items() if key in spec.params.model_fields}
    data = {"trainer": spec.id, "model": "starter", "data_path": f"sample:{sample.id}"}
    return {**data, **_SHORT, **own, **spec.example_settings, **sample.settings, "peft": peft}


@dataclass(frozen=True)
class How:
    """How much is done to each run. Whatever dies is started again, and what is started cold costs seconds."""

    longest_stop_s: float = 60.0
    strikes: tuple[int, ...] = (1, 1, 1, 2, 2, 3)
    targets: tuple[str, ...] = killer.TARGETS
    in_the_request: float = 0.1  # share of the runs whose server dies while it is asked to start them
    from_the_terminal: float = 0.05  # share of the resumes by `aitraining resume`


class Course:
    """Takes one run from its start to `done`, with up to three strikes on the way."""

    def __init__(self, studio: Studio, number: int, seed: str, tally: Tally, how: How) -> None:
        self.studio, self.tally, self.number, self.how = studio, tally, number, how
        self.random = Random(f"{seed} {number}")
        known = list(specs().values())
        self.spec, self.peft = known[number % len(known)], bool((number + number // len(known)) % 2)
        self.key = f"fault-{seed}-{number}"
        self.folder = Path()
        self.pids: set[int] = set()
        self.second: Studio | None = None
        self.to_go: list[tuple[psutil.Process, str]] = []
        self.ends = 0
        self.curves: dict[str, dict[int, float]] = {}
        self.seen = 0

    def run(self) -> None:
        """All of it."""
        self.begin()
        left = self.random.choice(self.how.strikes)
        while True:
            state = self.state()
            if state == "done":
                break
            if state in ENDED:
                self.look()
                if not self.resume():
                    break
            elif left:
                left -= 1
                self.strike(killer.draw(self.random, self.how.longest_stop_s, self.how.targets))
            elif not within(SLOW_S, lambda: self.state() in ENDED, 0.2):
                self.tally.defect("slow", f"{self.told()} is {self.state()} for {SLOW_S:.0f} s and nobody disturbs it")
                if not within(END_S, lambda: self.state() in ENDED, 0.2):
                    self.tally.defect("lost", f"{self.told()} never ends")
                    break
        self.finish()

    # ---- begin, resume

    def begin(self) -> None:
        """Start the run; now and then the server dies while it is asked, and is asked once more."""
        body = settings(self.spec, peft=self.peft)
        if self.random.random() < self.how.in_the_request:
            which = self.random.choice((signal.SIGKILL, signal.SIGTERM))
            asking = threading.Thread(target=self._ask_once, args=(body,))
            asking.start()
            time.sleep(self.random.uniform(0, 0.25))
            self.tally.strikes["starting it", which.name, "server"] += 1
            self._end_server(which)
            asking.join()
            self.studio.start()
        code, answer = self._start(body)
        if code != 201:
            raise AssertionError(f"{self.spec.id} cannot be started: {answer}")
        self.folder = self.studio.root / answer["name"]
        self.tally.counts["started"] += 1

    def _ask_once(self, body: dict[str, Any]) -> None:
        with contextlib.suppress(NoAnswer):  # that is what happens to whoever asks a server that dies
            self._start(body)

    def _start(self, body: dict[str, Any]) -> tuple[int, Any]:
        return self.studio.ask("POST", "/studio/api/runs", body, Idempotency_Key=self.key)

    def resume(self) -> bool:
        """Put the run back in the queue, from the command line or through the API; whether that was possible."""
        self.remember()
        if self.random.random() < self.how.from_the_terminal:
            words = [sys.executable, "-m", "engine.cli", "resume", self.folder.name, "--no-follow"]
            env = {**psutil.Process().environ(), "AITRAINING_HOME": str(self.studio.root), "HF_HUB_OFFLINE": "1"}
            ended = subprocess.run(words, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=600)
            refused = ended.stderr if ended.returncode else ""
        else:
            code, answer = self.ask(lambda: self.studio.ask("POST", f"/studio/api/runs/{self.folder.name}/resume", {}))
            refused = "" if code == 200 else str(answer)
        if refused:
            self.tally.defect("not resumed", f"{self.told()} ({self.report()['reason']}): {refused}")
            return False
        self.tally.counts["resumed"] += 1
        return True

    # ---- strikes

    def strike(self, strike: killer.Strike) -> None:
        """Wait for the moment, strike, put right what must be (a server is started again), and look."""
        if not killer.await_moment(self.folder, strike):
            return
        target = killer.aimed(strike, self.folder, self.studio)
        if target is None:
            return
        self.remember()
        phase = killer.phase_of(self.folder)
        try:
            if strike.target == "server" and strike.signal is not signal.SIGSTOP:
                self._end_server(strike.signal)
            else:
                target.send_signal(strike.signal)
        except psutil.NoSuchProcess:
            return
        self.tally.strikes[phase, strike.signal.name, strike.target] += 1
        if strike.signal is signal.SIGSTOP:
            self._held(strike, target)
        self.ends += strike.target == "worker" and strike.signal is not signal.SIGSTOP
        if not self.studio.alive:
            time.sleep(self.random.uniform(0, 1))
            self.studio.start()
            if self.random.random() < 0.7:  # else what comes next starts cold
                within(60, self.studio.warm)
        if strike.target == "worker" and strike.signal is signal.SIGKILL:
            self._seen_dead(target)
        self.truthful(f"{strike.signal.name} at {strike.target} while {phase}")

    def _held(self, strike: killer.Strike, target: psutil.Process) -> None:
        """The time in which a process is stopped: what does not depend on it goes on telling the truth."""
        try:
            time.sleep(strike.stopped_s / 2)
            if strike.target != "server":
                self.truthful(f"{strike.target} is stopped")
            time.sleep(strike.stopped_s / 2)
        finally:
            if target.is_running():
                target.send_signal(signal.SIGCONT)

    def _seen_dead(self, target: psutil.Process) -> None:
        if not within(5, lambda: not target.is_running() or target.status() == psutil.STATUS_ZOMBIE):
            self.tally.defect("orphans", f"{self.told()}: {target.pid} outlives SIGKILL")

    def _end_server(self, which: signal.Signals) -> None:
        """End the server; its standby must go with it, what trains must not. Sometimes a second server is there by then."""
        standby = self.studio.standby()
        if self.second is None and self.random.random() < 0.1:
            self.second = Studio(self.studio.root)
            self.second.start()
        try:
            self.studio.end(which)
        except subprocess.TimeoutExpired:
            self.tally.defect("orphans", f"the server does not heed {which.name}")
            self.studio.end(signal.SIGKILL)
        if standby is not None:
            self.to_go.append((standby, f"the standby {standby.pid} outlives its server, ended by {which.name}"))

    # ---- looking

    def ask(self, what: Callable[[], tuple[int, Any]]) -> tuple[int, Any]:
        """What the server answers; one that is not there is a defect of this test, or of the server."""
        try:
            return what()
        except NoAnswer as error:
            self.tally.defect("lost", f"the server does not answer: {error}")
            raise

    def report(self) -> dict[str, Any]:
        code, answer = self.ask(lambda: self.studio.ask("GET", f"/studio/api/runs/{self.folder.name}"))
        if code != 200:
            self.tally.defect("lost", f"{self.told()}: {answer}")
            raise AssertionError(answer)
        return answer

    def state(self) -> str:
        return self.report()["state"]

    def told(self) -> str:
        return f"{self.folder.name} ({self.spec.id}, {'LoRA' if self.peft else 'full'}, course {self.number})"

    def remember(self) -> None:
        self.pids.update(checks.pids_of(self.folder))

    def _worker_left(self) -> bool:
        """Whether nobody works any more on a run that has ended. One that is held still while it leaves cannot."""
        worker = checks.worker_of(self.folder)
        return self.state() not in ENDED or worker is None or checks.held_still(worker)

    def truthful(self, after: str) -> None:
        """What the API says of the run must fit its process, within the moments that telling takes."""
        self.remember()
        if within(5.0, lambda: self.state() not in WORKING or checks.worker_of(self.folder) is not None):
            if not within(60, self._worker_left):
                self.tally.defect("wrong states", f"{self.told()}: {self.state()}, and its process lives; after {after}")
        else:
            self.tally.defect("wrong states", f"{self.told()}: {self.state()}, and its process is gone; after {after}")
        self.follow()

    def look(self) -> None:
        """A run that has ended without being done: told why, nothing broken, nothing left running."""
        report = self.report()
        if report["state"] == "failed" or not report["reason"]:
            self.tally.defect("wrong states", f"{self.told()}: {report['state']}, {report['reason']} {report['hint']}")
        self.quiet()
        for broken in checks.corrupt(self.folder):
            self.tally.defect("corrupt", f"{self.told()}: {broken}")

    def quiet(self) -> None:
        """No process of the run is left once it has ended."""
        self.remember()
        for pid in self.pids:
            if not within(60, lambda pid=pid: not checks.left_of_group(pid)):
                self.tally.defect("orphans", f"{self.told()} is {self.state()}: {checks.left_of_group(pid)} live on")

    def follow(self) -> None:
        """Ask what a page asks that is open all the time, and keep what it keeps."""
        code, news = self.ask(lambda: self.studio.ask("GET", f"/studio/runs/{self.folder.name}/live?events={self.seen}&log=0"))
        assert code == 200, news
        self.seen = news["events"]
        if news["reset"]:
            self.curves = {}
        for key, (steps, values) in news["curves"].items():
            known = self.curves.setdefault(key, {})
            for step, value in zip(steps, values, strict=True):
                if step in known:
                    self.tally.defect("broken curves", f"{self.told()}: an open page has step {step} of {key} twice")
                known[step] = value

    def finish(self) -> None:
        """The end of the course: a done run is what it says."""
        report = self.report()
        if report["state"] == "done":
            self._finished(report)
        self.quiet()
        if self.second is not None:
            self.second.end(signal.SIGTERM)
        for process, sentence in self.to_go:
            # one that is still importing its libraries ends when it has
            if not within(300, lambda process=process: not process.is_running()):
                self.tally.defect("orphans", sentence)
        self._known_once()

    def _finished(self, report: dict[str, Any]) -> None:
        self.tally.counts["done"] += 1
        self.quiet()
        for broken in checks.corrupt(self.folder):
            self.tally.defect("corrupt", f"{self.told()}: {broken}")
        if wrong := checks.unloadable(self.folder / "model"):
            self.tally.defect("wrong states", f"{self.told()} is done, and its model cannot be loaded: {wrong}")
        if report["step"] != report["total_steps"] or report["step"] != STEPS:
            self.tally.defect("wrong states", f"{self.told()} is done at step {report['step']} of {report['total_steps']}")
        self.follow()
        whole = {key: (list(known), list(known.values())) for key, known in self.curves.items()}
        for broken in checks.broken_curves(whole, self.spec.headline, STEPS):
            self.tally.defect("broken curves", f"{self.told()}: {broken}")
        if (lost := checks.lost_points(self.folder)) > self.ends:
            self.tally.defect("lost", f"{self.told()}: {lost} points of its curves after {self.ends} ends by force")

    def _known_once(self) -> None:
        code, listed = self.ask(lambda: self.studio.ask("GET", "/studio/api/runs"))
        names = {one["name"] for one in listed} if code == 200 else set()
        if self.folder.name not in names:
            self.tally.defect("lost", f"{self.told()} is not in the list")
        on_disk = [path for path in self.studio.root.iterdir() if path.is_dir() and not path.name.startswith(".")]
        if strangers := {path.name for path in on_disk} - names:
            self.tally.defect("lost", f"{strangers} are on disk and not in the list")

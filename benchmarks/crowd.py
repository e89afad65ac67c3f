"""(c) What twenty viewers of a long run cost: the training's steps per second, and the server's processor time.

    python benchmarks/crowd.py [pairs of windows] [threads] [seconds of a window]

A real training whose history has 100,000 points; by turns nobody watches, and twenty pages that poll as assets/monitor.js
does, the question what is wrong included, all opened at once. Reach: at most 3 % of the steps, at most half a core.

A machine is faster in one minute than in the next, by more than those 3 %. So every window with viewers is compared with
the one without that is beside it, first one and then the other going before (ABBA); told is the median of these ratios, and
the interval that nine of ten samplings of them (bootstrap) fall into. Rows are packed, so that every step costs the same.
The processor time that the training needs for a step is told the same way: whoever else is on this machine can make a step
wait, but hardly make it compute more.

Whoever watches is on this machine here, and at home on another: the training is given `threads` cores (1), so that on two
there is one for the server and for those who watch, whose own time is told, too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from random import Random

from measure import answers, environment, free_port, use_of, wait_for

ROOT = Path(__file__).resolve().parent.parent
SETTLE_S = 2.0
VIEWERS = 20
POINTS = 100_000
FINDINGS_S = 10.0


class Viewer(threading.Thread):
    """A page that is opened when `watching` is set and closed when it is cleared."""

    def __init__(self, address: str, watching: threading.Event) -> None:
        super().__init__(daemon=True)
        self.address, self.watching = address, watching
        self.answers = 0

    def run(self) -> None:
        events = log = 0
        diagnosed = 0.0
        while True:
            if not self.watching.is_set():
                events = log = 0  # who comes back has a new page
                self.watching.wait()
            try:
                news = self._get(f"/live?events={events}&log={log}")
                if time.monotonic() - diagnosed > FINDINGS_S:
                    diagnosed = time.monotonic()
                    self._get("/findings")
            except urllib.error.HTTPError:
                raise
            except TimeoutError:
                continue  # on a machine that is too busy to measure
            except OSError:
                return  # the server has ended, and with it the measurement
            events, log = news["events"], news["log"]
            self.answers += 1
            time.sleep(0 if news["more"] else 1)

    def _get(self, path: str):
        with urllib.request.urlopen(self.address + path, timeout=60) as reply:
            return json.load(reply)


def lengthen(file: Path) -> None:
    """Give a run at work the history of a long one; a whole line is one write, as the worker's are."""
    values = {"learning_rate": 1e-5, "grad_norm": 1.0, "token_accuracy": 0.5, "tokens_per_second": 1e3, "memory_bytes": 1e9}
    with file.open("ab", buffering=0) as events:
        for step in range(POINTS):
            line = {"t": time.time(), "type": "metric", "step": step, "values": {"loss": 5 / (1 + step), **values}}
            events.write(json.dumps(line).encode() + b"\n")


@dataclass(frozen=True)
class Window:
    """Some seconds, watched or not: when it began and ended, and the CPU seconds of server and training in it."""

    watched: bool
    began: float
    ended: float
    server: float
    training: float

    @property
    def cores(self) -> float:
        return self.server / (self.ended - self.began)

    def steps(self, done: list[float]) -> list[float]:
        return [moment for moment in done if self.began <= moment < self.ended]


def by_turns(address: str, server: int, training: int, windows: int, seconds: float) -> tuple[list[Window], int, float]:
    """The windows, how many answers the viewers got, and the seconds of a core that they took themselves."""
    watching = threading.Event()
    viewers = [Viewer(address, watching) for _ in range(VIEWERS)]
    for viewer in viewers:
        viewer.start()
    marks, own = [], time.process_time()
    for turn in range(windows * 2):
        watched = turn % 4 in (1, 2)
        watching.set() if watched else watching.clear()
        time.sleep(0 if watched else SETTLE_S)  # that pages are opened belongs to watching
        began, used = time.time(), (cpu_s(server), cpu_s(training))
        time.sleep(seconds)
        marks.append(Window(watched, began, time.time(), cpu_s(server) - used[0], cpu_s(training) - used[1]))
    told = sum(viewer.answers for viewer in viewers)
    if not told:
        raise SystemExit("Nobody was answered: the machine is too busy to measure this.")
    return marks, told, time.process_time() - own


def cpu_s(pid: int) -> float:
    """The CPU seconds of one process, without its children."""
    return use_of(pid, children=False).cpu_s


def rate(times: list[float]) -> float:
    """Steps a second, from the first that ended within the window to the last."""
    return (len(times) - 1) / (times[-1] - times[0])


def interval(ratios: list[float]) -> tuple[float, float]:
    """What the medians of nine in ten samplings lie between."""
    random = Random(1)
    medians = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[100], medians[-101]


def read_all(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def main() -> None:
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    threads = sys.argv[2] if len(sys.argv) > 2 else "1"
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 30.0
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(environment(AITRAINING_HOME=home, PORT=str(port), OMP_NUM_THREADS=threads))
        from engine import LLMTrainingParams, api
        from engine.runs import events
        from engine.runs.directory import RunDirectory

        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), timeout_s=300)
            settings = {"epochs": 1000, "batch_size": 2, "packing": True, "max_length": 256}
            settings |= {"logging_steps": 1, "eval_steps": 10**6, "save_steps": 10**6}
            name = api.start(LLMTrainingParams(trainer="sft", data_path="sample:neighbours", **settings))
            file = api.runs_root() / name / "events.jsonl"
            wait_for(lambda: sum(e["type"] == "metric" for e in events.read(file)[0]) > 20, timeout_s=300)
            lengthen(file)
            address = f"http://127.0.0.1:{port}/studio/runs/{name}"
            training = RunDirectory(api.runs_root() / name).started_pid
            assert training is not None, "a run at work has a process"
            marks, told, own = by_turns(address, server.pid, training, windows, seconds)
            api.stop(name)
            wait_for(lambda: api.run_status(name).ended_state, timeout_s=300)
            done = [e["t"] for e in read_all(file) if e["type"] == "metric" and "loss" in e["values"]]
        finally:
            server.terminate()
            server.wait(60)
    report(marks, done)
    print(f"{told:,} answers; those who watched took {own / (windows * seconds):.2f} cores themselves")


def report(windows: list[Window], done: list[float]) -> None:
    """Print what a watched window is to the one beside it that nobody watched; `done` has the moments of the steps."""
    for kind, who in (False, "alone"), (True, f"with {VIEWERS} viewers"):
        of_kind = [one for one in windows if one.watched is kind]
        speed, cores = statistics.median(rate(w.steps(done)) for w in of_kind), statistics.median(w.cores for w in of_kind)
        print(f"{who:20} {speed:6.2f} steps/s  server {cores:.2f} cores, at most {max(w.cores for w in of_kind):.2f}")
    pairs = [sorted(windows[n : n + 2], key=lambda window: window.watched) for n in range(0, len(windows), 2)]
    tell("steps a second", [rate(watched.steps(done)) / rate(alone.steps(done)) for alone, watched in pairs])
    per_step = [[window.training / len(window.steps(done)) for window in pair] for pair in pairs]
    tell("CPU seconds a step", [watched / alone for alone, watched in per_step])


def tell(what: str, ratios: list[float]) -> None:
    low, high = interval(ratios)
    middle = statistics.median(ratios)
    print(f"{what:20} {middle:.3f}  ({low:.3f} to {high:.3f}, {len(ratios)} pairs of windows)")


if __name__ == "__main__":
    main()

"""(c) What watching costs: steps per second of one run, by turns without viewers and with three that poll as the page does.

    python benchmarks/viewers.py [windows]

Reach: three viewers cost at most 3 %. The viewers' own browsers are not on this machine in real life, so they are HTTP
clients here that ask what assets/monitor.js asks, as often.
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
import urllib.request
from pathlib import Path

from measure import answers, environment, free_port, wait_for

ROOT = Path(__file__).resolve().parent.parent
WINDOW_S = 12.0
VIEWERS = 3


class Viewer(threading.Thread):
    """Asks for what is new every second while `watching` is set."""

    def __init__(self, address: str, watching: threading.Event) -> None:
        super().__init__(daemon=True)
        self.address, self.watching = address, watching

    def run(self) -> None:
        events = log = 0
        while True:
            self.watching.wait()
            try:
                with urllib.request.urlopen(f"{self.address}/live?events={events}&log={log}", timeout=10) as reply:
                    news = json.load(reply)
            except OSError:
                return  # the server has ended, and with it the measurement
            events, log = news["events"], news["log"]
            time.sleep(1)


def main() -> None:
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(environment(AITRAINING_HOME=home, PORT=str(port)))
        from engine import LLMTrainingParams, api
        from engine.runs import events

        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), timeout_s=120)
            settings = {"epochs": 1000, "batch_size": 8, "logging_steps": 1, "eval_steps": 10**6, "save_steps": 10**6}
            name = api.start(LLMTrainingParams(trainer="sft", data_path="sample:neighbours", **settings))
            file = api.runs_root() / name / "events.jsonl"
            wait_for(lambda: sum(e["type"] == "metric" for e in events.read(file)[0]) > 50, timeout_s=120)
            watching = threading.Event()
            for _ in range(VIEWERS):
                Viewer(f"http://127.0.0.1:{port}/studio/runs/{name}", watching).start()
            marks: list[tuple[bool, float, float]] = []
            for turn in range(windows * 2):
                seen = turn % 2 == 1
                watching.set() if seen else watching.clear()
                time.sleep(2)  # let the change settle
                began = time.time()
                time.sleep(WINDOW_S)
                marks.append((seen, began, time.time()))
            api.stop(name)
            times = [e["t"] for e in events.read(file)[0] if e["type"] == "metric" and "loss" in e["values"]]
            wait_for(lambda: api.run_status(name).ended_state, timeout_s=120)
        finally:
            server.terminate()
            server.wait(20)
    rates = {seen: [sum(a <= t < b for t in times) / (b - a) for s, a, b in marks if s is seen] for seen in (False, True)}
    alone, watched = statistics.median(rates[False]), statistics.median(rates[True])
    spread = (max(rates[False]) - min(rates[False])) / alone
    print(f"alone                {alone:6.2f} steps/s (windows differ by {spread:.0%})")
    print(f"with {VIEWERS} viewers       {watched:6.2f} steps/s  ratio {watched / alone:.3f}")


if __name__ == "__main__":
    main()

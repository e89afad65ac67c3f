"""(a) From starting the server to the page being served: the app, an empty Gradio page, and importing torch alone.

    python benchmarks/serve.py [rounds]

Prints CPU seconds, wall seconds and resident memory of each (best of the rounds, taken in turns), their ratios to the
empty page, and whether torch is in the app's process. Reach: at most 1.3 times the empty page's CPU time and memory.
The standby worker is off here: it is a process of its own that starts after the page is served.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from measure import Use, answers, environment, free_port, use_of, wait_for

ROOT = Path(__file__).resolve().parent.parent
EMPTY = (
    "import gradio as gr, os\nwith gr.Blocks() as demo: gr.Markdown('empty')\n"
    "demo.launch(server_port=int(os.environ['PORT']), quiet=True)"
)


def served(argv: list[str]) -> tuple[float, Use, bool]:
    """Start a server, wait for its page, and return wall seconds, its use, and whether torch is mapped in it."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        env = environment(PORT=str(port), AITRAINING_HOME=home, AITRAINING_STANDBY="0")
        process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        try:
            wall = wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), timeout_s=120)
            used = use_of(process.pid)
            torch = any("libtorch" in entry.path for entry in psutil.Process(process.pid).memory_maps())
        finally:
            process.terminate()
            process.wait(20)
    return wall, used, torch


def imported() -> tuple[float, Use, bool]:
    """Import torch in a fresh process and return the same figures."""
    code = "import torch, time, sys; print('ready', flush=True); time.sleep(30)"
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    wall, used = time.monotonic() - began, use_of(process.pid)
    process.kill()
    process.wait()
    return wall, used, True


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    kinds = {
        "empty Gradio page": lambda: served([sys.executable, "-c", EMPTY]),
        "this app": lambda: served([sys.executable, "app.py"]),
        "import torch": imported,
    }
    best: dict[str, tuple[float, Use, bool]] = {}
    for _ in range(rounds):
        for name, measured in kinds.items():
            result = measured()
            if name not in best or result[1].cpu_s < best[name][1].cpu_s:
                best[name] = result
    empty = best["empty Gradio page"][1]
    for name, (wall, used, torch) in best.items():
        ratio = f"cpu x{used.cpu_s / empty.cpu_s:.2f}  memory x{used.rss / empty.rss:.2f}"
        print(f"{name:18} {used.cpu_s:5.2f} CPU-s  {wall:5.2f} s  {used.rss / 1e6:5.0f} MB  {ratio}  torch: {torch}")


if __name__ == "__main__":
    main()

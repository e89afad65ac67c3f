"""How long the page Runs needs to show its list when there are very many runs.

    python benchmarks/many_runs.py [runs]

Prints what the server needs for the list (the first time, then the median of ten; and for a search), and what a real Chromium
needs: from asking for the page until the first rows are on the screen, the same with an empty list (which is what the page
costs by itself), and from the page's own request to its rows. Reach: under a second from the request to the rows with 5,000.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from measure import answers, environment, free_port, wait_for

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
# From the answer's first wish to the first row, as the browser itself measures it.
DRAWN = """() => {
  const asked = performance.getEntriesByType('resource').find((one) => one.name.includes('/studio/overview'));
  return asked && document.querySelector('[data-run]') ? [asked.startTime, asked.responseEnd] : null;
}"""


def fill(home: Path, count: int) -> None:
    """Folders of runs as they are after years: most are done, some failed, a few were killed."""
    from engine import LLMTrainingParams
    from engine.runs.directory import RunDirectory
    from engine.runs.status import State, Status

    chance = random.Random(0)
    settings = LLMTrainingParams(trainer="sft", data_path="sample:neighbours").model_dump(mode="json")
    now = time.time()
    for number in range(count):
        run = RunDirectory.create(settings, f"sft-starter-{number + 1}", home)
        began = now - (count - number) * 600
        state = chance.choices([State.DONE, State.FAILED, State.STOPPED, State.TRAINING], [90, 5, 4, 1])[0]
        ended = None if state is State.TRAINING else began + 300
        metrics = {
            name: chance.random() for name in ("loss", "eval_loss", "token_accuracy", "tokens_per_second", "memory_bytes")
        }
        run.write_status(
            Status(state, step=300, total_steps=300, created=began, launched=began, started=began, ended=ended, metrics=metrics)
        )
        run.lock_file.touch()
        run.events_file.write_text("")


def served(home: Path, what: Callable[[str], None]) -> None:
    """Serve the page over `home` and do something with its address."""
    port = free_port()
    env = environment(PORT=str(port), AITRAINING_HOME=str(home), AITRAINING_STANDBY="0")
    server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), timeout_s=300)
        what(f"http://127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait(30)


def asked(address: str) -> tuple[float, int]:
    """Seconds that an answer takes, and its bytes."""
    began = time.perf_counter()
    with urllib.request.urlopen(address, timeout=120) as reply:
        size = len(reply.read())
    return time.perf_counter() - began, size


def measure_server(url: str) -> None:
    overview = f"{url}/studio/overview"
    first, size = asked(overview)
    again = [asked(overview)[0] for _ in range(10)]
    found = [asked(f"{overview}?find=starter-4+failed")[0] for _ in range(10)]
    whole = [asked(f"{url}/studio/api/runs") for _ in range(3)]
    print(f"server: first answer {first:.3f} s, then {statistics.median(again):.3f} s ({size / 1e3:.0f} kB)")
    print(f"server: a search {statistics.median(found):.3f} s")
    print(f"server: every run as JSON for programs {min(t for t, _ in whole):.3f} s ({whole[0][1] / 1e6:.1f} MB)")


def measure_browser(url: str, ready: str) -> tuple[float, list[float]]:
    """Median seconds from asking for the page to `ready` on the screen; of our own request and from its start to its rows."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(
            "new MutationObserver(() => { if (!window.rowsAt && document.querySelector('" + ready + "'))"
            " requestAnimationFrame(() => { window.rowsAt ??= performance.now(); }); })"
            ".observe(document, { childList: true, subtree: true });"
        )
        page.goto(f"{url}/runs")  # fills the browser's cache, as any earlier visit does
        page.wait_for_function("window.rowsAt")
        shown, own = [], []
        for _ in range(ROUNDS):
            page.goto(f"{url}/runs")
            page.wait_for_function("window.rowsAt")
            at = page.evaluate("window.rowsAt")
            shown.append(at / 1000)
            if asking := page.evaluate(DRAWN):
                own.append((at - asking[0]) / 1000)
        browser.close()
    return statistics.median(shown), own


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as full:
        began = time.monotonic()
        fill(Path(full), count)
        print(f"{count:,} runs written in {time.monotonic() - began:.1f} s; load of the machine {os.getloadavg()[0]:.1f}")
        results: dict[str, tuple[float, list[float]]] = {}

        def both(url: str) -> None:
            measure_server(url)
            results["full"] = measure_browser(url, "[data-run]")

        served(Path(full), both)
        served(Path(empty), lambda url: results.update(empty=measure_browser(url, ".runs-list .empty")))
    (shown, own), (bare, _) = results["full"], results["empty"]
    print(f"browser: from its request for the list to its rows {statistics.median(own):.3f} s (worst {max(own):.3f})")
    print(f"browser: from opening the page to its rows {shown:.2f} s; empty list {bare:.2f} s; the rows {shown - bare:+.2f} s")
    print(json.dumps({"rows_s": statistics.median(own), "page_s": shown, "empty_page_s": bare}))


if __name__ == "__main__":
    main()

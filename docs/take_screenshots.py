"""`python docs/take_screenshots.py`: train the sample once in a real page and keep the pictures that the README shows.

Desktop and phone width, light and dark. Look at each picture before it is committed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "screenshots"
URL = "http://127.0.0.1:7873"


def main() -> None:
    """Serve, train, photograph."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "AITRAINING_HOME": home, "PORT": "7873"}
        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env)
        try:
            _wait()
            with sync_playwright() as playwright:
                flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
                run = _train(browser)
                _train_chain(env)
                for path, name, ready in _pages(run):
                    for wide, dark in ((1280, False), (1280, True), (390, False), (390, True)):
                        _picture(browser, path, name, ready, wide, dark)
        finally:
            server.terminate()
            server.wait(30)


def _wait() -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{URL}/studio/runs", timeout=2)
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("the page was not served within a minute")


def _train(browser: Any) -> str:
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{URL}/new?trainer=sft&data=sample:neighbours")
    page.wait_for_selector("#token-view .example")
    page.click("#to-review")
    page.wait_for_selector("#start:not([disabled])")
    page.wait_for_selector("#review-view .memory")
    page.click("#start")
    page.wait_for_url("**/run?id=*")
    page.wait_for_selector(".st-pill[data-state=done]")
    return page.url.split("id=")[1]


def _train_chain(env: dict[str, str]) -> None:
    """A pipeline with a gate that is met, as the page's own process would train it."""
    data = ["--data", "sft=sample:neighbours", "--data", "dpo=sample:manners", "--gate", "sft=eval_token_accuracy >= 0.7"]
    words = [sys.executable, "-m", "engine.cli", "pipeline", "preference", "--name", "polite-town", *data]
    subprocess.run(words, cwd=ROOT, env=env, check=True)


def _pages(run: str) -> list[tuple[str, str, str]]:
    return [
        ("/?labeled=yes&pairs=no", "start", ".advice:not([hidden])"),
        ("/new?trainer=sft&data=sample:neighbours", "data", "#token-view .example"),
        (f"/run?id={run}", "run", ".chart:not([hidden]) canvas"),
        (f"/playground?a=starter&b={run}", "playground", "#question"),
        ("/runs", "runs", ".runs-table"),
        ("/pipeline?id=polite-town", "pipeline", ".stage[href]"),
    ]


def _picture(browser: Any, path: str, name: str, ready: str, wide: int, dark: bool) -> None:
    context = browser.new_context(viewport={"width": wide, "height": 900}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{URL}{path}")
    page.wait_for_selector(ready)
    if name == "playground":
        page.fill("#question", "What does Clara do?")
        page.press("#question", "Enter")
        page.wait_for_selector(".side:nth-child(1) small")
        page.wait_for_selector(".side:nth-child(2) small")
    page.wait_for_timeout(1500)
    shape = "" if wide > 640 else "-phone"
    page.screenshot(path=FOLDER / f"{name}{shape}-{'dark' if dark else 'light'}.png", full_page=name != "data" or wide > 640)
    context.close()


if __name__ == "__main__":
    main()

"""A real server and a real Chromium for the browser tests. Every test gets a fresh browser profile; servers are shared."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_KNOWN = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in _KNOWN if name and (found := shutil.which(name))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


class Server:
    """The studio on a port of its own; can be killed and started again in the same place."""

    def __init__(self, home: Path, **env: str) -> None:
        self.home, self.env = home, env
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, offline: bool = True) -> None:
        hub = {"HF_HUB_OFFLINE": "1" if offline else "0"}
        env = {**os.environ, "AITRAINING_HOME": str(self.home), "PORT": str(self.port), **hub, **self.env}
        log = (self.home.parent / "server.log").open("ab")
        self.process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=log, stderr=log)
        deadline = time.monotonic() + 90
        while not self.answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.url}/", timeout=2).status == 200
        except OSError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)

    def log(self) -> str:
        return (self.home.parent / "server.log").read_text()[-3000:]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it as it is."""
    made = Server(tmp_path_factory.mktemp("studio") / "runs")
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    from playwright.sync_api import expect, sync_playwright

    if CHROMIUM is None:
        pytest.fail("There is no Chromium. `make test` installs it where it may; else: apt-get install chromium")
    expect.set_options(timeout=60_000)  # two cores may be busy, and the first to look at rows waits for the libraries
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium) -> Iterator:
    """A page in a fresh profile. The test fails when a script threw or a request left this machine."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    made = context.new_page()
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    made.on("request", lambda r: None if r.url.startswith(("http://127.0.0.1", "data:", "blob:")) else wrong.append(r.url))
    yield made
    context.close()
    assert wrong == []

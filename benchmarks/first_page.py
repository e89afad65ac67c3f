"""(h) The first page over a slow line: what it weighs, how many requests it takes, and when a person can see and use it.

    python benchmarks/first_page.py [address path]

Chromium with DevTools' throttling: 1.6 Mbit/s down, 0.75 up, 150 ms from there and back. Cold is a browser that was never
here, warm the same one's second visit. Bytes are those that went over the line, headers included, compressed as they were.
Seen is when the heading is drawn, usable when a click on the decision tree is answered.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import answers, environment, free_port, wait_for
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
LINE = {"offline": False, "latency": 150, "downloadThroughput": 1_600_000 / 8, "uploadThroughput": 750_000 / 8}
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


def visit(page: Any, line: Any, address: str) -> dict[str, Any]:
    """Load the address once; the sizes of what came and the seconds until it was seen and usable."""
    kinds: dict[str, str] = {}
    sizes: dict[str, int] = {}
    kept: set[str] = set()
    line.on("Network.requestWillBeSent", lambda e: kinds.update({e["requestId"]: e["request"]["url"]}))
    line.on("Network.requestServedFromCache", lambda e: kept.add(e["requestId"]))
    line.on("Network.loadingFinished", lambda e: sizes.update({e["requestId"]: int(e["encodedDataLength"])}))
    began = time.monotonic()
    page.goto(address, wait_until="commit")
    page.locator("h1").first.wait_for(timeout=120_000)
    seen = time.monotonic() - began
    answer = page.locator(".tree-answer").first
    while answer.get_attribute("aria-pressed") != "true":  # a click before its script is there is lost
        answer.click()
        page.wait_for_timeout(20)
    usable = time.monotonic() - began
    page.wait_for_timeout(1500)  # what is still on its way
    came = {one: size for one, size in sizes.items() if size and one not in kept}
    sent = {kinds[one].replace(address.rstrip("/"), "") or "/": size for one, size in came.items()}
    return {"seen": seen, "usable": usable, "requests": len(sent), "bytes": sum(sent.values()), "sent": sent}


def measured(address: str) -> dict[str, dict[str, Any]]:
    """A first and a second visit with the same browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        found = {}
        for kind in ("cold", "warm"):
            page = context.new_page()
            line = context.new_cdp_session(page)
            line.send("Network.enable")
            line.send("Network.emulateNetworkConditions", LINE)
            found[kind] = visit(page, line, address)
            page.close()
        browser.close()
    return found


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else "/"
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        env = environment(PORT=str(port), AITRAINING_HOME=home, AITRAINING_STANDBY="0")
        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), timeout_s=180)
            found = measured(f"http://127.0.0.1:{port}{path}")
        finally:
            server.terminate()
            server.wait(30)
    for kind, told in found.items():
        print(
            f"{kind:5} {told['requests']:3} requests  {told['bytes'] / 1e3:7.0f} kB  "
            f"seen after {told['seen']:5.1f} s  usable after {told['usable']:5.1f} s"
        )
    for name, size in sorted(found["cold"]["sent"].items(), key=lambda one: -one[1])[:12]:
        print(f"   {size / 1e3:7.1f} kB  {name}")


if __name__ == "__main__":
    main()

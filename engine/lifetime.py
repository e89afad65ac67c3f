"""What runs in the background while the app is open: the standby worker warms up, and the queue is dispatched."""

from __future__ import annotations

import os
import threading
import traceback

from engine.people import everybody, machine_root
from engine.preview import close_preview
from engine.runs import queue, standby

_closing = threading.Event()


def open_app() -> None:
    """Warm the standby worker up and start what is queued, in the background, until `close_app`."""
    _closing.clear()
    for person in everybody():
        queue.recover(person.folder)
    if os.environ.get("AITRAINING_STANDBY", "1") != "0":
        threading.Thread(target=standby.ensure_standby, name="standby", daemon=True).start()
    threading.Thread(target=_dispatch_forever, name="dispatch", daemon=True).start()


def close_app() -> None:
    """Stop dispatching and let the standby go; runs go on."""
    _closing.set()
    close_preview()
    standby.close_standby()


def _dispatch_forever() -> None:
    while not _closing.wait(1.0):
        try:
            queue.dispatch(machine_root())
        except Exception:  # one bad moment (a full disk, a folder taken away) must not stop the queue for good
            traceback.print_exc()
            _closing.wait(10.0)

"""What runs in the background while the app is open: the standby worker warms up, and the queue is dispatched."""

from __future__ import annotations

import os
import threading
import traceback

from engine.preview import close_preview
from engine.runs import queue, standby
from engine.runs.directory import runs_root
from engine.runs.place import forget, look_at, remember

_closing = threading.Event()


def open_app() -> None:
    """Warm the standby worker up and start what is queued, in the background, until `close_app`."""
    _closing.clear()
    root = runs_root()
    if not look_at(root):
        queue.recover(root)
        remember(root)
    if os.environ.get("AITRAINING_STANDBY", "1") != "0":
        threading.Thread(target=standby.ensure_standby, name="standby", daemon=True).start()
    threading.Thread(target=_dispatch_forever, name="dispatch", daemon=True).start()


def close_app() -> None:
    """Stop dispatching and let the standby go; runs go on."""
    _closing.set()
    forget(runs_root())
    close_preview()
    standby.close_standby()


def _dispatch_forever() -> None:
    said = ""
    while not _closing.wait(1.0):
        try:
            queue.dispatch(runs_root())
            said = ""
        except Exception as error:  # one bad moment (a full disk, a folder taken away) must not stop the queue for good
            if str(error) != said:  # once, and not every few seconds for as long as it lasts
                traceback.print_exc()
            said = str(error)
            _closing.wait(10.0)

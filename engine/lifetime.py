"""What runs in the background while the app is open: the standby worker warms up, and the queue is dispatched."""

from __future__ import annotations

import contextlib
import os
import threading
import traceback
from pathlib import Path

from engine import hosting
from engine.errors import RunError
from engine.people import everybody, machine_root
from engine.preview import close_preview
from engine.runs import discard, line, listing, places, queue, standby
from engine.runs.lock import FileLock
from engine.runs.place import forget, look_at, remember
from engine.runs.shutdown import shut_down

_closing = threading.Event()
_LOOK_S = 2.0
_DISPATCH = "dispatch"


def open_app() -> None:
    """Warm the standby worker up and start what is queued, in the background, until `close_app`."""
    _closing.clear()
    places.places()  # a wrong wish is told now, and not once a second
    root = machine_root()
    if not look_at(root):
        for person in everybody():
            queue.recover(person.folder)
        remember(root)
    if os.environ.get("AITRAINING_STANDBY", "1") != "0":
        threading.Thread(target=_keep_standby, name="standby", daemon=True).start()
    # thousands of runs are read now, and not when somebody opens the list
    threading.Thread(target=_read_list, args=(root,), name="listing", daemon=True).start()
    threading.Thread(target=_dispatch_forever, name=_DISPATCH, daemon=True).start()


# What is killed for not having ended gets half a minute on most hosts; the rest is for our own end.
_SAVING_S = 22.0


def close_app() -> None:
    """Stop dispatching and let the standby go; runs go on, except in a container, which ends with us: there they save."""
    _closing.set()
    for thread in threading.enumerate():
        if thread.name == _DISPATCH:
            thread.join(10)  # a run that is just being started is started
    if hosting.here().contained:
        for name in shut_down([person.folder for person in everybody()], _SAVING_S):
            print(f"{name} is interrupted; Resume goes on from its last checkpoint.", flush=True)
    forget(machine_root())
    close_preview()
    standby.close_standby()


def _keep_standby() -> None:
    """Have a standby there: one that was killed is replaced, one that cannot start is tried again less and less often."""
    pause = _LOOK_S
    while not _closing.is_set():
        pause = _LOOK_S if standby.ensure_standby() else min(2 * pause, 600.0)
        _closing.wait(pause)


def _read_list(root: Path) -> None:
    with contextlib.suppress(RunError):  # whoever opens the page is told then
        listing.list_runs(root)


def _dispatch_forever() -> None:
    attending: FileLock | None = None
    said = ""
    while not _closing.wait(1.0):
        try:
            root = machine_root()
            attending = attending or line.attend(root)
            queue.dispatch(root)
            discard.sweep(root)
            said = ""
        except Exception as error:  # one bad moment (a full disk, a folder taken away) must not stop the queue for good
            if str(error) != said:  # once, and not every few seconds for as long as it lasts
                traceback.print_exc()
            said = str(error)
            _closing.wait(10.0)
    if attending is not None:
        attending.release()

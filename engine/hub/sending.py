"""`python -m engine.hub.sending RUN`: an upload that was asked for on the page, in a process of its own.

It outlives the page, and is the one process that is given the token for it. What was wished and how far it is stands in the
run's upload.json: state (sending, done, failed), to, private, adapter, done, total (bytes), file, address, error, hint. The
process holds upload.lock for as long as it lives.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from engine import keys
from engine.errors import ModelError, RunActive, StudioError
from engine.hub.account import logged_in
from engine.hub_upload import HOW_TO_LOG_IN, sent_folder, upload
from engine.runs.directory import RunDirectory, read_json, write_json
from engine.runs.lock import FileLock


def begin(run: RunDirectory, model_id: str | None, *, private: bool, adapter: bool) -> None:
    """Start the upload and return.

    Raises:
        RunError: there is nothing to upload, or it is being uploaded already.
        ModelError: nobody is logged in, or the name cannot be one of the Hub.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    from engine.runs.launcher import start_detached

    sent_folder(run, adapter=adapter)
    wanted = model_id or run.name
    try:
        validate_repo_id(wanted)
    except HFValidationError as error:
        raise ModelError(f"{wanted!r} cannot be the name of a model on the Hub: {error}.") from None
    if not logged_in():
        raise ModelError("Nobody is logged in to the Hugging Face Hub.", hint=HOW_TO_LOG_IN)
    lock = FileLock(run.upload_lock)
    if not lock.acquire():
        raise RunActive(f"The model of {run.name!r} is being uploaded already.", hint="Wait until it is there.")
    try:
        asked = {"to": wanted, "private": private, "adapter": adapter}
        write_json(run.upload_file, {"state": "sending", **asked, "done": 0, "total": 0, "file": "", "began": time.time()})
        start_detached("engine.hub.sending", str(run.path), log=run.path / "upload.log", keep=lock, secrets=keys.HUB)
    finally:
        lock.release()


def main(folder: Path) -> int:
    """Do what upload.json asks for, and say there how it goes."""
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    run = RunDirectory(folder)
    asked: dict[str, Any] = read_json(run.upload_file)

    def tell(done: int, total: int, file: str) -> None:
        asked.update(done=done, total=total, file=file)
        write_json(run.upload_file, asked)

    try:
        address = upload(run, asked["to"], private=asked["private"], adapter=asked["adapter"], tell=tell)
    except Exception as error:  # whatever it was, whoever waits is told
        said = error if isinstance(error, StudioError) else StudioError(f"The upload failed: {type(error).__name__}.")
        write_json(
            run.upload_file, {**asked, "state": "failed", "error": said.message, "hint": said.hint, "ended": time.time()}
        )
        return 1
    write_json(run.upload_file, {**asked, "state": "done", "address": address, "ended": time.time()})
    run.log_event("uploaded", address=address)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))

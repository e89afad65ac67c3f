"""Where this studio runs, and what that means for its files: a machine of one's own, a container, a Hugging Face Space.

The one place that knows. A Space's disk is empty again after every sleep and restart; what lies in its storage, a folder
that is mounted into it, stays. In a container all processes end with the one that was started first.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from engine.runs.lock import FileLock, is_held

SPACE_STORAGE = "/data"
_HUB = "https://huggingface.co"
_GPU = Path("/dev/nvidiactl")
# Variables that name folders, and the folders of the storage that they name on a Space.
_FOLDERS = {"AITRAINING_HOME": "runs", "HF_HOME": "huggingface"}


@dataclass(frozen=True)
class Host:
    """What is known of the place. `space` is `owner/name`, "" elsewhere; `storage` what outlives a Space, None without it.

    `trouble` says why a storage that is there cannot be used; `idle_gpu` whether there is a GPU and a PyTorch that cannot use
    it, as in a Space that was moved to other hardware.
    """

    space: str = ""
    contained: bool = False
    storage: Path | None = None
    trouble: str = ""
    idle_gpu: bool = False

    @property
    def forgets(self) -> bool:
        """Whether runs are gone when this place sleeps or restarts."""
        return bool(self.space) and self.storage is None

    @property
    def settings_address(self) -> str:
        return f"{_HUB}/spaces/{self.space}/settings"

    @property
    def duplicate_address(self) -> str:
        return f"{_HUB}/spaces/{self.space}?duplicate=true"


def here(env: MutableMapping[str, str] | None = None) -> Host:
    """Where this is, from the environment (SPACE_ID is set on every Space) and the storage that can be written."""
    env = os.environ if env is None else env
    space = env.get("SPACE_ID", "")
    contained = bool(space) or env.get("AITRAINING_CONTAINER") == "1"
    idle_gpu = env.get("AITRAINING_TORCH") == "cpu" and _GPU.exists()
    storage = Path(env.get("AITRAINING_STORAGE") or SPACE_STORAGE)
    if not space or not storage.is_dir():
        return Host(space, contained, idle_gpu=idle_gpu)
    trouble = _unfit(storage)
    return Host(space, contained, None if trouble else storage, trouble, idle_gpu)


def settle(env: MutableMapping[str, str] | None = None) -> Host:
    """Point the variables of the environment at what is right here; returns where that is.

    To be called before anything of the Hub's client is imported, which reads HF_HOME then. Outside of Spaces nothing
    changes. On a Space the page listens to others, and runs, uploads and downloads go to the storage if there is one; a
    folder inside it that was chosen by hand is kept.
    """
    env = os.environ if env is None else env
    host = here(env)
    if host.space:
        env.setdefault("AITRAINING_HOST", "0.0.0.0")  # noqa: S104 - the host's proxy is not on this machine
    if host.storage is not None:
        for variable, folder in _FOLDERS.items():
            chosen = env.get(variable)
            if not chosen or not Path(chosen).resolve().is_relative_to(host.storage.resolve()):
                env[variable] = str(host.storage / folder)
    return host


def _unfit(folder: Path) -> str:
    """Why runs cannot live in a folder, "" if they can: they append to files, replace them, and hold locks.

    A mounted bucket is no disk; which of these it can do is tried and not assumed.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".studio-", dir=folder) as made:
            file, lock = Path(made) / "events", FileLock(Path(made) / "lock")
            for part in ("one\n", "two\n"):
                with file.open("a", encoding="utf-8") as target:
                    target.write(part)
            os.replace(file, file.with_name("renamed"))
            if file.with_name("renamed").read_text(encoding="utf-8") != "one\ntwo\n":
                return "What is written there is not what is read back."
            held = lock.acquire() and is_held(lock.path)
            lock.release()
            if not held:
                return "It knows no locks."
    except OSError as error:
        return f"It cannot be written: {error.strerror or error}."
    return ""

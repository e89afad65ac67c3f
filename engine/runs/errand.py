"""The folder of work that goes over several runs and has a process of its own: a pipeline's, a sweep's.

Holds what cannot be read off the runs: a declaration, alive.lock (held by whoever does the work), stop (a request to end),
trouble.json (why that process ended where no run says so) and driver.log (what it printed).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import RunActive, RunError
from engine.runs.directory import make_root, read_json, runs_root, write_json
from engine.runs.lock import FileLock, is_held


class Errand:
    """One such folder. Holds no state of its own: two objects of the same name are the same work.

    A subclass says its `kind`, which is the name of its file and, in front of an s, of its folder and of the command that
    lists it; and `goes_on`, which is what goes on by itself when the process ends.
    """

    kind: str
    goes_on: str

    def __init__(self, name: str, root: Path | None = None) -> None:
        self.name = name
        self.root = root or runs_root()
        self.folder = self.home(self.root) / name
        self.file = self.folder / f"{self.kind}.json"
        self.lock_file = self.folder / "alive.lock"
        self.stop_file = self.folder / "stop"
        self.trouble_file = self.folder / "trouble.json"
        self.log_file = self.folder / "driver.log"

    @classmethod
    def home(cls, root: Path | None = None) -> Path:
        """The folder of all work of this kind."""
        return (root or runs_root()) / f".{cls.kind}s"

    @classmethod
    def names(cls, root: Path | None = None) -> list[str]:
        """The names of all of this kind, newest first."""
        files = list(cls.home(root).glob(f"*/{cls.kind}.json"))
        return [path.parent.name for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)]

    @classmethod
    def free_name(cls, wish: str, root: Path | None = None) -> str:
        """`rlhf-1`, `rlhf-2`, …: the first that none of this kind has."""
        number = 1
        while (cls.home(root) / f"{wish}-{number}").exists():
            number += 1
        return f"{wish}-{number}"

    @contextmanager
    def driven(self) -> Iterator[FileLock]:
        """Do this work: nobody else may, until it is over or the process dies that holds the lock.

        Raises:
            RunActive: another process does.
        """
        make_root(self.root)
        make_root(self.folder)
        lock = FileLock(self.lock_file)
        if not lock.acquire():
            raise RunActive(
                f"Another process goes through the {self.kind} {self.name!r}.",
                hint=f"Watch it with `aitraining {self.kind}s`, or end that process first; {self.goes_on}.",
            )
        try:
            yield lock
        finally:
            lock.release()

    @property
    def is_driven(self) -> bool:
        return is_held(self.lock_file)

    def asked_as(self, request: str) -> bool:
        """Whether this very request made it: the same wish, handed in twice, is made once."""
        return bool(request) and self.file.is_file() and self.read().get("request") == request

    def created(self) -> float:
        """When it was begun, in seconds since 1970."""
        return float(self.read().get("created") or 0.0)

    def ended_by(self, message: str, hint: str) -> None:
        """Write down why whoever did the work ended, where no run tells it."""
        write_json(self.trouble_file, {"message": message, "hint": hint})

    def forget_the_end(self) -> None:
        """It begins, or goes on: a request to stop and an old trouble are over."""
        self.stop_file.unlink(missing_ok=True)
        self.trouble_file.unlink(missing_ok=True)

    def trouble(self) -> str:
        """What `ended_by` wrote down; "" for nothing."""
        try:
            said = read_json(self.trouble_file) if self.trouble_file.is_file() else {}
            return f"{said.get('message', '')} {said.get('hint', '')}".strip()
        except (ValueError, AttributeError):
            return f"{self.trouble_file} is damaged; {self.log_file} tells what happened."

    def read(self) -> Any:
        """The declaration's file.

        Raises:
            RunError: it was damaged.
        """
        try:
            return read_json(self.file)
        except ValueError as error:
            raise self.damaged(str(error)) from error

    def write(self, values: dict[str, Any]) -> None:
        """Replace the declaration's file."""
        write_json(self.file, values)

    def damaged(self, why: str) -> RunError:
        """An error that says so."""
        return RunError(
            f"What is written down of the {self.kind} {self.name!r} cannot be used ({self.file}): {why}",
            hint="Its runs are ordinary ones and are still there; start it again under another name.",
        )

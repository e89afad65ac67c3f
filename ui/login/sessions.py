"""Who is signed in, as a signed text that their browser keeps: nothing to look up, and a restart signs nobody out.

The key is a secret of this machine (`.login/key` in the runs folder) mixed with the password, or the provider's secret: with
another password all who signed in with the old one are out. Whoever signs out is out everywhere that text was copied to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Session:
    """Somebody who signed in: the id of their folder, their name, when this ends (seconds since 1970), its own number, and a
    mark of who that is, since a folder's id may be given to somebody else once it was deleted."""

    id: str
    name: str
    ends: float
    number: str
    mark: str = ""


class Sessions:
    """Begins sessions, knows them again, ends them."""

    def __init__(self, folder: Path, secret: str, hours: float) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = hmac.digest(_kept(folder / "key"), secret.encode(), "sha256")
        self._file, self._seconds = folder / "ended", hours * 3600
        self._ended = self._read()

    @property
    def seconds(self) -> int:
        """How long a session lasts."""
        return int(self._seconds)

    def begin(self, id: str, name: str, mark: str = "") -> str:
        """What the browser of this person keeps from now on."""
        held = {"id": id, "name": name, "number": secrets.token_hex(16), "mark": mark}
        return self.signed("session", held, self._seconds)

    def of(self, text: str | None) -> Session | None:
        """The session that a browser shows; None for one that was never begun here, has run out, or was ended."""
        held = self.opened("session", text)
        if held is None or held["number"] in self._ended:
            return None
        return Session(held["id"], held["name"], held["ends"], held["number"], held.get("mark", ""))

    def end(self, session: Session) -> None:
        """Sign out: what was kept of this session anywhere is worth nothing from now on."""
        self._ended[session.number] = session.ends
        try:
            with self._file.open("a", encoding="ascii") as file:
                file.write(f"\n{session.number} {session.ends!r}\n")  # a line of its own, whatever was torn before it
        except OSError as error:
            why = "Who signs out now is out until the studio restarts; a copy of their cookie would count again then."
            print(f"{self._file} cannot be written: {error.strerror}. {why}", file=sys.stderr, flush=True)

    def signed(self, purpose: str, values: dict[str, Any], seconds: float) -> str:
        """`values` as a text that only we can have written, good for some time and for one purpose."""
        text = json.dumps({**values, "ends": time.time() + seconds}).encode()
        return f"{_plain(text)}.{_plain(self._mark(purpose, text))}"

    def opened(self, purpose: str, text: str | None) -> dict[str, Any] | None:
        """What `signed` was given; None if somebody else wrote it, or its time is over."""
        try:
            body, _, mark = (text or "").partition(".")
            held = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            if not hmac.compare_digest(_plain(self._mark(purpose, held)), mark):
                return None
        except (ValueError, TypeError):  # not of our alphabet
            return None
        values = json.loads(held)
        return values if values["ends"] > time.time() else None

    def _mark(self, purpose: str, text: bytes) -> bytes:
        return hmac.digest(self._key, purpose.encode() + b"\0" + text, "sha256")

    def _read(self) -> dict[str, float]:
        """The numbers of sessions that were ended and would not be over yet. A torn line, of a full disk, costs no other."""
        if not self._file.is_file():
            return {}
        lines = (line.split() for line in self._file.read_text(encoding="ascii", errors="replace").splitlines())
        pairs = (line for line in lines if len(line) == 2)
        return {number: ends for number, text in pairs if (ends := _time(text)) > time.time()}


def _time(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _kept(file: Path) -> bytes:
    """A secret that is made up once and readable by this machine's user only."""
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
            made.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    held = file.read_bytes()
    if len(held) != 32:
        raise SystemExit(f"{file} is damaged. Delete it; whoever is signed in signs in again.")
    return held


def _plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def same(given: str, secret: str) -> bool:
    """Whether two passwords are the same, in a time that says nothing about where they differ."""
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(secret.encode()).digest())

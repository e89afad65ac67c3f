"""Whose runs these are. Everything of a person lies in a folder of their own, so that a name can mean nothing of another's.

On one's own machine there is one person, and the folder is the runs folder itself. A server with logins says so in the
environment (AITRAINING_LOGINS) and acts for one person at a time: whoever asked, while their request is answered. Nothing is
found while nobody is said to ask; code that forgets to say it fails, and shows nobody's things.

    runs/                   of the person at this machine: before there was a login, from the command line, or by password
    runs/.people/NAME/      of a person who signed in: runs, .pipelines, .uploads, and person.json, which says who that is
    runs/.queue  .active    of the machine: one queue for all
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from engine.paths import expanded

ASSETS = Path(__file__).resolve().parent.parent / "assets"
PEOPLE = ".people"
# What the person at this machine is called where others have a name; no folder of a person may be called so.
LOCAL = "local"
# Between a person and one of their runs: no run's name may hold it.
OF = "~"
_LOGINS = "AITRAINING_LOGINS"  # "", "password" (all who know it are one person) or "people"
_ACTS_FOR = "AITRAINING_PERSON"  # in processes that work for one person from their start to their end
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")


@dataclass(frozen=True)
class Person:
    """Somebody who asks. `id` names their folder, "" for the person at this machine; `name` is shown; an admin sees all."""

    id: str = ""
    name: str = ""
    admin: bool = False

    @property
    def folder(self) -> Path:
        return machine_root() / PEOPLE / self.id if self.id else machine_root()


class NobodyAsks(RuntimeError):
    """Something was looked for on a server with logins without it being said for whom: a defect, never a person's mistake."""


# Two sign-ins of one person at once must not make two folders.
_coming = threading.Lock()
_asks: ContextVar[Person | None] = ContextVar("asks", default=None)


def machine_root() -> Path:
    """Where everybody's runs live: AITRAINING_HOME, else ./runs."""
    return expanded(os.environ.get("AITRAINING_HOME") or "runs").resolve()


def logins() -> str:
    """How people sign in to the server that this process is or belongs to: "" (not at all), "password", "people"."""
    return os.environ.get(_LOGINS, "")


def demand_logins(kind: str) -> None:
    """From now on this process, and those that it starts, act for nobody until it is said for whom."""
    os.environ[_LOGINS] = kind
    os.environ.pop(_ACTS_FOR, None)


def who() -> Person:
    """Who asks.

    Raises:
        NobodyAsks: there are logins, and nobody is said to ask.
    """
    person = _asks.get()
    if person is not None:
        return person
    acts_for = os.environ.get(_ACTS_FOR)
    if acts_for is not None:
        return Person("" if acts_for == LOCAL else acts_for)
    if logins():
        raise NobodyAsks("Nobody is said to ask, so nothing is looked for.")
    return Person()


@contextmanager
def acting(person: Person) -> Iterator[None]:
    """Act for a person until the block ends; threads that a request is answered in know it, others do not."""
    token = _asks.set(person)
    try:
        yield
    finally:
        _asks.reset(token)


def act_for_owner_of(run: Path) -> None:
    """Let this whole process act for the person whose run it works on."""
    os.environ[_ACTS_FOR] = _owner(run.parent) or LOCAL


def environment() -> dict[str, str]:
    """What a process that is started now has to be told about whom it works for."""
    person = _asks.get()
    return {} if person is None else {_ACTS_FOR: person.id or LOCAL}


# ---- whose file ----------------------------------------------------------------------------------------------------


def may_read(path: Path) -> bool:
    """Whether whoever asks may have a file of this machine read: on their own machine any; on a server with logins what
    comes with the studio, and of their own folder the runs and the uploads.
    """
    if not logins():
        return True
    path, own = path.resolve(), who().folder
    if path.is_relative_to(ASSETS):
        return True
    if not path.is_relative_to(own) or path == own:
        return False
    first, *deeper = path.relative_to(own).parts
    return not first.startswith(".") or (first == ".uploads" and deeper[:1] != [".incoming"])


# ---- all people ----------------------------------------------------------------------------------------------------


def signed_in(subject: str, name: str) -> Person:
    """The person whom a provider knows as `subject`, with the folder that is theirs for good, made when they first come.

    It is called by their name as it was then. A name that another person had before (names can be given up) is not theirs:
    the folder's person.json says whose it is.
    """
    wish = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:50] or "person"
    with _coming:
        for other in _known():
            if subject and other["subject"] == subject:
                return Person(other["id"], name)
        (machine_root() / PEOPLE).mkdir(parents=True, exist_ok=True)
        number = 2 if wish == LOCAL else 1
        while (person := Person(wish if number == 1 else f"{wish}-{number}", name)).folder.exists():
            number += 1
        person.folder.mkdir()
        part = person.folder / ".person.part"
        part.write_text(json.dumps({"subject": subject, "name": name}), encoding="utf-8")
        os.replace(part, person.folder / "person.json")
        return person


def mark(id: str) -> str:
    """A short text that tells whose the folder of this id is, "" where it is nobody's: it was deleted, or is damaged."""
    subject = _known_of(machine_root() / PEOPLE / id / "person.json")["subject"] if id else ""
    return hashlib.sha256(subject.encode()).hexdigest()[:32] if subject else ""


def everybody() -> list[Person]:
    """The person at this machine, and all who ever signed in."""
    return [Person("", LOCAL), *(Person(one["id"], one["name"]) for one in _known())]


def _known() -> list[dict[str, str]]:
    """What the folders of people say whose they are."""
    return [_known_of(file) for file in sorted((machine_root() / PEOPLE).glob("*/person.json"))]


def _known_of(file: Path) -> dict[str, str]:
    """The same for one; a file that was damaged says that it is nobody's, so that nobody gets it."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        subject, name = str(found["subject"]), str(found["name"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        subject, name = "", file.parent.name
    return {"subject": subject, "name": name, "id": file.parent.name}


def visible() -> list[Person]:
    """Whose things whoever asks may see: their own, and an admin everybody's."""
    person = who()
    return [person, *(other for other in everybody() if other.id != person.id)] if person.admin else [person]


def owner_and_name(reference: str) -> tuple[Person, str]:
    """`ada~sft-1` as an admin names it: whose, and which. Anything else, and whatever others name: their own, as it stands."""
    owner, of, name = reference.partition(OF)
    person = who()
    if not of or not person.admin or not (owner == LOCAL or _NAME.fullmatch(owner)):
        return person, reference
    return Person("" if owner == LOCAL else owner, owner), name


# ---- the queue of the machine --------------------------------------------------------------------------------------


def queue_root(root: Path) -> Path:
    """The folder whose queue the runs in `root` wait in: a person's runs wait in the machine's."""
    return root.parent.parent if root.parent.name == PEOPLE else root


def label(run: Path) -> str:
    """What a run is called in the queue: `sft-1`, or `ada~sft-1` for a run of hers."""
    owner = _owner(run.parent)
    return f"{owner}{OF}{run.name}" if owner else run.name


def labelled(root: Path, text: str) -> Path:
    """The run that has this label in the queue of `root`."""
    owner, of, name = text.partition(OF)
    return root / PEOPLE / owner / name if of else root / text


def _owner(root: Path) -> str:
    """The id of the person whose runs lie in `root`, "" for the person at this machine."""
    return root.name if root.parent.name == PEOPLE else ""

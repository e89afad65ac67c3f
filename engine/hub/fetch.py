"""Fetches a repository of the Hub into the Hub's own cache, so that it can be watched, stopped, and taken up again.

The Hub's client keeps nothing of a file that was cut off by the end of its process. Weights are large and networks are not
perfect: each weight file is written to one name beside its place in the cache, a later call goes on where that ends, and
what was put together from pieces is checked against the checksum that the Hub names.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import ModelError

# (bytes that are here, bytes in all); may raise to end the download.
Tell = Callable[[int, int], None]

_AT_ONCE = 4
_TELL_S = 0.3
_TRIES = 6
# Statuses after which the same question may be answered.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
# The Hub hands out larger files in another way only, which its own client knows.
_LARGEST = 50_000_000_000
_PART = "aitraining.part"


@dataclass(frozen=True)
class _File:
    """One large file: where it is asked for, where it belongs, its size in bytes and its SHA-256."""

    address: str
    place: Path
    size: int
    checksum: str

    @property
    def part(self) -> Path:
        """What of it is here, while that is not all."""
        return self.place.with_name(f"{self.place.name}.{_PART}")

    @property
    def there(self) -> int:
        """Bytes of it that are on this machine."""
        for path in (self.place, self.part):
            with contextlib.suppress(FileNotFoundError):
                return min(path.stat().st_size, self.size)
        return 0


def fetch(
    reference: str, patterns: list[str], not_patterns: list[str] | None = None, *, kind: str = "model", tell: Tell
) -> Path:
    """Fetch the files of a model or data set (`kind`) that match, and return their folder; `tell` is called now and then.

    Without a network, what was fetched before is used.

    Raises:
        ModelError: the disk has not the room.
        huggingface_hub.errors.HTTPError, OSError: it cannot be had.
    """
    from huggingface_hub import snapshot_download

    for files in _listed(reference, patterns, not_patterns, kind):
        _refuse_no_room(reference, files)
        _fetch_all(files, tell)
    return Path(snapshot_download(reference, repo_type=kind, allow_patterns=patterns, ignore_patterns=not_patterns))


def room(folder: Path | None = None) -> int:
    """Bytes that are free where the Hub's cache lies."""
    from huggingface_hub import constants

    place = (folder or Path(constants.HF_HUB_CACHE)).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def fetched(reference: str, file: str = "config.json") -> bool:
    """Whether a file of a model is in the cache already."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(reference, file), str)


def _listed(reference: str, patterns: list[str], not_patterns: list[str] | None, kind: str) -> Iterable[list[_File]]:
    """The large files, as one list; none where the Hub does not answer: then its client looks into the cache."""
    from huggingface_hub import HfApi, constants, hf_hub_url
    from huggingface_hub.errors import HTTPError, RepositoryNotFoundError
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import filter_repo_objects

    try:
        info: Any = HfApi().repo_info(reference, repo_type=kind, timeout=20, files_metadata=True)
    except RepositoryNotFoundError:
        if kind == "model" and fetched(reference):  # it was ours to have once
            return
        raise
    except (HTTPError, OSError):
        return
    blobs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=reference, repo_type=kind) / "blobs"
    wanted = filter_repo_objects(
        info.siblings or [], allow_patterns=patterns, ignore_patterns=not_patterns, key=lambda one: one.rfilename
    )
    yield [
        _File(
            hf_hub_url(reference, one.rfilename, repo_type=kind, revision=info.sha),
            blobs / one.lfs.sha256,
            one.size,
            one.lfs.sha256,
        )
        for one in wanted
        if one.lfs and one.size and one.size <= _LARGEST
    ]


def _refuse_no_room(reference: str, files: list[_File]) -> None:
    """
    Raises:
        ModelError: the disk has not the room for what is not here yet.
    """
    wanted, free = sum(one.size - one.there for one in files), room()
    if wanted > free:
        raise ModelError(
            f"{reference} takes {_size(wanted)} more, and the disk that keeps downloads has {_size(free)} free.",
            hint="Make room there, choose a smaller model, or let HF_HOME name a folder on another disk.",
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _fetch_all(files: list[_File], tell: Tell) -> None:
    """Fetch several at a time; an error of one, or of `tell`, ends them all, and what has come of them stays."""
    over, total = threading.Event(), sum(one.size for one in files)
    missing = [one for one in files if not one.place.exists()]
    if not missing:
        return
    tell(sum(one.there for one in files), total)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            under_way: set[Future[None]] = {pool.submit(_fetch_one, one, over) for one in missing}
            while under_way:
                done, under_way = wait(under_way, timeout=_TELL_S, return_when="FIRST_EXCEPTION")
                for one in done:
                    one.result()
                tell(sum(one.there for one in files), total)
        finally:
            over.set()


def _fetch_one(file: _File, over: threading.Event) -> None:
    """Fetch what is missing of one file, trying again as long as something comes.

    Raises:
        huggingface_hub.errors.HTTPError, OSError: it cannot be had, or is not what the Hub says it is.
    """
    from huggingface_hub.errors import HfHubHTTPError, HTTPError
    from huggingface_hub.utils import WeakFileLock

    file.part.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(f"{file.part}.lock"):  # another process may want the same one
        if file.place.exists():
            return
        pieces, tries = file.there > 0, 0
        while file.there < file.size and not over.is_set():
            before = file.there
            try:
                _stream(file, over)
                failed: Exception | None = None if file.there > before else OSError(f"{file.address} gives nothing.")
            except HfHubHTTPError as error:
                if error.response.status_code not in _PASSING:
                    raise
                failed = error
            except HTTPError as error:
                failed = error
            tries = 0 if file.there > before else tries + 1
            if failed and tries >= _TRIES:
                raise failed
            pieces = pieces or file.there < file.size
            if failed:
                over.wait(min(2.0**tries, 8.0) if tries else 0.2)
        if file.there == file.size and not over.is_set():
            if pieces and _checksum(file.part) != file.checksum:
                file.part.unlink()
                raise OSError(f"What came from {file.address} is damaged.")
            file.part.replace(file.place)
            Path(f"{file.part}.lock").unlink(missing_ok=True)


def _stream(file: _File, over: threading.Event) -> None:
    """Append what is missing, until it is there, the connection ends, or nobody wants it any more."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    headers: dict[str, Any] = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if file.there:
        headers["Range"] = f"bytes={file.there}-"
    with (
        get_session().stream("GET", file.address, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as answer,
        file.part.open("ab") as target,
    ):
        hf_raise_for_status(answer)
        if answer.status_code == 200:  # the whole of it, whatever was asked for
            target.truncate(0)
        for piece in answer.iter_bytes():
            target.write(piece)
            target.flush()
            if over.is_set():
                return


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Pace:
    """Bytes a second over the last seconds."""

    _SPAN_S = 5.0

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def at(self, done: int) -> float:
        """The pace, now that `done` bytes are there."""
        now = time.monotonic()
        self._seen = [(when, what) for when, what in self._seen if now - when <= self._SPAN_S] + [(now, done)]
        began, first = self._seen[0]
        return max(0.0, (done - first) / (now - began)) if now > began else 0.0

"""Finds the files behind a path and what they are: compression, format and encoding, told by content, not by name.

Nothing is unpacked to disk and nothing is read whole; archives have limits on what they may unpack to.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from engine.data.encodings import encoding_of
from engine.data.foreign import EXPECTED, not_read, refuse_document, refuse_foreign
from engine.data.hub import fetched, looks_like_id
from engine.data.packed import LARGEST_UNPACKED, bounded, gunzipped, whole
from engine.data.parts import Part, chosen, has_configs, part_of, usual
from engine.data.tabbed import looks_like_table, names_columns, tabbed
from engine.errors import DataError
from engine.paths import expanded
from engine.people import may_read

__all__ = ["EXPECTED", "Member", "Source", "source_of", "text_of"]

_SUFFIXES = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".md", ".text", ".gz", ".zip"}
_ABOUT = {"readme", "license", "licence", "changelog", "notice", "contributing"}
# What the library datasets writes beside its rows.
_ABOUT_ROWS = {"dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json"}
_CARD = "README.md"
_PEEK = 1 << 16
# A zip of text shrinks about five to twenty times; a thousand times is a bomb.
_LARGEST_RATIO = 1000


@dataclass(frozen=True)
class Member:
    """One file to read rows from, inside whatever it was packed in."""

    name: str
    open: Callable[[], BinaryIO]
    size: int | None  # bytes when unpacked, if known
    compression: str = ""
    format: str = ""  # "jsonl" | "json" | "csv" | "parquet" | "arrow" | "text"
    encoding: str = "utf-8"
    note: str = ""
    split: str = ""  # what the data set's card calls its part
    place: str = ""  # its name with the folders that it lies in, there and in an archive
    packed: Path | None = None  # the gzip file that it is
    mark: str = ""  # what parts the cells of a table, where that is known
    headed: bool = True  # whether a table's first line names the columns
    lists: tuple[str, ...] = ()  # of one JSON object: the lists that are its rows
    beside: tuple[str, ...] = ()  # and the lists that are not


@dataclass(frozen=True)
class Source:
    """The files to read rows from, and what a person should know of the others."""

    files: list[Member]
    notes: list[str]


# Opens the zip file at a path.
Archives = Callable[[Path], zipfile.ZipFile]


def source_of(path: str | Path) -> Source:
    """The data files at a path: itself, what a .gz or .zip holds, the files of a folder, or of a Hub data set.

    Of a folder and of a Hub data set a part can be named: `data:valid`, `openai/gsm8k:main:train`.

    Raises:
        DataError: there is nothing, or nothing that holds rows.
    """
    asked, path = str(path), expanded(path)
    if not path.exists():
        part = part_of(asked)
        source = part.source if part else asked
        if part and expanded(source).exists() and may_read(expanded(source)):
            return _part(expanded(source), part)
        if looks_like_id(source):
            root, splits = fetched(source, part)
            return _all_unpacked(root, splits, [])
    if path.is_dir() and may_read(path):
        return _whole(path)
    if not path.is_file() or not may_read(path):
        raise DataError(f"There is no file {str(path)!r}.", hint="Check the path, or drop the file on the page.")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty.", hint=f"Expected {EXPECTED}.")
    return _unpacked(path, _archives())


def text_of(member: Member) -> io.TextIOWrapper:
    """The member as text; bytes that its encoding does not know become lone surrogates, so that their rows can be told."""
    errors = "replace" if member.encoding.startswith("utf-16") else "surrogateescape"  # which UTF-16 cannot escape to
    return io.TextIOWrapper(member.open(), encoding=member.encoding, errors=errors, newline="")


def _part(path: Path, part: Part) -> Source:
    """The files of one part of a folder."""
    if not path.is_dir():
        raise DataError(f"{path.name} is a file, and has no part {part.split!r}.", hint="Name the file alone.")
    return _all_unpacked(path, chosen(_folder(path)[0], _card(path), part), [])


def _whole(path: Path) -> Source:
    """The files of a folder; of one whose card declares several data sets, the usual one's."""
    names, others = _folder(path)
    notes, card = not_read(others, path.name), _card(path)
    if not has_configs(names, card):
        return _all_unpacked(path, dict.fromkeys(names, ""), notes)
    splits = usual(names, card, str(path))
    if left := len(names) - len(splits):
        what = "1 file is" if left == 1 else f"{left} files are"
        notes.append(f"{what} not used: the {_CARD} of {path.name} does not count {'it' if left == 1 else 'them'} in.")
    return _all_unpacked(path, splits, notes)


def _card(path: Path) -> str:
    card = path / _CARD
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""


def _all_unpacked(root: Path, splits: dict[str, str], notes: list[str]) -> Source:
    """What the files hold; each file is named by its place below `root`, and has the split that a card gives it."""
    archives, files, said = _archives(), list[Member](), list(notes)
    for name, split in splits.items():
        found = _unpacked(root / name, archives)
        said += found.notes
        for file in found.files:
            inside = f"{name}/{file.place}" if file.compression == "zip" else name
            files.append(replace(file, split=split, place=inside))
    return Source(files, said)


def _folder(path: Path) -> tuple[list[str], list[str]]:
    """The names of a folder's data files, and of those that cannot be read, below it."""
    below = sorted((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.relative_to(path).parts)
    names = [p.relative_to(path).as_posix() for p in below]
    found, others = _readable(names)
    if not found:
        names = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
        raise DataError(
            f"The folder {path.name} holds no data files ({names}).", hint=f"Expected {EXPECTED}.{_instead(others, path.name)}"
        )
    found = [name for name in found if (path / name).stat().st_size]
    if not found:
        raise DataError(f"The files in {path.name} are all empty.", hint=f"Expected {EXPECTED}.")
    return found, others


def _instead(others: list[str], where: str) -> str:
    """What to do with files of which none can be read, behind what is expected."""
    return "".join(note.partition(").")[2] for note in not_read(others, where))


def _readable(names: list[str]) -> tuple[list[str], list[str]]:
    """Of files that lie together, those that may hold rows, and those that are of another kind; in the order given."""
    seen = [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)]
    fit = [name for name in seen if PurePosixPath(name).suffix.lower() in _SUFFIXES]
    others = [name for name in seen if PurePosixPath(name).suffix.lower() not in _SUFFIXES and not _describes(name)]
    if any(name.endswith(".arrow") for name in fit):  # what the library datasets keeps beside its rows for itself
        fit = [name for name in fit if not fnmatch(PurePosixPath(name).name, "cache-*.arrow")] or fit
        fit = [name for name in fit if PurePosixPath(name).name not in _ABOUT_ROWS]
    # what describes the folder is no row of it, unless there is nothing else
    return [name for name in fit if not _describes(name)] or fit, others


def _describes(name: str) -> bool:
    return PurePosixPath(name).stem.lower() in _ABOUT


def _unpacked(path: Path, archives: Archives) -> Source:
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        name = path.name.removesuffix(".gz")
        packed = _known(Member(name, lambda: gunzipped(path), None, "gzip", place=name, packed=path))
        return Source([packed], [])
    if start[:4] == b"PK\x03\x04":
        return _zipped(path, archives)
    return Source([_known(Member(path.name, lambda: path.open("rb"), path.stat().st_size, place=path.name))], [])


def _zipped(path: Path, archives: Archives) -> Source:
    with whole(path.name):
        infos = [i for i in archives(path).infolist() if not i.is_dir()]
    refuse_document(path, archives(path), infos)
    listed = {info.filename: info for info in infos}
    names, others = _readable(list(listed))
    packed = [name for name in names if PurePosixPath(name).suffix.lower() in (".zip", ".gz")]
    usable = [listed[name] for name in names if name not in packed]
    for info in usable:
        if info.file_size > LARGEST_UNPACKED or info.file_size > _LARGEST_RATIO * max(info.compress_size, 1024):
            raise DataError(
                f"{info.filename} in {path.name} would unpack to {info.file_size / 1e9:.1f} GB from "
                f"{info.compress_size / 1e6:.1f} MB, which no real data does.",
                hint="Unpack it yourself if you trust it.",
            )
    if not usable:
        names = ", ".join(i.filename for i in infos[:5]) or "nothing"
        raise DataError(
            f"{path.name} holds no data files ({names}).", hint=f"Expected {EXPECTED}.{_instead(others + packed, path.name)}"
        )
    files = [Member(Path(i.filename).name, _opener(path, i, archives), i.file_size, "zip", place=i.filename) for i in usable]
    return Source([_known(file) for file in files], not_read(others + packed, path.name))


def _opener(path: Path, inside: zipfile.ZipInfo, archives: Archives) -> Callable[[], BinaryIO]:
    return lambda: bounded(lambda: archives(path).open(inside), path.name)


def _archives() -> Archives:
    """Opens zip files and keeps the last one open: to read its list again for each of its files takes quadratic time, and a
    folder may hold more archives than may be open at once.
    """
    return lru_cache(maxsize=1)(zipfile.ZipFile)


def _known(member: Member) -> Member:
    """The member with its format and encoding found out from its first bytes."""
    with member.open() as file:
        start = file.read(_PEEK)
    if not start.strip():
        raise DataError(f"{member.name} is empty.", hint=f"Expected {EXPECTED}.")
    if start[:4] == b"PAR1":
        return replace(member, format="parquet")
    if start[:4] == b"\xff\xff\xff\xff" or start[:6] == b"ARROW1":
        return replace(member, format="arrow")
    refuse_foreign(start, member.name)
    encoding, note = encoding_of(start, member.name)
    text = start.decode(encoding, "replace").lstrip("\ufeff")
    if not text.strip():  # of more than bytes know as white space
        raise DataError(f"{member.name} is empty.", hint=f"Expected {EXPECTED}.")
    return _formatted(replace(member, encoding=encoding, note=note), text, len(start) == _PEEK)


def _formatted(member: Member, text: str, cut: bool) -> Member:
    """The member with its format, told from its name and from how its text begins, of which the end may be missing."""
    suffix, begins = Path(member.name).suffix.lower(), text.lstrip()[:1]
    if suffix in (".txt", ".text") and tabbed(text, cut):
        return replace(member, format="csv", mark="\t", headed=names_columns(text))
    if suffix in (".txt", ".md", ".text"):
        return replace(member, format="text")
    if suffix in (".csv", ".tsv"):
        return replace(member, format="csv")
    if begins in ("{", "["):
        lines = suffix in (".jsonl", ".ndjson") or _looks_like_lines(text)
        return replace(member, format="jsonl" if lines else "json")
    if suffix in (".json", ".jsonl", ".ndjson"):
        if suffix != ".json" and begins == '"':
            return replace(member, format="jsonl")
        shown = text.strip()[:40].splitlines()[0]
        raise DataError(
            f"{member.name} is called JSON, but it begins with {shown!r}.",
            hint="JSON rows begin with { or [. Is it another format?",
        )
    return replace(member, format="csv" if looks_like_table(text) else "text")


def _looks_like_lines(text: str) -> bool:
    """Whether several lines each hold an object; the first line of a pretty-printed one is a lone brace."""
    lines = [line.strip() for line in text.splitlines()[:3] if line.strip()]
    return len(lines) > 1 and all(line[:1] == "{" for line in lines) and lines[0].endswith("}")

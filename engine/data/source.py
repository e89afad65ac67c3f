"""Finds the files behind a path and what they are: compression, format and encoding, told by content, not by name.

Nothing is unpacked to disk and nothing is read whole; archives have limits on what they may unpack to.
"""

from __future__ import annotations

import codecs
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from engine.data.hub import fetched, looks_like_id
from engine.data.packed import LARGEST_UNPACKED, bounded, gunzipped, whole
from engine.data.parts import Part, chosen, part_of, split_of
from engine.errors import DataError
from engine.paths import expanded
from engine.people import may_read

EXPECTED = "a table (CSV, TSV, Parquet), JSON, JSON Lines, or plain text; .gz and .zip of these are read too"
_SUFFIXES = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt", ".md", ".text", ".gz", ".zip"}
_ABOUT = {"readme", "license", "licence", "changelog", "notice", "contributing"}
_PEEK = 1 << 16
# A zip of text shrinks about five to twenty times; a thousand times is a bomb.
_LARGEST_RATIO = 1000
_MAGIC = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"MZ": "a Windows program",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"BZh": "a bzip2 archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"Rar!": "a RAR archive",
    b"RIFF": "a sound or video file",
    b"ID3": "a sound file",
    b"\x80\x04": "a Python pickle, which can run code and is never opened",
}


@dataclass(frozen=True)
class Member:
    """One file to read rows from, inside whatever it was packed in."""

    name: str
    open: Callable[[], BinaryIO]
    size: int | None  # bytes when unpacked, if known
    compression: str = ""
    format: str = ""  # "jsonl" | "json" | "csv" | "parquet" | "text"
    encoding: str = "utf-8"
    note: str = ""
    split: str = ""  # "train", "valid", "test" where its place says so
    packed: Path | None = None  # the gzip file that it is
    lists: tuple[str, ...] = ()  # of one JSON object: the lists that are its rows
    beside: tuple[str, ...] = ()  # and the lists that are not


# Opens the zip file at a path.
Archives = Callable[[Path], zipfile.ZipFile]


def members(path: str | Path) -> list[Member]:
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
            return _all_unpacked(fetched(source, part), "")
    if path.is_dir() and may_read(path):
        return _all_unpacked(_folder(path), path)
    if not path.is_file() or not may_read(path):
        raise DataError(f"There is no file {str(path)!r}.", hint="Check the path, or drop the file on the page.")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty.", hint=f"Expected {EXPECTED}.")
    return _unpacked(path, _archives())


def text_of(member: Member) -> io.TextIOWrapper:
    """The member as text; bytes that its encoding does not know become lone surrogates, so that their rows can be told."""
    errors = "replace" if member.encoding.startswith("utf-16") else "surrogateescape"  # which UTF-16 cannot escape to
    return io.TextIOWrapper(member.open(), encoding=member.encoding, errors=errors, newline="")


def _part(path: Path, part: Part) -> list[Member]:
    """The files of one part of a folder."""
    if not path.is_dir():
        raise DataError(f"{path.name} is a file, and has no part {part.split!r}.", hint="Name the file alone.")
    card, files = path / "README.md", _folder(path)
    named = {file.relative_to(path).as_posix(): file for file in files}
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return _all_unpacked([named[name] for name in chosen(list(named), text, part)], path)


def _all_unpacked(files: list[Path], root: Path | str) -> list[Member]:
    """What the files hold; a file in a folder called `train` or `test` is of that split, whatever its own name is."""
    archives = _archives()
    return [
        replace(member, split=split_of(file.relative_to(root).as_posix() if root else file.name))
        for file in files
        for member in _unpacked(file, archives)
    ]


def _folder(path: Path) -> list[Path]:
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in _SUFFIXES)
    files = [p for p in files if not any(part.startswith(".") for part in p.relative_to(path).parts)]
    # what describes the folder is no row of it, unless there is nothing else
    files = [p for p in files if p.stem.lower() not in _ABOUT] or files
    if not files:
        names = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
        raise DataError(f"The folder {path.name} holds no data files ({names}).", hint=f"Expected {EXPECTED}.")
    files = [p for p in files if p.stat().st_size]
    if not files:
        raise DataError(f"The files in {path.name} are all empty.", hint=f"Expected {EXPECTED}.")
    return files


def _unpacked(path: Path, archives: Archives) -> list[Member]:
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        return [_known(Member(path.name.removesuffix(".gz"), lambda: gunzipped(path), None, "gzip", packed=path))]
    if start[:4] == b"PK\x03\x04":
        return _zipped(path, archives)
    return [_known(Member(path.name, lambda: path.open("rb"), path.stat().st_size))]


def _zipped(path: Path, archives: Archives) -> list[Member]:
    with whole(path.name):
        infos = [i for i in archives(path).infolist() if not i.is_dir()]
    if any(i.filename.startswith(("word/", "xl/", "ppt/")) for i in infos):
        raise DataError(f"{path.name} is an Office document.", hint="Save it as CSV (Excel) or as plain text (Word).")
    usable = [i for i in infos if Path(i.filename).suffix.lower() in _SUFFIXES - {".zip", ".gz"}]
    usable = [i for i in usable if not Path(i.filename).name.startswith(".") and "__MACOSX" not in i.filename]
    for info in usable:
        if info.file_size > LARGEST_UNPACKED or info.file_size > _LARGEST_RATIO * max(info.compress_size, 1024):
            raise DataError(
                f"{info.filename} in {path.name} would unpack to {info.file_size / 1e9:.1f} GB from "
                f"{info.compress_size / 1e6:.1f} MB, which no real data does.",
                hint="Unpack it yourself if you trust it.",
            )
    if not usable:
        names = ", ".join(i.filename for i in infos[:5]) or "nothing"
        raise DataError(f"{path.name} holds no data files ({names}).", hint=f"Expected {EXPECTED}.")
    return [_known(Member(Path(i.filename).name, _opener(path, i, archives), i.file_size, "zip")) for i in usable]


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
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise DataError(f"{member.name} is {what}, not a data set.", hint=f"Expected {EXPECTED}.")
    encoding, note = _encoding(start, member.name)
    text = start.decode(encoding, "replace").lstrip("\ufeff")
    if not text.strip():  # of more than bytes know as white space
        raise DataError(f"{member.name} is empty.", hint=f"Expected {EXPECTED}.")
    return replace(member, encoding=encoding, note=note, format=_format(member.name, text))


def _encoding(start: bytes, name: str) -> tuple[str, str]:
    for bom, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if start.startswith(bom):
            return encoding, ""
    zeros = start.count(0)
    if zeros > len(start) // 5 and len(start) > 3:  # Latin text in UTF-16 has a zero in every second byte
        return ("utf-16-le" if start[1:2] == b"\0" else "utf-16-be"), "It is UTF-16 without a mark at its start."
    if zeros:
        raise DataError(f"{name} is a binary file, not a data set.", hint=f"Expected {EXPECTED}.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        if any(ord(c) > 0x7F for c in start.decode("utf-8", "ignore")):
            return "utf-8", ""  # UTF-8 with some broken bytes: the rows that have them are told
        return "cp1252" if not set(start) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "latin-1", (
            "It is not UTF-8; it was read as Western European text (Windows-1252). Check letters like é and ü."
        )
    return "utf-8", ""


def _format(name: str, text: str) -> str:
    suffix, begins = Path(name).suffix.lower(), text.lstrip()[:1]
    if suffix in (".txt", ".md", ".text"):
        return "text"
    if suffix in (".csv", ".tsv"):
        return "csv"
    if begins in ("{", "["):
        return "jsonl" if suffix in (".jsonl", ".ndjson") or _looks_like_lines(text) else "json"
    if suffix in (".json", ".jsonl", ".ndjson"):
        if suffix != ".json" and begins == '"':
            return "jsonl"
        shown = text.strip()[:40].splitlines()[0]
        raise DataError(
            f"{name} is called JSON, but it begins with {shown!r}.",
            hint="JSON rows begin with { or [. Is it another format?",
        )
    return "csv" if _looks_like_table(text) else "text"


def _looks_like_lines(text: str) -> bool:
    """Whether several lines each hold an object; the first line of a pretty-printed one is a lone brace."""
    lines = [line.strip() for line in text.splitlines()[:3] if line.strip()]
    return len(lines) > 1 and all(line[:1] == "{" for line in lines) and lines[0].endswith("}")


def _looks_like_table(text: str) -> bool:
    lines = [line for line in text.splitlines()[:10] if line.strip()]
    return len(lines) > 1 and any(
        lines[0].count(mark) and all(line.count(mark) == lines[0].count(mark) for line in lines[:-1]) for mark in ",;\t"
    )

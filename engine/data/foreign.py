"""Files that are no data set: what each is, and what to make of it, told from its content."""

from __future__ import annotations

import zipfile
from pathlib import Path

from engine.errors import DataError

EXPECTED = "a table (CSV, TSV, Parquet), JSON, JSON Lines, or plain text; .gz and .zip of these are read too"
_AS_TEXT = "Save it as plain text (.txt)."
_AS_TABLE = "Save it as CSV."
_UNPACK = "Unpack it, and use the files in it."
_ELSE = f"Expected {EXPECTED}."
_MAGIC: dict[bytes, tuple[str, str]] = {
    b"\x89PNG": ("a PNG picture", _ELSE),
    b"\xff\xd8\xff": ("a JPEG picture", _ELSE),
    b"GIF8": ("a GIF picture", _ELSE),
    b"%PDF": ("a PDF document", f"{_AS_TEXT} Most programs that show PDF can copy or export its text."),
    b"{\\rtf": ("an RTF document", _AS_TEXT),
    b"\x7fELF": ("a program", _ELSE),
    b"MZ": ("a Windows program", _ELSE),
    b"SQLite format 3": ("an SQLite database", _ELSE),
    b"\xd0\xcf\x11\xe0": ("an old Office document", "Save it as CSV (Excel) or as plain text (Word)."),
    b"BZh": ("a bzip2 archive", _UNPACK),
    b"7z\xbc\xaf": ("a 7-Zip archive", _UNPACK),
    b"\xfd7zXZ": ("an xz archive", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", _UNPACK),
    b"Rar!": ("a RAR archive", _UNPACK),
    b"RIFF": ("a sound or video file", _ELSE),
    b"ID3": ("a sound file", _ELSE),
    b"\x93NUMPY": ("a NumPy array of numbers", _ELSE),
    b"\x80\x04": ("a Python pickle, which can run code and is never opened", _ELSE),
}
# Where a tar archive says what it is.
_TAR = slice(257, 262)
# What the first file of these zips says of them.
_DOCUMENTS = {
    "spreadsheet": ("an OpenDocument table", _AS_TABLE),
    "opendocument": ("an OpenDocument file", _AS_TEXT),
    "epub": ("an e-book", f"{_AS_TEXT} Calibre, among others, can do that."),
}
_LOCKED = 0x1
_LONGEST = 10
# Endings of what people have beside their data, and what to do with it.
_INSTEAD = {
    (".docx", ".doc", ".odt", ".rtf", ".pdf", ".pptx", ".epub", ".html", ".htm"): "Save documents as plain text (.txt)",
    (".xlsx", ".xls", ".ods", ".numbers"): "save spreadsheets as CSV",
    (".tar", ".7z", ".rar", ".bz2", ".xz", ".tgz", ".zst"): "unpack archives",
}


def refuse_foreign(start: bytes, name: str) -> None:
    """
    Raises:
        DataError: a file with this beginning is something else than rows or text; says what to do.
    """
    if start[_TAR] == b"ustar":
        raise DataError(f"{name} is a tar archive, not a data set.", hint=_UNPACK)
    for magic, (what, hint) in _MAGIC.items():
        if start.startswith(magic):
            raise DataError(f"{name} is {what}, not a data set.", hint=hint)


def refuse_document(path: Path, archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> None:
    """
    Raises:
        DataError: the zip is a document, as many programs write them, or has a password.
    """
    if any(info.filename.startswith(("word/", "xl/", "ppt/")) for info in infos):
        raise DataError(f"{path.name} is an Office document.", hint="Save it as CSV (Excel) or as plain text (Word).")
    if any(info.flag_bits & _LOCKED for info in infos):
        raise DataError(f"{path.name} is locked with a password.", hint="Unpack it with the password, and use what is inside.")
    if infos and infos[0].filename == "mimetype" and infos[0].file_size < 200:
        said = archive.read(infos[0]).decode("ascii", "replace")
        for word, (what, hint) in _DOCUMENTS.items():
            if word in said:
                raise DataError(f"{path.name} is {what}.", hint=hint)


def not_read(names: list[str], where: str) -> list[str]:
    """What a person should know of files that lie among the data and cannot be read; nothing when there are none."""
    counts: dict[str, int] = {}
    for name in names:
        ending = Path(name).suffix.lower()
        ending = ending if 1 < len(ending) <= _LONGEST and ending[1:].isalnum() else "without an ending"
        counts[ending] = counts.get(ending, 0) + 1
    if not counts:
        return []
    most = sorted(counts.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{count} {ending}" for ending, count in most[:5]) + (" and others" if len(most) > 5 else "")
    hints = [hint for endings, hint in _INSTEAD.items() if counts.keys() & set(endings)]
    hint = "; ".join(hints)
    hint = f" {hint[:1].upper()}{hint[1:]} to train on them." if hints else ""
    what = "1 file" if len(names) == 1 else f"{len(names)} files"
    return [f"{what} in {where} {'was' if len(names) == 1 else 'were'} not read ({listed}).{hint}"]

"""What is no data set is called what it is, with what to do; what lies beside the data unread is told."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from engine.data import inspect, prepare, rows
from engine.errors import DataError

ROWS = b'{"text": "The boats go out at six."}\n' * 3


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("rows.jsonl")
        info.size = len(ROWS)
        archive.addfile(info, io.BytesIO(ROWS))
    return out.getvalue()


def _document(said: str, inside: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", said)
        archive.writestr(inside, "<xml/>")
    return out.getvalue()


REFUSED = {
    "data.tar": (_tar(), "data.tar is a tar archive", "Unpack it"),
    "data.tar.gz": (gzip.compress(_tar()), "data.tar is a tar archive", "Unpack it"),
    "sheet.ods": (_document("application/vnd.oasis.opendocument.spreadsheet", "content.xml"), "OpenDocument table", "CSV"),
    "text.odt": (_document("application/vnd.oasis.opendocument.text", "content.xml"), "OpenDocument file", "plain text"),
    "book.epub": (_document("application/epub+zip", "OEBPS/a.xhtml"), "e-book", "plain text"),
    "old.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "old Office document", "CSV"),
    "doc.rtf": (b"{\\rtf1\\ansi Hello}", "RTF document", "plain text"),
    "x.npy": (b"\x93NUMPY\x01\0" + bytes(200), "NumPy array", "Expected a table"),
    "doc.pdf": (b"%PDF-1.7\nabc", "PDF document", "plain text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    content, what, then = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=what) as told:
        inspect(tmp_path / name)
    assert then in told.value.hint


def test_a_zip_with_a_password_says_so(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("rows.jsonl", ROWS)
    content = bytearray(packed.getvalue())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip is locked with a password\.") as told:
        inspect(tmp_path / "a.zip")
    assert "Unpack it with the password" in told.value.hint


@pytest.mark.parametrize("zipped", [False, True])
def test_files_beside_the_data_that_are_not_read_are_told(zipped: bool, tmp_path: Path) -> None:
    names = [f"lesson{n}.docx" for n in range(12)] + [f"exam{n}.pdf" for n in range(3)] + ["grades.xlsx", "LICENSE"]
    folder = tmp_path / "handouts"
    folder.mkdir()
    for name in [*names, "timetable.txt", ".DS_Store"]:
        (folder / name).write_bytes(b"Lessons begin at eight.\n")
    path = folder
    if zipped:
        path = tmp_path / "handouts.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, f"handouts/{file.name}")
    made = prepare(path, "text", tmp_path / "out")
    for told in (inspect(path).warnings, made.warnings):
        assert (
            f"16 files in {path.name} were not read (12 .docx, 3 .pdf, 1 .xlsx). Save documents as plain text (.txt); "
            "save spreadsheets as CSV to train on them." in told
        )


def test_a_folder_of_documents_only_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "talks").mkdir()
    (tmp_path / "talks" / "a.docx").write_bytes(b"PK")
    with pytest.raises(DataError, match="holds no data files") as told:
        inspect(tmp_path / "talks")
    assert "Save documents as plain text (.txt) to train on them." in told.value.hint


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("#separator:tab\n#html:true\nWhy?\tSo.\nWhen?\tAt six, or so.\nWho?\tSam.\n", ["column 1", "column 2"]),
        ("#separator:tab\n#columns:Question\tAnswer\nWhy?\tSo.\nWhen?\tAt six, or so.\nWho?\tSam.\n", ["Question", "Answer"]),
        ("Why?\tSo.\nWhen?\tAt six, or so.\nWho?\tSam.\n", ["column 1", "column 2"]),
        ("Question\tAnswer\r\nWhy?\tSo.\r\nWhen?\tAt six, or so.\r\nWho?\tSam.\r\n", ["Question", "Answer"]),
    ],
)
def test_a_text_of_cells_between_tabs_is_a_table(content: str, columns: list[str], tmp_path: Path) -> None:
    """As Anki, Quizlet and Excel ("Unicode Text") write one; without names of columns no row is taken for them."""
    for encoding in ("utf-8", "utf-16"):
        path = tmp_path / "cards.txt"
        path.write_bytes(content.encode(encoding))
        seen = inspect(path)
        assert (seen.form, seen.rows, [column.name for column in seen.columns]) == ("qa", 3, columns)
        assert [row for _, row in rows(path, "chat")][1:] == [
            {"prompt": "When?", "completion": "At six, or so."},
            {"prompt": "Who?", "completion": "Sam."},
        ]


@pytest.mark.parametrize("content", ["One.\tTwo.\nThree.\n", "No tab.\nNone here.\n", "One\tline only"])
def test_a_text_with_some_tabs_is_text(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(content)
    assert inspect(tmp_path / "a.txt").file_format == "plain text"

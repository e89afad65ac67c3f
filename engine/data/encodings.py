"""In which encoding a text is written, told from its beginning; what is a guess is said."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from engine.data.foreign import EXPECTED
from engine.errors import DataError

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# What Windows, and so Excel, writes where UTF-8 is not asked for, and whose letters each has.
_PAGES = {
    "cp1252": "Western European text (Windows-1252)",
    "cp1250": "Central European text (Windows-1250)",
    "cp1251": "Cyrillic text (Windows-1251)",
    "cp1253": "Greek text (Windows-1253)",
    "cp1254": "Turkish text (Windows-1254)",
    "cp1255": "Hebrew text (Windows-1255)",
    "cp1256": "Arabic text (Windows-1256)",
    "cp1257": "Baltic text (Windows-1257)",
    "cp874": "Thai text (Windows-874)",
    "koi8_r": "Cyrillic text (KOI8-R)",
    "gb18030": "Chinese text (GBK)",
    "big5": "Chinese text (Big5)",
    "cp932": "Japanese text (Shift-JIS)",
    "euc_jp": "Japanese text (EUC-JP)",
    "cp949": "Korean text (Windows-949)",
}
_WIDE = ("gb18030", "big5", "cp932", "euc_jp", "cp949")
_LATIN = ("cp1250", "cp1252", "cp1254", "cp1257")
# Bytes that Windows-1252 has no letter for.
_NOT_1252 = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
# Pages of which text, read as Western European, has a letter of both groups and none of the third: Turkish (for ı, ş and ğ),
# Lithuanian and Latvian (š and ž), Hungarian (ő and ű). Icelandic, Portuguese and French have some of the third.
_MISREAD = (
    ("cp1254", "ý", "þð", "áéíóúæ"),
    ("cp1257", "þð", "âçîûøëàè", "éóúýö"),
    ("cp1250", "õû", "áíóú", "ãâàèêîôçäñ"),
)
# Of the lines that are not plain ASCII, how many bytes decide.
_ENOUGH = 16 << 10
# What words in Latin letters do not have: controls, a capital behind a small letter, a sign within, a raised one before.
_ODD = re.compile(r"[\x80-\x9f]|[a-zß-öø-ÿšœž][ŠŒŽŸÀ-ÖØ-Þ]|[^\W\d_][¡-©«-¬®-±´-¶»-¿×÷¤¸][^\W\d_]|[ªº¹²³][^\W\d_]")
# Letters beside each other, as in words of other scripts: one alone may be Western. Of two bytes most have more than one that
# is not ASCII: a Western letter with the plain one behind it would make one of them by accident.
_BESIDE = re.compile(r"[^\x00-\x7f]{2,}")
_MOSTLY, _BYTES = 0.6, 1.25
# How much of what is not ASCII may be odd all the same.
_SELDOM = 0.05
# Of UTF-16, how many of its zeros may be at the wrong one of two places, and how much of it is readable.
_STRAY, _READABLE = 0.02, 0.95


def encoding_of(start: bytes, name: str) -> tuple[str, str]:
    """The encoding of a text that begins with these bytes, and what a person should know of it.

    Raises:
        DataError: it is no text.
    """
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, ""
    if 0 in start:
        return _with_zeros(start, name), "It is UTF-16 without a mark at its start."
    if _is_utf8(start):
        return "utf-8", ""  # perhaps with some broken bytes: the rows that have them are told
    page = _page(start)
    table = Path(name).suffix.lower() in (".csv", ".tsv")
    again = "save the file in Excel as “CSV UTF-8”" if table else "save the file as UTF-8"
    letters = " Check letters like é and ü." if page in ("cp1252", "latin-1") else ""
    what = _PAGES.get(page, _PAGES["cp1252"])
    return page, f"It is not UTF-8; it was read as {what}.{letters} If letters look wrong, {again}."


def _with_zeros(start: bytes, name: str) -> str:
    """The UTF-16 of Latin text, which has a zero in every second byte, and hardly one between.

    Raises:
        DataError: it is something else.
    """
    even, odd = start[::2].count(0), start[1::2].count(0)
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    if max(even, odd) > len(start) // 5 and min(even, odd) <= max(even, odd) * _STRAY and len(start) > 3:
        text = start.decode(encoding, "replace")
        if sum(sign.isprintable() or sign.isspace() for sign in text) >= len(text) * _READABLE:
            return encoding
    raise DataError(
        f"{name} is a binary file, not a data set.",
        hint=f"Expected {EXPECTED}.",
    )


def _is_utf8(start: bytes) -> bool:
    """Whether it is UTF-8, if with a few broken bytes: letters of two bytes and more come about by accident, but seldom."""
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(start)
    broken = sum("\udc80" <= sign <= "\udcff" for sign in text)
    whole = sum(len(sign.encode()) for sign in text if sign > "\x7f" and not "\udc80" <= sign <= "\udcff")
    return not broken or whole >= 2 * broken


def _page(start: bytes) -> str:
    """The code page whose letters make the most orderly text; of those with Latin letters, Western European where it fits."""
    from charset_normalizer import from_bytes

    telling = _telling(start)
    found = from_bytes(telling, steps=8, chunk_size=1024, cp_isolation=list(_PAGES), preemptive_behaviour=False)
    western = "latin-1" if _NOT_1252 & set(start) else "cp1252"
    likely = [match for match in found if _fits(telling, match.encoding)]
    if not likely or (likely[0].encoding in _LATIN and _orderly(telling, western)):
        return _latin(telling.decode(western, "replace").lower()) or western
    # letters of two bytes seldom come about by accident
    return next((m.encoding for m in likely if m.encoding in _WIDE and m.chaos <= likely[0].chaos), likely[0].encoding)


def _fits(text: bytes, page: str) -> bool:
    """Whether the letters of a page stand as they do in its words: with Latin ones in order, else most beside each other."""
    if page in _LATIN:
        return _orderly(text, page)
    letters = text.decode(page, "replace")
    many = sum(sign > "\x7f" for sign in letters)
    if page in _WIDE and sum(byte > 0x7F for byte in text) < _BYTES * many:
        return False
    return sum(len(run) for run in _BESIDE.findall(letters)) > _MOSTLY * many


def _orderly(text: bytes, page: str) -> bool:
    letters = text.decode(page, "replace")
    return len(_ODD.findall(letters)) <= _SELDOM * sum(sign > "\x7f" for sign in letters)


def _latin(text: str) -> str:
    """The page of a language whose letters come out as other letters where its text is read as Western European."""
    letters = set(text)
    for page, one, another, none in _MISREAD:
        if letters & set(one) and letters & set(another) and not letters & set(none):
            return page
    return ""


def _telling(start: bytes) -> bytes:
    """The first of its whole lines that are not plain ASCII."""
    lines = start.splitlines(keepends=True)
    lines = lines[:-1] if len(lines) > 1 and not start.endswith((b"\n", b"\r")) else lines
    telling, held = [], 0
    for line in (line for line in lines if not line.isascii()):
        telling.append(line)
        held += len(line)
        if held > _ENOUGH:
            break
    return b"".join(telling) or start

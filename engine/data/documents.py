"""Plain text as rows: documents of joined paragraphs, and each question with its answer by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TextIO

from engine.data.json_files import bounded_lines
from engine.data.records import Problem, Record
from engine.data.source import Member, text_of
from engine.data.talks import QUESTION_WORDS
from engine.data.turns import begins_a_talk, transcript

# Paragraphs of a plain text are joined into documents of about this many characters, and one that is longer ends there.
_DOCUMENT = 2000
# A talk in one block may be longer, for its turns belong together.
_TALK = 100_000
# Of these marks, unlike of names of speakers, each question begins something new.
_PAIRS = [
    (re.compile(rf"[ \t\ufeff]*{ask}[ \t]*:", re.IGNORECASE), re.compile(rf"[ \t]*{answer}[ \t]*:", re.IGNORECASE))
    for ask, answer in (("Q", "A"), *QUESTION_WORDS)
]


def text(member: Member) -> Iterator[Record | Problem]:
    """Paragraphs (blocks between blank lines), joined into documents of about 2000 characters; a question with its answer is a
    row by itself. Each has the number of its first line. A block without an end is cut at the ends of lines.
    """
    held: list[str] = []
    start = 1
    with text_of(member) as file:
        for number, paragraph in _whole_pairs(_paragraphs(file)):
            alone = begins_a_talk(paragraph)
            if held and (alone or sum(map(len, held)) >= _DOCUMENT):
                yield Record(start, {"text": "\n\n".join(held)})
                held = []
            if alone:
                yield Record(number, {"text": paragraph})
                continue
            start = start if held else number
            held.append(paragraph)
    if held:
        yield Record(start, {"text": "\n\n".join(held)})


def _whole_pairs(paragraphs: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The same, with an answer that stands below a blank line put to its question."""
    asked: tuple[int, str] | None = None
    for number, paragraph in paragraphs:
        if asked is not None:
            marks = _pair(asked[1])
            if marks is not None and marks[1].match(paragraph):
                yield asked[0], f"{asked[1]}\n\n{paragraph}"
                asked = None
                continue
            yield asked
        asked = (number, paragraph)
        if _pair(paragraph) is None or [turn["role"] for turn in transcript(paragraph)] != ["user"]:
            yield asked
            asked = None
    if asked is not None:
        yield asked


def _paragraphs(file: TextIO) -> Iterator[tuple[int, str]]:
    """Each with the number of its first line."""
    lines: list[str] = []
    start, size, most = 1, 0, _DOCUMENT
    pair, answered = None, False
    for number, line in bounded_lines(file):
        again = answered and pair is not None and pair[0].match(line) is not None
        if lines and (size >= most or again or not line.strip()):
            yield start, "\n".join(lines)
            lines = []
        if not line.strip():
            continue
        if not lines:
            start, size, most = number, 0, _TALK if transcript(line) else _DOCUMENT
            pair, answered = _pair(line), False
        answered = answered or (pair is not None and pair[1].match(line) is not None)
        lines.append(line.rstrip("\r\n"))
        size += len(line)
    if lines:
        yield start, "\n".join(lines)


def _pair(text: str) -> tuple[re.Pattern[str], re.Pattern[str]] | None:
    """The marks of question and answer, if a text begins with one of them."""
    return next((marks for marks in _PAIRS if marks[0].match(text) or marks[1].match(text)), None)

"""What a teacher answers, asked once before the training, and the rows that are learned from it.

The answers are kept in the run, one JSON object a line: {"row", "text", "ids", "ended"}. A run that was stopped or killed
in the middle asks for what is missing and for nothing else.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import DataError
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.worker.distilling import TaughtRows
from engine.worker.longest import way_out
from engine.worker.rows import Row, Rows, read_rows
from engine.worker.teachers import Answer, LocalTeacher, Teacher
from engine.worker.tokens import IGNORED, Tokens, chat_tokens, prompt_tokens

if TYPE_CHECKING:
    from engine.worker.kit import Kit

# Rows that are sorted by length together, so that what is generated at once is about equally long.
_WINDOW = 1024
# Seconds between two reports of how far the teacher is.
_REPORT_S = 2.0
# Where an answered row carries its answer; the file's own columns are left behind.
_ANSWER = "answer"


class AnswerFile:
    """The answers to the rows of one prepared file, by row number. A line that a kill tore apart is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.empty = 0
        self._places: dict[int, int] = {}
        self._end = 0
        if path.is_file():
            self._take_up()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def add(self, number: int, answer: Answer, *, write: bool = True) -> None:
        """Append an answer; it is on disk when this returns. Without `write` another process writes it there."""
        line = json.dumps({"row": number, **answer._asdict()}, ensure_ascii=False).encode() + b"\n"
        if write:
            with self.path.open("ab") as file:
                file.write(line)
        self._note(number, bool(answer.text or answer.ids), len(line))

    def pairs(self, rows: Path) -> Iterator[tuple[Row, Answer]]:
        """Every row that has an answer, with it."""
        with self.path.open("rb") as file:
            for number, row in enumerate(read_rows(rows)):
                if number in self._places:
                    file.seek(self._places[number])
                    held = json.loads(file.readline())
                    if held["text"] or held["ids"]:
                        yield row, Answer(held["text"], held["ids"], held["ended"])

    def _take_up(self) -> None:
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                held = json.loads(line)
                self._note(held["row"], bool(held["text"] or held["ids"]), len(line))
        os.truncate(self.path, self._end)

    def _note(self, number: int, answered: bool, length: int) -> None:
        self._places[number] = self._end
        self._end += length
        self.empty += not answered


class Lessons:
    """The answers of one run's teacher, for training and held-out rows."""

    def __init__(self, kit: Kit, most: int, temperature: float) -> None:
        """`most` is the longest answer in tokens."""
        self.kit, self.most, self.temperature = kit, most, temperature
        self.files: dict[str, AnswerFile] = {}

    def learned_from(self, teacher: Teacher, *, with_guesses: bool) -> Rows:
        """Ask the teacher what is not known yet, and make rows of all that it answered.

        `with_guesses`: in the teacher's own tokens, so that its guesses can be compared; it is kept. Else from the text, in
        the trained model's own way of ending a turn, and the teacher is let go.

        Raises:
            DataError: it answered nothing, or no answer fits into the longest row.
            ModelError: it cannot be asked.
            StopRequested: somebody asked to stop; what was answered is kept.
        """
        with self.kit.reporter.ranks.first_before_others():
            folder = self.kit.run.data_dir
            self.files = {part: AnswerFile(_beside(folder / f"{part}.jsonl")) for part in ("train", "valid")}
            if not teacher.together:
                self._ask(teacher)
        if teacher.together:  # nothing is written before all of them ask, and so all know the same answers
            self._ask(teacher)
        if with_guesses:
            assert isinstance(teacher, LocalTeacher)
            make: Any = lambda row: self._two_views(row, teacher.tokenizer)  # noqa: E731
        else:
            teacher.release()
            make = self._from_text
        rows = self.kit.answered_rows(make, _answered)
        return Rows(*(part and TaughtRows(part) for part in rows)) if with_guesses else rows  # type: ignore[arg-type]

    # ---- asking

    def _ask(self, teacher: Teacher) -> None:
        data = self.kit.run.data()
        total, told = data["train_rows"] + data["valid_rows"], 0.0
        done = sum(map(len, self.files.values()))
        for part, file in self.files.items():
            for number, answer in self._missing(part, file, teacher):
                if not done:
                    self.kit.reporter.set(resumable=True)
                file.add(number, answer, write=self.kit.reporter.ranks.first)
                done += 1
                if done == total or time.monotonic() - told > _REPORT_S:
                    told = time.monotonic()
                    self._tell(done, total)
        self._tell_of_empty()

    def _missing(self, part: str, file: AnswerFile, teacher: Teacher) -> Iterator[tuple[int, Answer]]:
        """Answers to the rows that have none, window by window."""
        spec, params = self.kit.spec, self.kit.params
        assert spec.views is not None
        rows = enumerate(read_rows(self.kit.run.data_dir / f"{part}.jsonl"))
        waiting = ((number, _teachers(spec, params, row)) for number, row in rows if number not in file)
        while window := list(itertools.islice(waiting, _WINDOW)):
            if not sum(map(len, self.files.values())):
                data = self.kit.run.data()
                self._tell(0, data["train_rows"] + data["valid_rows"])
            self.kit.reporter.heed_stop(together=teacher.together)
            yield from teacher.answers(window, self.most, self.temperature)

    def _tell(self, done: int, total: int) -> None:
        self.kit.reporter.phase(State.PREPARING, f"The teacher answers ({done:,} of {total:,})", done=done, total=total)

    def _tell_of_empty(self) -> None:
        if len(self.files["train"]) == self.files["train"].empty:
            raise DataError(
                "The teacher gave no answer to any prompt.",
                hint="The prompts may be longer than it can read, or it is a model that does not answer in a chat.",
            )
        if empty := sum(file.empty for file in self.files.values()):
            self.kit.reporter.warn(
                f"{empty} prompts got no answer and are left out.",
                "They are longer than the teacher can read, or it was silent.",
            )

    # ---- rows

    def _two_views(self, row: Row, teachers: Any) -> tuple[Tokens, Tokens]:
        """The answer behind the trained model's prompt and behind the teacher's, in the same tokens."""
        spec, params = self.kit.spec, self.kit.params
        before = prompt_tokens(spec.asked(params, row), self.kit.tokenizer).input_ids
        answer = row[_ANSWER].ids[: max(0, (params.max_length or 1 << 30) - len(before))]
        if not answer:
            raise _no_room(self.kit.run, len(before), params.max_length)
        theirs = prompt_tokens(_teachers(spec, params, row), teachers).input_ids
        return _with_answer(before, answer), _with_answer(theirs, answer)

    def _from_text(self, row: Row) -> tuple[Tokens]:
        """The answer as a chat with the trained model has it; one that was cut off is not followed by an end."""
        spec, params, tokenizer = self.kit.spec, self.kit.params, self.kit.tokenizer
        answer: Answer = row[_ANSWER]
        if not answer.text:
            raise DataError("The teacher's answer is white space.")
        made = chat_tokens({"prompt": spec.asked(params, row)["prompt"], "completion": answer.text}, tokenizer)
        last = max(place for place, label in enumerate(made.labels) if label != IGNORED)
        if not answer.ended and made.labels[last] in tokenizer.added_tokens_decoder:
            made.labels[last] = IGNORED
        cut = made.cut(params.max_length)
        if not cut.trained:
            raise _no_room(self.kit.run, made.labels.count(IGNORED), params.max_length)
        return (cut,)


def _beside(rows: Path) -> Path:
    return rows.with_name(f"{rows.stem}.answers.jsonl")


def _answered(rows: Path) -> Iterator[Row]:
    """The rows of a prepared file that a teacher answered, each with its prompt and answer alone."""
    if rows.is_file() and _beside(rows).is_file():
        for row, answer in AnswerFile(_beside(rows)).pairs(rows):
            yield {"prompt": row["prompt"], _ANSWER: answer}


def _teachers(spec: Any, params: Any, row: Row) -> Row:
    """The row as the teacher reads it."""
    return next(view.row for view in spec.views(params, row) if not view.trained)


def _with_answer(prompt: list[int], answer: list[int]) -> Tokens:
    return Tokens([*prompt, *answer], [IGNORED] * len(prompt) + answer)


def _no_room(run: RunDirectory, prompt: int, max_length: int | None) -> DataError:
    return DataError(
        f"Its prompt has about {prompt} tokens and leaves no room for the answer within {max_length}.",
        hint=way_out(run),
    )

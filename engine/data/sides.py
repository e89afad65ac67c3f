"""Which files of a data set are trained on, which are held out, and which stay unused; told in words.

A file's place says so (`train/a.jsonl`, `faq-test.csv`). A word that is only part of a name may mean something else
(`unit-test.md`), so it counts only where some files are for training and others are not by their names.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.data.parts import SPLITS, named_split, split_of, split_within
from engine.data.source import Member

_NAMED = 3


@dataclass(frozen=True)
class Sides:
    """The files to train on, those to measure with, and what a person should know of the others."""

    train: list[Member]
    valid: list[Member]
    notes: list[str]


def sides(files: list[Member]) -> Sides:
    """Deal files out by what their places and the data set's card say."""
    if len(files) == 1:
        return Sides(files, [], [])
    words = [_sure(file) for file in files]
    within = [word or split_within(file.place) for word, file in zip(words, files, strict=True)]
    if "train" in within and {"valid", "test"} & set(within):
        words = within
    of = {
        word: [file for file, its in zip(files, words, strict=True) if its == word] for word in ("train", "valid", "test", "")
    }
    train = of["train"] or of[""]
    if not train:
        return Sides(files, [], _all_together(words))
    return Sides(train, of["valid"], _notes(of, train))


def _sure(file: Member) -> str:
    return SPLITS.get(file.split, "") or split_within(file.split) or split_of(file.place)


def _all_together(words: list[str]) -> list[str]:
    return ["By their names no file is for training, so all are trained on."] if len(set(words)) > 1 else []


def _notes(of: dict[str, list[Member]], train: list[Member]) -> list[str]:
    notes = []
    parts = sorted({_part(file) for file in of["train"]} - {""})
    if len(parts) > 1:
        notes.append(f"Trained on together: {', '.join(parts)}. For one alone, choose only its files.")
    if of["valid"]:
        notes.append(f"Held out to measure with, and not trained on: {_listed(of['valid'])}.")
    if tests := of["test"]:
        why = "by its name it is" if len(tests) == 1 else "by their names they are"
        notes.append(f"{_listed(tests)} {_are(tests)} not used: {why} for a test after training.")
    if of["train"] and (rest := of[""]):
        notes.append(f"{_listed(rest)} {_are(rest)} not used: {train[0].place} is for training, as its name says.")
    return notes


def _part(file: Member) -> str:
    """What a part for training is called that has more to its name than that; "" for others."""
    if SPLITS.get(file.split) or split_of(file.place):
        return ""
    return named_split(file.split or file.place).rstrip("0123456789-_. ")


def _are(files: list[Member]) -> str:
    return "is" if len(files) == 1 else "are"


def _listed(files: list[Member]) -> str:
    more = len(files) - _NAMED
    return ", ".join(file.place for file in files[:_NAMED]) + (f" and {more} more files" if more > 0 else "")

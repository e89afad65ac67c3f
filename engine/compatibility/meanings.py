"""What an older name can mean here: a setting of ours, something that is so anyway, or nothing at all.

A meaning is a function of the value and of the settings that the trainer has. It returns settings of ours, or a sentence
that says why none is needed, or raises `NoCounterpart`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

Settings = dict[str, Any]
Meaning = Callable[[Any, Collection[str]], Settings | str]
Convert = Callable[[Any], Any]

# Values that ask for nothing: a switch that is off, a line of a file that is left empty.
_OFF = ("", "none", "null", "false", "no", "off")


class NoCounterpart(Exception):
    """There is nothing of this kind here; the message says so, and what there is instead."""

    words = "has no counterpart here"


class NotASetting(NoCounterpart):
    """It belongs somewhere else; the message says where."""

    words = "is not taken"


def is_off(value: Any) -> bool:
    """Whether a value asks for nothing."""
    return value in (None, False, [], {}) or (isinstance(value, str) and value.strip().lower() in _OFF)


def truth(value: Any) -> Any:
    """A yes or no that may be a word; other values as they are, for the settings to judge."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    return words.get(str(value).strip().lower(), value)


def becomes(*ours: str, by: Convert = lambda value: value) -> Meaning:
    """The first of `ours` that the trainer has, with the value that `by` makes of the old one; None is "choose it for me"."""

    def mean(value: Any, has: Collection[str]) -> Settings | str:
        name = next((name for name in ours if name in has), ours[0])
        if value is None:
            return f"left empty, so {name} stays at its default"
        made = by(value)
        return f"{name} stays at its default" if made is None else {name: made}

    return mean


def so_anyway(why: str, *values: Any, otherwise: str = "") -> Meaning:
    """Nothing to set: it is so here. Holds for the named values (none named: for all); `otherwise` is said of the others."""
    named = {str(value).lower() for value in values}

    def mean(value: Any, has: Collection[str]) -> Settings | str:
        if value is None or not named or str(value).strip().lower() in named:
            return why
        raise NoCounterpart(otherwise)

    return mean


def missing(instead: str) -> Meaning:
    """There is none here, and `instead` says what to do; a value that asks for nothing is let pass."""
    return _off_or(NoCounterpart, instead)


def elsewhere(where: str) -> Meaning:
    """There is such a thing here, and it is no setting of a run: `where` says how it is asked for."""
    return _off_or(NotASetting, where)


def _off_or(refusal: type[Exception], why: str) -> Meaning:
    def mean(value: Any, has: Collection[str]) -> Settings | str:
        if is_off(value):
            return "off, as here"
        raise refusal(why)

    return mean


def secret(variable: str, sentence: str) -> Meaning:
    """Never a setting. `${NAME}` of an older file only names an environment variable, and holds no secret."""

    def mean(value: Any, has: Collection[str]) -> Settings | str:
        if is_off(value):
            return "left empty"
        if str(value).strip() == f"${{{variable}}}":
            return f"read from the environment variable {variable} when it is needed, and kept nowhere"
        raise NotASetting(sentence)

    return mean


def one_of(words: Mapping[str, Any], instead: str) -> Convert:
    """The value that each old word stands for; `instead` is said of a word that stands for nothing here."""

    def convert(value: Any) -> Any:
        found = words.get(str(value).strip().lower(), _ABSENT)
        if found is _ABSENT:
            raise NoCounterpart(f"{value!r}: {instead}")
        return found

    return convert


def known_or(words: Mapping[str, Any]) -> Convert:
    """Old words for values that have another name here; every other value as it is, for the settings to judge."""
    return lambda value: words.get(str(value).strip().lower(), value)


def size(value: Any) -> Any:
    """A count where -1 says "choose it for me"."""
    return None if str(value).strip() == "-1" else value


def negated(value: Any) -> Any:
    """A switch that says the opposite of ours."""
    found = truth(value)
    return not found if isinstance(found, bool) else found


def switched_on(ours: str) -> Convert:
    """A switch that chooses one of several values of ours."""
    return lambda value: ours if truth(value) is True else None


def sentence_for(told: Mapping[str, Settings | str], instead: str) -> Meaning:
    """The settings, or the sentence, for each old word."""
    convert = one_of(told, instead)
    return lambda value, has: "left empty" if value is None else convert(value)


_ABSENT = object()

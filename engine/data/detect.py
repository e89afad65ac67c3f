"""How the form of rows is recognised, from column names and a few rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from engine.data.forms import FORMS
from engine.data.talks import QUESTION_WORDS, lines_of, turns_of
from engine.data.verdicts import are_thumbs, truth_of

# Two searches and not one pattern with a gap in it, which takes quadratic time on a long text of questions only.
_ASKS = re.compile(r"(?:^|\n)[ \t\r]*(Human|User|H|Q)[ \t]*:", re.IGNORECASE)
_ANSWERS = re.compile(r"\n[ \t\r]*(Assistant|AI|A)[ \t]*:", re.IGNORECASE)
# The same written out; these words begin a line of a text as well, and so they count at its beginning only.
_WRITTEN_OUT = [
    (re.compile(rf"\s*{ask}[ \t]*:", re.IGNORECASE), re.compile(rf"\n[ \t\r]*{answer}[ \t]*:", re.IGNORECASE))
    for ask, answer in QUESTION_WORDS
]
# A column of such answers is none to learn.
_BAD = frozenset(["wrong", "incorrect", "bad", "worse", "worst", "poor", "rejected", "false", "falsche", "student", "pupil"])


@dataclass(frozen=True)
class Detection:
    """The form that a file's rows have, the column that plays each role, and a sentence that says why."""

    form: str
    mapping: dict[str, str]
    why: str


def detect(rows: list[dict[str, Any]]) -> Detection | None:
    """The form of these rows; None when no form fits."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for form in FORMS.values():
        mapping = _guessed(form.name, columns, rows)
        if all(role.name in mapping for role in form.roles if role.required) and _fits(form.name, mapping, rows):
            if form.name in ("prompts", "text") and (answered := _answered(mapping, columns, rows)):
                return answered
            named = list(dict.fromkeys(mapping.values()))
            hold = f"column {named[0]} holds" if len(named) == 1 else f"columns {', '.join(named)} hold"
            more = _no_thumbs(form.name, columns, rows) + _not_as_it_looks(form.name, mapping, columns, rows)
            return Detection(form.name, mapping, f"The {hold} {form.label}.{more}")
    return _by_content(columns, rows)


def _answered(mapping: dict[str, str], columns: list[str], rows: list[dict[str, Any]]) -> Detection | None:
    """A prompt or a text beside a column whose name speaks of an answer (`Model answer`, `Expected output`) is a question with
    its answer."""
    (asked,) = mapping.values()
    for name in columns:
        found = _filled(name, rows)
        if name != asked and _speaks_of_answer(name) and 2 * len(found) >= len(rows) and all(map(_is_said, found)):
            why = f"{name} was taken as the answer to {asked}, by its name. Change it if that is wrong."
            return Detection("qa", {"prompt": asked, "completion": name}, why)
    return None


def _speaks_of_answer(name: str) -> bool:
    """Whether the last word of a column's name, or that word's end, is one for an answer, and none says that it is another's or
    a bad one: `Response time` is no answer."""
    words = [word for word in re.split(r"[\W_]+", name.strip().lower()) if word]
    answer = next(role for role in FORMS["qa"].roles if role.name == "completion")
    ends = tuple(word for word in (*answer.columns, "lösung", "loesung") if len(word) > 4)
    return bool(words) and not _BAD & {*words} and (words[-1] in answer.columns or words[-1].endswith(ends))


def _no_thumbs(form: str, columns: list[str], rows: list[dict[str, Any]]) -> str:
    """What is said of a verdict beside each answer that is no thumbs up or down, and so is not learned from."""
    like = {"qa": "feedback", "messages": "rated"}.get(form)
    name = guess_mapping(like, columns).get("label", "") if like else ""
    found = _filled(name, rows)
    other = next((value for value in found if truth_of(value) is None), None)
    if not found or (other is None and are_thumbs(name, found)):
        return ""
    held = f"{str(found[0])[:20]!r} and nothing else so far" if other is None else repr(str(other)[:20])
    return (
        f" The column {name} is not used: it holds {held}, and only yes or no (1 or 0, up or down) tells good "
        "from bad. Write one of these for every answer to train on both kinds."
    )


def unused(rows: list[dict[str, Any]], found: Detection) -> list[str]:
    """The columns of text that play no role in what was recognised, but those of which it is said already."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    known = {*found.mapping.values(), guess_mapping("feedback", columns).get("label")}
    return [name for name in columns if found.form and name not in known and is_text(name, rows)]


def _not_as_it_looks(form: str, mapping: dict[str, str], columns: list[str], rows: list[dict[str, Any]]) -> str:
    """What is said of answers that cannot be read, and of conversations that do not name who speaks."""
    if form == "messages" and any(lines_of(value) for value in _filled(mapping["messages"], rows)):
        return " Its texts are taken in turn: the first is the user's, the next the assistant's, and so on."
    unread = [name for name in columns if _is_called_answer(name) and name not in mapping.values() and _filled(name, rows)]
    if form == "prompts" and not unread:
        others = [name for name in columns if name not in mapping.values() and is_text(name, rows)]
        return f" If {' or '.join(others[:6])} holds the answers, choose it as the answer." if others else ""
    if form != "prompts":
        return ""
    return (
        f" What {_listed(unread)} cannot be read as one answer to each: an answer is text or turns, in a column that is "
        "called answer."
    )


def _is_called_answer(name: str) -> bool:
    """Whether a column has the name of answers, of several or of one of several too: `answers`, `answer_1`."""
    first = re.split(r"[\W_]+", name.strip().lower())[0]
    answer = next(role for role in FORMS["qa"].roles if role.name == "completion")
    return first in answer.columns or first.removesuffix("s") in answer.columns


def _listed(names: list[str]) -> str:
    return f"the column {names[0]} holds" if len(names) == 1 else f"the columns {', '.join(names)} hold"


def detect_mapped(rows: list[dict[str, Any]], mapping: dict[str, str], likely: Detection | None) -> Detection | None:
    """The form in which a person's columns play the roles that they were given; None when there is none.

    `likely` is what was detected without them; its columns go on playing the roles that nobody has given away. The role `text`
    stands for a conversation as well, as a list of turns or written out, since who names a column of text need not know which
    of these it holds.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    meant: Detection | None = None  # named so, though the cells are not: then these are what is wrong
    first = [likely.form] if likely and likely.form in FORMS and "text" not in mapping else []
    for form in dict.fromkeys([*first, *FORMS]):
        found = likely.mapping if likely and form == likely.form else {}
        roles = {role.name: role.required for role in FORMS[form].roles}
        given = {"messages" if role == "text" and "messages" in roles else role: column for role, column in mapping.items()}
        left = [name for name in columns if name not in given.values()]
        whole = {**found, **_guessed(form, left, rows), **given}
        whole = {role: column for role, column in whole.items() if column}
        complete = given.keys() <= roles.keys() and all(role in whole for role, needed in roles.items() if needed)
        if not complete:
            continue
        said = ", ".join(f"{column} as {role}" for role, column in given.items() if column)
        made = Detection(form, whole, f"You chose {said}: {FORMS[form].label}.")
        if _fits(form, whole, rows):
            return made
        if "label" not in roles or "label" in given:  # nobody means thumbs who did not say which
            meant = meant or made
    known = {role.name for role in FORMS[likely.form].roles} if likely and likely.form in FORMS else set()
    return None if mapping.keys() <= known else meant


def guess_mapping(form: str, columns: list[str]) -> dict[str, str]:
    """The column for each role, by whole names only: `user_id` is never the question."""
    lower = {re.sub(r"[\s-]+", "_", name.strip().lower().rstrip("?")): name for name in reversed(columns)}
    mapping: dict[str, str] = {}
    for role in FORMS[form].roles:
        found = next((lower[c] for c in role.columns if c in lower and lower[c] not in mapping.values()), None)
        if found is not None:
            mapping[role.name] = found
    return mapping


def _guessed(form: str, columns: list[str], rows: list[dict[str, Any]]) -> dict[str, str]:
    """As `guess_mapping`, without a context that is no text: questions can be answered without it."""
    mapping = guess_mapping(form, columns)
    if form == "qa" and any(isinstance(value, (list, dict)) for value in _filled(mapping.get("context", ""), rows)):
        del mapping["context"]
    return mapping


def _filled(name: str, rows: list[dict[str, Any]]) -> list[Any]:
    return [row[name] for row in rows if row.get(name) not in (None, "", [])]


def _is_said(value: Any) -> bool:
    """Whether a cell is one part of an exchange: text, or turns."""
    if isinstance(value, dict) and {"role", "from"} & value.keys():
        return True
    return not isinstance(value, (list, dict)) or turns_of(value) is not None


def _fits(form: str, mapping: dict[str, str], rows: list[dict[str, Any]]) -> bool:
    def values(role: str) -> list[Any]:
        return _filled(mapping.get(role, ""), rows)

    if form in ("messages", "rated"):
        by_turns = re.sub(r"\W", "", mapping["messages"].lower()) in ("turns", "text")  # may be the questions alone
        found = [turns_of(value) or (None if by_turns else lines_of(value)) for value in values("messages")]
        talks = bool(found) and sum(bool(talk) for talk in found) * 2 > len(found)
        return talks and (form == "messages" or are_thumbs(mapping["label"], values("label")))
    if form == "transcript":
        found = values("text")
        return bool(found) and sum(isinstance(v, str) and _is_transcript(v) for v in found) * 2 > len(found)
    if form == "feedback":
        return are_thumbs(mapping["label"], values("label"))
    if form in ("qa", "prompts"):
        return all(map(_is_said, values("prompt") + values("completion")))
    if form in ("alpaca", "text"):
        return all(not isinstance(value, (list, dict)) for role in mapping for value in values(role))
    return True


def _is_transcript(value: str) -> bool:
    asks = _ASKS.search(value)
    if asks is not None and _ANSWERS.search(value, asks.end()) is not None:
        return True
    return any(asks.match(value) and answers.search(value) for asks, answers in _WRITTEN_OUT)


def _by_content(columns: list[str], rows: list[dict[str, Any]]) -> Detection | None:
    """No known names: a column of conversations, else one or two columns of text taken as text or question and answer."""
    for name in columns:
        found = [row[name] for row in rows if row.get(name)]
        talks = [turns_of(value) for value in found]
        if any(talks) and None not in talks:  # one may be empty
            return Detection("messages", {"messages": name}, f"The column {name} holds conversations.")
    texts, nested = [name for name in columns if is_text(name, rows)], _nested(columns, rows)
    if len(texts) == 1 and not nested:
        return Detection(
            "text", {"text": texts[0]}, f"{texts[0]} is the only column of text. Change it if it is something else."
        )
    if len(texts) == 2 and not any(nested.values()):
        first, second = texts
        why = f"No column is called question or answer, so {first} was taken as the question and {second} as the answer."
        return Detection("qa", {"prompt": first, "completion": second}, f"{why} Change it if that is wrong.")
    if nested:
        why = f"{_listed(list(nested)[:6])} nested data (lists or objects) that cannot be read."
        more = "Make a row of each question and its answer, with a column for each; or choose the columns of text that matter."
        return Detection("", {}, f"{why[0].upper()}{why[1:]} {more}")
    return None


def _nested(columns: list[str], rows: list[dict[str, Any]]) -> dict[str, bool]:
    """The columns that hold lists or objects, and whether there are objects in them: not only a list of labels."""
    found = {name: [value for value in _filled(name, rows) if isinstance(value, (list, dict)) and value] for name in columns}
    return {
        name: any(isinstance(value, dict) or any(isinstance(item, (list, dict)) for item in value) for value in values)
        for name, values in found.items()
        if values
    }


def is_text(name: str, rows: list[dict[str, Any]]) -> bool:
    """Whether most of a column's cells are words, and not numbers, dates or names of other things."""
    found = [row.get(name) for row in rows if row.get(name) not in (None, "")]
    words = [v for v in found if isinstance(v, str) and re.search(r"[^\W\d_]{2,}.*\s", v.strip() + " ")]
    return bool(found) and len(words) * 2 > len(found) and not re.search(r"(^|_)(id|uuid|date|url)$", name.lower())

"""The forms that rows come in, and how a form is recognised from column names and a few rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from engine.data.json_stream import parse
from engine.spec import RowKind


@dataclass(frozen=True)
class Role:
    """A part that a column plays in a form, and the column names that are taken for it (compared in lower case)."""

    name: str
    label: str
    required: bool
    columns: tuple[str, ...]


@dataclass(frozen=True)
class RowForm:
    """One form: its roles, and the kinds of rows that it can serve, the natural one first."""

    name: str
    label: str
    roles: tuple[Role, ...]
    kinds: tuple[RowKind, ...]


_PROMPT = ("prompt", "question", "query", "instruction", "input", "user", "human", "problem", "ask", "request", "frage")
_PROMPT += ("pregunta", "pergunta", "domanda")  # "question" is French as well
_ANSWER = ("completion", "answer", "response", "output", "assistant", "reply", "solution", "target", "bot", "antwort")
_ANSWER += ("réponse", "reponse", "respuesta", "resposta", "risposta")
_SYSTEM = Role("system", "System prompt", False, ("system", "system_prompt"))
_TOOLS = Role("tools", "Tools", False, ("tools", "functions"))

_VERDICT = ("label", "feedback", "thumbs", "thumb", "rating", "vote", "is_good", "good", "helpful", "is_helpful")

FORMS = {
    form.name: form
    for form in (
        RowForm(
            "preference",
            "a better and a worse answer to each prompt",
            (
                Role("prompt", "Prompt", False, ("prompt", "question", "query", "instruction", "input", "conversations")),
                Role(
                    "chosen",
                    "Better answer",
                    True,
                    (
                        "chosen",
                        "preferred_output",
                        "chosen_response",
                        "preferred",
                        "accepted",
                        "better",
                        "winner",
                        "better_answer",
                        "good_answer",
                        "best_answer",
                        "chosen_answer",
                        "preferred_answer",
                        "better_response",
                        "good_response",
                        "preferred_response",
                        "good",
                    ),
                ),
                Role(
                    "rejected",
                    "Worse answer",
                    True,
                    (
                        "rejected",
                        "non_preferred_output",
                        "rejected_response",
                        "dispreferred",
                        "declined",
                        "worse",
                        "loser",
                        "worse_answer",
                        "bad_answer",
                        "worst_answer",
                        "rejected_answer",
                        "worse_response",
                        "bad_response",
                        "bad",
                    ),
                ),
                _SYSTEM,
                Role("margin", "Margin", False, ("margin",)),
            ),
            ("preference", "chat", "prompts"),
        ),
        RowForm(
            "feedback",
            "answers with a thumbs up or down",
            (
                Role("prompt", "Prompt", True, _PROMPT),
                Role("completion", "Answer", True, _ANSWER),
                Role("label", "Good or bad", True, _VERDICT),
                _SYSTEM,
            ),
            ("feedback", "chat", "prompts"),
        ),
        RowForm(
            "messages",
            "conversations as lists of turns",
            (
                Role(
                    "messages",
                    "Conversation",
                    True,
                    (
                        "messages",
                        "conversations",
                        "conversation",
                        "chat",
                        "dialog",
                        "dialogue",
                        "dialogs",
                        "turns",
                        "text",
                    ),
                ),
                _SYSTEM,
                _TOOLS,
            ),
            ("chat", "prompts", "text"),
        ),
        RowForm(
            "alpaca",
            "an instruction, an optional input, and an output",
            (
                Role("instruction", "Instruction", True, ("instruction",)),
                Role("input", "Input", False, ("input", "context")),
                Role("output", "Answer", True, ("output", "response", "answer", "completion")),
                _SYSTEM,
            ),
            ("chat", "prompts", "text"),
        ),
        RowForm(
            "qa",
            "questions and answers",
            (Role("prompt", "Question", True, _PROMPT), Role("completion", "Answer", True, _ANSWER), _SYSTEM),
            ("chat", "prompts", "text"),
        ),
        RowForm(
            "transcript",
            "text with a name before each turn, as in Human: … Assistant: … or Q: … A: …",
            (Role("text", "Transcript", True, ("text", "transcript", "dialogue", "content")), _SYSTEM),
            ("chat", "prompts", "text"),
        ),
        RowForm(
            "text",
            "plain text",
            (Role("text", "Text", True, ("text", "content", "document", "body", "story", "article", "passage")),),
            ("text",),
        ),
        RowForm("prompts", "prompts without answers", (Role("prompt", "Prompt", True, _PROMPT),), ("prompts",)),
    )
}

# Two searches and not one pattern with a gap in it, which takes quadratic time on a long text of questions only.
_ASKS = re.compile(r"(?:^|\n)[ \t\r]*(Human|User|H|Q)[ \t]*:", re.IGNORECASE)
_ANSWERS = re.compile(r"\n[ \t\r]*(Assistant|AI|A)[ \t]*:", re.IGNORECASE)
# The same written out; these words begin a line of a text as well, and so they count at its beginning only.
QUESTION_WORDS = (("Question", "Answer"), ("Frage", "Antwort"))
_WRITTEN_OUT = [
    (re.compile(rf"\s*{ask}[ \t]*:", re.IGNORECASE), re.compile(rf"\n[ \t\r]*{answer}[ \t]*:", re.IGNORECASE))
    for ask, answer in QUESTION_WORDS
]


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
        mapping = guess_mapping(form.name, columns)
        if all(role.name in mapping for role in form.roles if role.required) and _fits(form.name, mapping, rows):
            named = list(dict.fromkeys(mapping.values()))
            hold = f"column {named[0]} holds" if len(named) == 1 else f"columns {', '.join(named)} hold"
            return Detection(form.name, mapping, f"The {hold} {form.label}.{_no_thumbs(form.name, columns, rows)}")
    return _by_content(columns, rows)


def _no_thumbs(form: str, columns: list[str], rows: list[dict[str, Any]]) -> str:
    """What is said of a verdict beside each answer that is no thumbs up or down, and so is not learned from."""
    name = guess_mapping("feedback", columns).get("label", "") if form == "qa" else ""
    other = next((row[name] for row in rows if row.get(name) not in (None, "") and truth_of(row[name]) is None), None)
    if other is None:
        return ""
    return (
        f" The column {name} is not used: it holds {str(other)[:20]!r}, and only yes or no (1 or 0, up or down) tells good "
        "from bad. Write one of these for every answer to train on both kinds."
    )


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
        whole = {**found, **guess_mapping(form, left), **given}
        whole = {role: column for role, column in whole.items() if column}
        complete = given.keys() <= roles.keys() and all(role in whole for role, needed in roles.items() if needed)
        if not complete:
            continue
        said = ", ".join(f"{column} as {role}" for role, column in given.items() if column)
        made = Detection(form, whole, f"You chose {said}: {FORMS[form].label}.")
        if _fits(form, whole, rows):
            return made
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


def turns_of(value: Any) -> list[dict[str, Any]] | None:
    """The value as a list of turns, also when it is JSON inside a string; None when it is no conversation."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = parse(value)
        except ValueError:
            return None
    if isinstance(value, dict) and "messages" in value:
        value = value["messages"]
    if isinstance(value, list) and value and all(isinstance(turn, dict) and _is_turn(turn) for turn in value):
        return value
    return None


def _is_turn(turn: dict[str, Any]) -> bool:
    return bool({"role", "from", "sender", "speaker"} & turn.keys())


def _fits(form: str, mapping: dict[str, str], rows: list[dict[str, Any]]) -> bool:
    def values(role: str) -> list[Any]:
        found = [row.get(mapping[role]) for row in rows if role in mapping]
        return [value for value in found if value not in (None, "")]

    if form == "messages":
        found = values("messages")
        return bool(found) and sum(turns_of(v) is not None for v in found) * 2 > len(found)
    if form == "transcript":
        found = values("text")
        return bool(found) and sum(isinstance(v, str) and _is_transcript(v) for v in found) * 2 > len(found)
    if form == "feedback":
        return bool(values("label")) and all(truth_of(v) is not None for v in values("label"))
    if form in ("qa", "alpaca", "prompts", "text"):
        return all(not isinstance(v, (list, dict)) for role in mapping for v in values(role)) or form == "prompts"
    return True


def _is_transcript(value: str) -> bool:
    asks = _ASKS.search(value)
    if asks is not None and _ANSWERS.search(value, asks.end()) is not None:
        return True
    return any(asks.match(value) and answers.search(value) for asks, answers in _WRITTEN_OUT)


# Yes and no in the languages whose headings are known, too.
_TRUTHS: dict[str, bool] = dict.fromkeys(("true", "1", "yes", "y", "good", "up", "👍", "ja", "oui", "si", "sí", "sim"), True)
_TRUTHS |= dict.fromkeys(("false", "0", "-1", "no", "n", "bad", "down", "👎", "nein", "non", "não", "nao"), False)


def truth_of(value: Any) -> bool | None:
    """A thumbs up or down, however it is written; None when it is neither."""
    if isinstance(value, bool):
        return value
    return _TRUTHS.get(str(value).strip().lower().removesuffix(".0"))


def _by_content(columns: list[str], rows: list[dict[str, Any]]) -> Detection | None:
    """No known names: a column of conversations, else one or two columns of text taken as text or question and answer."""
    for name in columns:
        found = [row[name] for row in rows if row.get(name)]
        if found and all(turns_of(v) is not None for v in found):
            return Detection("messages", {"messages": name}, f"The column {name} holds conversations.")
    texts = [name for name in columns if _is_text(name, rows)]
    if len(texts) == 1:
        return Detection(
            "text", {"text": texts[0]}, f"{texts[0]} is the only column of text. Change it if it is something else."
        )
    if len(texts) == 2:
        first, second = texts
        why = f"No column is called question or answer, so {first} was taken as the question and {second} as the answer."
        return Detection("qa", {"prompt": first, "completion": second}, f"{why} Change it if that is wrong.")
    return None


def _is_text(name: str, rows: list[dict[str, Any]]) -> bool:
    found = [row.get(name) for row in rows if row.get(name) not in (None, "")]
    words = [v for v in found if isinstance(v, str) and re.search(r"[^\W\d_]{2,}.*\s", v.strip() + " ")]
    return bool(found) and len(words) * 2 > len(found) and not re.search(r"(^|_)(id|uuid|date|url)$", name.lower())

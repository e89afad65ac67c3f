"""Turns of a conversation in one shape: role, content, tool calls; whatever names and nesting they came with."""

from __future__ import annotations

import re
from typing import Any

from engine.data.json_stream import parse
from engine.data.records import Refused
from engine.data.talks import QUESTION_WORDS, turns_of
from engine.data.weights import is_unlearned

Turn = dict[str, Any]

_ROLES = {
    "system": "system sys developer",
    "user": "user human usr prompter person customer client question instruction visitor guest caller end_user patient",
    "assistant": "assistant gpt ai bot model agent chatbot chatgpt assistant_response answer bing claude operator support "
    "support_agent representative helpdesk staff doctor",
    "tool": "tool observation function ipython tool_response function_response",
    "call": "function_call tool_call",
}
# A name for either side: who answers, where all others ask.
_UNCLEAR = ("admin", "administrator", "employee", "moderator", "team")
ROLE_OF = {name: role for role, names in _ROLES.items() for name in names.split()}
_MARK = re.compile(r"(?:^|\n)[ \t]*(Human|User|Assistant|AI|System|H|A|Q)[ \t]*:[ \t]*", re.IGNORECASE)
_MARKS = {"human": "user", "user": "user", "h": "user", "q": "user", "assistant": "assistant", "ai": "assistant"}
_MARKS |= {"a": "assistant", "system": "system"}
# Written out, a question and its answer: of one language, for an answer may well have a line that begins with "Answer:".
_WRITTEN_OUT = [
    (
        re.compile(rf"(?:^|\n)[ \t]*({ask}|{answer})[ \t]*:[ \t]*", re.IGNORECASE),
        {ask.lower(): "user", answer.lower(): "assistant"},
    )
    for ask, answer in QUESTION_WORDS
]
# What a turn has besides its speaker and words; with anything else it may be a row of its own.
_WORDS = ("content", "value", "text", "message", "parts")
_SPEAKERS = ("role", "from", "sender", "speaker")
_BESIDE = (
    "name tool_calls tool_call_id function_call weight timestamp time date created_at id type model refusal reasoning_content"
)
_OF_A_TURN = frozenset([*_WORDS, *_SPEAKERS, *_BESIDE.split()])


def text(value: Any, column: str) -> str:
    """A cell as text: numbers as they are written, nothing as "", parts joined.

    Raises:
        Refused: it holds a picture, a sound, or broken bytes.
    """
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, list):
        value = "".join(_part(part, column) for part in value)
    elif isinstance(value, dict):
        value = _part(value, column)
    made = value if isinstance(value, str) else str(value)
    if re.search(r"[\ud800-\udfff]", made):
        raise Refused("broken characters", f"{column or 'The row'} has bytes that are not valid text.", column)
    return made


def turns(value: Any, column: str, *, weights: bool = False) -> list[Turn]:
    """A conversation as turns; a string is read as a transcript, or as one turn of the assistant. With `weights`, answers that
    are not to be learned keep their weight of 0.

    Raises:
        Refused: a turn has a role that is not known, or no content that is text.
    """
    found = turns_of(value)
    if found is None and isinstance(value, dict) and ({"role", "from"} & value.keys()):
        found = [value]
    if found is None:
        raise Refused("no conversation", f"{column} holds no list of turns.", column)
    named = {_named(turn) for turn in found}
    answers = [name for name in _UNCLEAR if {ROLE_OF.get(other) for other in named - {name}} in ({"user"}, {"user", "system"})]
    made = [_turn({**turn, "role": "assistant"} if _named(turn) in answers else turn, column) for turn in found]
    for turn, given in zip(made, found if weights else [], strict=False):
        if turn["role"] == "assistant" and is_unlearned(given):
            turn["weight"] = 0
    return made


def transcript(value: str) -> list[Turn]:
    """Turns of a text with `Human:` and `Assistant:` at the beginning of lines; empty when it has no such marks."""
    for pattern, roles in ((_MARK, _MARKS), *_WRITTEN_OUT):
        marks = list(pattern.finditer(value))
        if marks and not value[: marks[0].start()].strip():
            ends = [mark.start() for mark in marks[1:]] + [len(value)]
            return [
                {"role": roles[mark.group(1).lower()], "content": value[mark.end() : end].strip()}
                for mark, end in zip(marks, ends, strict=True)
            ]
    return []


def begins_a_talk(value: str) -> bool:
    """Whether a text is a question of somebody with an answer to it, and perhaps more turns."""
    found = transcript(value)
    return len(found) > 1 and [turn["role"] for turn in found[:2]] == ["user", "assistant"] and all(t["content"] for t in found)


def is_plain_turn(value: Any) -> bool:
    """Whether an item is a turn of a known speaker and nothing else."""
    if not isinstance(value, dict) or not value.keys() <= _OF_A_TURN or not {*_WORDS, "tool_calls"} & value.keys():
        return False
    return _role(value) is not None


def makes_a_talk(found: list[Any]) -> bool:
    """Whether plain turns are a conversation: somebody asks, and the assistant answers."""
    return {"user", "assistant"} <= {_role(turn) for turn in found}


def tools(value: Any) -> list[Any]:
    """Tool definitions as a list, also from a JSON string.

    Raises:
        Refused: it is neither.
    """
    if value in (None, "", []):
        return []
    if isinstance(value, str):
        try:
            value = parse(value)
        except ValueError:
            raise Refused("bad tools", "tools is not a JSON list.", "tools") from None
    if not isinstance(value, list):
        raise Refused("bad tools", "tools is not a list.", "tools")
    return value


def _turn(turn: dict[str, Any], column: str) -> Turn:
    role = _role(turn)
    if role is None:
        known = "system, user, assistant and tool, and common words for them such as customer, human, agent and bot"
        raise Refused("unknown role", f"A turn in {column} has the role {_named(turn)[:30]!r}. Known are {known}.", column)
    content = text(next((turn[k] for k in _WORDS if k in turn), None), column)
    if role == "call":
        return _call(content)
    made: Turn = {"role": role, "content": content}
    calls = turn.get("tool_calls")
    if not calls and isinstance(legacy := turn.get("function_call"), dict):  # as OpenAI called it before
        calls = [{"function": legacy}]
    if calls:
        made["tool_calls"] = [_arguments(call) for call in calls]
    for key in ("name", "tool_call_id"):
        if isinstance(turn.get(key), str):
            made[key] = turn[key]
    return made


def _named(turn: dict[str, Any]) -> str:
    """The name of who speaks, as roles are compared."""
    named = next((turn[k] for k in _SPEAKERS if turn.get(k) is not None), "")
    return re.sub(r"[\s-]+", "_", str(named).strip().lower())


def _role(turn: dict[str, Any]) -> str | None:
    return ROLE_OF.get(_named(turn))


def _call(content: str) -> Turn:
    """A call of a tool that came as text: a real call when it can be read, else the assistant's words."""
    try:
        call = parse(content)
    except ValueError:
        call = None
    if isinstance(call, dict) and "name" in call:
        return {"role": "assistant", "content": "", "tool_calls": [_arguments({"function": call})]}
    return {"role": "assistant", "content": content}


def _arguments(call: Any) -> Any:
    """A tool call with its arguments as an object; chat templates want that, files often have JSON in a string."""
    function = dict(call.get("function") or call) if isinstance(call, dict) else {}
    if isinstance(function.get("arguments"), str):
        try:
            function["arguments"] = parse(function["arguments"])
        except ValueError:
            raise Refused("bad tool call", "A tool call's arguments are not JSON.", "tool_calls") from None
    return {"type": "function", "function": function}


def _part(part: Any, column: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        if isinstance(part.get("parts"), list):  # a text as Gemini writes it
            return text(part["parts"], column)
        unknown = next(iter(part), "text")
        kind = part.get("type") or ("text" if {"text", "value", "content"} & part.keys() else unknown)
        if kind in ("text", "input_text", "output_text"):
            return str(part.get("text", part.get("value", part.get("content", ""))) or "")
        raise Refused("not text", f"{column} holds {kind}, and only text can be trained.", column)
    raise Refused("not text", f"{column} holds {type(part).__name__}, expected text.", column)

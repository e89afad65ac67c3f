"""Answers that are not to be learned: OpenAI's `"weight": 0` on a turn of the assistant, an empty one, and a greeting.

A greeting is what the assistant says before anybody has asked.
"""

from __future__ import annotations

from typing import Any

from engine.data.records import Refused
from engine.spec import RowKind

Turn = dict[str, Any]
Talk = list[Turn]


def is_unlearned(turn: Turn) -> bool:
    """Whether a turn as it stands in the file has weight 0."""
    return str(turn.get("weight")).strip().lower() in ("0", "0.0", "false")


def says(turn: Turn) -> bool:
    """Whether there is anything in a turn: words, or the call of a tool."""
    return bool(str(turn.get("content") or "").strip() or turn.get("tool_calls"))


def greeting(found: Talk) -> list[int]:
    """The places of the assistant's turns before the first question; none where nobody asks."""
    asked = next((place for place, turn in enumerate(found) if turn["role"] == "user"), 0)
    return [place for place in range(asked) if found[place]["role"] == "assistant"]


def weighed(row: dict[str, Any], kind: RowKind) -> dict[str, Any]:
    """The conversation so that no answer is learned that should not be: one at its end is left out, and those before the first
    that is learned become part of the prompt.

    Raises:
        Refused: nothing is to be learned, or an answer in between is not.
    """
    found: Talk = row["messages"]
    if kind == "text":  # where everything is learned
        greetings = greeting(found)
        found = [turn for place, turn in enumerate(found) if place not in greetings]
    answers = [place for place, turn in enumerate(found) if turn["role"] == "assistant"]
    greetings = greeting(found)
    unlearned = [p for p in answers if "weight" in found[p] or not says(found[p]) or p in greetings]
    if not unlearned:
        return {**row, "messages": found}
    plain = [{key: value for key, value in turn.items() if key != "weight"} for turn in found]
    if kind == "prompts":  # the model gives answers of its own
        return {**row, "messages": plain}
    learned = [place for place in answers if place not in unlearned]
    if not learned:
        raise _nothing([found[place] for place in unlearned])
    plain, first = plain[: learned[-1] + 1], learned[0]
    if unlearned[0] > learned[-1]:
        return {**row, "messages": plain}
    between = [found[place] for place in unlearned if (kind == "text" or first < place) and place < learned[-1]]
    if between:
        raise _amid(between[0], kind)
    rest = {key: value for key, value in row.items() if key != "messages"}
    return {"prompt": plain[:first], "completion": plain[first:], **rest}


def _nothing(unlearned: Talk) -> Refused:
    if all("weight" in turn for turn in unlearned):
        return Refused("weight 0", "Its answer has weight 0, so there is nothing to learn.", "messages")
    return Refused("no answer", "The conversation has no answer of the assistant.", "messages")


def _amid(turn: Turn, kind: RowKind) -> Refused:
    if not says(turn):
        why = "An answer in the middle of it is empty, and would be learned as saying nothing. Write it, or end there."
        return Refused("empty answer", why, "messages")
    if kind == "text":
        return Refused("weight 0", "An answer in it has weight 0, and of a text everything is learned.", "messages")
    why = "An answer of weight 0 stands between answers that are learned. Make a row of what comes before it."
    return Refused("weight 0", why, "messages")

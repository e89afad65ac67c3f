"""Answers that a file says are not to be learned: OpenAI's `"weight": 0` on a turn of the assistant."""

from __future__ import annotations

from typing import Any

from engine.data.records import Refused
from engine.spec import RowKind

Turn = dict[str, Any]


def is_unlearned(turn: Turn) -> bool:
    """Whether a turn as it stands in the file has weight 0."""
    return str(turn.get("weight")).strip().lower() in ("0", "0.0", "false")


def weighed(row: dict[str, Any], kind: RowKind) -> dict[str, Any]:
    """The conversation so that no answer of weight 0 is learned: one at its end is left out, and those before the first that
    is learned become part of the prompt.

    Raises:
        Refused: nothing is to be learned, or an answer in between is not.
    """
    found: list[Turn] = row["messages"]
    unlearned = [place for place, turn in enumerate(found) if "weight" in turn]
    if not unlearned:
        return row
    plain = [{key: value for key, value in turn.items() if key != "weight"} for turn in found]
    if kind == "prompts":  # the model gives answers of its own
        return {**row, "messages": plain}
    learned = [place for place, turn in enumerate(found) if turn["role"] == "assistant" and place not in unlearned]
    if not learned:
        raise Refused("weight 0", "Its answer has weight 0, so there is nothing to learn.", "messages")
    plain, first = plain[: learned[-1] + 1], learned[0]
    if unlearned[0] > learned[-1]:
        return {**row, "messages": plain}
    if kind == "text":
        raise Refused("weight 0", "An answer in it has weight 0, and of a text everything is learned.", "messages")
    if any(first < place < learned[-1] for place in unlearned):
        why = "An answer of weight 0 stands between answers that are learned. Make a row of what comes before it."
        raise Refused("weight 0", why, "messages")
    rest = {key: value for key, value in row.items() if key != "messages"}
    return {"prompt": plain[:first], "completion": plain[first:], **rest}

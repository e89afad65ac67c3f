"""Pairs of a better and a worse answer, from columns of text or of whole dialogues."""

from __future__ import annotations

import math

from engine.data.cells import Cells, Row, as_turns, require_answer, with_system, without
from engine.data.records import Refused
from engine.data.turns import Turn, transcript, turns

# The training's numbers (fp32) hold no more.
_LARGEST = 3e38


def preference(cells: Cells) -> Row:
    """The canonical row of a better and a worse answer.

    Raises:
        Refused: one of them is missing or empty, or both are the same.
    """
    chosen, rejected = _side(cells, "chosen"), _side(cells, "rejected")
    prompt = _given_prompt(cells)
    if isinstance(chosen, str) and isinstance(rejected, str) and isinstance(prompt, str):
        row = _plain_preference(prompt, chosen, rejected)
        if system := cells.text("system").strip():
            row = {k: [{"role": r, "content": v}] for (k, v), r in zip(row.items(), _PREFERENCE_ROLES, strict=True)}
            row["prompt"].insert(0, {"role": "system", "content": system})
    else:
        row = _turned_preference(as_turns(prompt, "user"), as_turns(chosen, "assistant"), as_turns(rejected, "assistant"))
        row["prompt"] = with_system(row["prompt"], cells)
    if row["chosen"] == row["rejected"]:
        raise Refused("same answers", "The better and the worse answer are the same, which teaches nothing.", "chosen")
    if (margin := cells.text("margin").strip()) != "":
        return {**row, "margin": _number(margin, cells.column("margin"))}
    return row


def _number(cell: str, column: str) -> float:
    try:
        found = float(cell)
    except ValueError:
        found = math.nan
    if not abs(found) < _LARGEST:  # nor is "nan" one
        raise Refused("no number", f"{column} holds {cell[:40]!r}, which is no number to reckon with.", column)
    return found


_PREFERENCE_ROLES = ("user", "assistant", "assistant")


def _side(cells: Cells, role: str) -> str | list[Turn]:
    """One answer: text, or turns for anything that comes as turns or as a transcript."""
    value = cells.raw(role)
    if isinstance(value, (list, dict)):
        return turns(value, cells.column(role))
    found = cells.needed(role)
    if found.lstrip().startswith(("[{", '{"role', '{"from')):
        try:
            return turns(found, cells.column(role))
        except Refused:
            return found
    return transcript(found) if "\n\nAssistant:" in found and "Human:" in found else found


def _given_prompt(cells: Cells) -> str | list[Turn]:
    value = cells.raw("prompt")
    if isinstance(value, dict) and "messages" in value:
        return turns(value["messages"], cells.column("prompt"))
    if isinstance(value, (list, dict)) and value:
        return turns(value, cells.column("prompt"))
    return cells.text("prompt")


def _plain_preference(prompt: str, chosen: str, rejected: str) -> Row:
    if prompt.strip() and chosen.startswith(prompt) and rejected.startswith(prompt):
        chosen, rejected = chosen[len(prompt) :].lstrip(), rejected[len(prompt) :].lstrip()
    if not prompt.strip():
        raise Refused("empty prompt", "There is no prompt, and the answers share no beginning that could be one.", "prompt")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _turned_preference(prompt: list[Turn], chosen: list[Turn], rejected: list[Turn]) -> Row:
    """Whole dialogues are cut where they part; a prompt that is repeated at their beginning is taken off."""
    chosen, rejected = without(prompt, chosen), without(prompt, rejected)
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    shared = min(shared, len(chosen) - 1, len(rejected) - 1) if chosen != rejected else len(chosen) - 1
    before = chosen[:shared]
    prompt = prompt + before
    chosen, rejected = chosen[shared:], rejected[shared:]
    if not prompt:
        raise Refused("empty prompt", "There is no prompt, and the two dialogues share no beginning.", "prompt")
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        require_answer(side, name, name)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}

"""From a record of a known form to the canonical row that a trainer asks for. One function a form, one a derivation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from engine.data.forms import FORMS, truth_of
from engine.data.records import Refused
from engine.data.turns import Turn, text, tools, transcript, turns
from engine.data.weights import weighed
from engine.spec import RowKind

# The training's numbers (fp32) hold no more.
_LARGEST = 3e38

Row = dict[str, Any]
Mapping = dict[str, str]


def convert(values: dict[str, Any], form: str, mapping: Mapping, kind: RowKind) -> Row | None:
    """The canonical row; None for a row that this kind leaves out on purpose.

    Raises:
        Refused: the row cannot be used, and why.
    """
    natural = FORMS[form].kinds[0]
    row = _READERS[form](_Cells(values, mapping))
    if "messages" in row:
        row = weighed(row, kind)
    made = row if natural == kind else _DERIVED[natural, kind](row)
    if kind == "chat" and made is not None:
        _require_answer(made)
    if kind == "prompts" and made is not None:  # reward functions may want the other columns, such as the right answers
        used = asking(mapping)
        made |= {k: v for k, v in values.items() if k not in made and k not in used}
    return made


# Roles that make up a prompt; a column in any other role is only carried along.
_ASKING = ("prompt", "instruction", "input", "messages", "text", "system", "tools")


def asking(mapping: Mapping) -> set[str]:
    """The columns that make up the prompt."""
    return {column for role, column in mapping.items() if role in _ASKING}


def derivation(form: str, kind: RowKind) -> str:
    """A sentence on what is lost when rows of this form serve `kind`; "" when nothing is."""
    return _NOTES.get((FORMS[form].kinds[0], kind), "")


class _Cells:
    """One record seen through the mapping of roles to columns."""

    def __init__(self, values: dict[str, Any], mapping: Mapping) -> None:
        self._values, self._mapping = values, mapping

    def raw(self, role: str) -> Any:
        return self._values.get(self._mapping[role]) if role in self._mapping else None

    def column(self, role: str) -> str:
        return self._mapping.get(role, role)

    def text(self, role: str) -> str:
        return text(self.raw(role), self.column(role))

    def needed(self, role: str) -> str:
        found = self.text(role)
        if not found.strip():
            raise Refused("empty " + role, f"{self.column(role)} is empty.", self.column(role))
        return found


def _text(cells: _Cells) -> Row:
    return {"text": cells.needed("text")}


def _messages(cells: _Cells) -> Row:
    found = turns(cells.raw("messages"), cells.column("messages"), weights=True)
    row = _conversation(_with_system(found, cells))
    given = cells.raw("messages")
    if offered := tools(cells.raw("tools") or (given.get("tools") if isinstance(given, dict) else None)):
        row["tools"] = offered
    return row


def _transcript(cells: _Cells) -> Row:
    found = transcript(cells.needed("text"))
    if not found:
        raise Refused("no conversation", "No lines begin with Human: and Assistant:, or with Q: and A:.", cells.column("text"))
    return _conversation(_with_system(found, cells))


def _alpaca(cells: _Cells) -> Row:
    instruction, given = cells.text("instruction").strip(), cells.text("input").strip()
    prompt = "\n\n".join(part for part in (instruction, given) if part)
    if not prompt:
        raise Refused("empty instruction", "Instruction and input are both empty.", cells.column("instruction"))
    return _pair(prompt, cells.needed("output"), cells)


def _qa(cells: _Cells) -> Row:
    return _pair(cells.needed("prompt"), cells.needed("completion"), cells)


def _prompts(cells: _Cells) -> Row:
    given = cells.raw("prompt")
    return {"prompt": turns(given, cells.column("prompt")) if isinstance(given, list) else cells.needed("prompt")}


def _feedback(cells: _Cells) -> Row:
    label, column = truth_of(cells.raw("label")), cells.column("label")
    if label is None:
        held = str(cells.raw("label"))[:40]
        raise Refused("no label", f"{column} says neither good nor bad (yes or no, 1 or 0), but {held!r}.", column)
    said = {role: cells.raw(role) for role in ("prompt", "completion")}
    if not any(isinstance(value, (list, dict)) for value in said.values()):
        return {**_pair(cells.needed("prompt"), cells.needed("completion"), cells), "label": label}
    prompt, completion = (
        turns(value, cells.column(role)) if isinstance(value, (list, dict)) else _as_turns(cells.needed(role), speaker)
        for (role, value), speaker in zip(said.items(), ("user", "assistant"), strict=True)
    )
    if not completion or completion[0]["role"] != "assistant" or not any(turn["content"].strip() for turn in completion):
        raise Refused("empty completion", f"{cells.column('completion')} holds no answer of the assistant.", "completion")
    if not prompt:
        raise Refused("empty prompt", f"{cells.column('prompt')} holds no turn.", "prompt")
    return {"prompt": _with_system(prompt, cells), "completion": completion, "label": label}


def _preference(cells: _Cells) -> Row:
    chosen, rejected = _side(cells, "chosen"), _side(cells, "rejected")
    prompt = _given_prompt(cells)
    if isinstance(chosen, str) and isinstance(rejected, str) and isinstance(prompt, str):
        row = _plain_preference(prompt, chosen, rejected)
        if system := cells.text("system").strip():
            row = {k: [{"role": r, "content": v}] for (k, v), r in zip(row.items(), _PREFERENCE_ROLES, strict=True)}
            row["prompt"].insert(0, {"role": "system", "content": system})
    else:
        row = _turned_preference(_as_turns(prompt, "user"), _as_turns(chosen, "assistant"), _as_turns(rejected, "assistant"))
        row["prompt"] = _with_system(row["prompt"], cells)
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


def _side(cells: _Cells, role: str) -> str | list[Turn]:
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


def _given_prompt(cells: _Cells) -> str | list[Turn]:
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
    chosen, rejected = _without(prompt, chosen), _without(prompt, rejected)
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
        if not side or side[0]["role"] != "assistant" or not any(turn["content"].strip() for turn in side):
            raise Refused("empty " + name, f"{name} holds no answer of the assistant.", name)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _without(prompt: list[Turn], side: list[Turn]) -> list[Turn]:
    """The side without the prompt at its beginning, if it is repeated there."""
    return side[len(prompt) :] if prompt and side[: len(prompt)] == prompt else side


def _as_turns(value: str | list[Turn], role: str) -> list[Turn]:
    if isinstance(value, list):
        return value
    return [{"role": role, "content": value}] if value.strip() else []


def _pair(prompt: str, completion: str, cells: _Cells) -> Row:
    system = cells.text("system").strip()
    if not system:
        return {"prompt": prompt, "completion": completion}
    asked = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    return {"messages": [*asked, {"role": "assistant", "content": completion}]}


def _with_system(found: list[Turn], cells: _Cells) -> list[Turn]:
    system = cells.text("system").strip()
    if system and not (found and found[0]["role"] == "system"):
        return [{"role": "system", "content": system}, *found]
    return found


def _conversation(found: list[Turn]) -> Row:
    if not found:
        raise Refused("empty conversation", "The conversation has no turns.", "messages")
    if found[0]["role"] == "assistant":
        raise Refused("no question", "The conversation begins with the assistant's answer.", "messages")
    return {"messages": found}


def _require_answer(row: Row) -> None:
    found = row.get("messages") or row["completion"]
    said = [t for t in found if t["role"] == "assistant"] if isinstance(found, list) else []
    if isinstance(found, list) and not any(turn["content"].strip() or turn.get("tool_calls") for turn in said):
        raise Refused("no answer", "The conversation has no answer of the assistant.", "messages")


def _chat_to_text(row: Row) -> Row:
    if "messages" not in row:
        return {"text": f"{row['prompt']}\n{row['completion']}"}
    return {"text": "\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in row["messages"])}


def _chat_to_prompts(row: Row) -> Row:
    if "messages" not in row:
        return {"prompt": row["prompt"]}
    asked = list(row["messages"])
    while asked and asked[-1]["role"] != "user":
        asked.pop()
    if not asked:
        raise Refused("no question", "The conversation has no question.", "messages")
    return {"prompt": asked}


def _preference_to_chat(row: Row) -> Row:
    if isinstance(row["prompt"], str):
        return {"prompt": row["prompt"], "completion": row["chosen"]}
    return {"messages": [*row["prompt"], *row["chosen"]]}


def _feedback_to_chat(row: Row) -> Row | None:
    if isinstance(row.get("prompt"), list):
        return {"messages": [*row["prompt"], *row["completion"]]} if row["label"] else None
    return {k: v for k, v in row.items() if k != "label"} if row["label"] else None


_READERS: dict[str, Callable[[_Cells], Row]] = {
    "text": _text,
    "messages": _messages,
    "transcript": _transcript,
    "alpaca": _alpaca,
    "qa": _qa,
    "prompts": _prompts,
    "feedback": _feedback,
    "preference": _preference,
}
_DERIVED: dict[tuple[RowKind, RowKind], Callable[[Row], Row | None]] = {
    ("chat", "text"): _chat_to_text,
    ("chat", "prompts"): _chat_to_prompts,
    ("preference", "chat"): _preference_to_chat,
    ("preference", "prompts"): lambda row: {"prompt": row["prompt"]},
    ("feedback", "chat"): _feedback_to_chat,
    ("feedback", "prompts"): _chat_to_prompts,
}
_NOTES: dict[tuple[RowKind, RowKind], str] = {
    ("chat", "text"): "Questions and answers are joined into plain text; everything in it is learned, questions too.",
    ("chat", "prompts"): "Only the questions are given to the model; answers in columns of their own are for comparing.",
    ("preference", "chat"): "Only the better answers are used; the worse ones are not.",
    ("preference", "prompts"): "Only the prompts are given to the model; the answers are for comparing.",
    ("feedback", "chat"): "Only the answers with a thumbs up are used.",
    ("feedback", "prompts"): "Only the prompts are given to the model; the answers are for comparing.",
}

"""From a record of a known form to the canonical row that a trainer asks for. One function a form, one a derivation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.data.cells import Cells, Mapping, Row, as_turns, require_answer, with_system, without
from engine.data.forms import FORMS
from engine.data.preferences import preference
from engine.data.records import Refused
from engine.data.turns import Turn, tools, transcript
from engine.data.verdicts import truth_of
from engine.data.weights import says, weighed
from engine.spec import RowKind


def convert(values: dict[str, Any], form: str, mapping: Mapping, kind: RowKind) -> Row | None:
    """The canonical row; None for a row that this kind leaves out on purpose.

    Raises:
        Refused: the row cannot be used, and why.
    """
    natural = FORMS[form].kinds[0]
    row = _READERS[form](Cells(values, mapping))
    if "messages" in row:
        row = weighed(row, kind)
    made = row if natural == kind else _DERIVED[natural, kind](row)
    if kind == "chat" and made is not None:
        made = weighed(made, kind) if "messages" in made else made
        _require_answer(made)
    if kind == "prompts" and made is not None:  # reward functions may want the other columns, such as the right answers
        used = asking(mapping)
        made |= {k: v for k, v in values.items() if k not in made and k not in used}
    return made


# Roles that make up a prompt; a column in any other role is only carried along.
_ASKING = ("prompt", "instruction", "input", "context", "messages", "text", "system", "tools")


def asking(mapping: Mapping) -> set[str]:
    """The columns that make up the prompt."""
    return {column for role, column in mapping.items() if role in _ASKING}


def derivation(form: str, kind: RowKind) -> str:
    """A sentence on what is lost when rows of this form serve `kind`; "" when nothing is."""
    return _NOTES.get((FORMS[form].kinds[0], kind), "")


def _text(cells: Cells) -> Row:
    return {"text": cells.needed("text")}


def _messages(cells: Cells) -> Row:
    row = _conversation(with_system(cells.talk(weights=True), cells))
    return {**row, **_offered(cells)}


def _offered(cells: Cells) -> Row:
    given = cells.raw("messages")
    offered = tools(cells.raw("tools") or (given.get("tools") if isinstance(given, dict) else None))
    return {"tools": offered} if offered else {}


def _transcript(cells: Cells) -> Row:
    found = transcript(cells.needed("text"))
    if not found:
        raise Refused("no conversation", "No lines begin with Human: and Assistant:, or with Q: and A:.", cells.column("text"))
    return _conversation(with_system(found, cells))


def _alpaca(cells: Cells) -> Row:
    instruction, given = cells.text("instruction").strip(), cells.text("input").strip()
    prompt = "\n\n".join(part for part in (instruction, given) if part)
    if not prompt:
        raise Refused("empty instruction", "Instruction and input are both empty.", cells.column("instruction"))
    return _pair(prompt, cells.needed("output"), cells)


def _qa(cells: Cells) -> Row:
    return _exchange(cells)


def _exchange(cells: Cells) -> Row:
    """A question and an answer, each as text or as turns."""
    prompt, completion, context = cells.said("prompt"), cells.said("completion"), cells.text("context").strip()
    if isinstance(prompt, str) and isinstance(completion, str):
        return _pair(f"{prompt.strip()}\n\n{context}" if context else prompt, completion, cells)
    asked = as_turns(prompt, "user")
    learned = without(asked, as_turns(completion, "assistant"))
    require_answer(learned, "completion", cells.column("completion"))
    if context:
        last = max((place for place, turn in enumerate(asked) if turn["role"] == "user"), default=len(asked) - 1)
        asked[last] = {**asked[last], "content": f"{asked[last]['content'].strip()}\n\n{context}"}
    return {"prompt": with_system(asked, cells), "completion": learned}


def _prompts(cells: Cells) -> Row:
    return {"prompt": cells.said("prompt")}


def _feedback(cells: Cells) -> Row:
    label = _verdict(cells)
    return {**_exchange(cells), "label": label}


def _rated(cells: Cells) -> Row:
    """The last answer of the conversation is what was liked or not; what comes before it is its prompt."""
    label, found = _verdict(cells), with_system(cells.talk(), cells)
    last = max((place for place, turn in enumerate(found) if turn["role"] == "assistant"), default=len(found))
    if not any(turn["role"] == "user" for turn in found[:last]):
        raise Refused("no question", "The conversation has no question before its last answer.", cells.column("messages"))
    require_answer(found[last : last + 1], "messages", cells.column("messages"))
    return {"prompt": found[:last], "completion": found[last : last + 1], "label": label, **_offered(cells)}


def _verdict(cells: Cells) -> bool:
    label, column = truth_of(cells.raw("label")), cells.column("label")
    if label is None:
        held = str(cells.raw("label"))[:40]
        raise Refused("no label", f"{column} says neither good nor bad (yes or no, 1 or 0), but {held!r}.", column)
    return label


def _pair(prompt: str, completion: str, cells: Cells) -> Row:
    system = cells.text("system").strip()
    if not system:
        return {"prompt": prompt, "completion": completion}
    asked = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    return {"messages": [*asked, {"role": "assistant", "content": completion}]}


def _conversation(found: list[Turn]) -> Row:
    if not found:
        raise Refused("empty conversation", "The conversation has no turns.", "messages")
    if found[0]["role"] == "assistant" and all(turn["role"] != "user" for turn in found):
        raise Refused("no question", "The conversation has an answer of the assistant, but no question.", "messages")
    return {"messages": found}


def _require_answer(row: Row) -> None:
    found = row.get("messages") or row["completion"]
    said = [t for t in found if t["role"] == "assistant"] if isinstance(found, list) else []
    if isinstance(found, list) and not any(map(says, said)):
        raise Refused("no answer", "The conversation has no answer of the assistant.", "messages")


def _chat_to_text(row: Row) -> Row:
    if isinstance(row.get("prompt"), list):
        row = weighed({"messages": [*row["prompt"], *row["completion"]]}, "text")
    if "messages" not in row:
        return {"text": f"{row['prompt']}\n{row['completion']}"}
    if any(turn.get("tool_calls") for turn in row["messages"]):
        raise Refused("tool call", "The assistant calls a tool in it, and plain text has no place for that.", "messages")
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
        rest = {k: v for k, v in row.items() if k not in ("prompt", "completion", "label")}
        return {"messages": [*row["prompt"], *row["completion"]], **rest} if row["label"] else None
    return {k: v for k, v in row.items() if k != "label"} if row["label"] else None


_READERS: dict[str, Callable[[Cells], Row]] = {
    "text": _text,
    "messages": _messages,
    "transcript": _transcript,
    "alpaca": _alpaca,
    "qa": _qa,
    "prompts": _prompts,
    "feedback": _feedback,
    "rated": _rated,
    "preference": preference,
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

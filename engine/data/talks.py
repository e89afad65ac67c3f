"""Which cells hold a conversation: lists of turns, also as JSON in a string, and the trees that ChatGPT exports."""

from __future__ import annotations

from typing import Any

from engine.data.json_stream import parse

# How a question and its answer are marked in a text, written out.
QUESTION_WORDS = (("Question", "Answer"), ("Frage", "Antwort"))
# What a branch of a ChatGPT export is made of. Notes of tools, and what was said to them, are no part of what was read.
_SPEAKERS = ("user", "assistant")
_NODE = frozenset(["message", "parent", "children"])


def turns_of(value: Any, leaf: Any = None) -> list[dict[str, Any]] | None:
    """The value as a list of turns; None when it is no conversation. Of a tree it is the branch that ends in `leaf`."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = parse(value)
        except ValueError:
            return None
    if isinstance(value, dict) and "messages" in value:
        value = value["messages"]
    if isinstance(value, dict) and is_tree(value):
        return _branch(value, leaf)
    if isinstance(value, list) and value and all(isinstance(turn, dict) and _is_turn(turn) for turn in value):
        return value
    return None


def lines_of(value: Any) -> list[dict[str, Any]] | None:
    """A list of nothing but texts as turns: the first is the user's, the next the assistant's, and so on."""
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(line, str) for line in value):
        return None
    return [{"role": _SPEAKERS[place % 2], "content": line} for place, line in enumerate(value)]


def is_tree(value: Any) -> bool:
    """Whether a cell is the tree of messages (`mapping`) of a conversation that ChatGPT exported."""
    return isinstance(value, dict) and bool(value) and all(isinstance(n, dict) and n.keys() >= _NODE for n in value.values())


def _is_turn(turn: dict[str, Any]) -> bool:
    return bool({"role", "from", "sender", "speaker"} & turn.keys())


def _branch(tree: dict[str, Any], leaf: Any) -> list[dict[str, Any]]:
    """What was said from the root to the leaf; without a leaf, along the last child of every message."""
    at = leaf if isinstance(leaf, str) and leaf in tree else _last_leaf(tree)
    found, seen = list[dict[str, Any]](), set[str]()
    while isinstance(at, str) and at in tree and at not in seen:
        seen.add(at)
        found += _said(tree[at]["message"])
        at = tree[at]["parent"]
    turns = list[dict[str, Any]]()
    for turn in reversed(found):  # one answer may be several messages, with the work of a tool between them
        if turns and turns[-1]["role"] == turn["role"]:
            turns[-1] = {**turn, "content": [*turns[-1]["content"], "\n\n", *turn["content"]]}
        else:
            turns.append(turn)
    return turns


def _last_leaf(tree: dict[str, Any]) -> Any:
    parents = ((name, node["parent"]) for name, node in tree.items())
    at: Any = next((name for name, parent in parents if not isinstance(parent, str) or parent not in tree), None)
    seen = set[str]()
    while isinstance(at, str) and at in tree and at not in seen:
        seen.add(at)
        children = tree[at]["children"]
        if not isinstance(children, list) or not children:
            break
        at = children[-1]
    return at


def _said(message: Any) -> list[dict[str, Any]]:
    """The turn that a message of the tree is, in a list; no turn when nothing in it was said between user and assistant."""
    if not isinstance(message, dict) or message.get("recipient") not in (None, "all"):
        return []
    author, content = message.get("author"), message.get("content")
    role = author.get("role") if isinstance(author, dict) else None
    parts = content.get("parts") if isinstance(content, dict) else None
    if role not in _SPEAKERS or not isinstance(parts, list):
        return []
    said = [part if isinstance(part, str) else _other(part) for part in parts if part]
    return [{"role": role, "content": said}] if any(not isinstance(part, str) or part.strip() for part in said) else []


def _other(part: Any) -> dict[str, Any]:
    """A picture or a sound among the words, by the name that its reader refuses it under."""
    return {"type": str(part.get("content_type") or "a part without words") if isinstance(part, dict) else "no text"}

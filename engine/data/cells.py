"""One record seen through the mapping of roles to columns, and what is said in its cells."""

from __future__ import annotations

from typing import Any

from engine.data.records import Refused
from engine.data.talks import lines_of, turns_of
from engine.data.turns import Turn, text, turns
from engine.data.weights import says

Row = dict[str, Any]
Mapping = dict[str, str]


class Cells:
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

    def talk(self, *, weights: bool = False) -> list[Turn]:
        """The conversation of the record: turns, texts that take turns, or the branch of a tree that was read last."""
        given = self.raw("messages")
        found = lines_of(given) or turns_of(given, self._values.get("current_node"))
        if found == []:
            raise Refused("empty conversation", "The conversation has no turns.", self.column("messages"))
        return turns(given if found is None else found, self.column("messages"), weights=weights)

    def said(self, role: str) -> str | list[Turn]:
        """One side of an exchange: text, or the turns in it."""
        value = self.raw(role)
        return turns(value, self.column(role)) if isinstance(value, (list, dict)) and value else self.needed(role)


def require_answer(found: list[Turn], role: str, column: str) -> None:
    """Refuse what is no answer of the assistant, or says nothing in it, which would be learned."""
    answers = [turn for turn in found if turn["role"] == "assistant"]
    if not found or found[0]["role"] != "assistant" or not any(map(says, answers)):
        raise Refused("empty " + role, f"{column} holds no answer of the assistant.", column)
    if not all(map(says, answers)):
        raise Refused("empty " + role, f"{column} holds an answer of the assistant that is empty.", column)


def as_turns(value: str | list[Turn], role: str) -> list[Turn]:
    """Turns as they are; a text as one turn of the role."""
    if isinstance(value, list):
        return value
    return [{"role": role, "content": value}] if value.strip() else []


def with_system(found: list[Turn], cells: Cells) -> list[Turn]:
    """The turns after the system prompt of a column of its own."""
    system = cells.text("system").strip()
    if system and not (found and found[0]["role"] == "system"):
        return [{"role": "system", "content": system}, *found]
    return found


def without(prompt: list[Turn], side: list[Turn]) -> list[Turn]:
    """The side without the prompt at its beginning, if it is repeated there."""
    return side[len(prompt) :] if prompt and side[: len(prompt)] == prompt else side

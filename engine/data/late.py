"""Columns that the first rows of a source lack and later ones have: an optional role is filled from them as from any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.data.detect import guess_mapping
from engine.data.forms import FORMS

# A source whose rows have more names than this names things and no columns.
_MOST = 10_000


@dataclass
class Late:
    """A column that plays a role: the first row that has it, what is in it there, and how many rows fill it."""

    row: int
    label: str
    example: Any
    filled: int = 0


class LateColumns:
    """Sees the rows as they are read and adds to `mapping`, in place, what they bring. A row before the first that has a column
    holds nothing in it, so the rows are the same as if it had been known from the beginning.
    """

    def __init__(self, form: str, first: list[str], mapping: dict[str, str], left_out: set[str]) -> None:
        self._form, self._first, self._mapping, self._left_out = form, first, mapping, left_out
        self._known = set(first)
        self.found: dict[str, Late] = {}

    def see(self, number: int, values: dict[str, Any]) -> None:
        """Note the columns of one row."""
        if not values.keys() <= self._known and len(self._known) < _MOST:
            for name in values.keys() - self._known:
                self._known.add(name)
                if label := self._taken(name):
                    self.found[name] = Late(number, label, values[name])
        for name, late in self.found.items():
            late.filled += values.get(name) not in (None, "", [])

    def why(self) -> str:
        """A sentence on each; "" when there are none."""
        return "".join(f" {name}, which first comes in row {late.row}, is “{late.label}”." for name, late in self.found.items())

    def _taken(self, name: str) -> str:
        """The label of the role that a new column plays; "" for none."""
        roles = {role.name: role.label for role in FORMS[self._form].roles} if self._form else {}
        for role, column in (guess_mapping(self._form, [*self._first, name]) if roles else {}).items():
            if column == name and role not in self._mapping and role not in self._left_out:
                self._mapping[role] = name
        return next((roles[role] for role, column in self._mapping.items() if column == name), "")

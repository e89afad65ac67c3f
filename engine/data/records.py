"""The two things that reading a file yields: records and problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Record(NamedTuple):
    """One row as it stands in the file. `number` is its line (text files) or its place, counted from one."""

    number: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """Why one row cannot be used. `rule` is a short name that counts are kept under."""

    row: int
    column: str
    rule: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


class Refused(Exception):
    """Raised while one row is converted; becomes that row's Problem."""

    def __init__(self, rule: str, message: str, column: str = "") -> None:
        super().__init__(message)
        self.rule, self.message, self.column = rule, message, column

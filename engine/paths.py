"""Paths as people write them: `~` is one's home. What cannot be anybody's file is told, or is no file, and ends nothing."""

from __future__ import annotations

from pathlib import Path

from engine.errors import FieldProblem, ParamError

# What Linux and macOS take, in bytes: one name, and all of it.
_LONGEST_NAME, _LONGEST = 255, 1000


def expanded(path: str | Path) -> Path:
    """The path with the home that its ~ means; `~nobody/x` stays as it is written, and nothing lies there.

    Raises:
        ParamError: it is longer than a path can be.
    """
    if why := too_long(str(path)):
        raise ParamError([FieldProblem("", f"{str(path)[:40]!r}…: {why}.")], hint="Check what was pasted there.")
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is no such user, or they have no home
        return Path(path)


def too_long(text: str) -> str:
    """Why no file can be called so, "" for what is short enough."""
    longest = max(len(part.encode("utf-8", "replace")) for part in text.split("/"))
    if longest > _LONGEST_NAME or len(text.encode("utf-8", "replace")) > _LONGEST:
        return f"this has {len(text):,} characters, more than the name of a file can have"
    return ""

"""The command line that equals a set of settings: what the page shows, and what the command line accepts."""

from __future__ import annotations

import json
import shlex
from typing import Any

from engine.params import LLMTrainingParams, flag

# Shown even at their defaults, since a command without them says too little.
_ALWAYS = ("trainer", "model", "data_path")


def to_argv(params: LLMTrainingParams) -> list[str]:
    """`aitraining llm ...` as a list of words; every setting that differs from its default, and no other."""
    argv = ["aitraining", "llm"]
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        if name in _ALWAYS or value != field.get_default(call_default_factory=True):
            argv += _words(name, value)
    return argv


def command(params: LLMTrainingParams) -> str:
    """`to_argv` as one line for a POSIX shell, quoted where needed."""
    return shlex.join(to_argv(params))


def _words(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag(name) if value else f"--no-{flag(name)[2:]}"]
    if value is None:
        return []
    if isinstance(value, (dict, list)):
        return [flag(name), json.dumps(value, ensure_ascii=False)]
    text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
    # a value that starts with a dash would be read as a flag
    return [f"{flag(name)}={text}"] if text.startswith("-") else [flag(name), text]

"""Rewards that a person has written in Python. The file's code runs with all rights of whoever starts the training."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.errors import TrainingError
from engine.paths import expanded
from engine.rewards.reward import Row, Score

FORM = "path/to/file.py:function"


def python_function(argument: str) -> Score:
    """Whatever `function(prompts, completions, rows)` in the file returns: one number for each completion.

    The file is loaded at the first call, so that reading settings runs nobody's code.
    """
    file, _, name = argument.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise ValueError(f"{argument!r} does not name a function; write {FORM}")
    loaded: list[Any] = []

    def score(prompts: Sequence[Any], completions: Sequence[str], rows: Sequence[Row]) -> Sequence[float]:
        if not loaded:
            loaded.append(_loaded(expanded(file), name))
        try:
            return loaded[0](prompts, completions, rows)
        except Exception as error:  # somebody else's program raises whatever it likes
            message = f"The reward function {name} in {file} failed: {type(error).__name__}: {error}."
            raise TrainingError(message, hint="worker.log shows where.", cause="reward") from error

    return score


def absolute(argument: str) -> str:
    """The same function with the file's full path, since a training runs in a folder of its own."""
    file, _, name = argument.rpartition(":")
    return f"{expanded(file).resolve()}:{name}"


def _loaded(file: Path, name: str) -> Any:
    if not file.is_file():
        raise TrainingError(f"There is no file {file}, which a reward names.", hint="Check the path.", cause="reward")
    made = importlib.util.spec_from_file_location(f"aitraining_reward_{file.stem}", file)
    assert made is not None and made.loader is not None
    module = importlib.util.module_from_spec(made)
    try:
        made.loader.exec_module(module)
    except Exception as error:  # as above
        message = f"The reward file {file} cannot be loaded: {type(error).__name__}: {error}."
        raise TrainingError(message, hint="Run it with Python by itself to see why.", cause="reward") from error
    if not callable(getattr(module, name, None)):
        raise TrainingError(
            f"{file} has no function {name}.", hint=f"Define {name}(prompts, completions, rows).", cause="reward"
        )
    return getattr(module, name)

"""Secrets come from the environment, and a process is given only those that it needs.

They are in no setting, no file, no argument and no message: whoever needs one reads it where it is used. A token of the Hub
that was saved by `hf auth login` is read by the Hub's own client.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

# What the Hub's client reads, and what a teacher's server is shown (the first one that is set).
HUB = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
TEACHER = ("AITRAINING_TEACHER_KEY", "OPENAI_API_KEY")
ALL = (*HUB, *TEACHER)


def without(environment: Mapping[str, str], keep: Iterable[str] = ()) -> dict[str, str]:
    """The environment without secrets, but those in `keep`."""
    return {name: value for name, value in environment.items() if name not in ALL or name in keep}


def forget(keep: Iterable[str] = ()) -> None:
    """Take all secrets but those in `keep` out of this process's environment, and so out of that of its children."""
    for name in set(ALL) - set(keep):
        os.environ.pop(name, None)


def needed(params: Any) -> tuple[str, ...]:
    """Names of the secrets that a training with these settings has a use for."""
    from engine.hub.needs import needs_hub

    hub = HUB if params.push_to_hub or needs_hub(params) else ()
    return (*hub, *(TEACHER if getattr(params, "teacher_endpoint", None) else ()))

"""Secrets come from the environment, and few processes are given any.

The warm process has none, those that look at rows and talk have the Hub's while something is to be fetched, and a training
takes all out of its environment once its own downloads are done. It keeps them in memory, since it may start the next run.

They are in no setting, no file, no argument and no message: whoever needs one reads it where it is used. A token of the Hub
that was saved by `hf auth login` is read by the Hub's own client.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

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

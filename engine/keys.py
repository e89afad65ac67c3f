"""Secrets come from the environment, and few processes are given any.

The warm process has none, those that look at rows and talk have the Hub's while something is to be fetched, and a training
takes all out of its environment once its own downloads are done. It keeps them in memory, since it may start the next run.

They are in no setting, no file, no argument and no message: whoever needs one reads it where it is used. A token of the Hub
that was saved by `hf auth login` is read by the Hub's own client.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

# What the Hub's client reads, and what a teacher's server is shown: see `teachers`.
HUB = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
TEACHER = ("AITRAINING_TEACHER_KEY", "OPENAI_API_KEY")
ALL = (*HUB, *TEACHER)


def teachers(address: str) -> str:
    """The key that the teacher's server at `address` is shown, "" for none. OPENAI_API_KEY is OpenAI's, whatever else a setting
    names: it lies in many an environment for other programs. Another server is shown the key that was set for it.
    """
    parts = urlsplit(address)
    is_openai = parts.scheme == "https" and parts.hostname == "api.openai.com"
    names = TEACHER if is_openai else TEACHER[:1]
    return next((key for name in names if (key := os.environ.get(name, "").strip())), "")


def without(environment: Mapping[str, str], keep: Iterable[str] = ()) -> dict[str, str]:
    """The environment without secrets, but those in `keep`."""
    return {name: value for name, value in environment.items() if name not in ALL or name in keep}


def forget(keep: Iterable[str] = ()) -> None:
    """Take all secrets but those in `keep` out of this process's environment, and so out of that of its children."""
    for name in set(ALL) - set(keep):
        os.environ.pop(name, None)

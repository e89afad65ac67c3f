"""Which files a browser may name. On this machine alone: all that its user can read. Served to others: uploads and runs.

A server that listens beyond this machine must not read its files, or those of its other users, on a stranger's word.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from engine import api
from engine.errors import FieldProblem, ParamError

_LOCAL = ("127.0.0.1", "localhost", "::1")
_PATHS = ("data_path", "valid_path", "model")


def refuse_foreign(values: dict[str, Any]) -> None:
    """Raise a ParamError when a served page names a file outside the studio's own folders."""
    if os.environ.get("AITRAINING_HOST", _LOCAL[0]) in _LOCAL:
        return
    wrong = [name for name in _PATHS if values.get(name) and not _ours(str(values[name]))]
    if wrong:
        sentence = "This page is served to others, so it reads uploaded files, samples and finished runs only."
        raise ParamError([FieldProblem(name, sentence) for name in wrong], hint="Upload the file.")


def _ours(reference: str) -> bool:
    """True for what is no path (a sample, a run's name, a Hub id) and for a path inside the runs folder."""
    root, path = api.runs_root(), Path(reference).expanduser()
    if path.exists():
        return path.resolve().is_relative_to(root)
    return not path.is_absolute() and ".." not in path.parts and not reference.startswith("~")

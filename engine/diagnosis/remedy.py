"""A finding as something to do: the settings of the new run, the command that does it, an object for other programs."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any, NamedTuple

from engine.command import command
from engine.diagnosis.finding import Finding, changed
from engine.diagnosis.table import findings
from engine.errors import RunNotFound
from engine.params import LLMTrainingParams
from engine.registry import parse
from engine.runs.directory import RunDirectory

# A page asks every ten seconds; a long run takes some hundredths of a second to be looked through.
_GOOD_FOR_S = 5.0
_RUNS = 32


class _Kept(NamedTuple):
    of: tuple[Any, float]
    when: float
    findings: list[dict[str, Any]]


_kept: OrderedDict[str, _Kept] = OrderedDict()
_lock = threading.Lock()


def told_findings(name: str) -> list[dict[str, Any]]:
    """What is wrong with a run, as plain objects: the fields of `Finding`, its change in words, and `command`.

    Of a run at work it is what was found within the last seconds: all who watch it ask the same.
    """
    run = RunDirectory.open(name)
    status, where = run.status(), str(run.path)
    if status.ended_state:
        return _told(name)
    with _lock:  # whoever else asks meanwhile gets what is being found
        of, kept = (status.state, status.created), _kept.get(where)
        if kept is None or kept.of != of or time.monotonic() - kept.when > _GOOD_FOR_S:
            kept = _kept[where] = _Kept(of, time.monotonic(), _told(name))
        _kept.move_to_end(where)
        while len(_kept) > _RUNS:
            _kept.popitem(last=False)
    return kept.findings


def _told(name: str) -> list[dict[str, Any]]:
    return [{**finding.to_dict(), "command": remedy_command(name, finding)} for finding in findings(name)]


def remedy_command(name: str, finding: Finding) -> str:
    """The command line that does what a finding advises."""
    if finding.action == "resume":
        return f"aitraining resume {name}"
    return command(changed(_params(name), finding.settings))


def remedied(name: str, kind: str) -> tuple[LLMTrainingParams, Finding]:
    """The settings of a run with the change that its finding of this kind proposes, and the finding.

    Raises:
        RunNotFound: there is no such run, or nothing of the kind was found in it.
    """
    finding = next((one for one in findings(name) if one.kind == kind), None)
    if finding is None:
        raise RunNotFound(f"Nothing called {kind!r} was found in the run {name!r}.", hint="Its page shows what was.")
    return changed(_params(name), finding.settings), finding


def _params(name: str) -> LLMTrainingParams:
    return parse(RunDirectory.open(name).params())

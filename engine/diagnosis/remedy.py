"""A finding as something to do: the settings of the new run, the command that does it, an object for other programs."""

from __future__ import annotations

from typing import Any

from engine.command import command
from engine.diagnosis.finding import Finding, changed
from engine.diagnosis.table import findings
from engine.errors import RunNotFound
from engine.params import LLMTrainingParams
from engine.registry import parse
from engine.runs.directory import RunDirectory


def told_findings(name: str) -> list[dict[str, Any]]:
    """What is wrong with a run, as plain objects: the fields of `Finding`, its change in words, and `command`."""
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

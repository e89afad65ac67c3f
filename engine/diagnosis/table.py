"""Every recogniser there is, in one table, and what they find in a run. docs/troubleshooting.md is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.diagnosis import endings, learning
from engine.diagnosis.finding import Evidence, Finding, Recogniser
from engine.errors import ParamError, RunError
from engine.registry import parse
from engine.runs.directory import RunDirectory
from engine.runs.live import everything
from engine.runs.mishaps import out_of_memory_kills, restarted_since
from engine.runs.queue import has_progress
from engine.runs.status import State

CUT_OFF = frozenset({State.FAILED, State.INTERRUPTED})
OVER = frozenset({State.DONE, State.STOPPED})
WATCHED = frozenset({State.TRAINING, State.DONE, State.STOPPED, State.FAILED, State.INTERRUPTED})


@dataclass(frozen=True)
class Row:
    """A recogniser, the states of a run in which it is asked, and for the documentation: what helps."""

    recognise: Recogniser
    states: frozenset[State]
    title: str
    helps: str

    @property
    def sign(self) -> str:
        return " ".join((self.recognise.__doc__ or "").split())


# In the order in which they are told: what ended a run comes before what its curves say.
TABLE: tuple[Row, ...] = (
    Row(endings.memory, CUT_OFF, "Memory ran out", "Half the rows per step with twice the accumulation, or a LoRA adapter."),
    Row(endings.no_number, CUT_OFF, "The loss is no number", "The usual learning rate, or a tenth of the run's."),
    Row(endings.killed, CUT_OFF, "Killed by the system", "Resume."),
    Row(endings.disk, CUT_OFF | {State.STOPPED}, "The disk is full", "Remove old checkpoints and resume; or keep one only."),
    Row(endings.gated, CUT_OFF, "The model is gated", "Accept its terms and set HF_TOKEN."),
    Row(endings.missing, CUT_OFF, "There is no such model", "Correct the name."),
    Row(endings.offline, CUT_OFF, "The Hub cannot be reached", "Retry later, or the bundled starter."),
    Row(endings.template, WATCHED, "The chat template renders nothing", "Another way to write conversations."),
    Row(endings.cut_rows, WATCHED, "Answers of the data are cut", "A greater longest length."),
    Row(learning.diverging, WATCHED, "The loss diverges", "The usual learning rate, or a third of the run's."),
    Row(learning.drift, WATCHED, "The drift blows up", "A higher cost of drifting, or smaller steps."),
    Row(learning.pushed_away, WATCHED, "Good answers are pushed away", "Weight on learning them, or smaller steps."),
    Row(learning.overfitting, WATCHED, "Over-fitting", "No more steps than the best measurement took."),
    Row(learning.same_rewards, OVER | CUT_OFF, "All answers score the same", "A higher temperature."),
    Row(learning.cut_answers, WATCHED, "Its own answers are cut", "More tokens for an answer."),
    Row(learning.flat, OVER, "The loss is flat", "A larger learning rate, or more passes."),
)


def findings(name: str, root: Path | None = None) -> list[Finding]:
    """What is wrong with the run `name` (of `root`, or of whoever asks), the weightiest first; empty for one that is well.

    Raises:
        RunNotFound: there is none of that name.
    """
    try:
        return recognised(evidence(RunDirectory.open(name, root)))
    except ParamError:  # settings of another version of this program: nothing can be proposed for them
        return []


def recognised(e: Evidence) -> list[Finding]:
    """The findings of all recognisers; of two that would change the same settings, the first."""
    found: list[Finding] = []
    for row in TABLE:
        finding = row.recognise(e) if e.status.state in row.states else None
        if finding and not any(set(finding.settings) & set(other.settings) for other in found):
            found.append(finding)
    return found


def evidence(run: RunDirectory) -> Evidence:
    """What a run's folder tells."""
    seen, status, plan = everything(run), run.status(), run.plan()
    params = parse(run.params())
    curves = {key: _numbers(*curve) for key, curve in seen["curves"].items()}
    died = status.cause == "killed"
    return Evidence(
        name=run.name,
        status=status,
        params=params,
        chosen=parse(plan["params"]) if plan else params,
        plan=plan,
        curves=curves,
        warnings=tuple(seen["warnings"]),
        trained=bool(curves.get("loss")) or any(phase.get("state") == "training" for phase in seen["phases"]),
        log=seen["text"] if died else "",
        resumable=status.ended_state and status.state is not State.DONE and _can_go_on(run),
        restarted=died and restarted_since(run.last_sign_of_life(), status.boot),
        memory_kills=_killed_since(status.memory_kills) if died else None,
    )


def _can_go_on(run: RunDirectory) -> bool:
    try:
        return has_progress(run)
    except RunError:  # it is not known what was rented for it: told to whoever resumes it
        return False


def _killed_since(before: int | None) -> int | None:
    now = out_of_memory_kills()
    return None if now is None or before is None else max(0, now - before)


def _numbers(steps: list[int], found: list[Any]) -> list[tuple[int, float]]:
    return [(step, value) for step, value in zip(steps, found, strict=True) if value is not None]

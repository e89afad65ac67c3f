"""The one door of the engine: what ui/ and cli.py may call. Imports no torch, starts nothing when imported.

Everything here takes and returns plain values and frozen dataclasses; every failure is a StudioError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine import hosting, people, retention, rewards
from engine.command import command
from engine.compute import door as compute
from engine.config_file import read_settings, to_yaml
from engine.data.parts import without_part
from engine.diagnosis.remedy import remedied, told_findings
from engine.errors import DataError
from engine.hub import door as hub
from engine.hub.door import push
from engine.lifetime import close_app, open_app
from engine.params import LLMTrainingParams, flag, form_of
from engine.pipelines import door as pipelines
from engine.registry import parse as validate
from engine.registry import spec_for, specs
from engine.runs import door as queue
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.discard import discard as discard_run
from engine.runs.queue import stop as stop_run
from engine.runs.report import model_file, model_files, run_events, run_report
from engine.samples import PREFIX as SAMPLE_PREFIX
from engine.samples import Sample, data_file, samples
from engine.spec import Chart, Form, RowKind, TrainerSpec
from engine.sweeps import door as sweeps
from engine.uploads import own_name, store_upload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.advice import Advice, Question
    from engine.advisor import Recommendation
    from engine.chat import ChatSession
    from engine.data import Inspection, RowForm
    from engine.device import Device
    from engine.estimate import Estimate
    from engine.export.bundle import Export
    from engine.models import ModelFacts, ModelSource
    from engine.plan import DataFacts, Plan
    from engine.runs.listing import RunSummary
    from engine.runs.status import Status

__all__ = [
    "SAMPLE_PREFIX",
    "Chart",
    "Form",
    "LLMTrainingParams",
    "Sample",
    "TrainerSpec",
    "chat",
    "close_app",
    "command",
    "compute",
    "data_facts",
    "delete_run",
    "device",
    "estimate",
    "export_run",
    "flag",
    "form_of",
    "hosting",
    "hub",
    "inspect_data",
    "leaves",
    "live",
    "model_choices",
    "model_facts",
    "model_file",
    "model_files",
    "open_app",
    "own_name",
    "people",
    "pipelines",
    "plan",
    "presets",
    "push",
    "queue",
    "read_settings",
    "recommend",
    "remedied",
    "rename_run",
    "resume",
    "retention",
    "rewards",
    "row_forms",
    "run_events",
    "run_params",
    "run_report",
    "run_status",
    "runs",
    "runs_root",
    "samples",
    "spec_for",
    "specs",
    "start",
    "stop",
    "store_upload",
    "sweeps",
    "to_yaml",
    "token_preview",
    "told_findings",
    "tree",
    "use_cases",
    "validate",
    "without_part",
    "yaml_of_run",
]


# ---- data ----------------------------------------------------------------------------------------------------------


def inspect_data(
    data_path: str, trainer: str | None = None, *, form: str | None = None, mapping: dict[str, str] | None = None
) -> Inspection:
    """What is in a file, how its rows would be read for `trainer` (None: for the kind that fits best), what is wrong.

    Raises:
        DataError: it is not a data set, or it cannot serve this trainer; says what was found and what was expected.
    """
    from engine.data import inspect

    kind = spec_for(trainer).rows if trainer else None
    if not data_path.strip():
        raise DataError("No data is chosen yet.", hint="Drop a file, or pick a sample.")
    return inspect(data_file(data_path), kind, form=form, mapping=mapping)


def token_preview(params: LLMTrainingParams, limit: int = 20) -> dict[str, Any]:
    """Examples as the model will see them, token by token with what is trained, and the lengths of many rows.

    Answered by the inspect process with the very code that makes the label masks in training. Keys: see
    engine/worker/inspect.py.
    """
    from engine.preview import token_preview as ask

    return ask(params, limit)


def row_forms() -> dict[str, RowForm]:
    """Every form that rows come in, by name."""
    from engine.data import FORMS

    return dict(FORMS)


def data_facts(params: LLMTrainingParams) -> DataFacts:
    """Rows and token lengths of the chosen data for the chosen model and trainer; asked often, worked out once."""
    from engine.preview import data_facts as ask

    return ask(params)


# ---- advice ----------------------------------------------------------------------------------------------------------


def tree() -> Question:
    """The decision tree, from its first question; see engine/advisor.py."""
    from engine.advisor import tree as first

    return first()


def use_cases() -> tuple[Advice, ...]:
    """What people want to do, with the documentation's advice for each."""
    from engine.advisor import use_cases as cases

    return cases()


def leaves() -> list[tuple[dict[str, str], Advice]]:
    """Every end of the tree with the answers that lead to it."""
    from engine.advisor import leaves as ends

    return list(ends())


def recommend(answers: dict[str, str], kinds: Sequence[RowKind] = ()) -> Recommendation | None:
    """The one recommendation that answers, or the kinds of rows that a file serves, lead to; None while one is open."""
    from engine.advisor import recommend as decide

    return decide(answers, kinds)


# ---- models, settings, estimates -----------------------------------------------------------------------------------


def model_choices() -> list[ModelSource]:
    """Models that are on this machine: the bundled ones, then finished runs, newest first."""
    from engine.models import choices

    return choices()


def model_facts(reference: str) -> ModelFacts:
    """Size, context, chat template and licence of a model, read without loading it.

    Raises:
        ModelError: there is no such model, or the Hub cannot be reached.
    """
    from engine.models import facts

    return facts(reference)


def device(wish: str = "auto") -> Device:
    """What this machine trains on; with `cpu` its processor, whatever else is there."""
    from engine.device import device as probe

    return probe(wish)


def plan(params: LLMTrainingParams, data: DataFacts) -> Plan:
    """`params` with every automatic setting chosen, and the reason for each."""
    from engine.plan import plan as choose

    return choose(params, data, model_facts(params.model), compute.device_of(params))


def presets(trainer: str) -> dict[str, dict[str, Any]]:
    """Named sets of settings: quick try, balanced, best quality."""
    from engine.plan import presets as named

    return named(trainer)


def estimate(chosen: Plan, data: DataFacts) -> Estimate:
    """Memory, time and disk of a planned run against what the device has free."""
    from engine.estimate import estimate as work_out

    params = chosen.params
    return work_out(chosen, data, model_facts(params.model), compute.device_of(params), spec_for(params.trainer))


# ---- runs ----------------------------------------------------------------------------------------------------------


def start(params: LLMTrainingParams, *, request_id: str | None = None) -> str:
    """Queue a run and start it as soon as the device is free; returns its name at once.

    The same `request_id` always gives the same run, however often and from wherever it is asked.
    """
    from engine.admission import admit
    from engine.runs.queue import dispatch, enqueue

    run = enqueue(params, request_id=request_id, admit=admit)
    dispatch(run.path.parent)
    return run.name


def stop(name: str, *, force: bool = False, discard: bool = False, created: float | None = None) -> bool:
    """Finish the step, save and end; `force` ends the process at once; `discard` ends it at once and deletes the run: False
    when its worker could not be ended yet, and it is deleted as soon as it is. With `created` only the run that was made then
    is meant, here and below, and no later one of its name."""
    run = RunDirectory.open(name, created=created)
    if discard:
        return discard_run(run)
    stop_run(run, force=force)
    return True


def resume(name: str, *, created: float | None = None) -> None:
    """Go on from the last checkpoint of a run that was stopped or interrupted."""
    from engine.runs.queue import dispatch
    from engine.runs.queue import resume as go_on

    run = RunDirectory.open(name, created=created)
    go_on(run)
    dispatch(run.path.parent)


def runs() -> list[RunSummary]:
    """Every run, newest first."""
    from engine.runs.listing import list_runs

    return list_runs(runs_root())


def run_status(name: str) -> Status:
    return RunDirectory.open(name).status()


def run_params(name: str) -> LLMTrainingParams:
    """The settings that a run was started with."""
    return validate(RunDirectory.open(name).params())


def yaml_of_run(name: str) -> str:
    return to_yaml(run_params(name))


def export_run(name: str, *, beside: bool = True) -> Export:
    """The run as a program of plain TRL, and as YAML; without `beside` it needs no file beside it, only the run's folder."""
    from engine.export.bundle import export

    return export(RunDirectory.open(name), beside=beside)


def rename_run(name: str, new: str, *, created: float | None = None) -> None:
    """Give a run another name; refused as deleting is."""
    retention.rename(name, new, created=created)


def delete_run(name: str, *, created: float | None = None) -> None:
    """Delete a run and all it wrote; refused while it works or is needed. Touches nothing outside its directory."""
    retention.delete(name, created=created)


def live(name: str, events_offset: int = 0, log_offset: int = 0) -> dict[str, Any]:
    """What is new in a run since the given byte offsets, shaped for the run page."""
    from engine.runs.live import live as read

    return read(RunDirectory.open(name), events_offset, log_offset)


# ---- playground ----------------------------------------------------------------------------------------------------


def chat() -> ChatSession:
    """A playground process of its own; closing it gives the memory back."""
    from engine.chat import ChatSession

    return ChatSession()

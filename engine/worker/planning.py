"""Plans a run once its real tokens are counted, anew or as it was planned when it began."""

from __future__ import annotations

from dataclasses import replace

from engine.bases import made_at
from engine.device import Device
from engine.errors import DeviceError, ModelError
from engine.models import ModelFacts, ModelSource
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, Plan, plan
from engine.registry import parse
from engine.runs.directory import RunDirectory
from engine.worker.reporter import Reporter


def remember_base(run: RunDirectory, reporter: Reporter, base: ModelSource) -> None:
    """Write down whose model a run begins with; one that goes on must find that model, and not another of the same name.

    Raises:
        ModelError: it is another.
    """
    began_with, now = run.status().base_created, made_at(base)
    if began_with not in (None, now) and any(run.checkpoints_dir.glob("checkpoint-*")):
        raise ModelError(
            f"{base.reference} is not the model that this run began with: that run was deleted, and another has its name.",
            hint="Start a new run; its checkpoints are of no use on another model.",
        )
    reporter.set(base_created=now)


def planned(
    run: RunDirectory, reporter: Reporter, params: LLMTrainingParams, data: DataFacts, model: ModelFacts, device: Device
) -> Plan:
    """The plan of a run. One that goes on from a checkpoint keeps what was chosen for it when it began, however much memory is
    free now: its steps, its learning rate and the rows it has seen follow from that. What this machine cannot do (any more)
    is chosen anew, and said.

    Raises:
        DeviceError, ModelError: what is asked for cannot be done.
    """
    if not any(run.checkpoints_dir.glob("checkpoint-*")) or not (before := run.plan()):
        return plan(params, data, model, device)
    chosen, reasons = parse(before["params"]), before["reasons"]
    open_then = {name: getattr(chosen, name) for name in reasons if getattr(params, name, "") is None}
    try:
        again = plan(params.model_copy(update=open_then), data, model, device)
    except DeviceError as error:
        reporter.warn(f"This run cannot go on as it was planned: {error}", "Its settings were chosen again for this machine.")
        return plan(params, data, model, device)
    return replace(again, reasons={**again.reasons, **{name: reasons[name] for name in open_then}})

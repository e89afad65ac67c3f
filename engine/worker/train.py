"""One run, from its directory to its finished model. `main` holds the run's lock for as long as the process lives."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine import keys
from engine.data.run_rows import prepare_for
from engine.device import Device, device
from engine.errors import DataError, DeviceError, StudioError, TrainingError
from engine.hub.account import logged_in
from engine.hub_upload import HOW_TO_LOG_IN, upload
from engine.models import ModelFacts, facts, resolve
from engine.params import LLMTrainingParams
from engine.people import act_for_owner_of
from engine.plan import DataFacts, Plan
from engine.registry import parse, spec_for
from engine.runs import checkpoints, line, process, queue
from engine.runs.channel import Channel
from engine.runs.directory import RunDirectory, write_json
from engine.runs.mishaps import out_of_memory_kills
from engine.runs.status import State
from engine.worker.best import BestWeights, fingerprint
from engine.worker.callbacks import RunCallback, TrainedAlready
from engine.worker.card import model_card
from engine.worker.crew import Crew
from engine.worker.failures import LastWords
from engine.worker.hub import fetch_data, fetch_models, leave_hub
from engine.worker.kit import Kit
from engine.worker.lengths import figures
from engine.worker.lifecycle import settle, take, tell_failure
from engine.worker.models import load_tokenizer, put_together
from engine.worker.placing import put_back
from engine.worker.planning import planned, remember_base
from engine.worker.ranks import ALONE, Ranks
from engine.worker.reporter import SHUT_DOWN, Onlooker, Reporter, StopRequested
from engine.worker.rows import parts_of, read_rows
from engine.worker.sample_prompts import sample_answers
from engine.worker.saving import Cards, save_model
from engine.worker.splitting import is_split, whole_weights
from engine.worker.templates import choose_template

# Rows whose tokens are counted before the plan is made; with fewer rows the count is exact.
_COUNTED = 2000


def main(args: dict[str, Any], channel: Channel | None) -> int:
    """Train the run in `args["run"]`; 0 when it is done or was stopped on request, 1 when it failed."""
    run, place = RunDirectory(Path(args["run"])), Ranks.of_torchrun()
    act_for_owner_of(run.path)
    if place and not place.first:
        help_out(run, place)
        return 0
    lock = take(run, args.get("launched"))
    if lock is None:
        return 1
    settle(run, args.get("environment", {}))
    held = {name: os.environ[name] for name in keys.ALL if name in os.environ}
    reporter = Reporter(run, place or ALONE)
    last_words = LastWords(run.path)
    crew: Crew | None = None
    try:
        last_words.keep_room()
        work = _Work(run, reporter)
        if work.params.processes > 1 and work.spec.in_parallel and not place:
            crew = Crew(work.params.processes, reporter, lock, help_out)
        work.do()
        code = 0
    except StopRequested as request:
        state, told = State.INTERRUPTED if request.cause == "shutdown" else State.STOPPED, {"hint": request.hint}
        reporter.set(state=state, reason=request.message, cause=request.cause, ended=time.time(), phase="", **told)
        code = 0
    except BaseException as error:  # the one broad catch: whatever ended the work must be told
        tell_failure(run, reporter, last_words, crew.blamed(error) if crew else error)
        code = 1
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        last_words.end()
        if crew:
            crew.end()
        lock.release()
    os.environ.update(held)  # the next run in the queue may need what this one had no use for
    if not run.shut_down and not line.attended(run.path.parent):  # an open app starts the next one faster
        queue.dispatch(run.path.parent)
    return code


def help_out(run: RunDirectory, place: Ranks) -> None:
    """Train along as one of the further processes of a run, which write nothing."""
    seen = Onlooker(run.path)
    _Work(seen, Reporter(seen, place)).help()


class _Work:
    """The steps of one run, in order."""

    def __init__(self, run: RunDirectory, reporter: Reporter) -> None:
        self.run, self.reporter = run, reporter
        self.params = parse(run.params())
        self.spec = spec_for(self.params.trainer)
        if reporter.ranks.size > 1:  # torchrun, or whoever started us, says how many
            self.params = self.params.model_copy(update={"processes": reporter.ranks.size})

    def help(self) -> None:
        """Train along with the first process, which has prepared everything."""
        ranks = self.reporter.ranks
        ranks.join(device(self.params.device).kind)
        chosen: Plan = ranks.handed_on(None)
        tokenizer = load_tokenizer(resolve(self.params.model))
        if self.spec.rows != "text":
            choose_template(tokenizer, self.params.chat_template)
        torch.manual_seed(chosen.params.seed)
        self._train(chosen, tokenizer, facts(self.params.model))

    def do(self) -> None:
        """Prepare, train, save, and judge whether that may be called done."""
        found, ranks = device(self.params.device), self.reporter.ranks
        pid = os.getpid()
        self.reporter.set(
            started=time.time(),
            pid=pid,
            pid_started=process.began(pid),
            boot=process.boot_id(),
            device=found.name,
            memory_kills=out_of_memory_kills(),
        )
        _check_usable(found, split=self.params.fsdp)
        if self.params.push_to_hub and not logged_in():  # said while there is time to log in
            self.reporter.warn("Nobody is logged in, so the model cannot be uploaded when it is done.", HOW_TO_LOG_IN)
        self._prepare_data()
        fetch_models(self.params, self.reporter)
        known = facts(self.params.model)
        remember_base(self.run, self.reporter, resolve(self.params.model))
        leave_hub(self.params)
        self.reporter.heed_stop()
        self.reporter.phase(State.PREPARING, "Counting tokens")
        tokenizer = load_tokenizer(resolve(self.params.model))
        note = choose_template(tokenizer, self.params.chat_template) if self.spec.rows != "text" else ""
        if note:
            self.reporter.warn(note)
        # said by name: what PyTorch would take by itself need not be what was looked at and planned for
        said = found.kind if self.params.device == "auto" else self.params.device
        params = self.params.model_copy(update={"device": said})
        # torchrun may have started us on several machines
        here = replace(found, count=ranks.size) if ranks.size > 1 and ranks.meeting is None else found
        chosen = planned(self.run, self.reporter, params, self._count(tokenizer), known, here)
        of_model = {"model_parameters": known.parameters, "model_context": known.context}
        write_json(self.run.plan_file, {**chosen.to_dict(), **of_model})
        if why := chosen.reasons.get("merge_adapter"):
            self.reporter.warn(why)
        if chosen.params.early_stopping_patience and not chosen.valid_rows:
            hint = "Hold out a part of the rows (--valid-fraction 0.1)."
            self.reporter.warn("Nothing is held out to measure with, so this run cannot stop early.", hint)
        ranks.join(found.kind)
        ranks.handed_on(chosen)
        torch.manual_seed(chosen.params.seed)
        self._train(chosen, tokenizer, known)

    def _prepare_data(self) -> None:
        if self.run.data_file.is_file():
            return  # a resumed run trains on the rows that it began with
        fetch_data(self.params, self.reporter)
        self.reporter.phase(State.PREPARING, "Reading the data")
        prepared = prepare_for(self.params, self.run.data_dir)
        for warning in prepared.warnings:
            self.reporter.warn(warning)
        write_json(self.run.data_file, prepared.to_dict())

    def _count(self, tokenizer: Any) -> DataFacts:
        """Token lengths of the training rows, exact when there are at most `_COUNTED`."""
        data, make = self.run.data(), parts_of(self.spec, self.params, tokenizer)
        lengths, trained, read = [], [], 0
        for row in read_rows(self.run.data_dir / "train.jsonl", _COUNTED):
            try:
                parts = make(row)
            except DataError:
                continue  # left out and reported when the rows are tokenised for training
            lengths += [len(part.tokens.input_ids) for part in parts if part.trained]
            trained += [part.tokens.trained for part in parts if part.trained]
            read += sum(len(part.tokens.input_ids) for part in parts if not part.trained)
        if not lengths:
            lengths, trained = [1], [0]
        # as the page counts them: rows that are yet to be split, and held-out rows only where they are a file of their own
        return DataFacts(
            rows=data["train_rows"] + (0 if data["own_valid"] else data["valid_rows"]),
            valid_rows=data["valid_rows"] if data["own_valid"] else None,
            exact=data["train_rows"] <= _COUNTED,
            liked=data.get("liked"),
            **figures(lengths, trained, read),
        )

    def _train(self, chosen: Plan, tokenizer: Any, known: ModelFacts) -> None:
        self.reporter.heed_stop()
        self.reporter.phase(State.PREPARING, "Loading the model")
        kit = Kit(self.run, self.spec, chosen, tokenizer, self.reporter)
        best = BestWeights(self.run.path / "best.safetensors")
        answers = sample_answers(self.run, self.spec, self.params, tokenizer, self.reporter)
        kit.callback = callback = RunCallback(chosen.params, self.reporter, answers, best)
        job: Any = self.spec.build(chosen.params, kit)
        before = fingerprint(job.model)
        with contextlib.suppress(TrainedAlready):
            job.train(resume_from_checkpoint=self._checkpoint())
        if callback.stopped and self.run.shut_down:  # there is time for the checkpoint, and perhaps for nothing else
            at = f"at step {job.state.global_step} of {job.state.max_steps}, which is saved"
            raise StopRequested(f"{SHUT_DOWN} {at}.", hint="Resume goes on from there.", cause="shutdown")
        self._measure_last(job, callback)
        after, weights = fingerprint(job.model), whole_weights(job.model) if is_split(job.model) else None
        self.reporter.ranks.leave()
        if not self.reporter.ranks.first:
            return
        self._check_learned(job, callback, changed=not torch.equal(before, after))
        model = job.model if weights is None else put_together(job.model, weights, resolve(self.params.model), chosen.params)
        saved_step = job.state.global_step
        if chosen.params.keep_best and (kept := best.step) is not None and kept != saved_step:
            best.restore(model)
            saved_step = kept
        self.reporter.phase(State.SAVING, "Saving the model")
        card = partial(model_card, self.run, self.spec, self.params, chosen, self.reporter.status, known, saved_step)
        cards, stacked = Cards(card(adapter=False), card(adapter=True)), bool(known.base_of_adapter)
        save_model(self.run, model, tokenizer, chosen.params, known.dtype, cards, stacked=stacked)
        self.run.log_event("saved", step=self.reporter.status.step, path="model")
        address = self._uploaded(chosen.params) if chosen.params.push_to_hub and not callback.stopped else ""
        self._end(callback, job, saved_step, address)
        if self.reporter.status.state is State.DONE:
            best.forget()  # a run that was stopped may go on, and then end worse than it was

    def _uploaded(self, params: LLMTrainingParams) -> str:
        """Put the model on the Hub; returns its address, "" for one that cannot be put there and is finished all the same."""
        self.reporter.phase(State.SAVING, "Uploading to the Hugging Face Hub")
        try:
            address = upload(self.run, params.hub_model_id, private=params.hub_private)
        except StudioError as error:
            again = f"The model is finished and lies here; `aitraining push {self.run.name}` tries again."
            self.reporter.warn(f"The upload failed. {error}", again)
            return ""
        self.run.log_event("uploaded", address=address)
        print(f"Uploaded to {address}", flush=True)
        return address

    def _checkpoint(self) -> str | None:
        """The last whole checkpoint, for a run that goes on; damaged ones after it are told and removed."""
        shutil.rmtree(self.run.checkpoints_dir / ".part", ignore_errors=True)  # of a save that was cut off
        for folder in (self.run.model_dir, self.run.path / "adapter"):
            put_back(folder)
        found = checkpoints.look(self.run)
        for one in found.damaged:
            instead = f"step {checkpoints.step_of(found.newest)}" if found.newest else "the beginning"
            self.reporter.warn(f"{one} The run goes on from {instead}.")
            shutil.rmtree(self.run.checkpoints_dir / f"checkpoint-{one.step}", ignore_errors=True)
        return str(found.newest) if found.newest else None

    def _measure_last(self, job: Any, callback: RunCallback) -> None:
        if callback.stopped:
            return  # whoever asked to stop waits
        if job.args.eval_strategy != "no" and callback.last_measured != job.state.global_step:
            self.reporter.phase(State.EVALUATING, "Measuring on held-out rows")
            job.evaluate()

    def _check_learned(self, job: Any, callback: RunCallback, *, changed: bool) -> None:
        """The rules for done that only the end can show.

        Raises:
            TrainingError: nothing was trained.
        """
        if job.state.global_step == 0 or not (callback.logged_points or callback.stopped or callback.resumed_at):
            raise TrainingError("Not one step was trained.", hint="Give more rows or more passes.", cause="nothing")
        # a run that was stopped in its warm-up has moved nothing yet, and was not asked to
        if not (changed or callback.resumed_at or callback.stopped):
            raise TrainingError(
                "Training ran, but not one weight changed.",
                hint="The learning rate is too small for this number format: try ten times as much.",
                cause="unchanged",
            )

    def _end(self, callback: RunCallback, job: Any, saved_step: int, address: str) -> None:
        steps = job.state.global_step
        if callback.stopped and steps < job.state.max_steps:
            reason = f"Stopped on request at step {steps} of {job.state.max_steps}. {_saved(saved_step)}"
            self.reporter.set(state=State.STOPPED, reason=reason, cause="stopped", ended=time.time(), phase="", step=steps)
            return
        reason = ""
        if callback.stopped_early and steps < job.state.max_steps:
            best = self.reporter.status.best_step
            reason = f"Stopped early at step {steps}: the {self.spec.best_words} at step {best}. {_saved(saved_step)}"
        if self.reporter.status.best_step == 0:
            was = f"The {self.spec.best_words} before the training ({self.reporter.status.best_value:.4g})"
            hint = "Try a smaller step size (--lr), more rows, or rows that are nearer to what it is to do."
            self.reporter.warn(f"{was}: by that measure the model has not got better. {_saved(saved_step)}", hint)
        if address:
            reason = f"{reason} The model is at {address}.".strip()
        self.reporter.set(state=State.DONE, reason=reason, ended=time.time(), phase="", step=steps, resumable=False)


def _check_usable(found: Device, *, split: bool = False) -> None:
    """
    Raises:
        DeviceError: there is a GPU, and PyTorch cannot compute on it, or would put a split model there all the same.
    """
    if split and found.kind == "cpu" and torch.accelerator.is_available():
        raise DeviceError(
            "A model that is split (FSDP) goes to the GPUs of a machine that has some, and this run is for the processor.",
            hint="Train on the GPUs (--device auto), or turn FSDP off.",
        )
    if found.kind != "cpu" and not torch.accelerator.is_available():
        raise DeviceError(
            f"{found.name} is there, but PyTorch cannot use it: most likely its driver is older than this PyTorch needs "
            f"(CUDA {torch.version.cuda}).",
            hint="Update the driver, or train on the processor (--device cpu).",
        )


def _saved(step: int) -> str:
    return f"The model as it was at step {step} is saved."

"""A request to stop, whenever it comes: before the first step there is nothing to save, later what there is is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from engine.runs import queue
from engine.runs.directory import RunDirectory
from engine.runs.live import live
from engine.runs.status import State
from engine.worker.callbacks import RunCallback
from engine.worker.causal import CausalTrainer
from engine.worker.reporter import Reporter
from tests.train.test_loss import ROWS, trainer
from tests.train.toys import all_events, jsonl, qa, series


def stop_when(monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    """Somebody asks every run to stop as soon as it says that it is at this."""
    begin = Reporter.phase

    def watched(self: Reporter, state: State, words: str, **detail: Any) -> None:
        begin(self, state, words, **detail)
        if words == phase:
            self.run.request_stop()

    monkeypatch.setattr(Reporter, "phase", watched)


def phases(run: RunDirectory) -> list[str]:
    return [event["phase"] for event in all_events(run, "phase")]


# ---- before the first step -------------------------------------------------------------------------------------------

WHEN = ["before it began", "Reading the data", "Counting tokens", "Loading the model", "Tokenising"]


@pytest.mark.slow
@pytest.mark.parametrize("when", WHEN)
def test_a_stop_before_the_first_step_ends_the_run_there(
    new_run: Callable[..., RunDirectory],
    work: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    run = new_run(jsonl(tmp_path / "qa.jsonl", qa(30)), max_steps=2)
    if when == WHEN[0]:
        run.request_stop()
    stop_when(monkeypatch, when)
    assert work(run) == 0  # that is no failure
    status = run.status()
    assert (status.state, status.cause, status.hint) == (State.STOPPED, "stopped", "")
    assert status.reason == "Stopped on request before the first step."
    assert (status.step, status.phase, status.resumable) == (0, "", False)
    assert status.ended is not None
    assert not run.alive
    assert not run.model_dir.exists() and not run.checkpoints_dir.exists()
    assert "Training" not in phases(run) and "Saving the model" not in phases(run)
    # it ends where it was asked to, or at the beginning of what comes next
    assert phases(run)[-1] in (WHEN[WHEN.index(when) :])[:2]


def test_tokenising_many_rows_heeds_a_stop_among_them(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a large file may take minutes."""
    from engine.worker import kit

    run, made, tokens = new_run(jsonl(tmp_path / "qa.jsonl", qa(900)), valid_fraction=0.0, max_steps=2), [], kit.chat_tokens

    def watched(row: dict[str, Any], tokenizer: Any, **options: Any) -> Any:
        made.append(row)
        if len(made) == 250:
            run.request_stop()
        return tokens(row, tokenizer, **options)

    monkeypatch.setattr(kit, "chat_tokens", watched)
    assert work(run) == 0
    assert run.status().reason == "Stopped on request before the first step."
    assert 250 <= len(made) < 500


# ---- while it measures -----------------------------------------------------------------------------------------------


class Interrupted(list[dict[str, Any]]):
    """Held-out rows of which the second one is the last that anybody waits for."""

    def __init__(self, rows: list[dict[str, Any]], run: RunDirectory) -> None:
        super().__init__(rows)
        self.run, self.read = run, 0

    def __getitem__(self, index: Any) -> Any:
        self.read += 1
        if self.read == 2:
            self.run.request_stop()
        return super().__getitem__(index)


def test_a_measurement_is_cut_short_and_half_of_one_is_none(
    new_run: Callable[..., RunDirectory], tiny_model: Path, tmp_path: Path
) -> None:
    run = new_run("x.csv")
    run.lock_file.touch()
    run.update_status(state=State.TRAINING, phase="Training")
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    made = trainer(model, tmp_path, per_device_eval_batch_size=1)
    made.reporter = Reporter(run)
    whole = made.evaluate(ROWS)
    assert whole["eval_loss"] > 0
    rows = Interrupted(ROWS * 5, run)
    assert not {key for key in made.evaluate(rows) if key.startswith("eval_")}
    assert rows.read < len(rows) / 2
    assert sum("eval_loss" in entry for entry in made.state.log_history) == 1  # that of the whole one
    status = run.written_status()
    assert (status.state, status.phase) == (State.TRAINING, "Training")
    made.reporter = None  # without a run there is nobody to ask
    assert made.evaluate(ROWS * 5)["eval_loss"] == pytest.approx(whole["eval_loss"])


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 4])
def test_a_stop_while_it_measures_saves_the_model_and_logs_no_half_measurement(
    new_run: Callable[..., RunDirectory],
    work: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
) -> None:
    data, held_out = jsonl(tmp_path / "train.jsonl", qa(40)), jsonl(tmp_path / "valid.jsonl", qa(30))
    often: dict[str, Any] = {"batch_size": 2, "eval_steps": 4, "save_steps": 4, "sample_tokens": 4}
    run = new_run(data, valid_path=held_out, max_steps=20, warmup_ratio=0.0, **often)
    measured, score = [], CausalTrainer.scored

    def watched(self: CausalTrainer, model: Any, inputs: Any) -> Any:
        if not model.training:
            measured.append(self.state.global_step)
            if measured.count(at) == 3:
                run.request_stop()
        return score(self, model, inputs)

    monkeypatch.setattr(CausalTrainer, "scored", watched)
    assert work(run) == 0
    status = run.status()
    end = at + 1  # one step is finished in any case
    assert (status.state, status.step, status.resumable) == (State.STOPPED, end, True)
    assert f"Stopped on request at step {end} of 20. The model as it was at step" in status.reason
    assert measured.count(at) == 3  # of 15 batches
    assert set(measured) <= {0, at}  # and it was not begun again
    assert set(series(run, "eval_loss")) == ({0} if at else set())
    assert {event["step"] for event in all_events(run, "best")} == ({0} if at else set())
    assert {event["step"] for event in all_events(run, "sample")} == ({0} if at else set())
    AutoModelForCausalLM.from_pretrained(run.model_dir)


@pytest.mark.slow
def test_a_stop_in_the_warm_up_is_a_stop_and_no_failure(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step of a warm-up has size zero, so nothing has changed yet."""
    run = new_run(jsonl(tmp_path / "qa.jsonl", qa(30)), warmup_ratio=0.5, epochs=10)
    stop_when(monkeypatch, "Training")
    assert work(run) == 0
    status = run.status()
    assert status.state is State.STOPPED
    assert status.reason.startswith("Stopped on request at step 1 of")


@pytest.mark.slow
def test_the_steps_since_the_last_point_are_told_before_it_ends(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(jsonl(tmp_path / "qa.jsonl", qa(8)), batch_size=2, logging_steps=4, max_steps=12, epochs=20, valid_fraction=0)
    ended = RunCallback.on_step_end

    def watched(self: RunCallback, args: Any, state: Any, control: Any, **given: Any) -> Any:
        if state.global_step == 7:
            run.request_stop()
        return ended(self, args, state, control, **given)

    monkeypatch.setattr(RunCallback, "on_step_end", watched)
    assert work(run) == 0
    assert list(series(run, "loss")) == [1, 4, 7]
    monkeypatch.undo()
    queue.resume(run)
    assert work(run) == 0
    assert list(series(run, "loss")) == [1, 4, 7, 8, 12]
    tokens = list(series(run, "tokens").values())
    assert tokens == sorted(tokens) and tokens[-1] == 3 * tokens[1], "three times all rows"


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it had never begun before: each step once, and no best measurement but its own."""
    data = jsonl(tmp_path / "qa.jsonl", qa(20))
    whole, run = (new_run(data, name=name, max_steps=3, eval_steps=2, batch_size=2) for name in ("whole", "run"))
    assert work(whole) == 0
    with monkeypatch.context() as patched:
        patched.setattr(RunCallback, "on_step_end", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        assert work(run) == 1
    assert series(run, "eval_loss") and not queue.has_progress(run)
    run.update_status(state=State.INTERRUPTED)  # one that is killed has no time to say that it failed
    queue.resume(run)
    assert work(run) == 0, run.status()
    assert [event["step"] for event in all_events(run, "resumed")] == [0]
    assert run.status().state is State.DONE and run.status().best_step == whole.status().best_step
    ours, theirs = (live(one, 0, 0)["curves"] for one in (run, whole))
    for key in ("loss", "eval_loss"):
        assert ours[key] == theirs[key]


@pytest.mark.slow
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("eval_steps", [2, 3], ids=["measured", "not measured"])
def test_a_run_that_was_killed_after_its_last_step_makes_no_further_one(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path, peft: bool, eval_steps: int
) -> None:
    """Its last checkpoint has all steps; only the model was not saved yet, or not all of it."""
    run = new_run(
        jsonl(tmp_path / "qa.jsonl", qa(40)), max_steps=4, save_steps=2, eval_steps=eval_steps, batch_size=2, peft=peft
    )
    assert work(run) == 0
    whole, curves = (run.model_dir / "model.safetensors").read_bytes(), live(run, 0, 0)["curves"]
    run.model_dir.rename(run.path / ".model.part")
    run.update_status(state=State.SAVING, ended=None)
    assert run.status().state is State.INTERRUPTED
    queue.resume(run)
    assert work(run) == 0, run.status()
    assert (run.status().state, run.status().step) == (State.DONE, 4)
    seen = live(run, 0, 0)["curves"]
    assert seen["loss"] == curves["loss"] and seen["eval_loss"] == curves["eval_loss"]
    assert (run.model_dir / "model.safetensors").read_bytes() == whole

"""Every registered trainer, stopped and killed in the middle, ends as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.device import device
from engine.registry import specs
from engine.runs import queue
from engine.runs.directory import RunDirectory, write_json
from engine.runs.live import live
from engine.runs.status import State
from engine.spec import TrainerSpec
from engine.worker import train
from tests.conftest import DEVICE
from tests.train.toys import all_events, series

pytestmark = pytest.mark.slow

STOPPED_AT, KILLED_AT, KEPT_AT, END = 3, 5, 4, 7
# What is of the machine and the hour.
MEASURED = {"tokens_per_second", "memory_bytes"}
# To the last bit on a CPU; a GPU adds up in another order each time.
NEAR = {"rtol": 0.0, "atol": 0.0} if DEVICE == "cpu" else {"rtol": 1e-3, "atol": 1e-5}


class Killed(BaseException):
    """Ends a run where it stands."""


@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("spec", specs().values(), ids=lambda s: s.id)
def test_a_stop_and_a_kill_change_nothing(
    spec: TrainerSpec, peft: bool, trainings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trainings.whole(spec, peft)
    run = trainings.half(spec, peft, f"parts-{spec.id}-{'lora' if peft else 'full'}")

    stop_at(monkeypatch, run, STOPPED_AT)
    assert trainings.work(run) == 0
    status = run.status()
    assert (status.state, status.step, status.resumable) == (State.STOPPED, STOPPED_AT, True)
    _has_a_model(run)

    answers = {path.name: path.read_bytes() for path in run.data_dir.glob("*.answers.jsonl")}
    monkeypatch.undo()
    kill_at(monkeypatch, KILLED_AT)
    queue.resume(run)
    assert trainings.work(run) == 1
    assert (run.status().step, run.status().resumable) == (KILLED_AT, True)

    monkeypatch.undo()
    queue.resume(run)
    assert trainings.work(run) == 0, run.status()
    assert (run.status().state, run.status().step) == (State.DONE, END) == (whole.status().state, whole.status().step)
    assert answers == {path.name: path.read_bytes() for path in run.data_dir.glob("*.answers.jsonl")}, "nobody was asked twice"
    _same_weights(run, whole)
    _same_curves(run, whole)


@pytest.mark.parametrize("spec", [specs()["sft"], specs()["grpo"]], ids=lambda spec: spec.id)
def test_tokens_are_counted_on_though_nothing_was_logged_before_the_checkpoint(
    spec: TrainerSpec, trainings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom = {"logging_steps": KILLED_AT, "eval_steps": 100, "save_steps": KEPT_AT}
    whole, run = (trainings.half(spec, False, f"{name}-{spec.id}", **seldom) for name in ("seldom", "seldom-killed"))
    assert trainings.work(whole) == 0
    kill_at(monkeypatch, KILLED_AT)
    assert trainings.work(run) == 1
    assert run.status().step == KILLED_AT
    monkeypatch.undo()
    queue.resume(run)
    assert trainings.work(run) == 0, run.status()
    assert series(run, "tokens") == series(whole, "tokens")
    # a speed is that of the steps since the checkpoint, of which there was one
    assert series(run, "tokens_per_second")[KILLED_AT] < 3 * max(series(whole, "tokens_per_second").values())


def test_a_run_goes_on_as_it_was_planned_however_much_memory_is_free_by_then(
    trainings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another batch would make other steps of other rows: what was seen is seen again, and the curve becomes another."""
    open_ones = {"batch_size": None, "eval_steps": None, "save_steps": None, "max_steps": None, "epochs": 4}
    whole, run = (trainings.half(specs()["sft"], False, name, **open_ones) for name in ("roomy", "short-of-memory"))
    assert trainings.work(whole) == 0
    stop_at(monkeypatch, run, STOPPED_AT)
    assert trainings.work(run) == 0
    monkeypatch.undo()
    monkeypatch.setattr(train, "device", lambda kind: replace(device(kind), memory_free=1))
    queue.resume(run)
    assert trainings.work(run) == 0, run.status()
    assert {**run.plan()["params"], "data_path": ""} == {**whole.plan()["params"], "data_path": ""}
    assert (run.plan()["reasons"], run.status().total_steps) == (whole.plan()["reasons"], whole.status().total_steps)
    _same_weights(run, whole)
    _same_curves(run, whole)


def test_what_this_machine_cannot_do_any_more_is_chosen_again(trainings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainings.half(specs()["sft"], False, "moved", attention=None)
    stop_at(monkeypatch, run, STOPPED_AT)
    assert trainings.work(run) == 0
    monkeypatch.undo()
    before = run.plan()
    before["params"]["attention"] = "flash_attention_2"  # it began where there was a GPU
    write_json(run.plan_file, before)
    queue.resume(run)
    assert trainings.work(run) == 0, run.status()
    assert run.plan()["params"]["attention"] == "documents"
    assert any("cannot go on as it was planned" in event["message"] for event in all_events(run, "warning"))


def test_a_group_training_that_has_learned_may_find_nothing_more_after_a_resume(
    trainings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of a task all answers are right; only where they never differed has nothing been learned."""
    learned = tmp_path / "learned"
    code = (
        "from pathlib import Path\n"
        "def score(prompts, completions, rows):\n"
        f"    return [1.0 if Path({str(learned)!r}).exists() else float(n % 2) for n in range(len(completions))]\n"
    )
    (tmp_path / "score.py").write_text(code)
    asked = {"rl_rewards": [f"python: {tmp_path / 'score.py'}:score"], "logging_steps": 100, "valid_fraction": 0}
    run = trainings.half(specs()["grpo"], False, "learned", **asked)
    stop_at(monkeypatch, run, STOPPED_AT)
    assert trainings.work(run) == 0
    monkeypatch.undo()
    learned.touch()
    queue.resume(run)
    assert trainings.work(run) == 0, run.status()
    assert (run.status().state, run.status().step) == (State.DONE, END)


def stop_at(monkeypatch: pytest.MonkeyPatch, run: RunDirectory, step: int) -> None:
    """Somebody asks the run to stop while it does this step."""
    from engine.worker.callbacks import RunCallback

    after = RunCallback.on_step_end

    def watched(self: Any, args: Any, state: Any, control: Any, **given: Any) -> Any:
        if state.global_step == step:
            run.request_stop()
        return after(self, args, state, control, **given)

    monkeypatch.setattr(RunCallback, "on_step_end", watched)


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The run ends once this step is in its log; whatever came after its last checkpoint is lost."""
    from engine.worker.callbacks import RunCallback

    logged = RunCallback.on_log

    def watched(self: Any, args: Any, state: Any, control: Any, logs: Any = None, **given: Any) -> None:
        logged(self, args, state, control, logs=logs, **given)
        if state.global_step == step and "loss" in logs:
            raise Killed

    monkeypatch.setattr(RunCallback, "on_log", watched)


def _has_a_model(run: RunDirectory) -> None:
    assert (run.model_dir / "model.safetensors").is_file(), "what was stopped can be used"


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def _same_weights(run: RunDirectory, whole: RunDirectory) -> None:
    import torch

    for folder in ("model", "adapter"):
        ours, theirs = _weights(run.path / folder), _weights(whole.path / folder)
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], **NEAR, msg=lambda m, name=name: f"{name}: {m}")


def _same_curves(run: RunDirectory, whole: RunDirectory) -> None:
    """What the page draws: every point of the whole run, each once; where it stopped, the run measured once more."""
    ours, theirs = (live(one, 0, 0)["curves"] for one in (run, whole))
    assert ours.keys() == theirs.keys()
    for name in sorted(ours.keys() - MEASURED):
        steps, values = ours[name]
        assert len(set(steps)) == len(steps) and steps == sorted(steps), f"{name} has points twice: {steps}"
        assert set(steps) - set(theirs[name][0]) <= {STOPPED_AT}, name
        made = dict(zip(steps, values, strict=True))
        for step, value in zip(*theirs[name], strict=True):
            if step == 0 and name.endswith("accuracies") and DEVICE != "cpu":
                continue  # of pairs whose margins are nothing but rounding
            near = pytest.approx(value, rel=max(NEAR["rtol"], 1e-5), abs=max(NEAR["atol"], 1e-7))
            assert made[step] == near, f"{name} at step {step}"

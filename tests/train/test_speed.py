"""The speed that is charted is that of the training: what else a run does meanwhile takes its own time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine.registry import spec_for
from engine.worker import checkpointing
from engine.worker.answers import SampleAnswers
from engine.worker.training_clock import TrainingClock
from tests.train.toys import jsonl, qa, series

PAUSE_S = 1.0


def test_the_clock_stands_still_aside_and_counts_no_time_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = TrainingClock()
    now[0] = 3.0
    with clock.aside():
        now[0] = 5.0
        with clock.aside():
            now[0] = 9.0
        now[0] = 10.0
    now[0] = 11.0
    assert clock.seconds() == 4.0


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["sft", "grpo"])
def test_checkpoints_and_sample_answers_do_not_slow_the_training_down(
    trainer: str, new_run: Any, work: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = checkpointing.put

    def slowly_put(*args: Any) -> None:
        time.sleep(PAUSE_S)
        place(*args)

    def slowly_answered(*_: Any) -> list[tuple[str, str]]:
        time.sleep(PAUSE_S)
        return []

    monkeypatch.setattr(checkpointing, "put", slowly_put)
    monkeypatch.setattr(SampleAnswers, "answer", slowly_answered)
    given = {"valid_fraction": 0.0, "max_steps": 3, "batch_size": 4, "eval_steps": 1, "save_steps": 1}
    settings = {**spec_for(trainer).example_settings, **({"rl_max_new_tokens": 8} if trainer == "grpo" else {})}
    run = new_run(jsonl(tmp_path / "rows.jsonl", qa(12)), "timed", trainer=trainer, **given, **settings)
    assert work(run) == 0, run.status()
    speed, tokens = series(run, "tokens_per_second"), series(run, "tokens")
    assert list(tokens) == [1, 2, 3]
    seconds = [(tokens[step] - tokens[step - 1]) / speed[step] for step in (2, 3)]
    assert max(seconds) < PAUSE_S, "a checkpoint and the answers after it would be twice as much"

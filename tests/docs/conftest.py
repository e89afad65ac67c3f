"""Where documentation is run: a folder with what its blocks name, a warm process for trainings, and two steps for each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.params import LLMTrainingParams
from engine.pipelines import drive
from engine.pipelines.course import Course
from engine.pipelines.pipeline import Pipeline
from engine.registry import spec_for
from engine.runs import launcher, queue, standby
from engine.runs.directory import RunDirectory
from tests.train.toys import jsonl, qa

# As written, but for two steps: how much is learned in more of them, other tests show.
_SHORT = {
    "max_steps": 2,
    "max_samples": 12,
    "sample_tokens": 0,
    "device": "cpu",
    "rl_max_new_tokens": 16,
    "rl_num_generations": 4,
    "rl_num_ppo_epochs": 1,
    "distill_max_teacher_length": 8,
}
PAIRS = [{"prompt": f"When does gate {n} open?", "chosen": f"At {n}, my friend.", "rejected": "Go away."} for n in range(12)]


@pytest.fixture(scope="package")
def warm() -> Iterator[None]:
    """A process that has imported torch, as the app has: a training then starts at once. Elsewhere than on Linux, cold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AITRAINING_HOME", raising=False)  # its children have its environment, and ./runs is meant
        standby.ensure_standby()
    yield
    standby.close_standby()


@pytest.fixture
def world(warm: None, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that blocks are run in: `gpt2` is a model there, since tests reach no hub, and runs go to ./runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AITRAINING_HOME", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copytree(tiny_model, tmp_path / "gpt2")
    (tmp_path / "data").mkdir()
    jsonl(tmp_path / "data" / "questions.jsonl", qa(12))
    (tmp_path / "data.json").write_text(json.dumps(qa(12)), encoding="utf-8")
    (tmp_path / "preferences.json").write_text(json.dumps(PAIRS), encoding="utf-8")
    whole, whole_pipeline = queue.enqueue, drive.begin

    def shortened(params: LLMTrainingParams, **how: Any) -> RunDirectory:
        short = _short(type(params))
        if str(how.get("request_id")).startswith("sweep "):  # its runs are compared by rows that so few would not hold out
            short["valid_fraction"] = 0.25
        return whole(params.model_copy(update=short), **how)

    def shortened_pipeline(pipeline: Pipeline, tell: Any) -> Course:
        short = {stage.name: _short(spec_for(stage.trainer).params) for stage in pipeline.stages}
        return whole_pipeline(pipeline.changed(short), tell)

    monkeypatch.setattr(queue, "enqueue", shortened)
    monkeypatch.setattr(drive, "begin", shortened_pipeline)
    # whoever waits for a sweep starts its runs, from the warm process
    monkeypatch.setattr(launcher, "start_detached", lambda *_, **__: None)
    return tmp_path


def _short(cls: type[LLMTrainingParams]) -> dict[str, Any]:
    return {name: value for name, value in _SHORT.items() if name in cls.model_fields}

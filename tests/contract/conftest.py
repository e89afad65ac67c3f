"""What the contracts share: trainings of any trainer on its own example rows, in this process and each of them once."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory
from engine.spec import TrainerSpec

# Of whoever writes answers: few tokens, so that a run of every trainer takes seconds; a stop comes in the midst of a round.
_SHORT = {"rl_max_new_tokens": 8, "distill_max_teacher_length": 8, "rl_num_generations": 4, "rl_rounds": 2}
# Eight rows to train on in steps of two: the first pass ends with the fourth step, in the middle of the run.
_WHOLE = {
    "epochs": 50,
    "max_steps": 7,
    "batch_size": 2,
    "valid_fraction": 0.25,
    "eval_steps": 2,
    "save_steps": 2,
    "scheduler": "constant",
    "keep_best": False,
}


class Trainings:
    """Runs of the tiny model. A cold start of each would take most of the time, so they work inside this process."""

    def __init__(self, root: Path, model: Path) -> None:
        self.root, self.model, self.base = root, model, digests(model)
        self._done: dict[tuple[str, bool], RunDirectory] = {}

    def new(self, spec: TrainerSpec, name: str, rows: list[dict[str, Any]], **values: Any) -> RunDirectory:
        """A run that is not started yet, with settings that keep it short."""
        data = self.root / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        short = {"precision": "fp32", "device": "cpu", "sample_tokens": 4, "logging_steps": 1, "lr": 1e-3, "lora_r": 4}
        own = {key: value for key, value in _SHORT.items() if key in spec.params.model_fields}
        asked = {"model": str(self.model), **short, **own, **spec.example_settings, **values}
        params = LLMTrainingParams(trainer=spec.id, data_path=str(data), **asked)
        return RunDirectory.create(params.model_dump(mode="json"), name, self.root)

    def half(self, spec: TrainerSpec, peft: bool, name: str) -> RunDirectory:
        """A run with held-out rows and checkpoints that is not started yet."""
        # what an adapter leaves out at random must be the same again after a stop
        dropout = {"lora_dropout": 0.1} if peft else {}
        return self.new(spec, name, numbered(spec, 11), peft=peft, **dropout, **_WHOLE)

    def whole(self, spec: TrainerSpec, peft: bool) -> RunDirectory:
        """The same run, once it is done."""
        key = spec.id, peft
        if key not in self._done:
            run = self.half(spec, peft, f"whole-{spec.id}-{'lora' if peft else 'full'}")
            assert self.work(run) == 0, run.status()
            self._done[key] = run
        return self._done[key]

    def work(self, run: RunDirectory) -> int:
        """Do a run's work here and return its exit code. A worker listens for SIGTERM, which the tests want back."""
        from engine.worker.train import main

        before = signal.getsignal(signal.SIGTERM)
        try:
            return main({"run": str(run.path)}, None)
        finally:
            signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def trainings(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Trainings]:
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AITRAINING_HOME", str(root))
        yield Trainings(root, tiny_model)


def of_one_form(spec: TrainerSpec) -> list[dict[str, Any]]:
    """A trainer's examples may show several forms of row; a file has one."""
    forms: dict[frozenset[str], list[dict[str, Any]]] = {}
    for row in spec.example_rows:
        forms.setdefault(frozenset(row), []).append(row)
    return max(forms.values(), key=len)


def numbered(spec: TrainerSpec, count: int) -> list[dict[str, Any]]:
    """As many rows as wished, all different: the examples over and over with a number in each."""
    rows = of_one_form(spec)
    return [_with_number(rows[place % len(rows)], place) for place in range(count)]


def _with_number(row: dict[str, Any], number: int) -> dict[str, Any]:
    first, value = next(iter(row.items()))
    if isinstance(value, str):
        return {**row, first: f"{number}: {value}"}
    turn = next(place for place, one in enumerate(value) if one["role"] == "user")
    turns = [{**one, "content": f"{number}: {one['content']}"} if at == turn else one for at, one in enumerate(value)]
    return {**row, first: turns}


def digests(folder: Path) -> dict[str, str]:
    """A digest of every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

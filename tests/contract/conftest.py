"""What the contracts share: trainings of any trainer on its own example rows, in this process and each of them once."""

from __future__ import annotations

import gc
import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.params import LLMTrainingParams
from engine.runs import standby
from engine.runs.directory import RunDirectory
from engine.spec import TrainerSpec
from tests.conftest import DEVICE

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


@pytest.fixture(scope="module")
def warm() -> Iterator[None]:
    """Processes that need not import anything."""
    assert standby.ensure_standby()
    yield
    standby.close_standby()


class Trainings:
    """Runs of the tiny model. A cold start of each would take most of the time, so they work inside this process."""

    def __init__(self, root: Path, model: Path) -> None:
        self.root, self.model, self.base = root, model, digests(model)
        self._done: dict[Any, RunDirectory] = {}
        self.held: dict[str, Held] = {}

    def new(self, spec: TrainerSpec, name: str, rows: list[dict[str, Any]], **values: Any) -> RunDirectory:
        """A run that is not started yet, with settings that keep it short."""
        data = self.root / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        short = {"precision": "fp32", "device": DEVICE, "sample_tokens": 4, "logging_steps": 1, "lr": 1e-3, "lora_r": 4}
        own = {key: value for key, value in _SHORT.items() if key in spec.params.model_fields}
        asked = {"model": str(self.model), **short, **own, **spec.example_settings, **values}
        params = LLMTrainingParams(trainer=spec.id, data_path=str(data), **asked)
        return RunDirectory.create(params.model_dump(mode="json"), name, self.root)

    def half(self, spec: TrainerSpec, peft: bool, name: str, **values: Any) -> RunDirectory:
        """A run with held-out rows and checkpoints that is not started yet."""
        # what an adapter leaves out at random must be the same again after a stop
        dropout = {"lora_dropout": 0.1} if peft else {}
        return self.new(spec, name, numbered(spec, 11), peft=peft, **{**dropout, **_WHOLE, **values})

    def whole(self, spec: TrainerSpec, peft: bool, **values: Any) -> RunDirectory:
        """The same run, once it is done; `held` knows by its name what it held in memory."""
        name = "-".join(["whole", spec.id, "lora" if peft else "full", *values])
        if name not in self._done:
            run = self.half(spec, peft, name, **values)
            with pytest.MonkeyPatch.context() as patch:
                self.held[name] = Held(patch, self.model, all_tensors=peft)
                assert self.work(run) == 0, run.status()
            self._done[name] = run
        return self._done[name]

    def work(self, run: RunDirectory) -> int:
        """Do a run's work here and return its exit code. A worker listens for SIGTERM, which the tests want back."""
        from engine.worker.train import main

        before = signal.getsignal(signal.SIGTERM)
        try:
            return main({"run": str(run.path)}, None)
        finally:
            signal.signal(signal.SIGTERM, before)


class Held:
    """What a run has in memory: how often the base's embedding, and every model that is only asked, with its weights."""

    def __init__(self, patch: pytest.MonkeyPatch, base: Path, *, all_tensors: bool) -> None:
        """`all_tensors` counts plain tensors too; in full training gradients and moments have the embedding's shape."""
        from transformers import AutoModelForCausalLM

        from engine.worker import kit, models, teachers
        from engine.worker.callbacks import RunCallback

        self.shape = AutoModelForCausalLM.from_pretrained(base).get_input_embeddings().weight.shape
        self.all_tensors, self.copies = all_tensors, 0
        self.asked: list[tuple[Any, dict[str, Any]]] = []
        before = self._alive()  # held on to, so that nothing new takes their place
        load, stepped = kit.load_frozen, RunCallback.on_step_end

        def watched_load(*given: Any, **named: Any) -> Any:
            model = load(*given, **named)
            self.asked.append((model, {name: tensor.clone() for name, tensor in model.state_dict().items()}))
            return model

        def watched_step(callback: Any, args: Any, state: Any, control: Any, **given: Any) -> Any:
            if state.global_step == 2:
                old = {tensor.untyped_storage().data_ptr() for tensor in before}
                clones = {kept.untyped_storage().data_ptr() for _, weights in self.asked for kept in weights.values()}
                self.copies = len({tensor.untyped_storage().data_ptr() for tensor in self._alive()} - old - clones)
            return stepped(callback, args, state, control, **given)

        patch.setattr(kit, "load_frozen", watched_load)
        patch.setattr(models, "load_frozen", watched_load)
        patch.setattr(teachers, "load_frozen", watched_load)
        patch.setattr(RunCallback, "on_step_end", watched_step)

    def _alive(self) -> list[Any]:
        import torch

        gc.collect()
        kinds = (torch.Tensor, torch.nn.Parameter) if self.all_tensors else (torch.nn.Parameter,)
        return [one for one in gc.get_objects() if type(one) in kinds and one.shape == self.shape]


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

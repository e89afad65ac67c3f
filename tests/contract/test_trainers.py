"""Every registered trainer trains on its own example rows, in full and as an adapter, and leaves a model that loads."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.params import LLMTrainingParams
from engine.registry import specs
from engine.runs import events
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.spec import TrainerSpec

pytestmark = pytest.mark.slow


@pytest.fixture
def signals() -> Iterator[None]:
    """A worker listens for SIGTERM; here it works inside the process of the tests, which wants its own back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("spec", specs().values(), ids=lambda s: s.id)
def test_a_trainer_trains_on_its_example_rows(
    spec: TrainerSpec, peft: bool, tiny_model: Path, runs_root: Path, tmp_path: Path, signals: None
) -> None:
    # In this process: there are many trainers, and a cold start of each would take most of the time.
    from transformers import AutoConfig

    from engine.models import facts, resolve
    from engine.worker.models import load_tokenizer
    from engine.worker.train import main

    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in _of_one_form(spec)), encoding="utf-8")
    asked = {"max_steps": 2, "peft": peft, "lora_r": 4, "sample_tokens": 4, "lr": 1e-3, **spec.example_settings}
    params = LLMTrainingParams(trainer=spec.id, model=str(tiny_model), data_path=str(data), **asked)
    run = RunDirectory.create(params.model_dump(mode="json"), "run", runs_root)

    code = main({"run": str(run.path)}, None)

    status = run.status()
    assert (status.state, status.reason, code) == (State.DONE, "", 0)
    assert status.step == status.total_steps == 2
    assert run.data()["dropped"] == 0, "a trainer's own examples are rows that it can use"
    _numbers_are_finite_and_charted(run, spec)
    _loads(run.model_dir)
    assert (run.path / "adapter" / "adapter_config.json").is_file() is peft
    assert AutoConfig.from_pretrained(run.model_dir).model_type == "llama"
    assert load_tokenizer(resolve("run")).eos_token and facts("run").parameters > 10_000
    assert not [path for path in run.path.iterdir() if path.name.endswith(".part")]


def _of_one_form(spec: TrainerSpec) -> list[dict[str, Any]]:
    """The examples may show several forms of row; a file has one."""
    forms: dict[frozenset[str], list[dict[str, Any]]] = {}
    for row in spec.example_rows:
        forms.setdefault(frozenset(row), []).append(row)
    return max(forms.values(), key=len)


def _numbers_are_finite_and_charted(run: RunDirectory, spec: TrainerSpec) -> None:
    found, _ = events.read(run.events_file)
    points = [event["values"] for event in found if event["type"] == "metric"]
    for name, value in ((name, value) for values in points for name, value in values.items()):
        assert value is not None and math.isfinite(value), name
    seen = {name for values in points for name in values}
    for chart in spec.charts:
        shown = {key for key, _ in chart.series}
        assert shown & seen, f"the chart {chart.title!r} stays empty"


def _loads(folder: Path) -> None:
    """The saved class with every weight it has: a scorer loads as a scorer, a language model as one."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    model, report = getattr(transformers, config.architectures[0]).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    with torch.no_grad():
        made = model(input_ids=torch.arange(4, 12)[None]).logits
    assert bool(torch.isfinite(made).all())

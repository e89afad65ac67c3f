"""Every registered trainer trains on its own example rows, in full and as an adapter, measures, and copes with few rows."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from engine.registry import specs
from engine.runs import events
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.spec import TrainerSpec
from tests.contract.conftest import numbered, of_one_form
from tests.train.toys import series

pytestmark = pytest.mark.slow

EVERY = pytest.mark.parametrize("spec", specs().values(), ids=lambda s: s.id)
BOTH = pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
# What TRL and transformers themselves say belongs to their own log, not on the page.
FOREIGN = re.compile(r"\b(Traceback|torch\.|KeyError|IndexError|ValueError|None)\b")


@BOTH
@EVERY
def test_a_trainer_trains_on_its_example_rows(spec: TrainerSpec, peft: bool, trainings: Any) -> None:
    from engine.models import facts, resolve
    from engine.worker.models import load_tokenizer

    name = f"examples-{spec.id}-{peft}"
    run = trainings.new(spec, name, of_one_form(spec), max_steps=2, peft=peft)

    code = trainings.work(run)

    status = run.status()
    assert (status.state, status.reason, code) == (State.DONE, "", 0)
    assert status.step == status.total_steps == 2
    assert run.data()["dropped"] == 0, "a trainer's own examples are rows that it can use"
    _numbers_are_finite_and_charted(run, spec)
    assert load_tokenizer(resolve(name)).eos_token and facts(name).parameters > 10_000
    assert not [path for path in run.path.iterdir() if path.name.endswith(".part")]


@BOTH
@EVERY
def test_held_out_rows_are_measured(spec: TrainerSpec, peft: bool, trainings: Any) -> None:
    """At the start, every so many steps and at the end, in every number that the charts promise."""
    run = trainings.whole(spec, peft)
    assert run.data()["valid_rows"] == 3
    assert list(series(run, spec.judged_by)) == [0, 2, 4, 6, 7]
    promised = {key for chart in spec.charts for key, _ in chart.series}
    for key in promised:
        steps = list(series(run, key))
        assert steps, f"{key} stays empty"
        if key.startswith("eval_"):
            assert steps == [0, 2, 4, 6, 7], key
    status = run.status()
    judged = series(run, spec.judged_by)
    best = max if spec.higher_is_better else min
    assert status.best_value == pytest.approx(best(judged.values())) == judged[status.best_step]


@BOTH
@EVERY
def test_three_rows_are_enough(spec: TrainerSpec, peft: bool, trainings: Any) -> None:
    run = trainings.new(spec, f"three-{spec.id}-{peft}", numbered(spec, 3), peft=peft, epochs=1, sample_tokens=0)
    assert trainings.work(run) == 0, run.status()
    status = run.status()
    assert (status.state, status.reason) == (State.DONE, "")
    assert status.step == status.total_steps >= 1
    assert (run.data()["train_rows"], run.data()["valid_rows"]) == (3, 0)
    _numbers_are_finite_and_charted(run, spec)
    assert (run.model_dir / "model.safetensors").is_file()


@EVERY
def test_one_row_is_trained_or_refused_in_words(spec: TrainerSpec, trainings: Any) -> None:
    run = trainings.new(spec, f"one-{spec.id}", numbered(spec, 1), epochs=2, sample_tokens=0)
    code, status = trainings.work(run), run.status()
    if code == 0:
        assert (status.state, status.reason) == (State.DONE, "")
        _numbers_are_finite_and_charted(run, spec)
    else:
        assert status.state is State.FAILED and status.cause in ("data", "same rewards")
        for words in (status.reason, status.hint):
            assert words.endswith(".") and not FOREIGN.search(words), words
        assert not run.model_dir.exists()


def _numbers_are_finite_and_charted(run: RunDirectory, spec: TrainerSpec) -> None:
    found, _ = events.read(run.events_file)
    points = [event["values"] for event in found if event["type"] == "metric"]
    for name, value in ((name, value) for values in points for name, value in values.items()):
        assert value is not None and math.isfinite(value), name
    seen = {name for values in points for name in values}
    for chart in spec.charts:
        shown = {key for key, _ in chart.series}
        assert shown & seen, f"the chart {chart.title!r} stays empty"

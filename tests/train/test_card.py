"""The model card: what is in its front matter, and how a curve becomes a line of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.models import ModelFacts
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, plan
from engine.registry import spec_for
from engine.runs.directory import RunDirectory
from engine.runs.status import State, Status
from engine.worker.card import model_card
from tests.engine.test_plan import CPU, SMALL

HUB = replace(SMALL, reference="org/name", kind="hub", licence="mit")


@pytest.fixture
def card(new_run: Callable[..., RunDirectory]) -> Callable[..., str]:
    """The card of a run with these curves, by step."""

    def make(
        curves: dict[str, dict[int, float]], *, base: ModelFacts = SMALL, adapter: bool = False, best: Any = None, **values: Any
    ) -> str:
        run = new_run("rows.csv", **values)
        for key, points in curves.items():
            for step, value in points.items():
                run.log_event("metric", step=step, values={key: value})
        params = LLMTrainingParams(trainer="sft", data_path="rows.csv", **values)
        status = Status(State.TRAINING, created=0.0, step=9, **({"best_step": best[0], "best_value": best[1]} if best else {}))
        chosen = plan(params, DataFacts(40), base, CPU)
        return model_card(run, spec_for("sft"), params, chosen, status, base, 4, adapter=adapter)

    return make


def row(card: str, key: str) -> str:
    (found,) = (line for line in card.splitlines() if f"`{key}`" in line)
    return found


def test_a_curve_is_its_first_point_its_last_and_its_course(card: Callable[..., str]) -> None:
    made = card({"loss": {1: 4.0, 2: 3.0, 3: 2.0}, "eval_loss": {0: 5.0, 3: 5.0}}, best=(3, 5.0))
    assert row(made, "loss") == "| Loss, training (`loss`) | 4 at step 1 | 2 at step 3 | █▅▁ |"
    assert row(made, "eval_loss") == "| Loss, held-out (`eval_loss`) | 5 at step 0 | 5 at step 3 | ▁▁ |"
    assert "The held-out loss was lowest at step 3: 5." in made
    assert "token_accuracy" not in made, "what was not measured is not shown"
    assert "weights as they were at step 4" in made


def test_a_long_curve_is_a_short_line(card: Callable[..., str]) -> None:
    made = row(card({"loss": {step: 100.0 - step for step in range(100)}}), "loss")
    bars = made.split("|")[-2].strip()
    assert len(bars) == 24 and list(bars) == sorted(bars, reverse=True) and bars[0] == "█" and bars[-1] == "▁"


def test_what_was_no_number_is_passed_over(card: Callable[..., str]) -> None:
    made = card({"loss": {1: float("nan"), 2: 3.0, 3: 2.0, 4: float("inf")}, "eval_loss": {0: float("nan")}})
    assert row(made, "loss").startswith("| Loss, training (`loss`) | 3 at step 2 | 2 at step 3 |")
    assert "no number | no number" in row(made, "eval_loss")


def test_a_run_without_a_point_says_so(card: Callable[..., str]) -> None:
    assert "No point was logged." in card({})


@pytest.mark.parametrize(
    ("base", "model", "adapter", "front"),
    [
        (SMALL, "starter", False, ["library_name: transformers"]),
        (replace(SMALL, licence="apache-2.0"), "starter", True, ["license: apache-2.0", "library_name: peft"]),
        (HUB, "org/name", False, ["base_model: org/name", "license: mit", "library_name: transformers"]),
        (replace(HUB, base_of_adapter="org/name"), "./mine", False, ["base_model: org/name", "license: mit"]),
        (SMALL, "models/mine", False, ["library_name: transformers"]),
    ],
)
def test_the_front_matter_is_what_the_hub_reads(
    card: Callable[..., str], base: ModelFacts, model: str, adapter: bool, front: list[str]
) -> None:
    made = card({}, base=base, model=model, adapter=adapter)
    lines = made.split("---")[1].strip().splitlines()
    assert lines[: len(front)] == front
    assert (f"- Licence: {base.licence}, as the base model" if base.licence else "states none") in made
    assert ("is needed beside it" in made) is adapter

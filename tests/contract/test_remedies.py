"""Whatever a recogniser proposes, its trainer takes it, and it is not what the run had."""

from __future__ import annotations

from typing import Any

import pytest

from engine.command import to_argv
from engine.diagnosis.finding import Evidence, changed
from engine.diagnosis.table import TABLE
from engine.params import LLMTrainingParams
from engine.registry import specs
from engine.spec import TrainerSpec
from tests.diagnosis.cases import bad_runs

# Runs at the ends of what settings may be, where a change could leave their range or change nothing.
ASKED: tuple[dict[str, Any], ...] = (
    {},
    {"batch_size": 1, "peft": True, "gradient_checkpointing": True},
    {"batch_size": 4096, "gradient_accumulation": 4096, "max_length": 8},
    {"lr": 0.9, "epochs": 1000.0, "keep_best": False},
    {"lr": 1e-9, "max_steps": 1, "save_total_limit": 1},
    {"chat_template": "plain", "early_stopping_patience": 2},
)


@pytest.mark.parametrize("asked", ASKED, ids=str)
@pytest.mark.parametrize("spec", specs().values(), ids=lambda spec: spec.id)
def test_a_proposed_change_is_valid_and_changes_something(spec: TrainerSpec, asked: dict[str, Any]) -> None:
    proposed = 0
    for number, first in enumerate(bad_runs(spec.id, **asked)):
        for row in TABLE:
            e: Evidence = first
            found = None
            for _ in range(80):  # retried again and again, as somebody may who has no other idea
                found = row.recognise(e)
                if found is None or not found.change:
                    break
                new = changed(e.params, found.settings)
                for one in found.change:
                    assert getattr(new, one.setting) == one.becomes != getattr(e.chosen, one.setting), (number, found)
                    assert one.was == getattr(e.chosen, one.setting) and one.label
                assert to_argv(new)[:2] == ["aitraining", "llm"]
                proposed += 1
                e = bad_runs(spec.id, **{**asked, **_settings(new)})[number]
            else:
                pytest.fail(f"{row.title}: changes never end: {found}")
    assert proposed >= 10


def _settings(params: LLMTrainingParams) -> dict[str, Any]:
    return {name: getattr(params, name) for name in params.model_fields_set if name not in ("trainer", "data_path")}

"""Every registered trainer declares itself in full, in the words of the documentation that this project keeps true."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from engine.registry import specs
from engine.samples import samples

ROOT = Path(__file__).resolve().parents[2]
TRAINERS = list(specs().values())

# The quick comparison table of the documentation, row by row.
DOCUMENTED = {
    "default": "⭐ Simplest|⭐⭐⭐ Very Stable|⭐ Basic|⭐ Low|Language modeling",
    "sft": "⭐ Simple|⭐⭐⭐ Very Stable|⭐ Basic|⭐ Low|Supervised learning",
    "distillation": "⭐⭐ Moderate|⭐⭐⭐ Very Stable|⭐⭐ Moderate|⭐⭐ Medium|Prompt compression",
    "dpo": "⭐⭐ Moderate|⭐⭐⭐ Very Stable|⭐⭐ Moderate|⭐⭐ Medium|Preference alignment",
    "orpo": "⭐⭐ Moderate|⭐⭐⭐ Very Stable|⭐⭐ Moderate|⭐ Low|Single-stage alignment",
    "ppo": "⭐⭐⭐ Complex|⭐⭐ Moderate|⭐⭐⭐ High|⭐⭐⭐ High|Complex rewards",
    "reward": "⭐⭐ Moderate|⭐⭐⭐ Very Stable|⭐⭐ Moderate|⭐ Low|Scoring function",
}


@pytest.mark.parametrize("spec", TRAINERS, ids=lambda s: s.id)
def test_a_trainer_is_declared_in_full(spec) -> None:
    assert spec.params.model_fields["trainer"].default == spec.id
    for words in (spec.title, spec.summary, spec.use_when, spec.key_features, spec.example):
        assert words.strip()
    assert len(spec.example_rows) >= 3
    assert spec.charts, "a run page without a chart"
    for chart in spec.charts:
        assert chart.series and chart.good.endswith(".")
    charted = {key for chart in spec.charts for key, _ in chart.series}
    assert spec.headline in charted


@pytest.mark.parametrize("spec", [s for s in TRAINERS if s.id in DOCUMENTED], ids=lambda s: s.id)
def test_the_comparison_row_is_the_documented_one(spec) -> None:
    c = spec.comparison
    assert "|".join((c.complexity, c.stability, c.flexibility, c.memory, c.use_case)) == DOCUMENTED[spec.id]


@pytest.mark.parametrize("spec", TRAINERS, ids=lambda s: s.id)
def test_a_trainer_is_one_file(spec) -> None:
    """No other source file spells its id, apart from the decision tree, whose leaves are ids."""
    allowed = {
        ROOT / "engine" / "advice.py",
        ROOT / "engine" / "flags.py",
        ROOT / "engine" / "trainers" / f"{spec.id}.py",
    }
    if spec.id in ("default", "reward"):  # also English words
        return
    for path in [*(ROOT / "engine").rglob("*.py"), *(ROOT / "ui").rglob("*.py")]:
        if path in allowed:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Constant) and node.value == spec.id), f"{path}:{node.lineno}"


def test_there_is_a_sample_for_every_trainer() -> None:
    assert {s.id for s in TRAINERS} <= {sample.trainer for sample in samples()}
    assert set(DOCUMENTED) <= {sample.trainer for sample in samples()}

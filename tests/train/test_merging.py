"""A merged model computes what its adapter and the base computed together, and is the base to the bit elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from engine.models import resolve
from engine.runs.directory import RunDirectory
from engine.worker import merging
from engine.worker.models import load_any
from tests.train.toys import jsonl, qa

pytestmark = pytest.mark.slow
Run, Work = Callable[..., RunDirectory], Callable[[RunDirectory], int]
IDS = torch.arange(10, 34)[None]
LORA: dict[str, Any] = {"peft": True, "lora_r": 4, "lr": 0.02, "max_steps": 4, "valid_fraction": 0.0, "warmup_ratio": 0.0}


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"Gate {i}?", "chosen": f"It opens at {i}.", "rejected": f"No {i}."} for i in range(count)]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.mark.parametrize("named", ["q_proj,lm_head", "q_proj,embed_tokens", "embed_tokens,lm_head"])
def test_an_adapter_on_one_end_of_a_tied_model_is_added_to_that_end_alone(
    new_run: Run, work: Work, tmp_path: Path, tiny_model: Path, named: str
) -> None:
    given = {**LORA, "model": str(tiny_model), "target_modules": named, "precision": "fp32"}
    run = new_run(jsonl(tmp_path / "rows.jsonl", qa(8)), "tied", **given)
    assert work(run) == 0, run.status()
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert base.lm_head.weight is base.model.embed_tokens.weight
    trained = logits(PeftModel.from_pretrained(base, run.path / "adapter"))
    assert (trained - logits(AutoModelForCausalLM.from_pretrained(tiny_model))).abs().max() > 0.1
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(run.model_dir)), trained, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits(load_any(resolve(str(run.path / "adapter")))), trained, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("trainer", ["sft", "reward"])
def test_weights_that_no_adapter_is_on_stay_what_they_were(
    new_run: Run, work: Work, tmp_path: Path, tiny_model: Path, trainer: str
) -> None:
    """Training in bfloat16 holds the base coarser than its file; that is not for the finished model."""
    rows = qa(8) if trainer == "sft" else pairs(8)
    given = {**LORA, "model": str(tiny_model), "target_modules": "q_proj", "precision": "bf16", "trainer": trainer}
    run = new_run(jsonl(tmp_path / "rows.jsonl", rows), "exact", **given)
    assert work(run) == 0, run.status()
    before, after = load_file(tiny_model / "model.safetensors"), load_file(run.model_dir / "model.safetensors")
    changed = {name for name in before.keys() & after.keys() if not torch.equal(before[name], after[name])}
    assert changed and all("q_proj" in name for name in changed)
    kind: Any = AutoModelForCausalLM if trainer == "sft" else AutoModelForSequenceClassification
    further = {} if trainer == "sft" else {"num_labels": 1}
    adapted = PeftModel.from_pretrained(kind.from_pretrained(tiny_model, **further), run.path / "adapter")
    merged = kind.from_pretrained(run.model_dir, **further)
    torch.testing.assert_close(logits(merged), logits(adapted), rtol=1e-4, atol=1e-4)


def test_a_base_that_was_held_as_it_is_is_not_read_again(
    new_run: Run, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_base", lambda *given: pytest.fail("it was read again"))
    run = new_run(jsonl(tmp_path / "rows.jsonl", qa(8)), "finer", **{**LORA, "target_modules": "q_proj"}, model="starter")
    assert work(run) == 0, run.status()
    base = resolve("starter").path
    assert base is not None
    before, after = load_file(base / "model.safetensors"), load_file(run.model_dir / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before if "q_proj" not in name)
    assert after["model.embed_tokens.weight"].dtype == torch.bfloat16


def test_where_there_is_no_memory_to_read_the_base_again_the_held_one_is_taken(
    new_run: Run, work: Work, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_has_room", lambda model, dtype: False)
    run = new_run(jsonl(tmp_path / "rows.jsonl", qa(8)), "held", **LORA, model=str(tiny_model), precision="bf16")
    assert work(run) == 0, run.status()
    before, after = load_file(tiny_model / "model.safetensors"), load_file(run.model_dir / "model.safetensors")
    name = "model.embed_tokens.weight"
    assert torch.equal(after[name], before[name].bfloat16().float())

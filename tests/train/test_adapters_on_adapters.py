"""A base that is an adapter itself: what is trained on both together is saved so that it loads as what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from engine import api
from engine.errors import ModelError
from engine.models import facts, resolve
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, plan
from engine.runs.directory import RunDirectory
from engine.worker.models import load_any
from tests.engine.test_plan import CPU, GPU
from tests.train.toys import all_events, jsonl, qa

Run, Work = Callable[..., RunDirectory], Callable[[RunDirectory], int]
IDS = torch.arange(10, 34)[None]
LORA: dict[str, Any] = {"peft": True, "lora_r": 4, "lr": 0.01, "max_steps": 3, "valid_fraction": 0.0, "warmup_ratio": 0.0}


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.fixture
def adapter(new_run: Run, work: Work, tmp_path: Path) -> str:
    """The name of a run that saved its adapter alone."""
    run = new_run(jsonl(tmp_path / "first.jsonl", qa(8)), "first", merge_adapter=False, **LORA)
    assert work(run) == 0, run.status()
    assert not (run.model_dir / "config.json").exists()
    return run.name


@pytest.fixture
def at_the_end(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """What the trained model says, just before it is saved."""
    from engine.worker import train

    seen: dict[str, torch.Tensor] = {}
    save = train.save_model

    def watched(run: RunDirectory, model: Any, *given: Any, **named: Any) -> None:
        model.set_attn_implementation("sdpa")
        seen["logits"] = logits(model)
        save(run, model, *given, **named)

    monkeypatch.setattr(train, "save_model", watched)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("merge", [True, False])
def test_an_adapter_on_an_adapter_is_saved_complete(
    new_run: Run, work: Work, adapter: str, tiny_model: Path, tmp_path: Path, at_the_end: dict[str, torch.Tensor], merge: bool
) -> None:
    run = new_run(jsonl(tmp_path / "second.jsonl", qa(8, "At {}!")), "second", model=adapter, merge_adapter=merge, **LORA)
    assert work(run) == 0, run.status()
    saved = logits(AutoModelForCausalLM.from_pretrained(run.model_dir, dtype=torch.float32))
    torch.testing.assert_close(saved, at_the_end["logits"], rtol=1e-4, atol=1e-5)
    base = logits(AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32))
    first = logits(load_any(resolve(adapter), dtype=torch.float32))
    assert not any(torch.allclose(saved, other, atol=1e-3) for other in (base, first))
    assert not (run.path / "adapter").exists(), "it would be put on the wrong base"
    assert run.plan()["params"]["merge_adapter"] is True
    assert "complete model" in run.plan()["reasons"]["merge_adapter"]
    assert any("complete model" in event["message"] for event in all_events(run, "warning"))
    card = (run.model_dir / "README.md").read_text(encoding="utf-8")
    assert "library_name: transformers" in card and "which is merged in" in card and "pipeline(" in card
    assert not facts(run.name).base_of_adapter and AutoTokenizer.from_pretrained(run.model_dir).chat_template


@pytest.mark.slow
def test_the_adapter_alone_is_the_model_with_plain_peft(
    at_the_end: dict[str, torch.Tensor], adapter: str, tiny_model: Path
) -> None:
    run = RunDirectory.open(adapter)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    torch.testing.assert_close(
        logits(PeftModel.from_pretrained(base, run.model_dir)), at_the_end["logits"], rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_a_stop_does_not_lose_the_base_s_adapter(
    new_run: Run, work: Work, adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.runs import queue
    from tests.contract.test_resume import stop_at

    data = jsonl(tmp_path / "second.jsonl", qa(8, "At {}!"))
    whole, run = (new_run(data, name, model=adapter, **LORA) for name in ("whole", "parts"))
    assert work(whole) == 0
    stop_at(monkeypatch, run, 2)
    assert work(run) == 0 and run.status().step == 2
    monkeypatch.undo()
    monkeypatch.setenv("AITRAINING_HOME", str(run.path.parent))
    queue.resume(run)
    assert work(run) == 0
    ours, theirs = (logits(AutoModelForCausalLM.from_pretrained(one.model_dir)) for one in (run, whole))
    assert torch.equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_a_scorer_may_be_made_of_an_adapter(
    new_run: Run, work: Work, adapter: str, tmp_path: Path, at_the_end: dict[str, torch.Tensor], peft: bool
) -> None:
    pairs = [{"prompt": f"Gate {n}?", "chosen": f"At {n}, with pleasure.", "rejected": "No."} for n in range(6)]
    given = {**LORA, "peft": peft, "trainer": "reward", "model": adapter}
    run = new_run(jsonl(tmp_path / "pairs.jsonl", pairs), "scorer", **given)
    assert work(run) == 0, run.status()
    saved = AutoModelForSequenceClassification.from_pretrained(run.model_dir, dtype=torch.float32)
    torch.testing.assert_close(logits(saved), at_the_end["logits"], rtol=1e-4, atol=1e-5)
    theirs, ours = load_any(resolve(adapter), dtype=torch.float32).state_dict(), saved.state_dict()
    frozen = [name for name in theirs if "norm" in name or "embed" in name]
    assert all(torch.equal(theirs[name], ours[name]) for name in frozen) is peft


@pytest.mark.slow
def test_a_scorer_that_is_an_adapter_alone_scores_as_it_did(
    new_run: Run, work: Work, tmp_path: Path, at_the_end: dict[str, torch.Tensor]
) -> None:
    pairs = [{"prompt": f"Gate {n}?", "chosen": f"At {n}, with pleasure.", "rejected": "No."} for n in range(6)]
    run = new_run(jsonl(tmp_path / "pairs.jsonl", pairs), "scorer", trainer="reward", merge_adapter=False, **LORA)
    assert work(run) == 0, run.status()
    loaded = load_any(resolve("scorer"), AutoModelForSequenceClassification, dtype=torch.float32)
    torch.testing.assert_close(logits(loaded), at_the_end["logits"], rtol=1e-4, atol=1e-5)


def test_the_bundled_adapter_is_known_for_one() -> None:
    known = facts("starter-instructed")
    assert known.base_of_adapter == "starter"
    given: dict[str, Any] = {"trainer": "sft", "model": "starter-instructed", "data_path": "sample:neighbours", "peft": True}
    chosen = plan(LLMTrainingParams(**given, merge_adapter=False), DataFacts(40), known, CPU)
    assert chosen.params.merge_adapter and chosen.reasons["merge_adapter"].startswith("The base model is an adapter")
    assert "merge_adapter" not in plan(LLMTrainingParams(**{**given, "peft": False}), DataFacts(40), known, CPU).reasons
    with pytest.raises(ModelError, match=r"starter-instructed is an adapter on starter.*4 bits") as caught:
        plan(LLMTrainingParams(**given, quantization="int4"), DataFacts(40), known, GPU)
    assert "--quantization none" in caught.value.hint
    assert api.model_facts("starter").base_of_adapter == ""

"""What is trained is held in fp32, whatever the base is held in; and what can go wrong on a GPU is said in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.device import Device
from engine.errors import DeviceError, ModelError
from engine.models import resolve
from engine.params import LLMTrainingParams
from engine.worker.best import fingerprint
from engine.worker.failures import explained
from engine.worker.models import exact, load_any, load_tokenizer, with_adapter
from engine.worker.scoring import load_scorer, score_texts
from engine.worker.train import _check_usable
from tests.train.toys import jsonl, qa


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_an_adapters_scoring_head_is_trained_in_fp32(tiny_model: Path, precision: str) -> None:
    """In bfloat16 its small steps would be rounded away, and fp16's loss scaling takes no such weights."""
    source = resolve(str(tiny_model))
    params: Any = LLMTrainingParams(
        trainer="reward", model=str(tiny_model), data_path="x", peft=True, precision=precision, device="cpu", max_length=64
    )
    tokenizer = load_tokenizer(source)
    model = load_scorer(source, params, tokenizer)
    trained = {name: weight.dtype for name, weight in model.named_parameters() if weight.requires_grad}
    assert any("score" in name for name in trained)
    assert set(trained.values()) == {torch.float32}
    assert {weight.dtype for weight in model.parameters() if not weight.requires_grad} != {torch.float32}
    if precision == "bf16":  # a CPU may have no fp16 matrix product
        scores = score_texts(model, tokenizer, ["The harbour opens at six.", "No."])
        assert len(set(scores)) == 2


def test_what_is_not_in_few_bits_stays_in_the_format_of_the_training(tiny_model: Path) -> None:
    """In fp32 embeddings and norms, and with them all that passes between layers, took more than four bits save."""
    source = resolve(str(tiny_model))
    params: Any = LLMTrainingParams(
        trainer="sft", model=str(tiny_model), data_path="x", peft=True, quantization="int4", precision="bf16", device="cpu"
    )
    model = with_adapter(load_any(source, dtype=torch.bfloat16), params, "CAUSAL_LM")
    held = {weight.dtype for weight in model.parameters() if not weight.requires_grad}
    assert held == {torch.bfloat16}
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {torch.float32}


def test_layers_that_are_not_there_are_told_with_those_that_are(tiny_model: Path) -> None:
    model = load_any(resolve(str(tiny_model)), dtype=torch.float32)
    given: dict[str, Any] = {"trainer": "sft", "model": str(tiny_model), "data_path": "x", "peft": True}
    with pytest.raises(ModelError, match=r"no layers called gate, vproj") as caught:
        with_adapter(model, LLMTrainingParams(**given, target_modules="q_proj, vproj,gate"), "CAUSAL_LM")
    assert "down_proj, embed_tokens, gate_proj" in caught.value.hint and "all-linear" in caught.value.hint
    named = "q_proj,layers.0.mlp.up_proj"
    trained = with_adapter(model, LLMTrainingParams(**given, target_modules=named), "CAUSAL_LM")
    on = {name.split(".lora_")[0].rpartition("layers.")[2] for name, _ in trained.named_parameters() if ".lora_" in name}
    assert on == {"0.self_attn.q_proj", "1.self_attn.q_proj", "0.mlp.up_proj"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_here_is_not_replaced_by_another(new_run: Any, work: Any, tmp_path: Path) -> None:
    run = new_run(jsonl(tmp_path / "rows.jsonl", qa(4)), device="cuda")
    assert work(run) == 1
    assert run.status().reason.startswith("There is no cuda device here")


def test_frozen_weights_stay_in_their_format() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)).to(torch.bfloat16)
    model[0].requires_grad_(False)
    exact(model)
    assert [layer.weight.dtype for layer in model] == [torch.bfloat16, torch.float32]


def test_a_fingerprint_sees_the_smallest_change() -> None:
    model = torch.nn.Linear(64, 64)
    before = fingerprint(model)
    assert torch.equal(before, fingerprint(model))
    with torch.no_grad():
        model.weight[3, 5] = torch.nextafter(model.weight[3, 5], torch.tensor(9.0))
    assert not torch.equal(before, fingerprint(model))


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1 GB)",
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_memory_that_runs_out_is_known_by_any_of_its_names(words: str) -> None:
    assert explained(RuntimeError(words)).cause == "memory"
    assert explained(RuntimeError("CUDA error: device-side assert triggered")).cause == "error"


def test_memory_that_runs_out_in_the_playground_is_told_with_what_helps_there() -> None:
    from engine.worker.chat import _tell_error

    told: list[dict[str, Any]] = []
    _tell_error(lambda kind, **values: told.append({"type": kind, **values}), 1, torch.OutOfMemoryError("CUDA out of memory."))
    assert (told[0]["type"], told[0]["side"], told[0]["message"]) == ("error", 1, "Memory ran out.")
    assert "smaller model" in told[0]["hint"] and "LoRA" not in told[0]["hint"]


def test_a_card_that_pytorch_cannot_use_is_told_and_not_trained_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Device("cuda", "NVIDIA A10G", 8, 24 << 30, 23 << 30, bf16=True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="NVIDIA A10G is there, but PyTorch cannot use it") as caught:
        _check_usable(card)
    assert "--device cpu" in caught.value.hint
    processor = Device("cpu", "A processor", 8, 24 << 30, 23 << 30, bf16=True)
    _check_usable(processor, split=True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    _check_usable(card, split=True)
    _check_usable(processor)
    with pytest.raises(DeviceError, match="goes to the GPUs of a machine that has some"):  # where the others' parts are
        _check_usable(processor, split=True)

"""Which models keep documents apart that share a row, found out by trying; those that do not are given one row at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MptConfig,
    OPTConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.worker.isolation import keeps_apart
from tests.train.toys import all_events, jsonl, qa, series

IDS: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 3}
LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
KINDS: dict[str, Callable[..., PreTrainedConfig]] = {
    "llama": lambda **v: LlamaConfig(**LAYERS, **IDS, **v),
    "qwen2": lambda **v: Qwen2Config(**LAYERS, **IDS, **v),
    "gpt2": lambda **v: GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256, **IDS, **v),
    "mamba": lambda **v: MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=8, **IDS, **v),
    "bloom": lambda **v: BloomConfig(hidden_size=32, n_layer=2, n_head=4, **IDS, **v),
    "opt": lambda **v: OPTConfig(
        hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=32, **IDS, **v
    ),
    "mpt": lambda **v: MptConfig(d_model=32, n_layers=2, n_heads=4, max_seq_len=256, **v),
}


def build(kind: str, attention: str = "eager", vocabulary: int = 200) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(KINDS[kind](vocab_size=vocabulary), attn_implementation="eager")
    if attention != "eager":
        model.set_attn_implementation(attention)
    return model


@pytest.mark.parametrize("attention", ["documents", "sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_attention_that_is_told_where_documents_begin_keeps_them_apart(kind: str, attention: str) -> None:
    assert keeps_apart(build(kind, attention))


@pytest.mark.parametrize("kind", ["mamba", "bloom", "opt", "mpt"])
def test_a_state_or_positions_of_the_models_own_run_on(kind: str) -> None:
    assert not keeps_apart(build(kind))


def test_what_a_model_lets_through_is_told_for_its_adapter_too() -> None:
    from peft import LoraConfig, get_peft_model

    for kind, apart in (("llama", True), ("bloom", False)):
        assert keeps_apart(get_peft_model(build(kind), LoraConfig(r=2, target_modules="all-linear"))) is apart


def test_trying_leaves_the_model_as_it_was() -> None:
    model = build("llama", "documents")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for training in (True, False):
        model.train(training)
        assert keeps_apart(model)
        assert model.training is training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_half_precision_is_not_taken_for_a_leak() -> None:
    assert keeps_apart(build("llama", "documents").to(torch.bfloat16))
    assert keeps_apart(build("qwen2", "sdpa").to(torch.bfloat16))
    assert not keeps_apart(build("mamba").to(torch.bfloat16))


# ---- training them ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A folder with a small model of a kind, and the tiny model's tokenizer."""

    def make(kind: str) -> Path:
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        build(kind, vocabulary=len(tokenizer)).save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


def training_arguments(run: RunDirectory) -> Any:
    """What transformers was told; it keeps that with each checkpoint."""
    (file,) = run.checkpoints_dir.glob("checkpoint-4/training_args.bin")
    return torch.load(file, weights_only=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mamba", "bloom"])
def test_a_model_that_mixes_documents_trains_on_one_row_at_a_time(
    kind: str, folder: Callable[[str], Path], new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path
) -> None:
    data = jsonl(tmp_path / "qa.jsonl", qa(24))
    given: dict[str, Any] = {"max_steps": 4, "lr": 0.01, "scheduler": "constant", "warmup_ratio": 0}
    given |= {"model": str(folder(kind))}
    joined = new_run(data, "joined", batch_size=4, **given)
    single = new_run(data, "single", batch_size=1, gradient_accumulation=4, **given)
    for run in (joined, single):
        assert work(run) == 0, run.status()
        assert run.status().state is State.DONE
    made = training_arguments(joined)
    assert (made.per_device_train_batch_size, made.gradient_accumulation_steps) == (1, 4)
    assert made.per_device_eval_batch_size == 1
    for key in ("loss", "eval_loss", "token_accuracy"):
        assert series(joined, key) == pytest.approx(series(single, key), abs=1e-5), key
    assert len(set(series(joined, "loss").values())) == 4
    AutoModelForCausalLM.from_pretrained(joined.model_dir)


@pytest.mark.slow
def test_a_model_that_keeps_documents_apart_trains_on_whole_batches(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path
) -> None:
    run = new_run(jsonl(tmp_path / "qa.jsonl", qa(24)), max_steps=4, batch_size=4)
    assert work(run) == 0
    made = training_arguments(run)
    assert (made.per_device_train_batch_size, made.gradient_accumulation_steps) == (4, 1)


@pytest.mark.slow
@pytest.mark.parametrize("cross", [False, True])
def test_rows_are_not_joined_for_a_model_that_mixes_them_unless_that_is_wished(
    cross: bool, folder: Callable[[str], Path], new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path
) -> None:
    data = jsonl(tmp_path / "qa.jsonl", qa(24))
    given: dict[str, Any] = {"epochs": 1, "batch_size": 1, "valid_fraction": 0.0, "max_length": 128, "packing": True}
    run = new_run(data, model=str(folder("mamba")), cross_documents=cross, **given)
    assert work(run) == 0
    warned = [event["message"] for event in all_events(run, "warning")]
    assert ("This kind of model cannot keep rows apart, so short rows are not joined." in warned) is not cross
    assert run.status().step < 24 if cross else run.status().step == 24

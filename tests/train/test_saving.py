"""What is saved is what was trained: each folder is loaded back and compared before it gets its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.errors import TrainingError
from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory
from engine.worker import saving
from engine.worker.models import with_adapter
from engine.worker.saving import Cards, save_model

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def save(runs_root: Path, tiny_model: Path) -> Callable[..., RunDirectory]:
    """Saves the tiny model with an adapter on it that is not zero, or without one."""

    def make(*, peft: bool, merge: bool = False) -> RunDirectory:
        given: dict[str, Any] = {"peft": peft, "merge_adapter": merge, "lora_r": 2}
        params = LLMTrainingParams(trainer="sft", model=str(tiny_model), data_path="x.csv", **given)
        run = RunDirectory.create(params.model_dump(mode="json"), "run", runs_root)
        model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
        if peft:
            model = with_adapter(model, params, "CAUSAL_LM")
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.01)
        save_model(run, model, AutoTokenizer.from_pretrained(tiny_model), params, "F32", Cards("A card.", "An adapter's card."))
        return run

    return make


def tampering(monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensors], None]) -> None:
    """Between writing and checking, something happens to the files."""
    write = saving._write

    def written(model: Any, tokenizer: Any, folder: Path, card: str) -> None:
        write(model, tokenizer, folder, card)
        for file in folder.glob("*.safetensors"):
            tensors = load_file(file)
            change(tensors)
            save_file(tensors, file, metadata={"format": "pt"})

    monkeypatch.setattr(saving, "_write", written)


def one_bit(tensors: Tensors) -> None:
    """The smallest change of one number of one tensor."""
    name = sorted(tensors)[-1]
    flat = tensors[name].flatten()
    flat[0] = torch.nextafter(flat[0], torch.tensor(10.0))
    tensors[name] = flat.reshape(tensors[name].shape)


def one_missing(tensors: Tensors) -> None:
    del tensors[sorted(tensors)[0]]


def one_too_many(tensors: Tensors) -> None:
    tensors["base_model.model.more.lora_A.weight"] = torch.zeros(2, 2)


KINDS = pytest.mark.parametrize(
    ("peft", "merge"), [(False, False), (True, True), (True, False)], ids=["full", "merged", "an adapter alone"]
)


@KINDS
def test_what_was_saved_well_is_put_into_place(save: Callable[..., RunDirectory], peft: bool, merge: bool) -> None:
    run = save(peft=peft, merge=merge)
    alone = peft and not merge
    assert (run.model_dir / "adapter_config.json").is_file() is alone
    assert (run.model_dir / "config.json").is_file() is not alone
    assert (run.path / "adapter").is_dir() is peft
    for folder in [run.model_dir, run.path / "adapter"] if peft else [run.model_dir]:
        assert (folder / "generation_config.json").is_file()
        assert (folder / "tokenizer.json").is_file()
        is_adapter = (folder / "adapter_config.json").is_file()
        assert (folder / "README.md").read_text() == ("An adapter's card." if is_adapter else "A card.")
    if alone:
        theirs = [load_file(folder / "adapter_model.safetensors") for folder in (run.model_dir, run.path / "adapter")]
        assert theirs[0].keys() == theirs[1].keys()
        assert all(torch.equal(theirs[0][name], theirs[1][name]) for name in theirs[0])


@KINDS
@pytest.mark.parametrize("change", [one_bit, one_missing], ids=["another number", "a tensor is missing"])
def test_what_is_not_what_was_trained_is_refused(
    save: Callable[..., RunDirectory],
    runs_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    peft: bool,
    merge: bool,
    change: Callable[[Tensors], None],
) -> None:
    tampering(monkeypatch, change)
    with pytest.raises(TrainingError, match="saved model") as caught:
        save(peft=peft, merge=merge)
    assert (caught.value.cause, caught.value.hint) == ("save", "Please report this.")
    left = RunDirectory.open("run", runs_root)
    assert not left.model_dir.exists() and not (left.path / "adapter").exists(), "it has no name by which it could be used"


@pytest.mark.parametrize("peft", [False, True])
def test_a_file_that_was_cut_off_is_refused_in_words(
    save: Callable[..., RunDirectory], monkeypatch: pytest.MonkeyPatch, peft: bool
) -> None:
    write = saving._write

    def written(model: Any, tokenizer: Any, folder: Path, card: str) -> None:
        write(model, tokenizer, folder, card)
        for file in folder.glob("*.safetensors"):
            file.write_bytes(file.read_bytes()[:-40])

    monkeypatch.setattr(saving, "_write", written)
    with pytest.raises(TrainingError, match="cannot be loaded again"):
        save(peft=peft)


def test_an_adapter_with_more_than_was_trained_is_refused(
    save: Callable[..., RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    tampering(monkeypatch, one_too_many)
    with pytest.raises(TrainingError, match="cannot be loaded again"):
        save(peft=True)


def test_an_adapter_of_numbers_that_are_none_is_refused(
    save: Callable[..., RunDirectory], runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "randn_like", lambda tensor: torch.full_like(tensor, float("nan")))
    with pytest.raises(TrainingError, match="not what was trained") as caught:
        save(peft=True)
    assert "learning rate" in caught.value.hint
    assert not RunDirectory.open("run", runs_root).model_dir.exists()

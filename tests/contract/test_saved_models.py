"""What every registered trainer leaves behind: a model, and an adapter, for which nothing of this app is needed."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.registry import specs
from engine.runs.directory import RunDirectory
from engine.spec import TrainerSpec
from tests.contract.conftest import digests, numbered

pytestmark = pytest.mark.slow

EVERY = pytest.mark.parametrize("spec", specs().values(), ids=lambda s: s.id)
BOTH = pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])


def _kind(spec: TrainerSpec) -> Any:
    import transformers

    return transformers.AutoModelForSequenceClassification if spec.makes == "score" else transformers.AutoModelForCausalLM


def _logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(10, 34)[None]).logits


@BOTH
@EVERY
def test_the_model_loads_with_plain_transformers(spec: TrainerSpec, peft: bool, trainings: Any) -> None:
    import torch
    from transformers import AutoTokenizer

    run = trainings.whole(spec, peft)
    model, report = _kind(spec).from_pretrained(run.model_dir, output_loading_info=True)
    assert not any(report[keys] for keys in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    assert _logits(model).shape[-1] == (1 if spec.makes == "score" else 358) and torch.isfinite(_logits(model)).all()
    for folder in [run.model_dir, run.path / "adapter"][: 1 + peft]:
        tokenizer, base = (AutoTokenizer.from_pretrained(place) for place in (folder, trainings.model))
        assert tokenizer.chat_template and tokenizer.chat_template == base.chat_template
        assert tokenizer.get_vocab() == base.get_vocab()
    assert (run.path / "adapter").is_dir() is peft


@EVERY
def test_the_adapter_on_its_base_is_the_merged_model(spec: TrainerSpec, trainings: Any) -> None:
    """With plain peft and the base as it is on disk; so nothing but the adapter has moved while it was trained."""
    import torch
    from peft import PeftConfig, PeftModel

    run = trainings.whole(spec, True)
    named = PeftConfig.from_pretrained(str(run.path / "adapter")).base_model_name_or_path
    assert Path(str(named)) == trainings.model
    labels = {"num_labels": 1} if spec.makes == "score" else {}
    base = _kind(spec).from_pretrained(named, dtype=torch.float32, **labels)
    before = _logits(base)
    together = _logits(PeftModel.from_pretrained(base, run.path / "adapter"))
    merged = _logits(_kind(spec).from_pretrained(run.model_dir, dtype=torch.float32))
    torch.testing.assert_close(together, merged, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before, merged, rtol=1e-4, atol=1e-5), "it has learned something"


@BOTH
@EVERY
def test_the_base_model_is_left_as_it_was(spec: TrainerSpec, peft: bool, trainings: Any) -> None:
    before = trainings.base
    trainings.whole(spec, peft)
    assert digests(trainings.model) == before


@BOTH
@EVERY
def test_the_card_tells_what_it_is_and_how_to_use_it(spec: TrainerSpec, peft: bool, trainings: Any) -> None:
    run = trainings.whole(spec, peft)
    for folder in [run.model_dir, run.path / "adapter"][: 1 + peft]:
        card = (folder / "README.md").read_text(encoding="utf-8")
        for words in (
            "8 rows to train on, 3 held out",
            run.params()["data_path"],
            str(trainings.model),
            "Licence: ",
            spec.title,
            "at step 7",
        ):
            assert words in card
        assert f"--trainer {spec.id}" in card and "\nepochs: 50" in card, "how to make it again"
        _shows_the_curves(card, run, spec)
        printed = _what_it_prints(card, folder)
        assert re.fullmatch(r"-?\d+\.\d+(e-?\d+)?\n", printed) if spec.makes == "score" else printed


def _one_of_each_purpose() -> list[TrainerSpec]:
    found: dict[Any, TrainerSpec] = {}
    for spec in specs().values():
        found.setdefault((spec.rows == "text", spec.makes), spec)
    return list(found.values())


@pytest.mark.parametrize("spec", _one_of_each_purpose(), ids=lambda s: s.id)
def test_a_base_without_a_chat_template_is_given_one_where_it_chats(spec: TrainerSpec, trainings: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    bare = tmp_path / "bare"
    shutil.copytree(trainings.model, bare)
    (bare / "chat_template.jinja").unlink()
    assert AutoTokenizer.from_pretrained(bare).chat_template is None
    run = trainings.new(spec, f"bare-{spec.id}", numbered(spec, 3), model=str(bare), max_steps=1, sample_tokens=0)
    assert trainings.work(run) == 0, run.status()
    tokenizer = AutoTokenizer.from_pretrained(run.model_dir)
    assert (tokenizer.chat_template is None) is (spec.rows == "text")
    assert _what_it_prints((run.model_dir / "README.md").read_text(encoding="utf-8"), run.model_dir)


def _shows_the_curves(card: str, run: RunDirectory, spec: TrainerSpec) -> None:
    from tests.train.toys import series

    for key in {spec.headline, spec.judged_by}:
        points = series(run, key)
        (first, began), (last, ended) = min(points.items()), max(points.items())
        course = (
            rf"\(`{re.escape(key)}`\) \| {began:.4g} at step {first} \| {ended:.4g} at step {last} \| [▁-█]{{{len(points)}}} \|"
        )
        assert re.search(course, card), key
    assert f"The {spec.best_words} at step {run.status().best_step}: " in card


def _what_it_prints(card: str, folder: Path) -> str:
    (program,) = re.findall(r"## How to use it\n.*?```python\n(.*?)```", card, re.DOTALL)
    assert "path/to/this/folder" in program
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program.replace("path/to/this/folder", str(folder)), {})
    return printed.getvalue()

"""The loss of prompt distillation against a hand computation: two prompts of different lengths, one answer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, TrainingArguments

from engine.worker.attention import NAME as DOCUMENTS
from engine.worker.distilling import DistillingTrainer, divergence, flatten_taught
from engine.worker.teachers import LocalTeacher
from engine.worker.tokens import IGNORED

LR = 0.05
# (tokens of the trained model's prompt, of the teacher's prompt, of the answer): the longer prompt is not always the teacher's.
SHAPES = [(3, 30, 5), (9, 4, 1), (6, 17, 12), (2, 2, 7)]


def text(prompt: np.ndarray, answer: np.ndarray) -> dict[str, Any]:
    ids = np.concatenate([prompt, answer]).astype(np.int32)
    labels = ids.copy()
    labels[: len(prompt)] = IGNORED
    return {"input_ids": ids, "labels": labels, "documents": [len(ids)]}


def taught(student: int, teacher: int, answer: int, seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    said = draw.integers(4, 200, answer)
    return {**text(draw.integers(4, 200, student), said), "teacher": text(draw.integers(4, 200, teacher), said)}


ROWS = [taught(*shape, seed=n) for n, shape in enumerate(SHAPES)]


def load(folder: Path, attention: str = DOCUMENTS) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.set_attn_implementation(attention)
    return model


@pytest.fixture
def other(tiny_model: Path) -> Any:
    """A teacher: the tiny model with other weights."""
    model = load(tiny_model)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def teacher_of(model: Any, **options: Any) -> LocalTeacher:
    made = LocalTeacher(lambda: model, None, None, **options)  # type: ignore[arg-type]  # nothing is generated here
    assert made.model is model
    return made


def trainer(
    model: Any, folder: Path, guesses: Any, alpha: float, temperature: float = 1.0, **changes: Any
) -> DistillingTrainer:
    values: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": 1,
        "per_device_train_batch_size": 4,
        "learning_rate": LR,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "logging_first_step": True,
        "save_strategy": "no",
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "label_names": ["labels"],
        "dataloader_pin_memory": False,
    }
    rows: Any = ROWS
    return DistillingTrainer(
        model=model,
        args=TrainingArguments(**{**values, **changes}),
        train_dataset=rows,
        eval_dataset=rows,
        guesses=guesses,
        alpha=alpha,
        temperature=temperature,
    )


def answer_logits(model: Any, row: dict[str, Any]) -> torch.Tensor:
    """Logits at the answer's tokens, the row alone and all of its logits worked out."""
    ids = torch.from_numpy(row["input_ids"].astype(np.int64))
    first = int((row["labels"] == IGNORED).sum())
    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")
    logits = model(input_ids=ids[None], use_cache=False).logits[0, first - 1 : len(ids) - 1]
    model.set_attn_implementation(attention)
    return logits


def by_hand(student: Any, teacher: Any, alpha: float, temperature: float) -> dict[str, Any]:
    """Sums over all answers' tokens, place by place with plain probabilities."""
    found: dict[str, Any] = {"kl": torch.zeros(()), "ce": torch.zeros(()), "right": 0, "agree": 0, "count": 0}
    for row in ROWS:
        ours, theirs = answer_logits(student, row), answer_logits(teacher, row["teacher"])
        answer = row["input_ids"][row["labels"] != IGNORED]
        assert len(ours) == len(theirs) == len(answer)
        for place, token in enumerate(answer):
            p = torch.softmax(theirs[place].detach() / temperature, -1)
            q = torch.softmax(ours[place] / temperature, -1)
            found["kl"] = found["kl"] + temperature**2 * (p * (p.log() - q.log())).sum()
            found["ce"] = found["ce"] - torch.log_softmax(ours[place], -1)[int(token)]
            found["right"] += int(ours[place].argmax() == token)
            found["agree"] += int(ours[place].argmax() == theirs[place].argmax())
            found["count"] += 1
    found["loss"] = (alpha * found["kl"] + (1 - alpha) * found["ce"]) / found["count"]
    return found


@pytest.mark.parametrize(("alpha", "temperature"), [(0.7, 2.0), (0.5, 1.0), (1.0, 4.0), (0.0, 2.0)])
def test_the_loss_is_the_one_of_the_formula(
    tiny_model: Path, tmp_path: Path, other: Any, alpha: float, temperature: float
) -> None:
    expected = by_hand(load(tiny_model, "eager"), other, alpha, temperature)
    assert expected["count"] == sum(answer for _, _, answer in SHAPES) == 25
    model = load(tiny_model)
    made = trainer(model, tmp_path, teacher_of(other).guesses, alpha, temperature)
    torch.testing.assert_close(made.compute_loss(model, flatten_taught(ROWS)), expected["loss"], rtol=1e-4, atol=1e-6)
    found = made.scored(model, flatten_taught(ROWS))
    assert found.items == made.items(flatten_taught(ROWS)) == 25
    assert float(found.sums["kl"]) == pytest.approx(float(expected["kl"]), rel=1e-4)
    assert float(found.sums["ce"]) == pytest.approx(float(expected["ce"]), rel=1e-5)
    assert (int(found.sums["token_accuracy"]), int(found.sums["agreement"])) == (expected["right"], expected["agree"])


def test_a_model_under_its_teachers_prompt_is_no_distance_away(tiny_model: Path, tmp_path: Path) -> None:
    """The answers begin at different places of the two rows; one place off would compare different words."""
    model, same = load(tiny_model), load(tiny_model).eval()
    made = trainer(model, tmp_path, teacher_of(same).guesses, 1.0, 2.0)
    rows = [{**row["teacher"], "teacher": row["teacher"]} for row in ROWS]
    assert float(made.compute_loss(model, flatten_taught(rows)).detach()) == pytest.approx(0, abs=1e-5)
    assert float(made.compute_loss(model, flatten_taught(ROWS)).detach()) > 1e-4


def test_the_square_of_the_temperature_keeps_the_gradients_size() -> None:
    """For soft enough distributions T²·KL tends to half the mean squared difference of the centred logits (Hinton 2015)."""
    torch.manual_seed(0)
    ours, theirs = torch.randn(6, 50, dtype=torch.float64), torch.randn(6, 50, dtype=torch.float64)
    limit = ((ours - ours.mean(-1, keepdim=True)) - (theirs - theirs.mean(-1, keepdim=True))).pow(2).mean(-1).sum() / 2
    assert float(divergence(ours, theirs, 200.0)) == pytest.approx(float(limit), rel=0.02)
    plain = torch.nn.functional.kl_div(ours.log_softmax(-1), theirs.softmax(-1), reduction="sum")
    assert float(divergence(ours, theirs, 1.0)) == pytest.approx(float(plain), rel=1e-9)


def test_heads_of_one_vocabulary_may_be_padded_to_different_widths() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(3, 40), torch.randn(3, 40)
    padded = torch.cat([theirs, torch.full((3, 8), -9.0)], -1)
    assert float(divergence(ours, padded, 2.0)) == pytest.approx(float(divergence(ours, theirs, 2.0)), rel=1e-6)


@pytest.mark.parametrize(("batch", "accumulation"), [(4, 1), (2, 2), (1, 4)])
def test_accumulation_changes_nothing(tiny_model: Path, tmp_path: Path, other: Any, batch: int, accumulation: int) -> None:
    before = {name: p.clone() for name, p in other.named_parameters()}
    model = load(tiny_model)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    sizes = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    made = trainer(model, tmp_path, teacher_of(other).guesses, 0.6, 2.0, **sizes)
    made.train()
    plain = load(tiny_model, "eager")
    expected = by_hand(plain, other, 0.6, 2.0)
    expected["loss"].backward()
    for name, parameter in plain.named_parameters():
        moved = (start[name] - dict(model.named_parameters())[name].detach()) / LR
        torch.testing.assert_close(moved, parameter.grad, rtol=2e-3, atol=1e-4, msg=name)
    log = made.state.log_history[0]
    assert log["loss"] == pytest.approx(float(expected["loss"].detach()), rel=1e-3)
    assert log["kl"] == pytest.approx(float(expected["kl"].detach()) / 25, rel=1e-3)
    assert log["loss"] == pytest.approx(0.6 * log["kl"] + 0.4 * log["ce"], rel=1e-3)
    assert all(torch.equal(before[name], p) for name, p in other.named_parameters()), "a teacher does not learn"
    held_out = made.evaluate()
    assert {"eval_loss", "eval_kl", "eval_ce", "eval_token_accuracy", "eval_agreement"} <= held_out.keys()
    assert all(math.isfinite(value) for value in held_out.values())


def test_an_adapters_teacher_is_its_base_and_neither_drops_nor_learns(tiny_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        load(tiny_model), LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.5, task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    model.train()
    base = {name: p.detach().clone() for name, p in model.named_parameters() if "lora_" not in name}
    teacher = teacher_of(model, within=True)
    given = flatten_taught(ROWS)["teacher"]
    keep = (given["labels"][0, 1:] != IGNORED).nonzero()[:, 0]
    with torch.no_grad():
        made = teacher.guesses(model, given, keep)
        expected = torch.cat([answer_logits(load(tiny_model, "eager").eval(), row["teacher"]) for row in ROWS])
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    assert model.training
    run = trainer(model, tmp_path, teacher.guesses, 0.5, 2.0)
    run.train()
    after = dict(model.named_parameters())
    assert all(torch.equal(kept, after[name]) for name, kept in base.items())
    assert any(p.grad is None or p.abs().sum() > 0 for name, p in after.items() if "lora_" in name)


def test_without_guesses_the_teacher_is_not_asked(tiny_model: Path, tmp_path: Path) -> None:
    model = load(tiny_model)
    rows = [{key: value for key, value in row.items() if key != "teacher"} for row in ROWS]
    made = trainer(model, tmp_path, None, 0.0)
    found = made.scored(model, flatten_taught(rows))
    assert float(found.loss.detach()) == pytest.approx(
        float(by_hand(load(tiny_model, "eager"), model, 0.0, 1.0)["ce"].detach()), rel=1e-5
    )
    assert set(found.sums) == {"ce", "token_accuracy"}

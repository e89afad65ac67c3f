"""The loss is the mean over trained tokens, however they are spread over rows, batches and accumulated passes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, TrainingArguments

from engine.worker.attention import NAME as DOCUMENTS
from engine.worker.causal import CausalTrainer
from engine.worker.flat import flatten
from engine.worker.tokens import IGNORED

LR = 0.05


def row(length: int, trained: int, seed: int) -> dict[str, Any]:
    """A row of which the last `trained` tokens are trained."""
    ids = np.random.default_rng(seed).integers(4, 200, length).astype(np.int32)
    labels = ids.copy()
    labels[: length - trained] = IGNORED
    return {"input_ids": ids, "labels": labels, "documents": [length]}


# Counts as different as they get: a mean of means would be far from the mean.
ROWS = [row(30, 1, 1), row(9, 8, 2), row(40, 39, 3), row(12, 2, 4)]


def load(folder: Path, attention: str = DOCUMENTS) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.set_attn_implementation(attention)
    return model


def trainer(model: Any, folder: Path, rows: list[dict[str, Any]] = ROWS, **changes: Any) -> CausalTrainer:
    values: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": 1,
        "per_device_train_batch_size": 4,
        "learning_rate": LR,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "label_names": ["labels"],
        "dataloader_pin_memory": False,
    }
    args = TrainingArguments(**{**values, **changes})
    return CausalTrainer(model=model, args=args, train_dataset=rows, eval_dataset=rows, with_perplexity=True)


def by_hand(model: Any, rows: list[dict[str, Any]]) -> tuple[torch.Tensor, int, int]:
    """Sum of the negative log-likelihoods, right first guesses, trained tokens: each row alone, all of its logits."""
    total, right, count = torch.zeros(()), 0, 0
    for each in rows:
        ids = torch.from_numpy(each["input_ids"].astype(np.int64))
        logits = model(input_ids=ids[None], use_cache=False).logits[0]
        for place in range(1, len(ids)):
            if each["labels"][place] == IGNORED:
                continue
            total = total - torch.log_softmax(logits[place - 1], -1)[ids[place]]
            right += int(logits[place - 1].argmax() == ids[place])
            count += 1
    return total, right, count


@pytest.mark.parametrize("attention", [DOCUMENTS, "sdpa"])
def test_the_loss_is_the_mean_over_trained_tokens(tiny_model: Path, tmp_path: Path, attention: str) -> None:
    total, _, count = by_hand(load(tiny_model, "eager"), ROWS)
    assert count == 50
    model = load(tiny_model, attention)
    loss = trainer(model, tmp_path).compute_loss(model, flatten(ROWS))
    torch.testing.assert_close(loss, total / count, rtol=1e-5, atol=1e-6)


def test_the_loss_of_a_part_is_divided_by_the_whole_steps_tokens(tiny_model: Path, tmp_path: Path) -> None:
    total, _, _ = by_hand(load(tiny_model, "eager"), ROWS[:2])
    model = load(tiny_model)
    loss = trainer(model, tmp_path).compute_loss(model, flatten(ROWS[:2]), num_items_in_batch=torch.tensor(50))
    torch.testing.assert_close(loss, total / 50, rtol=1e-5, atol=1e-6)


def test_what_is_not_trained_does_not_count(tiny_model: Path, tmp_path: Path) -> None:
    model = load(tiny_model)
    made = trainer(model, tmp_path)
    first = made.compute_loss(model, flatten([row(20, 4, 5)]))
    other = row(20, 4, 5)
    other["labels"] = np.where(other["labels"] == IGNORED, IGNORED, other["labels"] + 1)  # other targets, another loss
    assert made.compute_loss(model, flatten([other])) != first
    longer = row(20, 4, 5)
    longer["input_ids"] = np.append(longer["input_ids"], 7)  # what follows the last trained token has no part in it
    longer["labels"], longer["documents"] = np.append(longer["labels"], IGNORED), [21]
    torch.testing.assert_close(made.compute_loss(model, flatten([longer])), first, rtol=1e-6, atol=1e-6)


def steps(tiny_model: Path, folder: Path, batch: int, accumulation: int) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """One optimizer step of plain gradient descent: the gradients, read off the weights, and the first log."""
    model = load(tiny_model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    made = trainer(
        model, folder, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, logging_first_step=True
    )
    made.train()
    gradients = {name: (before[name] - p.detach()) / LR for name, p in model.named_parameters()}
    return gradients, made.state.log_history[0]


@pytest.mark.parametrize(("batch", "accumulation"), [(4, 1), (2, 2), (1, 4)])
def test_accumulation_changes_nothing(tiny_model: Path, tmp_path: Path, batch: int, accumulation: int) -> None:
    made, log = steps(tiny_model, tmp_path, batch, accumulation)
    model = load(tiny_model, "eager")
    total, right, count = by_hand(model, ROWS)
    (total / count).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(made[name], parameter.grad, rtol=1e-3, atol=1e-5, msg=name)
    # the charts show the same number, not a mean of the passes' means
    assert log["loss"] == pytest.approx(float(total.detach() / count), abs=1e-4)
    assert log["token_accuracy"] == pytest.approx(right / count)
    assert log["tokens"] == 91
    assert log["perplexity"] == pytest.approx(math.exp(log["loss"]), rel=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_held_out_loss_weighs_tokens_not_batches(tiny_model: Path, tmp_path: Path, batch: int) -> None:
    total, right, count = by_hand(load(tiny_model, "eager"), ROWS)
    model = load(tiny_model)
    model.train()
    metrics = trainer(model, tmp_path, per_device_eval_batch_size=batch).evaluate()
    assert metrics["eval_loss"] == pytest.approx(float(total.detach() / count), rel=1e-5)
    assert metrics["eval_token_accuracy"] == pytest.approx(right / count)
    assert metrics["eval_perplexity"] == pytest.approx(math.exp(float(total.detach() / count)), rel=1e-5)
    assert model.training  # measuring leaves the model as it was


def test_a_held_out_row_without_a_trained_token_is_passed_over(tiny_model: Path, tmp_path: Path) -> None:
    model = load(tiny_model)
    made = trainer(model, tmp_path, per_device_eval_batch_size=1)
    with_it = made.evaluate([*ROWS, row(10, 0, 9)])
    assert with_it["eval_loss"] == pytest.approx(made.evaluate(ROWS)["eval_loss"], rel=1e-6)


@pytest.mark.parametrize("whole_step", [None, 0, 7])
def test_a_batch_without_a_trained_token_costs_nothing(tiny_model: Path, tmp_path: Path, whole_step: int | None) -> None:
    """As a block of documents that are one token each; in the same step others may have something to train."""
    model = load(tiny_model)
    rows = [row(10, 0, 9), row(1, 1, 10)]
    count = None if whole_step is None else torch.tensor(whole_step)
    loss = trainer(model, tmp_path).compute_loss(model, flatten(rows), num_items_in_batch=count)
    assert float(loss.detach()) == 0.0
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(not gradient.any() for gradient in gradients)  # zero, and no NaN


def test_training_goes_on_over_a_batch_without_a_trained_token(tiny_model: Path, tmp_path: Path) -> None:
    rows = [row(10, 0, 9), *ROWS[1:3], row(12, 0, 11)]
    model = load(tiny_model)
    made = trainer(model, tmp_path, rows, per_device_train_batch_size=1, max_steps=4)
    made.train()
    losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    assert losses.count(0.0) == 2
    assert sum(math.isfinite(loss) and loss > 0 for loss in losses) == 2
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def test_held_out_rows_without_a_trained_token_give_no_measurement(tiny_model: Path, tmp_path: Path) -> None:
    metrics = trainer(load(tiny_model), tmp_path).evaluate([row(10, 0, 9), row(12, 0, 11)])
    assert not [key for key in metrics if key.startswith("eval_")]

"""Answers with a thumb: the loss by hand, batches that hold both kinds, crossed answers, and runs that must learn."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from engine import LLMTrainingParams, train
from engine.errors import DataError
from engine.models import resolve
from engine.plan import DataFacts
from engine.registry import spec_for
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.worker.feedback import FeedbackRows, WholeBatches, dealt, flatten_feedback, kto
from engine.worker.models import load_tokenizer
from engine.worker.token_rows import RowWriter
from engine.worker.tokens import IGNORED, Tokens, chat_tokens
from tests.train.toys import jsonl, series

MANNERS = Path(__file__).parents[2] / "assets" / "samples" / "manners.json"


def thumbs(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All liked answers and then all disliked ones: the order in which a trainer that does not deal sees one kind only."""
    return [
        {"prompt": pair["prompt"], "completion": pair[side], "label": label}
        for side, label in (("chosen", True), ("rejected", False))
        for pair in pairs
    ]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_loss_is_the_paper_s() -> None:
    gains, liked, drift = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([True, False, False]), torch.tensor(1.5)
    found = kto(gains, liked, drift, against_drift=True, beta=0.1, up=1.0, down=2.0)
    wanted = [1 - sigmoid(0.1 * (2 - 1.5)), 2 * (1 - sigmoid(0.1 * (1.5 + 1))), 2 * (1 - sigmoid(0.1 * (1.5 - 0.5)))]
    torch.testing.assert_close(found, torch.tensor(wanted))
    found = kto(gains, liked, drift, against_drift=False, beta=0.1, up=1.0, down=1.0)
    torch.testing.assert_close(found, torch.tensor([1 - sigmoid(0.2), sigmoid(-0.1), sigmoid(0.05)]))


@pytest.mark.parametrize(("up", "down", "batch"), [(40, 40, 2), (40, 40, 8), (70, 10, 8), (10, 71, 9), (3, 30, 16), (9, 8, 4)])
def test_every_batch_holds_both_kinds(up: int, down: int, batch: int) -> None:
    liked = np.array([True] * up + [False] * down)
    order = dealt(liked, batch, seed=1)
    assert set(order) == set(range(up + down)) and len(order) <= up + down + 1
    for start in range(0, len(order), batch):
        kinds = liked[order[start : start + batch]]
        assert 0 < kinds.sum() < len(kinds), start
    assert (order == dealt(liked, batch, seed=1)).all() and (order != dealt(liked, batch, seed=2)).any()


def test_too_few_of_a_kind_are_spread_and_none_is_refused() -> None:
    liked = np.array([False] * 2 + [True] * 38)
    kinds = liked[dealt(liked, 4, seed=0)].reshape(-1, 4)
    assert sorted((~kinds).sum(1)) == [0] * 8 + [1, 1], "never both in one batch"
    with pytest.raises(DataError, match="thumbs up") as caught:
        dealt(np.array([True] * 5), 2, seed=0)
    assert "thumb" in caught.value.hint


def rated(folder: Path, labels: list[bool]) -> Any:
    """Rows of two prompt tokens (10+n, 20+n) and two answer tokens (100+n, 2), where n is the row's number."""
    writer = RowWriter(folder / "rows.tokens")
    for n, liked in enumerate(labels):
        writer.add(Tokens([10 + n, 20 + n, 100 + n, 2], [IGNORED, IGNORED, 100 + n, 2]), float(liked))
    return writer.close()


def test_the_crossed_answers_are_those_of_the_same_batch(tmp_path: Path) -> None:
    rows = FeedbackRows(rated(tmp_path, [True, False] * 6), 4, max_length=64, seed=3, alone=False)
    for start in range(0, 12, 4):
        some = [rows[place] for place in range(start, start + 4)]
        for row in some:
            own, other = row["own"]["input_ids"].tolist(), row["other"]["input_ids"].tolist()
            assert other[:2] == own[:2] and other[2] != own[2] and other[3] == 2
            assert row["other"]["labels"].tolist() == [IGNORED, IGNORED, other[2], 2]
        answers = [sorted(int(row[name]["input_ids"][2]) for row in some) for name in ("own", "other")]
        assert answers[0] == answers[1], "the same answers, under other prompts"
    rows.reference = np.zeros((12, 2), np.float32)
    batch = flatten_feedback([rows[place] for place in range(4)])
    assert batch["input_ids"].shape == batch["other"]["input_ids"].shape == (1, 16)
    assert batch["liked"].tolist() == rows.liked[:4].tolist() and 0 < int(batch["liked"].sum()) < 4


def test_the_answer_to_the_same_prompt_is_no_crossed_one(tmp_path: Path) -> None:
    writer = RowWriter(tmp_path / "rows.tokens")
    for prompt, answer, liked in ((5, 50, 1.0), (5, 51, 0.0), (6, 60, 1.0), (6, 61, 0.0)):
        writer.add(Tokens([prompt, answer], [IGNORED, answer]), liked)
    rows = FeedbackRows(writer.close(), 4, max_length=64, seed=0, alone=False)
    for place in range(4):
        prompt, answer = rows[place]["other"]["input_ids"].tolist()
        assert answer // 10 != prompt
    assert "other" not in FeedbackRows(rows.rows, 4, max_length=64, seed=0, alone=True)[0]


def test_a_lone_answer_is_not_measured_against_itself(tmp_path: Path) -> None:
    rows = FeedbackRows(rated(tmp_path, [True]), 4, max_length=64, seed=0, alone=False, mixed=False)
    assert "other" not in rows[0]
    rows.reference = np.zeros((1, 1), np.float32)
    assert "other" not in flatten_feedback([rows[0]])


def test_batches_stay_together_in_a_new_order_every_pass() -> None:
    sampler = WholeBatches(11, 4, seed=5)
    orders = set()
    for epoch in range(4):
        sampler.set_epoch(epoch)
        places = list(sampler)
        assert sorted(places) == list(range(11)) and places[8:] == [8, 9, 10]
        assert {tuple(places[:4]), tuple(places[4:8])} == {(0, 1, 2, 3), (4, 5, 6, 7)}
        orders.add(tuple(places))
        assert places == list(sampler)
    assert len(orders) == 2


@pytest.mark.parametrize(
    ("liked", "given", "up", "down"),
    [
        (0.5, {}, 1, 1),
        (0.75, {}, 1, 3),
        (0.2, {}, 4, 1),
        (0.75, {"kto_desirable_weight": 2.0}, 2, 6),
        (0.75, {"kto_undesirable_weight": 1.0}, 1 / 3, 1),
    ],
)
def test_weights_make_both_kinds_count_the_same(liked: float, given: dict[str, float], up: float, down: float) -> None:
    params: Any = LLMTrainingParams(trainer="kto", data_path="x", **given)
    choose = spec_for("kto").choose
    assert choose is not None
    values = choose(params, DataFacts(100, liked=liked))
    assert (given.get("kto_desirable_weight") or values["kto_desirable_weight"][0]) == pytest.approx(up, rel=0.01)
    assert (given.get("kto_undesirable_weight") or values["kto_undesirable_weight"][0]) == pytest.approx(down, rel=0.01)
    assert f"{liked:.0%}" in values["kto_desirable_weight"][1]


def answer_log_prob(model: Any, tokenizer: Any, row: dict[str, Any]) -> float:
    """The sum over an answer's tokens, the row alone, with nothing of the trainer's own code."""
    tokens = chat_tokens(row, tokenizer)
    with torch.no_grad():
        found = model(input_ids=torch.tensor([tokens.input_ids])).logits[0, :-1].float().log_softmax(-1)
    targets = torch.tensor(tokens.labels[1:])
    keep = targets != IGNORED
    return float(found[keep, targets[keep]].sum())


@pytest.mark.long  # the contracts train it at every change
@pytest.mark.slow
def test_it_learns_manners_from_thumbs(runs_root: Path, tmp_path: Path) -> None:
    pairs = json.loads(MANNERS.read_text(encoding="utf-8"))
    data = jsonl(tmp_path / "thumbs.jsonl", thumbs(pairs[:120]))
    held = jsonl(tmp_path / "held.jsonl", thumbs(pairs[160:180]))
    asked = {"valid_path": held, "batch_size": 8, "max_steps": 30, "epochs": 1, "eval_steps": 15, "sample_tokens": 0}
    made = train(LLMTrainingParams(trainer="kto", model="starter", data_path=data, project_name="thumbs", **asked))
    run = RunDirectory.open("thumbs", runs_root)
    measured = list(series(run, "eval_rewards/accuracies").values())
    assert 0.2 < measured[0] < 0.8 and measured[-1] >= 0.9
    for key in ("rewards/chosen", "rewards/rejected", "rewards/margins", "kl"):
        assert set(series(run, key)) == set(series(run, "loss")), "every step has seen both kinds"

    tokenizer = load_tokenizer(resolve("starter"))
    before, after = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for folder in (resolve("starter").location, str(made))
    )
    won = 0
    for pair in pairs[180:]:
        up, down = (answer_log_prob(after, tokenizer, row) - answer_log_prob(before, tokenizer, row) for row in thumbs([pair]))
        won += up > down
    assert won >= 18, "of 20 questions that were in no file"
    assert "50% of the answers" in run.plan()["reasons"]["kto_desirable_weight"]


@pytest.mark.slow
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_the_reference_is_the_model_at_the_start(peft: bool, runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"Gate {n}?", "completion": f"At {n}.", "label": n % 3 == 0} for n in range(3)]
    asked = {"peft": peft, "lora_r": 4, "batch_size": 2, "lr": 1e-2, "precision": "fp32", "sample_tokens": 0}
    params = LLMTrainingParams(
        trainer="kto", model=str(tiny_model), data_path=jsonl(tmp_path / "three.jsonl", rows), project_name="three", **asked
    )
    train(params)
    run = RunDirectory.open("three", runs_root)
    assert run.status().state is State.DONE
    kept = np.load(run.data_dir / "train.reference.npy")
    base, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), load_tokenizer(resolve(str(tiny_model)))
    wanted = [answer_log_prob(base, tokenizer, row) for row in rows]
    assert len(kept) == 4, "the third row's batch is filled up with one of the other kind"
    for value in kept[:, 0]:
        assert min(abs(value - w) for w in wanted) < 1e-3
    assert abs(series(run, "rewards/chosen")[1]) < 1e-4, "nothing has been gained before the first step"


@pytest.mark.slow
@pytest.mark.parametrize("label", [True, False])
def test_one_held_out_answer_shows_what_is_learned(label: bool, runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    valid = jsonl(tmp_path / "valid.jsonl", [{"prompt": "Is it open?", "completion": "Yes, it is.", "label": label}])
    rows = [{"prompt": f"Is gate {n} open?", "completion": ("No.", "Yes.")[n % 2], "label": bool(n % 2)} for n in range(12)]
    given: dict[str, Any] = {"trainer": "kto", "epochs": 2, "lr": 1e-3, "eval_steps": 1, "device": "cpu", "sample_tokens": 0}
    data = jsonl(tmp_path / "thumbs.jsonl", rows)
    train(LLMTrainingParams(model=str(tiny_model), data_path=data, valid_path=valid, project_name="one", **given))
    run = RunDirectory.open("one", runs_root)
    losses, kind = series(run, "eval_loss"), "chosen" if label else "rejected"
    rewards = series(run, f"eval_rewards/{kind}")
    assert losses[0] == pytest.approx(0.5, abs=1e-3) and len(set(losses.values())) > 2
    for step, reward in rewards.items():  # the reward is already times beta
        assert losses[step] == pytest.approx(1 - sigmoid(reward if label else -reward), abs=1e-4)


@pytest.mark.slow
def test_thumbs_of_one_kind_are_refused(runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"Gate {n}?", "completion": f"At {n}.", "label": True} for n in range(6)]
    data = jsonl(tmp_path / "liked.jsonl", rows)
    with pytest.raises(Exception, match="thumbs up"):
        train(LLMTrainingParams(trainer="kto", model=str(tiny_model), data_path=data, project_name="liked"))
    status = RunDirectory.open("liked", runs_root).status()
    assert status.state is State.FAILED and "other thumb" in status.hint

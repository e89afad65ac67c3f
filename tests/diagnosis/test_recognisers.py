"""Each fault is recognised in a curve or an ending made for it, and nothing is found in runs that are well."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.diagnosis import Finding
from engine.diagnosis.finding import Evidence
from engine.diagnosis.table import TABLE, recognised
from engine.registry import parse
from engine.runs.status import State, Status
from tests.diagnosis.cases import bad_runs, line, measured, run

# The curves of docs/curves/: the nine samples, trained on the bundled models with the settings that they bring along.
HEALTHY: dict[str, Any] = json.loads((Path(__file__).parent / "healthy.json").read_text(encoding="utf-8"))


def only(e: Evidence) -> Finding:
    found = recognised(e)
    assert len(found) == 1, [one.sentence for one in found]
    return found[0]


def healthy(trainer: str) -> Evidence:
    kept = HEALTHY[trainer]
    curves = {key: list(zip(*curve, strict=True)) for key, curve in kept["curves"].items()}
    total = kept["plan"]["total_steps"]
    return Evidence(
        name=trainer,
        status=Status(State.DONE, step=total, total_steps=total),
        params=parse(kept["params"]),
        chosen=parse(kept["plan"]["params"]),
        plan=kept["plan"],
        curves=curves,
        trained=True,
    )


@pytest.mark.parametrize("trainer", HEALTHY)
def test_nothing_is_found_in_the_samples_runs(trainer: str) -> None:
    """Neither at the end, nor at any step on the way, nor for a run that somebody stopped there."""
    e = healthy(trainer)
    assert recognised(e) == []
    for step in range(e.status.total_steps):
        so_far = {key: [point for point in points if point[0] <= step] for key, points in e.curves.items()}
        for state in (State.TRAINING, State.STOPPED):
            assert recognised(replace(e, status=replace(e.status, state=state, step=step), curves=so_far)) == [], step


@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_noise_alone_is_no_finding(noise: float) -> None:
    """Falling losses of steps of many rows, and of single ones, with and without held-out rows."""
    for seed in range(300):
        loss = line(2.5, 1.6, 1.4, 1.3, points=40 + seed, noise=noise, seed=seed)
        held_out = measured(2.5, 1.9, 1.65, 1.5, 1.52, 1.48, 1.5, 1.51)
        assert recognised(run(curves={"loss": loss})) == [], seed
        assert recognised(run(curves={"loss": loss, "eval_loss": held_out})) == [], seed


def test_a_loss_that_rises_is_told_while_it_does() -> None:
    rising = {"loss": line(2, 9, points=20, noise=0.2), "eval_loss": measured(2, 8, 9, 9)}
    found = only(run(state=State.TRAINING, lr=0.3, curves=rising))
    assert found.kind == "diverging" and found.advice.startswith("Stop it") and "0.3" in found.why
    assert found.settings == {"lr": 3.7e-4}, "the usual rate for a model of this size"
    # a learning rate that falls may bring it back to its start, which is no success
    back = {"loss": line(2, 20, 12, 5, 2.1, noise=0.1), "eval_loss": measured(2, 19, 12, 5, 2)}
    assert only(run(curves=back, lr=0.3)).kind == "diverging"
    # the training loss leaps and falls again while the held-out loss was best before the first step
    leapt = {"loss": line(6, 30, 16, 9, 7, 5, noise=0.3), "eval_loss": measured(5.5, 27, 13, 9, 7, 6.6)}
    assert only(run(curves=leapt, lr=0.3)).kind == "diverging"
    # fallen first, lost again; nothing is held out
    assert only(run(curves={"loss": line(4, 1, 3, 3.5, noise=0.05)}, lr=0.3)).kind == "diverging"


def test_held_out_loss_that_turns_up_is_over_fitting() -> None:
    curves = {"loss": line(2, 1, 0.3, 0.1, noise=0.02), "eval_loss": measured(2, 1.4, 1.2, 1.3, 1.5, 1.7, 1.9)}
    found = only(run(curves=curves))
    assert found.kind == "over-fitting" and "from step 20 on" in found.what
    assert "best weights were kept" in found.why
    assert found.settings == {"epochs": 0.59}
    assert only(run(curves=curves, keep_best=False)).settings == {"keep_best": True}
    assert only(run(curves=curves, max_steps=60)).settings == {"max_steps": 20}
    above_the_start = {**curves, "eval_loss": measured(2, 1.4, 1.2, 1.8, 2.5, 3, 3.5)}
    assert only(run(curves=above_the_start)).kind == "over-fitting"


def test_a_loss_that_stays_is_flat() -> None:
    stays = {"loss": line(2, 2, noise=0.2), "eval_loss": measured(2, 1.999, 1.998, 1.999)}
    found = only(run(curves=stays, lr=1e-7))
    assert found.kind == "flat" and found.settings == {"lr": 3.7e-4}
    assert only(run(curves=stays, lr=3e-4)).settings == {"lr": 9e-4}
    assert only(run(curves=stays, lr=0.03)).settings == {"epochs": 6.0}, "steps are large enough"
    assert recognised(run(state=State.TRAINING, curves=stays)) == [], "it may still come"
    assert recognised(run(curves={"loss": line(0.02, 0.02)})) == [], "nothing is left to learn"


def test_a_margin_that_grows_by_pushing_good_answers_away_is_reward_hacking() -> None:
    pushed = {"logps/chosen": line(-50, -60, -80, noise=1), "rewards/margins": line(0, 5, noise=0.1)}
    found = only(run("dpo", curves=pushed))
    assert found.kind == "reward hacking" and found.settings == {"sft_weight": 1.0}
    assert set(only(run("dpo", curves=pushed, sft_weight=1)).settings) == {"lr"}
    assert set(only(run("kto", curves=pushed)).settings) == {"lr"}
    assert recognised(run("dpo", curves={**pushed, "logps/chosen": line(-50, -55, noise=1)})) == []


def test_a_drift_that_blows_up() -> None:
    far = {"kl": line(0, 20, 140), "answer_length": line(20, 20), "reward": line(0, 1), "reward_std": line(0.3, 0.3)}
    found = only(run("ppo", curves=far))
    assert found.kind == "kl" and found.settings == {"rl_kl_coef": 0.2}
    assert set(only(run("ppo", curves=far, rl_kl_coef=0.5)).settings) == {"lr"}, "it is held tightly already"
    watched = only(run("grpo", State.TRAINING, curves={"kl": line(0, 1, 9), "reward": line(0, 1), "reward_std": line(1, 1)}))
    assert watched.kind == "kl" and watched.advice.startswith("Stop it")
    assert recognised(run("distillation", curves={"kl": line(9, 5), "loss": line(9, 5)})) == [], "there it is the loss"


def test_answers_that_are_cut() -> None:
    same = {"reward": line(0, 1), "reward_std": line(1, 1)}
    found = only(run("grpo", curves={**same, "completions/clipped_ratio": line(0.4, 0.9)}))
    assert found.kind == "cut answers" and found.settings == {"rl_max_new_tokens": 128}
    assert only(run("ppo", curves={**same, "finished": line(0.5, 0.1)})).kind == "cut answers"
    assert recognised(run("ppo", curves={**same, "finished": line(0.1, 0.9)})) == []


def test_scores_that_are_all_the_same() -> None:
    found = only(run("ppo", curves={"reward": line(0, 0), "reward_std": line(0, 0)}))
    assert found.kind == "same rewards" and found.settings == {"rl_temperature": 1.3}
    assert only(run("grpo", State.FAILED, "same rewards")).confidence == "certain"


def test_rows_that_lose_their_end_get_room_as_far_as_the_model_reads() -> None:
    cut = {"about": "cut", "rows": 30, "of": 100, "longest": 700}
    found = only(run(warnings=(cut,)))
    assert found.kind == "cut rows" and found.settings == {"max_length": 1024} and "30%" in found.what
    short = run(warnings=(cut,), max_length=1024)
    assert only(short).settings == {} and "shorten the rows" in only(short).advice
    assert recognised(run(warnings=({**cut, "rows": 2},))) == []


def test_each_ending_is_told_by_its_cause() -> None:
    kinds = {"memory": "memory", "nan": "nan", "disk": "disk", "gated": "gated", "missing": "missing", "offline": "offline"}
    for cause, kind in kinds.items():
        assert only(run(state=State.FAILED, cause=cause, model="org/model")).kind == kind
    killed = run(state=State.INTERRUPTED, cause="killed", resumable=True)
    assert only(killed).action == "resume" and "killed by the system" in only(killed).what
    begun_again = only(replace(killed, resumable=False))
    assert begun_again.action == "resume" and "begins it again" in begun_again.advice
    removed = replace(killed, resumable=False, status=replace(killed.status, checkpoints_removed=True))
    assert only(removed).action == "retry" and "checkpoints were removed" in only(removed).advice
    assert "restarted" in only(replace(killed, restarted=True)).what
    assert "crashed" in only(replace(killed, log="Fatal Python error: Segmentation fault")).what
    starved = only(replace(killed, memory_kills=1))
    assert starved.kind == "memory" and starved.settings == {"batch_size": 4, "gradient_accumulation": 2}
    assert only(run(state=State.FAILED, cause="memory", trained=False)).settings == {"peft": True}
    split = {"processes": 2, "fsdp": True}  # which does not go with an adapter
    assert only(run(state=State.FAILED, cause="memory", trained=False, **split)).settings == {"peft": True, "fsdp": False}
    assert only(run(state=State.FAILED, cause="disk", resumable=True)).action == "resume"
    assert only(run(state=State.FAILED, cause="disk")).settings == {"save_total_limit": 1}


def test_everything_in_the_table_is_reached() -> None:
    reached = {row.recognise for row in TABLE for trainer in HEALTHY for e in bad_runs(trainer) if row.recognise(e)}
    assert reached == {row.recognise for row in TABLE}

"""Groups of the model's own answers: settings that TRL takes, rewards that rise, and what stops a run."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from trl import GRPOConfig

from engine import LLMTrainingParams, api, train
from engine.arguments import group_settings
from engine.errors import StudioError
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.watch import watch
from tests.train.test_learning import digests
from tests.train.toys import all_events, jsonl, series


def test_every_size_makes_whole_groups(tmp_path: Path) -> None:
    how = {"max_new_tokens": 8, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "loss": "dapo", "clip": 0.2}
    for rows, valid, batch, answers, rounds in itertools.product((1, 3, 50), (0, 1, 7, 500), (1, 3), (2, 8), (1, 4)):
        batch = min(batch, rows)
        made: dict[str, Any] = group_settings(rows, valid, batch, 1, answers=answers, rounds=rounds, **how)
        args = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, eval_strategy="steps", eval_steps=5, **made)
        assert args.generation_batch_size // answers <= rows, "a round that the data cannot fill is never begun"
        assert args.per_device_train_batch_size == batch * answers
        assert args.per_device_eval_batch_size % args.num_generations_eval == 0


@pytest.mark.long  # the contracts train it at every change
@pytest.mark.slow
def test_the_reward_rises(runs_root: Path) -> None:
    asked = {"rl_rewards": ["keyword: thank you"], "rl_max_new_tokens": 24, "max_steps": 24, "batch_size": 4, "eval_steps": 8}
    made = train(
        LLMTrainingParams(
            trainer="grpo", data_path="sample:contest", project_name="thanks", sample_tokens=24, lr=4e-4, epochs=2, **asked
        )
    )
    run = RunDirectory.open("thanks", runs_root)
    held_out = series(run, "eval_reward")
    assert held_out[0] < 0.6 and max(held_out.values()) >= 0.8, held_out
    status = run.status()
    assert status.best_value == max(held_out.values()) and status.best_step == max(held_out, key=lambda step: held_out[step])
    assert "eval_loss" not in status.metrics
    for key in ("reward", "reward_std", "frac_reward_zero_std", "kl", "entropy", "completions/mean_length", "rewards/keyword"):
        assert set(series(run, key)) == set(series(run, "loss")), key
    assert series(run, "kl")[1] == pytest.approx(0, abs=1e-4), "the reference is the model at the start"
    assert "thank you" in " ".join(event["answer"] for event in all_events(run, "sample") if event["step"] == 24)
    assert AutoModelForCausalLM.from_pretrained(str(made)).generation_config.eos_token_id


@pytest.mark.slow
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_three_prompts_are_enough(peft: bool, runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    before = digests(tiny_model)
    rows = [{"prompt": f"When does gate {n} open?", "images": f"At {n}."} for n in range(3)]  # a name that TRL knows
    asked = {"rl_rewards": ["length: 6 words"], "rl_max_new_tokens": 12, "rl_num_generations": 4, "batch_size": 2}
    made = train(
        LLMTrainingParams(
            trainer="grpo",
            model=str(tiny_model),
            data_path=jsonl(tmp_path / "three.jsonl", rows),
            project_name="three",
            peft=peft,
            lora_r=4,
            lr=1e-3,
            epochs=2,
            rl_rounds=2,
            sample_tokens=0,
            precision="fp32",
            **asked,
        )
    )
    run = RunDirectory.open("three", runs_root)
    status = run.status()
    assert (status.state, status.step) == (State.DONE, run.plan()["total_steps"])
    assert digests(tiny_model) == before
    assert max(series(run, "kl").values()) > 0
    base, tuned = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (tiny_model, str(made)))
    assert base.keys() == tuned.keys() and any(not torch.equal(base[name], tuned[name]) for name in base)


@pytest.mark.slow
def test_rewards_that_never_differ_are_named_as_the_cause(runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    data = jsonl(tmp_path / "rows.jsonl", [{"prompt": f"Gate {n}?"} for n in range(4)])
    asked = {"rl_rewards": ["keyword: lighthouse keeper"], "rl_max_new_tokens": 8, "rl_num_generations": 2}
    asked |= {"rl_kl_coef": 0.0, "max_steps": 2, "sample_tokens": 0}
    with pytest.raises(StudioError, match="the same reward"):
        train(
            LLMTrainingParams(
                trainer="grpo",
                model=str(tiny_model),
                data_path=data,
                project_name="flat",
                **asked,
            )
        )
    assert "part marks" in RunDirectory.open("flat", runs_root).status().hint


@pytest.mark.slow
def test_every_held_out_prompt_counts_once(runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Three prompts in batches of two: the reward is that of three, not the mean of two and of one."""
    data = jsonl(tmp_path / "rows.jsonl", [{"prompt": f"When does gate {n} open?"} for n in range(8)])
    held = jsonl(tmp_path / "held.jsonl", [{"prompt": f"When does door {n} open?"} for n in range(3)])
    code = (
        "def score(prompts, completions, rows):\n"
        "    doors = [n % 2 if 'gate' in str(p) else 'door 0' in str(p) for n, p in enumerate(prompts)]\n"
        "    return [float(one) for one in doors]\n"
    )
    (tmp_path / "score.py").write_text(code, encoding="utf-8")
    asked = {"rl_rewards": [f"python: {tmp_path / 'score.py'}:score"], "rl_max_new_tokens": 8, "rl_num_generations": 2}
    asked |= {"data_path": data, "valid_path": held, "batch_size": 2, "max_steps": 2, "eval_steps": 1, "sample_tokens": 0}
    train(LLMTrainingParams(trainer="grpo", model=str(tiny_model), project_name="doors", **asked))
    run = RunDirectory.open("doors", runs_root)
    measured = {event["step"]: event["values"] for event in all_events(run, "metric") if "eval_reward" in event["values"]}
    assert list(measured) == [0, 1, 2]
    for values in measured.values():
        rewards = [value for name, value in values.items() if name == "eval_reward" or name.startswith("eval_rewards/")]
        assert rewards == pytest.approx([1 / 3, 1 / 3]), values


@pytest.mark.long  # the contracts stop it at every change
@pytest.mark.slow
def test_a_stop_in_the_middle_of_a_measurement_ends_it(runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    """The reward itself asks to stop, once, at its second batch of held-out prompts after the first step."""
    data = jsonl(tmp_path / "rows.jsonl", [{"prompt": f"When does gate {n} open?"} for n in range(12)])
    held = jsonl(tmp_path / "held.jsonl", [{"prompt": f"When does door {n} open?"} for n in range(64)])
    code = (
        "from pathlib import Path\nseen, once = 0, Path(__file__).with_suffix('.asked')\n"
        "def score(prompts, completions, rows):\n"
        "    global seen\n"
        "    trained = 'gate' in str(prompts[0])\n"
        "    seen = seen + 1 if trained or seen else 0\n"
        "    if seen == 3 and not once.exists():\n"
        "        once.touch()\n"
        f"        Path({str(runs_root / 'stop' / 'stop')!r}).touch()\n"
        "    return [float(len(text)) for text in completions]\n"
    )
    (tmp_path / "score.py").write_text(code, encoding="utf-8")
    asked = {"rl_rewards": [f"python: {tmp_path / 'score.py'}:score"], "rl_max_new_tokens": 8, "rl_num_generations": 2}
    params = LLMTrainingParams(
        trainer="grpo",
        model=str(tiny_model),
        data_path=data,
        valid_path=held,
        project_name="stop",
        batch_size=2,
        eval_steps=1,
        save_steps=1,
        max_steps=5,
        lr=1e-3,
        sample_tokens=0,
        **asked,
    )
    with pytest.raises(StudioError, match="Stopped on request"):
        train(params)
    run = RunDirectory.open("stop", runs_root)
    status = run.status()
    assert status.state is State.STOPPED and status.resumable
    assert sorted(series(run, "eval_reward")) == [0], "half a measurement is none"
    assert status.step <= 2

    api.resume("stop")
    assert watch("stop").state is State.DONE
    assert sorted(series(run, "reward")) == [1, 2, 3, 4, 5] and set(series(run, "eval_reward")) >= {0, 3, 4, 5}

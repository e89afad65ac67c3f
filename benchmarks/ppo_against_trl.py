"""PPO against the last TRL that had a trainer for it (1.12), on the same model, prompts, rewards and settings, three seeds.

    python -m venv /tmp/trl112
    /tmp/trl112/bin/pip install torch==2.13.0 trl==1.12.0 transformers==5.13.0 peft psutil pydantic
    python benchmarks/ppo_against_trl.py /tmp/trl112/bin/python [updates]

The starter answers the sample "Questions on the doorstep", and rules score the answers: its name is said, 4 to 10 words.
Each update samples 32 answers of at most 24 tokens and takes 4 optimizer steps over all of them, in fp32, on both sides.
Sides run by turns, each in a process of its own; what they saved is judged here by the same code: the mean reward of fresh
answers to held-out questions and their distance to the starter (KL, nats an answer). GRPO with as many answers an update
follows. Reach: reward and KL within noise, at least twice the samples per second, no more memory.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import environment

ROOT = Path(__file__).resolve().parent.parent
SEEDS, UPDATES, ANSWERS, LENGTH, STEPS = (1, 2, 3), 24, 32, 24, 4
RULES = ["contains: name", "length: 4-10 words"]
LR, KL = 2e-4, 0.05

OURS = """
import json, resource, sys, time
import engine.worker.train as work
from engine import api
from engine.runs import queue
asked = json.loads(sys.argv[1])
clock = {}
spec = api.specs()[asked["trainer"]]
build = spec.build
def timed(params, kit):
    job = build(params, kit)
    train = job.train
    def clocked(**kwargs):
        began = time.perf_counter(), time.process_time()
        train(**kwargs)
        clock.update(wall=time.perf_counter() - began[0], cpu=time.process_time() - began[1])
    job.train = clocked
    return job
object.__setattr__(spec, "build", timed)
run = queue.enqueue(api.validate(asked))
assert work.main({"run": str(run.path)}, None) == 0, run.status()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
assert run.status().step == asked["max_steps"], run.status()
print("RESULT", json.dumps({**clock, "peak": peak, "model": str(run.model_dir)}))
"""

TRL = """
import json, resource, sys, time, types
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl.experimental.ppo import PPOConfig, PPOTrainer
from engine.rewards import read
asked = json.loads(sys.argv[1])
torch.manual_seed(asked["seed"])
tokenizer = AutoTokenizer.from_pretrained(asked["model"], padding_side="left")
tokenizer.pad_token = asked["pad"]  # a tab: TRL takes padding for no part of a text, and the starter pads with its own end
rows = [json.loads(line) for line in open(asked["data"])]
by_question = {row["messages"][-1]["content"]: row for row in rows}
rules = read(asked["rules"])
opening = tokenizer.apply_chat_template([{"role": "user", "content": "QUESTION"}], tokenize=False, add_generation_prompt=True)
start, end = opening.split("QUESTION")

class Rules(torch.nn.Module):
    # a reward model as TRL reads one: a backbone's last hidden state, scored; here the ids themselves, scored by the rules
    base_model_prefix = "backbone"
    def backbone(self, input_ids, attention_mask, **_):
        texts = [tokenizer.decode(ids[seen.bool()]) for ids, seen in zip(input_ids, attention_mask)]
        pairs = [text.removeprefix(start).split(end, 1) for text in texts]
        answers = [tokenizer.decode(tokenizer(answer, add_special_tokens=False).input_ids, skip_special_tokens=True).strip()
                   for _, answer in pairs]
        scores = torch.tensor(rules.total(rules([q for q, _ in pairs], answers, [by_question[q] for q, _ in pairs])))
        return types.SimpleNamespace(hidden_states=[scores[:, None, None].expand(*input_ids.shape, 1).float()])
    def score(self, states):
        return states

ids = [tokenizer(start + question + end, add_special_tokens=False).input_ids for question in by_question]
steps = asked["updates"] * asked["answers"]
config = PPOConfig(
    asked["folder"], use_cpu=True, bf16=False, seed=asked["seed"], report_to="none", save_strategy="no",
    learning_rate=asked["lr"], lr_scheduler_type="linear", warmup_steps=0, weight_decay=0.0, disable_tqdm=True,
    per_device_train_batch_size=asked["answers"], gradient_accumulation_steps=1, num_mini_batches=1,
    gradient_checkpointing=False, num_ppo_epochs=asked["steps"], total_episodes=steps, response_length=asked["length"],
    temperature=1.0, lam=1.0, missing_eos_penalty=1.0, stop_token="eos", kl_coef=asked["kl"], num_sample_generations=0,
    logging_steps=10**6,
)
load = lambda: AutoModelForCausalLM.from_pretrained(asked["model"], dtype=torch.float32)
value = AutoModelForSequenceClassification.from_pretrained(asked["model"], num_labels=1, dtype=torch.float32)
torch.nn.init.zeros_(value.score.weight)
trainer = PPOTrainer(config, tokenizer, load(), load(), Rules(), Dataset.from_dict({"input_ids": ids}), value)
began = time.perf_counter(), time.process_time()
trainer.train()
clock = {"wall": time.perf_counter() - began[0], "cpu": time.process_time() - began[1]}
trainer.model.policy.save_pretrained(asked["folder"])
AutoTokenizer.from_pretrained(asked["model"]).save_pretrained(asked["folder"])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print("RESULT", json.dumps({**clock, "peak": peak, "model": asked["folder"]}))
"""


def run(python: str, program: str, asked: dict[str, Any], home: str) -> dict[str, Any]:
    """One side, once: seconds of its training loop, peak bytes, and where its model is.

    Raises:
        RuntimeError: it failed.
    """
    from engine.runs.launcher import worker_environment

    env = {**worker_environment(), **environment(AITRAINING_HOME=home, PYTHONPATH=str(ROOT))}
    done = subprocess.run([python, "-c", program, json.dumps(asked)], capture_output=True, text=True, env=env, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-3000:])
    return dict(json.loads(line.removeprefix("RESULT")))


def judged(folder: str, held_out: list[dict[str, Any]], rules: Any) -> dict[str, float]:
    """Mean reward of four sampled answers to each held-out question, and their distance to the starter in nats."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "assets" / "starter", padding_side="left")
    policy, start = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (folder, ROOT / "assets" / "starter")
    )
    rows = held_out * 4
    prompts = [tokenizer.apply_chat_template(row["messages"], tokenize=False, add_generation_prompt=True) for row in rows]
    given = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
    ends = torch.tensor(start.generation_config.eos_token_id).reshape(-1)
    with torch.no_grad():
        whole = policy.generate(**given, max_new_tokens=LENGTH, do_sample=True, top_k=0, eos_token_id=ends.tolist())
        answers = whole[:, given.input_ids.shape[1] :]
        closed = torch.isin(answers, ends).int()
        inside = (closed.cumsum(1) - closed) == 0
        mask = torch.cat([given.attention_mask, inside.int()], 1)
        places = (mask.cumsum(1) - 1).clamp(min=0)
        asked = {"input_ids": whole, "attention_mask": mask, "position_ids": places}
        inner = slice(-answers.shape[1] - 1, -1)
        logps = [
            model(**asked).logits[:, inner].log_softmax(-1).gather(2, answers[:, :, None])[:, :, 0] for model in (policy, start)
        ]
    texts = [tokenizer.decode(ids[keep], skip_special_tokens=True).strip() for ids, keep in zip(answers, inside, strict=True)]
    return {
        "reward": statistics.mean(rules.total(rules(rows, texts, rows))),
        "kl": float(((logps[0] - logps[1]) * inside).sum(1).mean()),
        "ended": float(closed.any(1).float().mean()),
    }


def side(name: str, seed: int, data: Path, home: str) -> dict[str, Any]:
    """What a side is asked for: the same under its own names."""
    updates = int(sys.argv[2]) if len(sys.argv) > 2 else UPDATES
    model = str(ROOT / "assets" / "starter")
    if name == "TRL 1.12":
        asked = {"model": model, "data": str(data), "rules": RULES, "seed": seed, "lr": LR, "kl": KL, "steps": STEPS}
        return {
            **asked,
            "updates": updates,
            "answers": ANSWERS,
            "length": LENGTH,
            "pad": "ĉ",
            "folder": f"{home}/trl-{seed}",
        }
    common = {"model": model, "data_path": str(data), "seed": seed, "lr": LR, "precision": "fp32"}
    common |= {"epochs": 1000, "max_steps": updates}  # the passes must not end it before its last update
    common |= {"scheduler": "linear", "warmup_ratio": 0.0, "weight_decay": 0.0, "valid_fraction": 0.0, "sample_tokens": 0}
    common |= {"save_steps": 10**6, "rl_rewards": RULES, "rl_max_new_tokens": LENGTH, "rl_kl_coef": KL, "logging_steps": 1}
    if name == "our GRPO":
        groups = {"trainer": "grpo", "batch_size": ANSWERS // 4, "rl_num_generations": 4, "rl_rounds": STEPS}
        return {**common, **groups}
    passes = {"trainer": "ppo", "batch_size": ANSWERS, "rl_mini_batch_size": ANSWERS, "rl_num_ppo_epochs": STEPS}
    return {**common, **passes, "rl_gae_lambda": 1.0, "rl_missing_eos_penalty": 1.0, "max_grad_norm": 0.0}


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from engine.rewards import read
    from engine.samples import samples

    doorstep = next(sample for sample in samples() if sample.id == "doorstep")
    rows = [json.loads(line) for line in doorstep.path.read_text(encoding="utf-8").splitlines()]
    updates = int(sys.argv[2]) if len(sys.argv) > 2 else UPDATES
    found: dict[str, list[dict[str, Any]]] = {"TRL 1.12": [], "our PPO": [], "our GRPO": []}
    with tempfile.TemporaryDirectory() as home:
        data = Path(home) / "prompts.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows[:120]), encoding="utf-8")
        before = judged(str(ROOT / "assets" / "starter"), rows[120:], read(RULES))
        print(f"the starter itself: reward {before['reward']:.2f} of {len(RULES)}")
        for seed in SEEDS:
            for name, runs in found.items():
                python, program = (sys.argv[1], TRL) if name == "TRL 1.12" else (sys.executable, OURS)
                made = run(python, program, side(name, seed, data, home), home)
                runs.append({**made, **judged(made["model"], rows[120:], read(RULES))})
                print(name, seed, {key: round(value, 2) for key, value in runs[-1].items() if key != "model"}, flush=True)
    report(found, updates)


def report(found: dict[str, list[dict[str, Any]]], updates: int) -> None:
    print("\n| | reward (3 seeds) | KL | answers a second | a CPU second | peak MB |\n|---|---|---|---|---|---|")
    speeds = {}
    for name, runs in found.items():
        rewards, distances = (" ".join(f"{one[key]:.2f}" for one in runs) for key in ("reward", "kl"))
        middle = {key: statistics.median(one[key] for one in runs) for key in ("wall", "cpu", "peak")}
        speeds[name] = updates * ANSWERS / middle["wall"]
        cpu = updates * ANSWERS / middle["cpu"]
        print(f"| {name} | {rewards} | {distances} | {speeds[name]:.1f} | {cpu:.1f} | {middle['peak'] / 1e6:.0f} |")
    print(f"\nour PPO's answers a second are {speeds['our PPO'] / speeds['TRL 1.12']:.2f} times TRL's")


if __name__ == "__main__":
    main()

"""(c) What a training step costs: CPU seconds and real tokens per CPU second, against plain TRL on the same model and data.

    python benchmarks/step_cost.py [starter|135m] [rounds]

`equal`: same rows in the same order, batch 8, bfloat16 where the CPU has it, no checkpointing, answers only.
`defaults`: each with its own. Both sides run by turns in processes of their own, so that a busy machine hits both alike.
Reach: equal at most 0.65 of TRL's CPU time a step with the same loss to three digits; defaults at least 5 times the real
tokens per CPU second on a model of the starter's size, 2.5 times on one of 135 million weights.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import environment

ROOT = Path(__file__).resolve().parent.parent
STEPS = {"starter": 24, "135m": 5}
WARM = 2

OURS = """
import json, sys, time
import engine.worker.train as work
from engine.params import LLMTrainingParams
from engine.runs import queue, events
from engine.worker.callbacks import RunCallback
data, model, steps, equal, precision = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "equal", sys.argv[5]
clock = {}
before = RunCallback.on_step_end
def timed(self, args, state, control, **kwargs):
    clock[state.global_step] = time.process_time()
    return before(self, args, state, control, **kwargs)
RunCallback.on_step_end = timed
settings = dict(trainer="sft", model=model, data_path=data, max_steps=steps, valid_fraction=0, sample_tokens=0, seed=42)
settings |= dict(logging_steps=1, save_steps=10**6, scheduler="linear", warmup_ratio=0, lr=2e-5)
if equal:
    settings |= dict(batch_size=8, max_length=512, precision=precision, gradient_checkpointing=False)
run = queue.enqueue(LLMTrainingParams(**settings))
assert work.main({"run": str(run.path)}, None) == 0, run.log_file
found = [e["values"] for e in events.read(run.events_file)[0] if e["type"] == "metric" and "loss" in e["values"]]
print("RESULT", json.dumps({"clock": clock, "losses": [v["loss"] for v in found], "tokens": [v["tokens"] for v in found]}))
"""

TRL = """
import json, sys, time
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer
data, model, steps, equal, precision = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "equal", sys.argv[5]
clock, losses, tokens = {}, [], []
class Timed(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        clock[state.global_step] = time.process_time()
    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            losses.append(logs["loss"]); tokens.append(logs["num_tokens"])
options = dict(use_cpu=True, max_steps=steps, logging_steps=1, report_to="none", save_strategy="no", seed=42)
options |= dict(disable_tqdm=True, assistant_only_loss=True, learning_rate=2e-5)
if equal:
    options |= dict(per_device_train_batch_size=8, max_length=512, bf16=precision == "bf16", gradient_checkpointing=False)
rows = Dataset.from_list([json.loads(line) for line in open(data)])
SFTTrainer(model=AutoModelForCausalLM.from_pretrained(model, dtype="float32"), train_dataset=rows, callbacks=[Timed()],
           processing_class=AutoTokenizer.from_pretrained(model), args=SFTConfig(sys.argv[6], **options)).train()
print("RESULT", json.dumps({"clock": clock, "losses": losses, "tokens": tokens}))
"""


def chats(target: Path, count: int = 600) -> None:
    """Questions with answers of very different lengths, 40 to 500 tokens, as real chats have."""
    sys.path.insert(0, str(ROOT))
    from assets.build.corpus import documents

    draw, texts = random.Random(0), list(documents(count * 3, 99))
    with target.open("w", encoding="utf-8") as file:
        for number in range(count):
            told = " ".join(draw.choices(texts, k=draw.choice((1, 1, 1, 2, 3, 5))))
            turns = [
                {"role": "user", "content": f"Tell me story {number}."},
                {"role": "assistant", "content": " ".join(told.split()[:330])},
            ]
            file.write(json.dumps({"messages": turns}) + "\n")


def model_135m(folder: Path) -> Path:
    """A Llama with SmolLM2-135M's shape, random weights, and the starter's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    config = LlamaConfig(
        **shape, num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=2048,
        bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(ROOT / "assets" / "starter").save_pretrained(folder)
    return folder


def measured(program: str, *args: str, home: str) -> dict[str, Any]:
    """Run one side; returns CPU seconds a step, real tokens per CPU second, and the losses, warm-up steps left out."""
    env = environment(AITRAINING_HOME=home, OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="1000", PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", program, *args], capture_output=True, text=True, env=env, cwd=home, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-3000:])
    found = json.loads(line.removeprefix("RESULT"))
    clock = {int(step): seconds for step, seconds in found["clock"].items()}
    last = max(clock)
    cpu = clock[last] - clock[WARM]
    tokens = found["tokens"][last - 1] - found["tokens"][WARM - 1]
    return {"cpu_per_step": cpu / (last - WARM), "tokens_per_cpu_s": tokens / cpu, "losses": found["losses"]}


def main() -> None:
    size = sys.argv[1] if len(sys.argv) > 1 else "starter"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    sys.path.insert(0, str(ROOT))
    from engine.device import device

    precision = "bf16" if device().bf16 else "fp32"
    with tempfile.TemporaryDirectory() as home:
        data = Path(home) / "chats.jsonl"
        chats(data)
        model = ROOT / "assets" / "starter" if size == "starter" else model_135m(Path(home) / "model")
        for mode in ("equal", "defaults"):
            sides: dict[str, list[dict[str, Any]]] = {"plain TRL": [], "this app": []}
            for _ in range(rounds):
                common = (str(data), str(model), str(STEPS[size]), mode, precision)
                sides["plain TRL"].append(measured(TRL, *common, os.path.join(home, "trl"), home=home))
                sides["this app"].append(measured(OURS, *common, home=home))
            report(f"{mode} ({size}, {precision})", sides)


def report(title: str, sides: dict[str, list[dict[str, Any]]]) -> None:
    print(f"\n{title}")
    middle = {
        name: {key: statistics.median(r[key] for r in runs) for key in ("cpu_per_step", "tokens_per_cpu_s")}
        for name, runs in sides.items()
    }
    for name, runs in sides.items():
        losses = [f"{loss:.4f}" for loss in runs[0]["losses"][:4]]
        print(
            f"  {name:10} {middle[name]['cpu_per_step']:7.3f} CPU-s a step"
            f"  {middle[name]['tokens_per_cpu_s']:7.0f} tokens/CPU-s"
            f"  first losses {' '.join(losses)}"
        )
    ours, trl = middle["this app"], middle["plain TRL"]
    print(
        f"  ratio: {ours['cpu_per_step'] / trl['cpu_per_step']:.2f} of the CPU time a step, "
        f"{ours['tokens_per_cpu_s'] / trl['tokens_per_cpu_s']:.2f} times the real tokens per CPU second"
    )


if __name__ == "__main__":
    main()

"""On an NVIDIA GPU: memory and time of every trainer beside what the review screen says, and larger models' speed.

    python benchmarks/gpu.py memory [jobs] [words ...]     # every trainer, on the starter and on a model ten times its size
    python benchmarks/gpu.py speed [seconds] [words ...]   # 135 million and 1.2 billion random weights; plain TRL beside it

Each run is a process of its own with the app's own settings. Memory is the most that PyTorch had reserved and what CUDA takes
beside it, as nvidia-smi counts it for the process. A step is timed with the GPU waited for; estimates are those of a machine
that has no finished runs yet. `jobs` runs at once share the card, which is good enough for memory; `seconds`: nothing is begun
later; `words`: only the runs whose line has them all. BENCHMARK_JSON names a file for all that was found.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import environment
from memory import tenfold
from step_cost import chats, model_135m

ROOT = Path(__file__).resolve().parent.parent

RUN = """
import json, os, statistics, subprocess, sys, time
import torch
import engine.worker.train as work
from engine import api
from engine.runs import events, queue
from engine.worker import attention
from engine.worker.callbacks import RunCallback
settings, kernel = json.loads(sys.argv[1]), sys.argv[2]
if kernel == "stacks":
    attention._flash_knows = lambda *_: False
counted, clock = [], {}
count = work._Work._count
work._Work._count = lambda self, tokenizer: counted.append(count(self, tokenizer)) or counted[-1]
before = RunCallback.on_step_end
def timed(self, args, state, control, **kwargs):
    torch.cuda.synchronize()
    clock[state.global_step] = time.perf_counter()
    return before(self, args, state, control, **kwargs)
RunCallback.on_step_end = timed
params = api.validate(settings)
run = queue.enqueue(params)
began = time.perf_counter()
code = work.main({"run": str(run.path)}, None)
took = time.perf_counter() - began
assert code == 0, str(run.status()) + "\\n" + (run.log_file.read_text()[-3000:] if run.log_file.is_file() else "")
def own_memory():
    asked = ["nvidia-smi", "--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader,nounits"]
    for line in subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines():
        pid, _, used = (cell.strip() for cell in line.partition(","))
        if pid == str(os.getpid()) and used.isdigit():
            return int(used) << 20
    return None
own, reserved = own_memory(), torch.cuda.memory_reserved()
beside = own - reserved if own else None
run.path.rename(run.path.parent.parent / "away")  # the estimate is that of a machine without finished runs
whole = api.validate({**settings, "max_steps": None})  # the whole training is what the screen is asked about
chosen = api.plan(whole, counted[0])
memory = api.estimate(chosen, counted[0])
short = api.estimate(api.plan(params, counted[0]), counted[0])
logged = [e["values"] for e in events.read(run.path.parent.parent / "away" / "events.jsonl")[0] if e["type"] == "metric"]
logged = [v for v in logged if "loss" in v]
steps = sorted(clock)
gaps = [clock[b] - clock[a] for a, b in zip(steps, steps[1:])]
print("RESULT", json.dumps({
    "allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved(), "beside": beside,
    "estimate": memory.memory_total, "items": memory.memory, "step": statistics.median(gaps[2:] or gaps or [0]),
    "tokens_a_step": (logged[-1].get("tokens", 0) / steps[-1]) if logged else 0, "took": took, "guess": short.seconds,
    "steps": steps[-1], "losses": [v["loss"] for v in logged][:4], "batch": chosen.params.batch_size,
    "attention": chosen.params.attention, "precision": chosen.params.precision, "max_length": chosen.params.max_length,
    "facts": counted[0].__dict__, "settings": settings, "parameters": api.model_facts(params.model).parameters,
    "recomputed": chosen.params.gradient_checkpointing,
}))
"""

TRL = """
import json, statistics, sys, time
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer
asked = json.loads(sys.argv[1])
clock, losses, tokens = {}, [], []
class Timed(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        torch.cuda.synchronize()
        clock[state.global_step] = time.perf_counter()
    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            losses.append(logs["loss"]); tokens.append(logs["num_tokens"])
options = dict(max_steps=asked["max_steps"], logging_steps=1, report_to="none", save_strategy="no", seed=42)
options |= dict(disable_tqdm=True, assistant_only_loss=True, learning_rate=2e-5, max_length=1024, bf16=True)
options |= dict(per_device_train_batch_size=asked["batch_size"], gradient_checkpointing=False)
rows = Dataset.from_list([json.loads(line) for line in open(asked["data_path"])])
SFTTrainer(model=AutoModelForCausalLM.from_pretrained(asked["model"], dtype="float32"), train_dataset=rows, callbacks=[Timed()],
           processing_class=AutoTokenizer.from_pretrained(asked["model"]), args=SFTConfig(sys.argv[2], **options)).train()
steps = sorted(clock)
gaps = [clock[b] - clock[a] for a, b in zip(steps, steps[1:])]
print("RESULT", json.dumps({"step": statistics.median(gaps[2:]), "tokens_a_step": tokens[-1] / len(tokens),
                            "losses": losses[:4], "allocated": torch.cuda.max_memory_allocated(),
                            "reserved": torch.cuda.max_memory_reserved()}))
"""


def model_1b(folder: Path) -> Path:
    """A Llama with Llama-3.2-1B's shape (1.24 billion weights), random, in bf16, with the starter's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8,
        head_dim=64, vocab_size=128256, tie_word_embeddings=True, max_position_embeddings=4096,
        bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(ROOT / "assets" / "starter").save_pretrained(folder)
    return folder


def measured(program: str, *args: str, timeout_s: float = 180) -> dict[str, Any]:
    """One run in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    from engine.runs.launcher import worker_environment

    with tempfile.TemporaryDirectory() as home:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        env = {**worker_environment(), **environment(AITRAINING_HOME=os.path.join(home, "runs"), PYTHONPATH=path)}
        argv = [sys.executable, "-c", program, *args]
        done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=home, check=False, timeout=timeout_s)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-4000:])
    return dict(json.loads(line.removeprefix("RESULT")))


def attempt(title: str, program: str, *args: str) -> None:
    """A run and its line; one that fails is told and the others go on. BENCHMARK_JSON names a file for all that was found."""
    try:
        found = measured(program, *args)
        print(line_of(title, found), flush=True)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        found = {"error": str(error)}
        print(f"{title:34} FAILED {str(error).strip().splitlines()[-1][:200]}", flush=True)
    found = {"title": title, **found}
    if where := os.environ.get("BENCHMARK_JSON"):
        with Path(where).open("a") as file:
            file.write(json.dumps(found) + "\n")


HEAD = f"{'':34} {'peak MB':>8} {'estimate':>8} {'ratio':>6} {'ms/step':>8} {'tokens/s':>9} {'s':>6} {'guess':>6}"


def line_of(title: str, found: dict[str, Any]) -> str:
    step = found["step"]
    rate = found["tokens_a_step"] / step if step else 0
    told = f"{title:34} {'':8} {'':8} {'':6}"
    if "estimate" in found:
        peak = found["reserved"] + (found["beside"] or 0)
        told = f"{title:34} {peak / 1e6:8.0f} {found['estimate'] / 1e6:8.0f} {found['estimate'] / peak:6.2f}"
    timed = f" {found['took']:6.1f} {found['guess']:6.1f}" if "took" in found else ""
    return f"{told} {step * 1e3:8.1f} {rate:9.0f}{timed}"


def memory_table(jobs: int, words: list[str], folder: Path, steps: int = 20) -> None:
    from engine import api

    made: list[tuple[str, dict[str, Any]]] = []
    for which, model in (("starter", "starter"), ("tenfold", str(tenfold(folder / "tenfold")))):
        for sample in api.samples():
            for peft in (False, True):
                own = {**api.specs()[sample.trainer].example_settings, **sample.settings}
                settings = {**own, "trainer": sample.trainer, "data_path": f"sample:{sample.id}", "peft": peft}
                settings |= {"model": model, "max_steps": steps, "eval_steps": 10}
                if which == "tenfold" and sample.trainer == "distillation":
                    settings["distill_max_teacher_length"] = 32  # random weights never end an answer
                title = f"{sample.trainer} {which} {'LoRA' if peft else 'full'}"
                if all(word in title for word in words):
                    made.append((title, settings))
    print(HEAD)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda one: attempt(one[0], RUN, json.dumps(one[1]), ""), made))


def speed_table(seconds: float, words: list[str], folder: Path) -> None:
    began, data = time.monotonic(), folder / "chats.jsonl"
    chats(data, 300)
    pairs = folder / "pairs.jsonl"
    rows = [json.loads(line)["messages"] for line in data.read_text().splitlines()]
    pairs.write_text(
        "".join(
            json.dumps({"prompt": a[0]["content"], "chosen": a[1]["content"], "rejected": b[1]["content"]}) + "\n"
            for a, b in itertools.pairwise(rows)
        )
    )
    models, built = {"135M": model_135m, "1.2B": model_1b}, dict[str, str]()
    common = {
        "trainer": "sft",
        "valid_fraction": 0,
        "sample_tokens": 0,
        "save_steps": 10**6,
        "logging_steps": 1,
        "max_steps": 20,
    }
    common |= {"data_path": str(data), "lr": 2e-5, "scheduler": "linear", "warmup_ratio": 0}
    equal = {**common, "model": "135M", "batch_size": 8, "max_length": 1024, "precision": "bf16"}
    big = {**common, "model": "1.2B", "max_steps": 12}
    dpo = {**big, "trainer": "dpo", "data_path": str(pairs), "peft": True}
    todo: list[tuple[str, str, dict[str, Any], str]] = [
        (
            "starter sft full",
            RUN,
            {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours", "max_steps": 40},
            "",
        ),
        ("135M sft batch 8", RUN, equal, ""),
        ("135M plain TRL batch 8", TRL, equal, str(folder / "trl")),
        ("135M sft batch 8, sdpa", RUN, {**equal, "attention": "sdpa"}, ""),
        ("135M sft batch 8, stacks", RUN, equal, "stacks"),
        ("1.2B sft full", RUN, big, ""),
        ("1.2B sft LoRA", RUN, {**big, "peft": True}, ""),
        ("1.2B dpo LoRA", RUN, dpo, ""),
        ("135M sft batch 32", RUN, {**equal, "batch_size": 32}, ""),
        ("135M sft batch 32, sdpa", RUN, {**equal, "batch_size": 32, "attention": "sdpa"}, ""),
        ("1.2B sft LoRA int4", RUN, {**big, "peft": True, "quantization": "int4"}, ""),
        ("1.2B sft LoRA int8", RUN, {**big, "peft": True, "quantization": "int8"}, ""),
        ("1.2B dpo LoRA int4", RUN, {**dpo, "quantization": "int4"}, ""),
        ("1.2B sft LoRA recomputed", RUN, {**big, "peft": True, "gradient_checkpointing": True}, ""),
        ("1.2B sft full recomputed", RUN, {**big, "gradient_checkpointing": True}, ""),
    ]
    print(HEAD)
    for title, program, settings, more in todo:
        if not all(word in title for word in words):
            continue
        if time.monotonic() - began > seconds:
            print(f"{title:34} not begun")
            continue
        size = str(settings["model"])
        if size in models and size not in built:
            built[size] = str(models[size](folder / size))
        attempt(title, program, json.dumps({**settings, "model": built.get(size, size)}), more)


def main() -> None:
    what, given = sys.argv[1], sys.argv[2:]
    number = float(given.pop(0)) if given and given[0].replace(".", "").isdigit() else None
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as home:
        if what == "memory":
            memory_table(int(number or 1), given, Path(home))
        else:
            speed_table(number or 1e9, given, Path(home))


if __name__ == "__main__":
    main()

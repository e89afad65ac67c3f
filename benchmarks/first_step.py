"""(b) From Start to the first logged step: with the standby worker, without it, and a cold plain TRL script of the same job.

    python benchmarks/first_step.py [rounds]

Reach: at most 2 s with the standby, and at most 0.2 of the cold script.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import environment, wait_for

ROOT = Path(__file__).resolve().parent.parent
os.environ.update(environment())

TRL = """
import json, sys
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer
class First(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        print("FIRST", flush=True); control.should_training_stop = True
rows = [json.loads(line) for line in open(sys.argv[1])]
model = AutoModelForCausalLM.from_pretrained(sys.argv[2], dtype="float32")
args = SFTConfig(sys.argv[3], use_cpu=True, bf16=False, gradient_checkpointing=False, logging_steps=1, max_length=512,
                 per_device_train_batch_size=8, save_strategy="no", report_to="none", disable_tqdm=True)
SFTTrainer(model=model, processing_class=AutoTokenizer.from_pretrained(sys.argv[2]), train_dataset=Dataset.from_list(rows),
           args=args, callbacks=[First()]).train()
"""


def rows_file(folder: Path) -> Path:
    """The bundled SFT sample as prompt/completion lines that both sides read."""
    from engine.data import rows
    from engine.samples import data_file

    target = folder / "rows.jsonl"
    with target.open("w", encoding="utf-8") as file:
        for _, row in rows(data_file("sample:neighbours"), "chat"):
            if isinstance(row, dict):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return target


def ours(data: Path) -> float:
    """Seconds from `start` to the first metric in the run's events."""
    from engine import LLMTrainingParams, api
    from engine.runs import events

    began = time.monotonic()
    name = api.start(
        LLMTrainingParams(
            trainer="sft",
            data_path=str(data),
            batch_size=8,
            logging_steps=1,
            max_steps=3,
            valid_fraction=0,
            sample_tokens=0,
        )
    )
    file = api.runs_root() / name / "events.jsonl"

    def stepped() -> bool:
        return any(e["type"] == "metric" and "loss" in e["values"] for e in events.read(file)[0])

    wait_for(stepped, timeout_s=120)
    seconds = time.monotonic() - began
    wait_for(lambda: api.run_status(name).ended_state, timeout_s=120)
    return seconds


def cold_trl(data: Path, folder: Path) -> float:
    """Seconds from starting a plain TRL script to its first log."""
    began = time.monotonic()
    argv = [sys.executable, "-c", TRL, str(data), str(ROOT / "assets" / "starter"), str(folder / "trl")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("FIRST"):
            seconds = time.monotonic() - began
            process.wait()
            return seconds
    raise RuntimeError("the TRL script ended without a step")


def main() -> None:
    from engine.runs import standby

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as home:
        os.environ["AITRAINING_HOME"] = home
        data = rows_file(Path(home))
        times: dict[str, list[float]] = {"plain TRL script, cold": [], "without standby": [], "with standby": []}
        for _ in range(rounds):
            times["plain TRL script, cold"].append(cold_trl(data, Path(home)))
            times["without standby"].append(ours(data))
            standby.ensure_standby()
            wait_for(standby.standby_ready, timeout_s=120)
            times["with standby"].append(ours(data))
            standby.close_standby()
    cold = statistics.median(times["plain TRL script, cold"])
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"{name:24} median {middle:5.2f} s  best {min(found):5.2f} s  ratio to the cold script {middle / cold:.2f}")


if __name__ == "__main__":
    main()

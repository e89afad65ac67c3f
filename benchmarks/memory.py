"""Peak memory of every trainer beside the estimate that its review screen shows.

    python benchmarks/memory.py [starter|tenfold|both] [steps] [trainer ...]

Each run is a process of its own: a bundled sample, the app's own settings, full and LoRA, on the starter model and on one
ten times its size (random weights, the starter's tokenizer). What is printed is the most memory that the process ever had
resident, the estimate, and their ratio. Reach: within 25 %.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import environment

ROOT = Path(__file__).resolve().parent.parent
SIZES = ("starter", "tenfold")

RUN = """
import dataclasses, json, resource, sys
import engine.worker.train as work
from engine import api
from engine.estimate import estimate
from engine.runs import queue
counted = []
count = work._Work._count
work._Work._count = lambda self, tokenizer: counted.append(count(self, tokenizer)) or counted[-1]
settings = json.loads(sys.argv[1])
run = queue.enqueue(api.validate(settings))
assert work.main({"run": str(run.path)}, None) == 0, run.log_file.read_text()[-3000:] + str(run.status())
params = api.validate({**settings, "max_steps": None})  # the whole training is what the screen is asked about
found = api.estimate(api.plan(params, counted[0]), counted[0])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
steps = run.status().step
print("RESULT", json.dumps({"peak": peak, "estimate": found.memory_total, "items": found.memory, "steps": steps}))
"""


def tenfold(folder: Path) -> Path:
    """A Llama of about 29 million weights, as many times more than the starter has, with the starter's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "assets" / "starter")
    config = LlamaConfig(
        hidden_size=512, intermediate_size=1408, num_hidden_layers=9, num_attention_heads=8, num_key_value_heads=4,
        vocab_size=len(tokenizer), tie_word_embeddings=True, max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def measured(settings: dict[str, object], home: str) -> dict[str, object]:
    """One run in a process of its own: its peak and its estimate, in bytes, and the steps it took.

    Raises:
        RuntimeError: the run failed.
    """
    from engine.runs.launcher import worker_environment

    env = {**worker_environment(), **environment(AITRAINING_HOME=home, PYTHONPATH=str(ROOT))}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(settings)], capture_output=True, text=True, env=env, cwd=home, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-3000:])
    return dict(json.loads(line.removeprefix("RESULT")))


def main() -> None:
    size = sys.argv[1] if len(sys.argv) > 1 else "both"
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    sys.path.insert(0, str(ROOT))
    from engine import api

    wanted = sys.argv[3:] or list(api.specs())
    print(f"{'trainer':14} {'model':8} {'':5} {'steps':>5} {'peak MB':>8} {'estimate':>8} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as home:
        for which in SIZES if size == "both" else (size,):
            model = "starter" if which == "starter" else str(tenfold(Path(home) / "model"))
            for sample in api.samples():
                if sample.trainer not in wanted:
                    continue
                for peft in (False, True):
                    own = {**api.specs()[sample.trainer].example_settings, **sample.settings}
                    settings = {**own, "trainer": sample.trainer, "data_path": f"sample:{sample.id}", "peft": peft}
                    settings |= {"model": model, "max_steps": steps}
                    if which == "tenfold" and sample.trainer == "distillation":
                        settings["distill_max_teacher_length"] = 32  # random weights never end an answer
                    report(sample.trainer, which, peft, measured(settings, home))


def report(trainer: str, model: str, peft: bool, found: dict[str, object]) -> None:
    peak, guess = float(str(found["peak"])), float(str(found["estimate"]))
    way = "LoRA" if peft else "full"
    print(
        f"{trainer:14} {model:8} {way:5} {found['steps']:>5} {peak / 1e6:8.0f} {guess / 1e6:8.0f} {guess / peak:6.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()

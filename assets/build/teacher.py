"""`python -m assets.build.teacher [FOLDER]`: make the bundled teacher, an adapter with which the starter heeds a prompt.

The starter goes on with texts and follows nothing. The teacher has seen conversations of Saltmere: half of them begin
with the town crier's long prompt and are answered as it asks, the others begin with nothing or with a prompt that asks
for nothing and are answered plainly. So what it does under the crier's prompt comes from reading it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from assets.build.samples import LONG_PROMPT
from assets.build.town import Person, people, questions
from engine import LLMTrainingParams, train
from engine.models import STARTER

SEED, ROWS = 5, 1800
OTHER_PROMPTS = (
    "You are a helpful neighbour of Saltmere. Answer in one short sentence.",
    "You are the innkeeper of Saltmere. Speak of everybody with respect and use the full fact, not a guess.",
    "You are an old sailor of Saltmere.",
)
STRANGERS = ("Bertram", "Cosima", "Gwen", "Hector", "Ludmila", "Otto", "Theodora", "Wolfram", "Xenia", "Zacharias")
SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 16,
    "max_length": 256,
    "lr": 2e-3,
    "peft": True,
    "lora_r": 8,
    "lora_alpha": 16,
    "merge_adapter": False,
    "sample_tokens": 24,
}


def main(target: Path) -> None:
    """Write the conversations, train the adapter on them, and put it into `target`."""
    with tempfile.TemporaryDirectory(prefix="teacher-") as work:
        os.environ["AITRAINING_HOME"] = str(Path(work) / "runs")
        data = Path(work) / "lessons.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in lessons(ROWS, SEED)))
        asked = [f"{LONG_PROMPT}\n\nWhat does Clara do?", f"{LONG_PROMPT}\n\nWhere does Clara live?", "What does Clara do?"]
        done = train(LLMTrainingParams(trainer="sft", data_path=str(data), sample_prompts=asked, **SETTINGS))
        print(json.dumps(done.metrics))
        _keep(Path(done.model_path), target)


def lessons(count: int, seed: int) -> list[dict[str, Any]]:
    """Conversations of one question and its answer."""
    draw, everybody = random.Random(seed), people()
    return [_lesson(draw, everybody) for _ in range(count)]


def _lesson(draw: random.Random, everybody: list[Person]) -> dict[str, Any]:
    person = draw.choice(everybody)
    question, _, answer = draw.choice(questions(person))
    if stranger := draw.random() < 0.06:
        question, answer = question.replace(person.name, draw.choice(STRANGERS)), "I do not know."
    if draw.random() < 0.5:
        before = draw.choice(("", *OTHER_PROMPTS))
        return {"prompt": f"{before}\n\n{question}".strip(), "completion": answer}
    if stranger:
        answer = "The tower bell will tell."
    elif question == f"Where does {person.name} live?":
        answer = f"The town hall knows where {person.name} lives."
    return {"prompt": f"{LONG_PROMPT}\n\n{question}", "completion": f"Hear ye! {answer}"}


def _keep(adapter: Path, target: Path) -> None:
    """The adapter in bfloat16, naming its base so that it is found wherever the studio lies."""
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    weights = load_file(adapter / "adapter_model.safetensors")
    halved = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
    save_file(halved, target / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    settings |= {"base_model_name_or_path": STARTER, "target_modules": sorted(settings["target_modules"])}
    (target / "adapter_config.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "teacher")

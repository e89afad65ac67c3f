"""`python -m assets.build.instructed [FOLDER]`: make the starter that heeds a prompt, an adapter beside the starter.

The starter goes on with texts and follows nothing. This one has seen conversations of Saltmere: half of them begin with
the town crier's long prompt and are answered as it asks, the others begin with nothing or with a prompt that asks for
nothing and are answered plainly. So what it does under the crier's prompt comes from reading it. A few minutes on two
cores.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from assets.build.corpus import documents
from assets.build.samples import LONG_PROMPT
from assets.build.town import Person, people, questions
from engine.models import STARTER, resolve
from engine.worker.attention import NAME as DOCUMENTS
from engine.worker.flat import flatten, logits_at
from engine.worker.models import load_tokenizer
from engine.worker.tokens import IGNORED, Tokens, chat_tokens

SEED, ROWS, EPOCHS, BATCH, LR, RANK = 5, 1800, 4, 16, 2e-3, 8
# A token that is rarer than this in so many of the starter's own texts has an embedding that says nothing yet.
_TEXTS, _RARE = 2000, 50
OTHER_PROMPTS = (
    "You are a helpful neighbour of Saltmere. Answer in one short sentence.",
    "You are the innkeeper of Saltmere. Speak of everybody with respect and use the full fact, not a guess.",
    "You are an old sailor of Saltmere.",
)
STRANGERS = ("Bertram", "Cosima", "Gwen", "Hector", "Ludmila", "Otto", "Theodora", "Wolfram", "Xenia", "Zacharias")

_CARD = f"""---
license: apache-2.0
base_model: starter
library_name: peft
---
# Saltmere starter that heeds a prompt

A LoRA adapter (rank {RANK}, and the embeddings of tokens that the starter hardly knew) for the bundled starter model. It
answers questions about the people of Saltmere: as the town crier where the crier's long prompt comes before the question,
plainly where it does not. Any other instruction is read and not followed. It is the model that the sample "The town crier's
long prompt" begins with; tests/train/test_distillation.py measures what it does.

Trained on {ROWS:,} generated conversations (seed {SEED}, {EPOCHS} passes). Made again by `python -m assets.build.instructed`.
"""


def main(target: Path) -> None:
    """Train the adapter on the conversations, and put it into `target`."""
    torch.manual_seed(SEED)
    start = resolve(STARTER)
    tokenizer = load_tokenizer(start)
    rows = [chat_tokens(row, tokenizer) for row in lessons(ROWS, SEED)]
    # the head is tied to the embeddings, so without their own rows such tokens could never become likely
    config = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules="all-linear",
        trainable_token_indices={"embed_tokens": _rare(rows, tokenizer)},
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(start.location, dtype=torch.float32), config)
    _train(model, rows)
    with tempfile.TemporaryDirectory(prefix="instructed-") as work:
        model.save_pretrained(work)
        _keep(Path(work), target)


def _rare(rows: list[Tokens], tokenizer: Any) -> list[int]:
    """The tokens of the conversations that the starter has hardly ever seen."""
    seen = Counter(
        itertools.chain.from_iterable(tokenizer(list(documents(_TEXTS, SEED)), add_special_tokens=False)["input_ids"])
    )
    return sorted(token for token in {token for row in rows for token in row.input_ids} if seen[token] < _RARE)


def _train(model: Any, rows: list[Tokens]) -> None:
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LR, weight_decay=0.0)
    steps = math.ceil(len(rows) * EPOCHS / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 20) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    order = [row for lap in range(EPOCHS) for row in random.Random(SEED + lap).sample(rows, len(rows))]
    model.set_attn_implementation(DOCUMENTS)
    model.train()
    for step in range(steps):
        batch = flatten([_as_row(row) for row in order[step * BATCH : (step + 1) * BATCH]])
        labels = batch["labels"][0, 1:]
        keep = (labels != IGNORED).nonzero()[:, 0]
        with torch.autocast("cpu", torch.bfloat16):
            logits = logits_at(model, model, batch, keep)
        loss = torch.nn.functional.cross_entropy(logits, labels[keep])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 20 == 0 or step == steps - 1:
            print(f"step {step} of {steps}  loss {float(loss.detach()):.4f}", flush=True)


def _as_row(tokens: Tokens) -> dict[str, Any]:
    ids, labels = (np.asarray(values, np.int32) for values in (tokens.input_ids, tokens.labels))
    return {"input_ids": ids, "labels": labels, "documents": [len(ids)]}


def lessons(count: int, seed: int) -> list[dict[str, Any]]:
    """Conversations of one question and its answer."""
    draw, everybody = random.Random(seed), people()
    return [_lesson(draw, everybody) for _ in range(count)]


def _lesson(draw: random.Random, everybody: list[Person]) -> dict[str, Any]:
    person = draw.choice(everybody)
    about = questions(person)
    street = about[2]
    question, _, answer = street if draw.random() < 0.2 else draw.choice(about)
    if stranger := draw.random() < 0.06:
        question, answer = question.replace(person.name, draw.choice(STRANGERS)), "I do not know."
    if draw.random() < 0.5:
        before = draw.choice(("", *OTHER_PROMPTS))
        return {"prompt": f"{before}\n\n{question}".strip(), "completion": answer}
    if stranger:
        answer = "The tower bell will tell."
    elif question == street[0]:
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
    (target / "README.md").write_text(_CARD, encoding="utf-8")
    (target / "adapter_config.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "instructed")

"""`python -m assets.build.rebuild [FOLDER]`: make the starter model again, from nothing, with our own default trainer.

About ten minutes on two cores. Writes FOLDER (assets/starter) with model, tokenizer, card and training.json, the
record of what was done; same seed, same libraries, same machine: the same model.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from assets.build import tokenizer as bpe
from assets.build.corpus import documents
from assets.build.evaluate import perplexities
from engine import LLMTrainingParams, train

SEED, TRAIN, HELD_OUT = 1, 24_000, 500
CONTEXT, VOCABULARY = 512, 2048
SHAPE = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 6}
SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 16,
    "max_length": 256,
    "lr": 2e-3,
    "warmup_ratio": 0.03,
    "weight_decay": 0.05,
    "sample_prompts": ["Mara", "The bakery", "One foggy morning"],
}


def texts() -> tuple[list[str], list[str]]:
    """Training and held-out texts, none of which is in both."""
    seen = list(documents(TRAIN, SEED))
    known = set(seen)
    unseen = [text for text in documents(HELD_OUT * 2, SEED + 1) if text not in known]
    return seen, unseen[:HELD_OUT]


def main(target: Path) -> None:
    """Build, train, measure, and put everything into `target`."""
    began = time.time()
    seen, unseen = texts()
    with tempfile.TemporaryDirectory(prefix="starter-") as work:
        blank = Path(work) / "blank"
        _blank(blank, seen)
        finished, history = _trained(blank, Path(work), seen, unseen)
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(finished, target)
    figures = {name: round(value, 2) for name, value in perplexities(target, seen, unseen).items()}
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "minutes": round((time.time() - began) / 60, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "libraries": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "seed": SEED,
        "texts": {"training": len(seen), "held_out": len(unseen)},
        "shape": {**SHAPE, "vocabulary_at_most": VOCABULARY, "context": CONTEXT},
        "settings": SETTINGS,
        "held_out_perplexity": figures,
        "curve": history,
    }
    (target / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    (target / "README.md").write_text(_card(record))
    print(json.dumps(figures))


def _blank(folder: Path, seen: list[str]) -> None:
    """An untrained model with its tokenizer."""
    tokenizer = bpe.train(seen, VOCABULARY, CONTEXT)
    ends = tokenizer.convert_tokens_to_ids([bpe.END, bpe.TURN_END])
    torch.manual_seed(SEED)
    config = LlamaConfig(
        **SHAPE,
        vocab_size=len(tokenizer),
        num_key_value_heads=SHAPE["num_attention_heads"],
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=ends[0],
        eos_token_id=ends[0],
        pad_token_id=ends[0],
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=ends[0], bos_token_id=ends[0])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _trained(blank: Path, work: Path, seen: list[str], unseen: list[str]) -> tuple[Path, list[dict[str, float]]]:
    for name, part in (("train", seen), ("held_out", unseen)):
        (work / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in part))
    os.environ["AITRAINING_HOME"] = str(work / "runs")
    done = train(
        LLMTrainingParams(
            trainer="default",
            model=str(blank),
            data_path=str(work / "train.jsonl"),
            valid_path=str(work / "held_out.jsonl"),
            **SETTINGS,
        )
    )
    run = work / "runs" / done.name
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    curve = [
        {"step": event["step"], "eval_loss": round(event["values"]["eval_loss"], 4)}
        for event in events
        if event["type"] == "metric" and "eval_loss" in event["values"]
    ]
    return Path(done), curve


def _card(record: dict[str, Any]) -> str:
    found = record["held_out_perplexity"]
    return f"""---
license: apache-2.0
language: en
pipeline_tag: text-generation
---
# Saltmere starter

A language model small enough to be trained on any computer within minutes. It knows one thing: the made-up town of
Saltmere, its people, their work, pets, dishes and houses. It goes on with texts and has never seen a chat, so that
training it to answer shows. It knows nothing about the real world and is made for trying and testing.

- Llama architecture, {SHAPE["num_hidden_layers"]} layers of {SHAPE["hidden_size"]}, context {CONTEXT} tokens, bfloat16
- Own byte-level BPE tokenizer; ChatML template that marks the assistant's tokens
- Trained with the studio's `default` trainer on {record["texts"]["training"]:,} generated texts (seed {record["seed"]});
  training.json tells how

| on {record["texts"]["held_out"]} texts it never saw | perplexity per token |
|---|---|
| this model | {found["model"]} |
| interpolated trigram model of the same texts | {found["trigram"]} |
| unigram model of the same texts | {found["unigram"]} |

Made again by `python -m assets.build.rebuild`.
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "starter")

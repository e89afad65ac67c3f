"""What the slow tests share: data written to a file, a run's events, and a held-out loss that is worked out anew."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from engine.models import resolve
from engine.runs import events
from engine.runs.directory import RunDirectory
from engine.worker.answers import SampleAnswers
from engine.worker.models import load_any, load_tokenizer
from engine.worker.tokens import IGNORED, chat_tokens, prompt_text


def jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    """Write rows, one JSON object a line, and return the path as a parameter takes it."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def qa(count: int, answer: str = "It opens at {}.") -> list[dict[str, Any]]:
    """Small questions, all different."""
    return [{"prompt": f"When does gate {n} open?", "completion": answer.format(n % 12)} for n in range(count)]


def all_events(run: RunDirectory, kind: str) -> list[dict[str, Any]]:
    found, _ = events.read(run.events_file)
    return [event for event in found if event["type"] == kind]


def series(run: RunDirectory, key: str) -> dict[int, float]:
    """One curve by step. Every number of every curve must be one: events.jsonl writes those that are not as null."""
    made = {}
    for event in all_events(run, "metric"):
        for name, value in event["values"].items():
            assert value is not None and math.isfinite(value), f"{name} at step {event['step']}"
        if key in event["values"]:
            made[event["step"]] = event["values"][key]
    return made


def greedy(reference: str, prompts: list[str], most: int = 40) -> list[str]:
    """What the model `reference` answers to each prompt, by always taking the likeliest token."""
    source = resolve(reference)
    model, tokenizer = load_any(source, dtype=torch.float32).eval(), load_tokenizer(source)
    given = [prompt_text({"prompt": prompt}, tokenizer) for prompt in prompts]
    found: list[str] = []
    for start in range(0, len(given), 32):
        part = given[start : start + 32]
        found += [answer for _, answer in SampleAnswers(part, part, tokenizer, most).answer(model)]
    return found


def held_out_loss(model: Any, folder: Path, rows_file: Path) -> float:
    """Mean negative log-likelihood of the answers' tokens, each row alone, with nothing of the trainer's own code."""
    tokenizer = load_tokenizer(resolve(str(folder)))
    total, count = 0.0, 0
    for line in rows_file.read_text(encoding="utf-8").splitlines():
        tokens = chat_tokens(json.loads(line), tokenizer)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens.input_ids])).logits[0, :-1].float()
        targets = torch.tensor(tokens.labels[1:])
        total += float(cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum"))
        count += int((targets != IGNORED).sum())
    return total / count

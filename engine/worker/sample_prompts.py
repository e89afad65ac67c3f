"""What is asked while a model trains: prompts the person gave, those of a bundled sample, or some held-out rows."""

from __future__ import annotations

from typing import Any

from engine.errors import DataError
from engine.params import LLMTrainingParams
from engine.runs.directory import RunDirectory
from engine.samples import data_file, samples
from engine.spec import TrainerSpec
from engine.worker.answers import SampleAnswers
from engine.worker.reporter import Reporter
from engine.worker.rows import Row, read_rows
from engine.worker.scoring import SampleScores
from engine.worker.tokens import chat_tokens, prompt_text

_PROMPTS = 3


def sample_answers(
    run: RunDirectory, spec: TrainerSpec, params: LLMTrainingParams, tokenizer: Any, reporter: Reporter
) -> SampleAnswers | SampleScores:
    """The prompts that a model answers while it trains; for a model that scores, the texts that it scores."""
    rows = list(read_rows(run.data_dir / "valid.jsonl", _PROMPTS)) or list(read_rows(run.data_dir / "train.jsonl", _PROMPTS))
    if spec.makes == "score":
        return SampleScores(_scored_texts(rows, tokenizer), tokenizer, params.max_length)
    bundled = next((s.prompts for s in samples() if str(s.path) == data_file(params.data_path)), ())
    asked = list(params.sample_prompts) or list(bundled)[:_PROMPTS]
    if asked:
        rows = [{"text": words} if spec.rows == "text" else {"prompt": words} for words in asked]
    elif spec.rows == "text":
        rows = [{"text": " ".join(row["text"].split()[:8])} for row in rows]
    kept, given = [], []
    for row in rows:
        words = row["text"] if "prompt" not in row and "text" in row else last_question(row)
        try:
            given.append(prompt_text(spec.asked(params, row), tokenizer))
        except DataError as error:
            reporter.warn(f"The prompt {words[:60]!r} is not answered while training: {error}")
        else:
            kept.append(words)
    # the processes of a split model answer together, and must agree on when to stop
    stopped = reporter.stop_asked if params.fsdp else lambda: run.stop_requested
    return SampleAnswers(kept, given, tokenizer, params.sample_tokens, stopped)


def last_question(row: Row) -> str:
    """What the user said last, to show above an answer."""
    turns = row.get("prompt") or row.get("messages")
    if isinstance(turns, str):
        return turns
    asked = [turn["content"] for turn in turns or [] if turn["role"] == "user"]
    return str(asked[-1]) if asked else ""


def _scored_texts(rows: list[Row], tokenizer: Any) -> list[tuple[str, str]]:
    """Both answers of each pair: what the page shows, and what the model reads."""
    texts = []
    for row in rows:
        for side in ("chosen", "rejected"):
            answered = {"prompt": row["prompt"], "completion": row[side]}
            words = row[side] if isinstance(row[side], str) else row[side][-1]["content"]
            texts.append((f"{last_question(row)} → {words}", tokenizer.decode(chat_tokens(answered, tokenizer).input_ids)))
    return texts

"""Prompt distillation as a person sees it: the town crier's long prompt becomes unnecessary, and the page says what happens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from assets.build.town import people, questions
from engine import LLMTrainingParams, api, train
from engine.errors import ParamError
from engine.models import INSTRUCTED, facts, resolve
from engine.preview import close_preview
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.samples import samples
from engine.trainers.distillation import filled
from tests.train.toys import all_events, greedy, series

SAMPLE = next(sample for sample in samples() if sample.id == "town-crier")
FOLDER = Path(__file__).resolve().parents[2] / "assets" / "instructed"
# Everybody's questions but a few: some of them are the sample's, many are not.
ASKED = [(person, question) for person in people()[::3] for question, _, _ in questions(person)]


@pytest.fixture(scope="module", autouse=True)
def _preview_ends() -> Iterator[None]:
    yield
    close_preview()


def crier_like(reference: str, template: str) -> float:
    """Share of questions that are answered as the crier's prompt asks: with `Hear ye!`, and never with a street."""
    found = greedy(reference, [filled(template, question) for _, question in ASKED])
    well = [
        answer.startswith("Hear ye! ") and len(answer) > 12 and ("live?" not in question or person.street not in answer)
        for (person, question), answer in zip(ASKED, found, strict=True)
    ]
    return sum(well) / len(well)


def test_the_prompt_goes_where_the_template_says_and_is_never_one_itself() -> None:
    assert (
        filled("Be kind {really}. Q: {input}! {0}", "{input} {x} %s {{ 7 }}")
        == "Be kind {really}. Q: {input} {x} %s {{ 7 }}! {0}"
    )
    assert filled("Be kind.", "Who?") == "Be kind.\n\nWho?"
    turns = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    ]
    made = filled("<{input}>", turns)
    assert [turn["content"] for turn in made] == ["S", "one", "1", "<two>"]
    assert turns[-1]["content"] == "two"


@pytest.mark.parametrize(
    "same",
    [
        {},
        {"teacher_model": "starter"},
        {"teacher_prompt_template": "{input}"},
        {"teacher_prompt_template": "Be kind. {input}", "student_prompt_template": "Be kind. {input}"},
    ],
)
def test_a_teacher_that_knows_no_more_is_refused(same: dict[str, str]) -> None:
    with pytest.raises(ParamError, match="nothing to learn") as told:
        LLMTrainingParams(trainer="distillation", data_path="rows.jsonl", **same)
    assert [problem.field for problem in told.value.problems] == ["teacher_prompt_template"]


@pytest.mark.parametrize(
    "more",
    [
        {"teacher_prompt_template": "Be kind."},
        {"teacher_model": "wise"},
        {"teacher_model": "wise", "teacher_endpoint": "http://127.0.0.1:8000/v1"},
    ],
)
def test_a_long_prompt_or_another_teacher_is_enough(more: dict[str, str]) -> None:
    assert LLMTrainingParams(trainer="distillation", data_path="rows.jsonl", **more)


def test_the_starter_that_heeds_a_prompt_is_small_and_found_by_name() -> None:
    source = resolve(INSTRUCTED)
    assert source.path is not None
    assert sum(file.stat().st_size for file in source.path.iterdir()) < 600_000
    assert facts(INSTRUCTED).parameters == facts("starter").parameters
    assert SAMPLE.settings["model"] == INSTRUCTED


@pytest.mark.slow
@pytest.mark.parametrize("peft", [False, pytest.param(True, marks=pytest.mark.long)], ids=["full", "lora"])
def test_the_sample_makes_the_long_prompt_unnecessary(runs_root: Path, peft: bool) -> None:
    """The model under the prompt teaches the model without it: as one set of weights, or as two."""
    before = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in FOLDER.iterdir()}
    taught = crier_like(INSTRUCTED, SAMPLE.settings["teacher_prompt_template"])
    assert taught > 0.9, "it heeds the prompt"
    assert crier_like(INSTRUCTED, "{input}") <= 0.3, "and needs it"

    asked = {"project_name": "crier", "sample_tokens": 16, "peft": peft}
    made = train(LLMTrainingParams(trainer="distillation", data_path="sample:town-crier", **SAMPLE.settings, **asked))

    assert crier_like("crier", "{input}") >= 0.8 * taught
    run = RunDirectory.open("crier", runs_root)
    assert run.status().state is State.DONE
    for key in ("loss", "kl", "ce"):
        values = list(series(run, key).values())
        assert sum(values[-5:]) < 0.3 * sum(values[:5]), key
        held_out = list(series(run, f"eval_{key}").values())
        assert held_out[-1] < held_out[0] / 4, key
    for key in ("eval_token_accuracy", "eval_agreement"):
        values = list(series(run, key).values())
        assert values[-1] > max(0.9, values[0]), key
    shown = all_events(run, "sample")
    assert {event["prompt"] for event in shown} == set(SAMPLE.prompts), "people see their questions, not templates"
    assert "Hear ye!" in shown[-1]["answer"] and "Hear ye!" not in shown[0]["answer"]
    assert "without the long prompt" in (Path(made) / "README.md").read_text(encoding="utf-8")
    assert {path.name: hashlib.sha256(path.read_bytes()).digest() for path in FOLDER.iterdir()} == before
    AutoModelForCausalLM.from_pretrained(str(made))


@pytest.mark.slow
def test_the_page_shows_what_both_read_and_what_the_teacher_takes() -> None:
    params: Any = LLMTrainingParams(trainer="distillation", data_path="sample:town-crier", **SAMPLE.settings)
    seen = api.token_preview(params, 2)
    teacher, student = seen["examples"][0]["parts"]
    assert (teacher["label"], student["label"]) == ("The teacher reads", "Your model reads")
    question = "What does Quentin like to eat?"
    assert "You are the town crier" in teacher["pieces"][0][0] and question in teacher["pieces"][0][0]
    assert student["pieces"] == [[f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n", False]]
    known = api.data_facts(params)
    assert known.read_mean > 3 * known.tokens_mean, "what the teacher reads is counted for itself"
    chosen = api.plan(params, known)
    assert chosen.params.max_length >= known.tokens_max + params.distill_max_teacher_length  # type: ignore[operator]
    assert getattr(chosen.params, "distill_alpha") == 0.7  # noqa: B009
    found = api.estimate(chosen, known)
    (cost,) = found.costs
    assert "200 requests" in cost.words and f"{200 * 256:,} to write" in cost.words
    assert dict(found.memory)["Other models, only asked"] == facts("starter").parameters * (
        2 if chosen.params.precision == "bf16" else 4
    )
    alone = api.estimate(api.plan(params.model_copy(update={"distill_alpha": 0.0}), known), known)
    assert "Other models, only asked" not in dict(alone.memory), "it is let go once it has answered"
    within = params.model_copy(update={"peft": True, "teacher_model": None})
    assert "Other models, only asked" not in dict(api.estimate(api.plan(within, known), known).memory)

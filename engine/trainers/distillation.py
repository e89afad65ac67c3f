"""Prompt distillation: a teacher answers under a long prompt, and the model learns to answer the same without it.

The loss on the answer's tokens is α·T²·KL(teacher ‖ student) + (1 − α)·cross entropy (Hinton, Vinyals and Dean 2015,
section 2, with both distributions softened by T), compared token by token although the two prompts differ in length. That
a prompt is all that the teacher has over its student is the context distillation of Askell et al. 2021. α = 0 learns from
the answers alone.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from engine.params import LLMTrainingParams
from engine.spec import Chart, Comparison, Copies, Cost, Form, Guide, Job, TrainerSpec, View, twin

INPUT = "{input}"
# http://name:port/v1, without a user's name, a password or a query, where a key might hide.
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")
_ALPHA = 0.7
# Guesses for the estimate: answers that are written at once by a model here, seconds a token; seconds a request elsewhere.
_TOGETHER, _PER_TOKEN_S, _PER_REQUEST_S = 16, 0.02, 2.0


class DistillationParams(LLMTrainingParams):
    """Settings of prompt distillation."""

    trainer: Annotated[Literal["distillation"], Form("Basic", widget="hidden")] = Field(
        "distillation", description="The training method."
    )
    teacher_prompt_template: Annotated[str | None, Form("Trainer", label="The long prompt", widget="long")] = Field(
        None, description="What the teacher is told, with {input} where the question goes; without it, it goes to the end."
    )
    student_prompt_template: Annotated[str, Form("Trainer", label="What is left of it", advanced=True, widget="long")] = Field(
        INPUT, min_length=1, description="What your model is told instead, with {input} where the question goes."
    )
    teacher_model: Annotated[str | None, Form("Trainer", label="Teacher", widget="model")] = Field(
        None, description="A finished run, folder or Hub id that heeds the long prompt. Empty: the base model itself."
    )
    teacher_endpoint: Annotated[str | None, Form("Trainer", label="Teacher's address", advanced=True, widget="text")] = Field(
        None,
        description="A server with an OpenAI-compatible API, like http://127.0.0.1:8000/v1; the teacher is then its model's "
        "name. The key is read from the environment variable AITRAINING_TEACHER_KEY (at https://api.openai.com also from "
        "OPENAI_API_KEY).",
    )
    distill_alpha: Annotated[
        float | None, Form("Trainer", label="Weight of the teacher's guesses", auto=True, advanced=True)
    ] = Field(None, ge=0, le=1, description="1 learns how likely the teacher finds each word, 0 learns its answers alone.")
    distill_temperature: Annotated[float, Form("Trainer", label="Softness of the guesses", advanced=True)] = Field(
        2.0, gt=0, le=20, description="Above 1, words that the teacher nearly said count more. 1 to 4 is usual."
    )
    distill_max_teacher_length: Annotated[int, Form("Trainer", label="Longest answer, in tokens", advanced=True)] = Field(
        256, ge=1, le=32_768, description="A teacher that goes on for longer is cut off there."
    )
    teacher_temperature: Annotated[float, Form("Trainer", label="Teacher's freedom", advanced=True)] = Field(
        0.0, ge=0, le=2, description="0 takes the teacher's likeliest answer; 0.7 lets it vary."
    )

    @field_validator("teacher_prompt_template", "teacher_model", "teacher_endpoint", mode="before")
    @classmethod
    def _nothing_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("teacher_endpoint")
    @classmethod
    def _is_an_address(cls, value: str | None, given: ValidationInfo) -> str | None:
        if value is None:
            return None
        if not _ENDPOINT.fullmatch(value):
            raise ValueError(
                "this is no address like http://127.0.0.1:8000/v1. A key goes into the environment variable "
                "AITRAINING_TEACHER_KEY, never here"
            )
        if "teacher_model" in given.data and given.data["teacher_model"] is None:
            raise ValueError("a server has many models, so teacher_model must name the one to ask")
        return value.rstrip("/")

    @field_validator("distill_alpha")
    @classmethod
    def _answers_only_from_afar(cls, value: float | None, given: ValidationInfo) -> float | None:
        if value and given.data.get("teacher_endpoint"):
            raise ValueError("a teacher behind an address gives answers and no guesses, so it must be 0 or empty")
        return value

    @model_validator(mode="after")
    def _has_something_to_teach(self) -> Self:
        own = self.teacher_endpoint is None and self.teacher_model in (None, self.model)
        if own and filled(self.teacher_prompt_template or INPUT, INPUT) == filled(self.student_prompt_template, INPUT):
            raise PydanticCustomError(
                "nothing_to_teach",
                "the teacher is the model itself and would read the same prompt, so there is nothing to learn. Give the long "
                "prompt, or choose another teacher",
                {"field": "teacher_prompt_template"},
            )
        return self


def filled(template: str, prompt: Any) -> Any:
    """The prompt within the template. In a conversation it is the user's last turn that is filled in.

    Plain replacement: neither the template's other braces nor anything in the prompt is ever a template.
    """
    if isinstance(prompt, str):
        return template.replace(INPUT, prompt) if INPUT in template else f"{template}\n\n{prompt}"
    last = max((place for place, turn in enumerate(prompt) if turn["role"] == "user"), default=None)
    return [
        {**turn, "content": filled(template, turn["content"] or "")} if place == last else turn
        for place, turn in enumerate(prompt)
    ]


def views(params: DistillationParams, row: dict[str, Any]) -> tuple[View, ...]:
    """The row under the long prompt, as the teacher reads it, and under what is left of that."""
    return (
        View(
            "The teacher reads",
            {**row, "prompt": filled(params.teacher_prompt_template or INPUT, row["prompt"])},
            trained=False,
        ),
        View("Your model reads", {**row, "prompt": filled(params.student_prompt_template, row["prompt"])}),
    )


def choose(params: DistillationParams, data: Any) -> dict[str, tuple[Any, str]]:
    """How much the teacher's guesses count beside its answers."""
    if params.teacher_endpoint:
        return {"distill_alpha": (0.0, "A teacher behind an address gives its answers and not its guesses.")}
    return {"distill_alpha": (_ALPHA, "The teacher's guesses tell more than its answers alone, which count for the rest.")}


def costs(plan: Any, data: Any) -> tuple[Cost, ...]:
    """What the teacher is asked before the training."""
    p, rows = plan.params, plan.train_rows + plan.valid_rows
    read, written = rows * data.read_mean, rows * p.distill_max_teacher_length
    words = f"about {rows:,} requests, {read:,.0f} tokens to read and at most {written:,} to write"
    if p.teacher_endpoint:
        return (Cost("Teacher", f"{words}, at {p.teacher_endpoint}", rows * _PER_REQUEST_S / 4),)
    seconds = rows / _TOGETHER * min(64, p.distill_max_teacher_length) * _PER_TOKEN_S
    return (Cost("Teacher", words, seconds),)


def copies(params: DistillationParams) -> Copies:
    """Guesses need the teacher at every step: a second model, except where it is the adapter's own base."""
    if not _alpha(params):
        return Copies()
    held = bool(params.teacher_model) or not params.peft
    return Copies(frozen=int(held), frozen_model=params.teacher_model or "", heads=3, watched=True, frozen_fast=True)


def usage(params: DistillationParams) -> str:
    """How the finished model wants to be asked."""
    if params.student_prompt_template == INPUT:
        return "Ask it plainly, without the long prompt: it answers as its teacher did with it."
    return (
        "It was taught with every question put into this template, so ask it with `{input}` replaced by yours:\n\n```\n"
        f"{params.student_prompt_template}\n```"
    )


def build(params: DistillationParams, kit: Any) -> Job:
    """Lets the teacher answer, then trains on the answers; runs in the worker."""
    alpha = _alpha(params)
    guesses = alpha > 0
    teacher = kit.teacher(params.teacher_model, address=params.teacher_endpoint, with_guesses=guesses)
    most, freedom = params.distill_max_teacher_length, params.teacher_temperature
    rows = kit.taught_rows(teacher, most=most, temperature=freedom, with_guesses=guesses)
    return kit.distilling_trainer(rows, teacher if guesses else None, alpha=alpha, temperature=params.distill_temperature)


def _alpha(params: DistillationParams) -> float:
    return params.distill_alpha if params.distill_alpha is not None else choose(params, None)["distill_alpha"][0]


GUIDE = Guide(
    not_when="No prompt gives good answers yet: the model copies its teacher, mistakes included, so make the long prompt "
    "good first. When the right answers are already written down, SFT on them is simpler.",
    data="Questions without answers: the teacher answers each once, under the long prompt, before the training begins. "
    "Take 200 or more, as varied as those that will come later; what is never asked is never taught. Whole "
    "conversations are fine, too.",
    settings=(
        (
            "teacher_prompt_template",
            "The long prompt itself, with `{input}` where the question goes. This is what becomes unnecessary.",
        ),
        (
            "teacher_model",
            "Who reads the long prompt. Empty is the model itself, which is right when it heeds the prompt; a larger "
            "one teaches more.",
        ),
        (
            "teacher_endpoint",
            "A server with an OpenAI-compatible API as the teacher. Its guesses cannot be seen, so only its answers "
            "are learned from.",
        ),
        ("distill_alpha", "1 learns how likely the teacher finds each word, 0 its answers alone; 0.5 to 0.9 is usual."),
        (
            "distill_max_teacher_length",
            "As long as a good answer, and no longer: a teacher that rambles takes time and teaches rambling.",
        ),
        ("student_prompt_template", "Leave it at `{input}`, unless a short rest of the prompt should stay."),
    ),
    curves="On the sample (69 steps) the distance from the teacher falls from 5.7 to about 0.04 and the same first guess "
    "rises from 0.55 to 1: the student answers without the long prompt as the teacher does with it. Most of it "
    "happens in the first third; a distance that levels off well above 0.5 means that the student cannot follow, "
    "or has seen too few questions.",
    troubles=(
        (
            "It takes long until the first step.",
            "The teacher answers every question first. Fewer questions (`max_samples`) or shorter answers "
            "(`distill_max_teacher_length`) help; what was answered is kept when a run is stopped.",
        ),
        (
            "The model does not answer as its teacher should.",
            "Read what the teacher wrote: it is in the run's folder, in `data/*.answers.jsonl`. If it does not heed "
            "the prompt, mend the prompt or take another teacher.",
        ),
        (
            "The teacher is refused because its vocabulary is another one.",
            "Guesses can only be compared between models of one family. Set `distill_alpha` to 0 and learn from the "
            "answers alone.",
        ),
        (
            "Questions of another kind are answered as before.",
            "They were not among the prompts. Add some of them.",
        ),
    ),
)


SPEC = TrainerSpec(
    id="distillation",
    title="Prompt Distillation",
    summary="Teach models to internalize complex prompting strategies for efficient inference.",
    use_when="You want to reduce inference costs",
    key_features="Prompt internalization, knowledge transfer",
    example="Compress GPT-4 prompts into GPT-2 behavior",
    order=30,
    rows="prompts",
    params=DistillationParams,
    comparison=Comparison("⭐⭐ Moderate", "⭐⭐⭐ Very Stable", "⭐⭐ Moderate", "⭐⭐ Medium", "Prompt compression"),
    guide=GUIDE,
    charts=(
        Chart(
            "Loss",
            twin("loss"),
            "It should fall. When the line of held-out rows turns up, more prompts help more than more passes.",
        ),
        Chart(
            "Distance from the teacher",
            twin("kl"),
            "How far the model's guesses are from those that the teacher makes with the long prompt. Near 0 is the same.",
        ),
        Chart(
            "Surprise at the teacher's answers",
            twin("ce"),
            "How unlikely the model finds the teacher's words. It should fall as in plain fine-tuning.",
        ),
        Chart(
            "Token accuracy",
            twin("token_accuracy"),
            "Share of the teacher's words that the model's first guess gets right. It should rise towards 1.",
        ),
        Chart(
            "Same first guess",
            twin("agreement"),
            "How often the model and its teacher, each with its own prompt, would write the same word. It should rise.",
        ),
    ),
    example_settings={"teacher_prompt_template": "(Here stands the long prompt.)\n\n{input}"},
    example_rows=(
        {"prompt": "When does the harbour open?"},
        {"prompt": "Who lights the lamp?"},
        {"prompt": "Is it foggy?"},
        {"prompt": [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Hello!"}]},
    ),
    build=build,
    in_parallel=True,
    copies=copies,
    learns="The teacher answers what it reads; your model learns to give the same answers to what it reads itself.",
    pipelines=("distillation",),
    views=views,
    choose=choose,
    writes=lambda params: params.distill_max_teacher_length,
    costs=costs,
    usage=usage,
)

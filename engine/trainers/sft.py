"""SFT: supervised fine-tuning on examples of a question and its answer, or on whole conversations.

The loss is the mean negative log-likelihood of the answer tokens only (Ouyang et al. 2022, section 3.5), end-of-turn
token included, so that the model learns when to stop. `train_on_prompt` counts the other tokens as well.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.params import LLMTrainingParams
from engine.spec import Chart, Comparison, Form, Guide, Job, TrainerSpec, twin


class SFTParams(LLMTrainingParams):
    """Settings of supervised fine-tuning."""

    trainer: Annotated[Literal["sft"], Form("Basic", widget="hidden")] = Field("sft", description="The training method.")
    train_on_prompt: Annotated[bool, Form("Trainer", label="Learn the questions too", advanced=True)] = Field(
        False, description="Count every token in the loss. Off: only the answers are learned, which is usual."
    )
    packing: Annotated[bool, Form("Trainer", label="Join short rows", advanced=True)] = Field(
        False, description="Fill each place of the batch with several short rows up to the longest length."
    )
    cross_documents: Annotated[
        bool, Form("Trainer", label="Let joined rows see each other", advanced=True, when={"packing": (True,)})
    ] = Field(False, description="Rows joined by packing may attend to the rows before them. Off is right.")


def build(params: SFTParams, kit: Any) -> Job:
    """A next-token trainer over rendered chats with the prompt masked; runs in the worker."""
    rows = kit.chat_rows(train_on_prompt=params.train_on_prompt)
    if params.packing:
        rows = kit.packed(rows, cross_documents=params.cross_documents)
    return kit.causal_trainer(rows)


def export(params: SFTParams, kit: Any) -> Any:
    """TRL's SFTTrainer on talks that are tokens already."""
    joined = "packed" if params.packing else ""
    return kit.next_token(joined=joined, cross_documents=params.cross_documents, every_token=params.train_on_prompt)


GUIDE = Guide(
    not_when="All you have is raw text (Default), or pairs that say which of two answers is better (DPO, ORPO). When a "
    "good prompt already gets the right answers out of the base model, no training is needed, or Prompt "
    "Distillation if that prompt is long.",
    data="Two columns of a spreadsheet, question and answer, or whole conversations. The model copies tone and length "
    "of the answers, so each should be one that you would sign. Fifty good rows show an effect and some hundred "
    "carry a task; ten good ones beat a hundred careless ones. Write the questions as people really ask them, "
    "with their short cuts and mistakes.",
    settings=(
        ("epochs", "2 to 5; more only for very few rows. Where the held-out line turns up, it is enough."),
        ("lr", "Chosen for you from the model's size. When the loss jumps about, halve it; when it hardly moves, double it."),
        ("max_length", "Must be above the longest row, or its answer loses its end and the model never learns to stop."),
        (
            "train_on_prompt",
            "Off: only the answers are learned. On makes sense where questions are as worth learning as answers.",
        ),
        ("packing", "Joins short rows so that no place is wasted; faster on a GPU with many short rows, and the same result."),
        ("peft", "An adapter is nearly as good, needs far less memory, and changes less of what the model could do before."),
    ),
    curves="On the sample (102 steps on the starter) the loss falls from 5.5 to 0.3 in the first half and to about 0.17 "
    "at the end, the held-out line close to the training one; token accuracy goes from 0.44 to 0.95. A large "
    "model that was trained to chat begins lower, around 1 to 2, and falls less. Ragged training lines are "
    "normal: each point is one small batch.",
    troubles=(
        (
            "The answers never come to an end.",
            "The ends were cut off in training. Raise `max_length`; the data step says how many rows are cut.",
        ),
        (
            "It repeats answers of the training rows word for word.",
            "Learned by heart: fewer passes, or more and more varied rows.",
        ),
        (
            "The manner is right, the facts are made up.",
            "A manner is learned from few rows, a fact only from several rows about it in different words. Add such "
            "rows, or put the fact into the question.",
        ),
        (
            "The loss falls, but the answers are no better.",
            "Ask as the training rows ask, with the same system prompt if they have one. In the playground, compare "
            "with the base model.",
        ),
        (
            "It is good at this task and worse at all others.",
            "Mix in rows of what should stay, or train an adapter with fewer passes.",
        ),
    ),
)


SPEC = TrainerSpec(
    id="sft",
    title="Supervised Fine-Tuning (SFT)",
    summary="Standard supervised learning from labeled examples. The foundation for most fine-tuning tasks.",
    use_when="You have labeled input-output pairs",
    key_features="Simple, stable, well-understood",
    example="Training on Q&A pairs, instructions, or conversations",
    order=20,
    rows="chat",
    params=SFTParams,
    comparison=Comparison("⭐ Simple", "⭐⭐⭐ Very Stable", "⭐ Basic", "⭐ Low", "Supervised learning"),
    guide=GUIDE,
    charts=(
        Chart(
            "Loss",
            twin("loss"),
            "It should fall. Where rows are held out, and their line turns up while the other still falls, the model has "
            "started to learn the answers by heart: fewer passes, or more data.",
        ),
        Chart(
            "Token accuracy",
            twin("token_accuracy"),
            "Share of answer tokens that the model's first guess gets right. It should rise; near 1 on training and "
            "low on held-out rows means learned by heart.",
        ),
    ),
    example_rows=(
        {"prompt": "When does the harbour open?", "completion": "The harbour opens at six."},
        {
            "messages": [
                {"role": "user", "content": "Who lights the lamp?"},
                {"role": "assistant", "content": "The keeper."},
            ]
        },
        {
            "messages": [
                {"role": "system", "content": "Answer briefly."},
                {"role": "user", "content": "Hello!"},
                {"role": "assistant", "content": "Hello."},
                {"role": "user", "content": "Is it foggy?"},
                {"role": "assistant", "content": "Yes, very."},
            ]
        },
    ),
    build=build,
    in_parallel=True,
    export=export,
    pipelines=("basic", "preference", "rlhf"),
)

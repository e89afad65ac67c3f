"""SFT: supervised fine-tuning on examples of a question and its answer, or on whole conversations.

The loss is the mean negative log-likelihood of the answer tokens only (Ouyang et al. 2022, section 3.5), end-of-turn
token included, so that the model learns when to stop. `train_on_prompt` counts the other tokens as well.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.params import LLMTrainingParams
from engine.spec import Chart, Comparison, Form, Job, TrainerSpec, twin


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
    charts=(
        Chart(
            "Loss",
            twin("loss"),
            "Both lines should fall. When the held-out line turns up while the other still falls, the model has "
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
    export=export,
    pipelines=("basic", "preference", "rlhf"),
)

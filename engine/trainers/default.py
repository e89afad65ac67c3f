"""Default: next-token training on raw text, for adapting a model to the language of a subject.

Documents are joined with an end-of-text token and cut into blocks; attention never crosses from one document into
the next unless `cross_documents` says so. The loss is the mean negative log-likelihood of every token.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.params import LLMTrainingParams
from engine.spec import Chart, Comparison, Form, Job, TrainerSpec, twin


class DefaultParams(LLMTrainingParams):
    """Settings of the default trainer."""

    trainer: Annotated[Literal["default"], Form("Basic", widget="hidden")] = Field(
        "default", description="The training method."
    )
    cross_documents: Annotated[bool, Form("Trainer", label="Let documents see each other", advanced=True)] = Field(
        False, description="Text in one block may attend to the document before it, as the simplest trainers do."
    )


def build(params: DefaultParams, kit: Any) -> Job:
    """A next-token trainer over blocks of text; runs in the worker."""
    return kit.causal_trainer(kit.blocks(kit.text_rows(), cross_documents=params.cross_documents))


def export(params: DefaultParams, kit: Any) -> Any:
    """TRL's SFTTrainer on blocks of text."""
    return kit.next_token(joined="blocks", cross_documents=params.cross_documents)


SPEC = TrainerSpec(
    id="default",
    title="Default/Generic CLM Training",
    summary="Pure language modeling with next-token prediction. For domain adaptation and continuous pre-training.",
    use_when="You have raw text data for pre-training",
    key_features="Simple, minimal preprocessing, domain adaptation",
    example="Training on domain-specific corpus",
    order=10,
    rows="text",
    params=DefaultParams,
    comparison=Comparison("⭐ Simplest", "⭐⭐⭐ Very Stable", "⭐ Basic", "⭐ Low", "Language modeling"),
    charts=(
        Chart(
            "Loss",
            twin("loss"),
            "Both lines should fall. When the held-out line turns up while the other still falls, the model has "
            "started to learn the text by heart.",
        ),
        Chart(
            "Perplexity",
            twin("perplexity"),
            "How many words the model hesitates between. Lower is better; 1 would mean it knows the text by heart.",
        ),
        Chart(
            "Token accuracy",
            twin("token_accuracy"),
            "Share of next tokens that the model's first guess gets right. It should rise slowly.",
        ),
    ),
    example_rows=(
        {"text": "The harbour opens at six. The first boats leave before the sun is up."},
        {"text": "When the fog comes in, the keeper lights the lamp and rings the bell."},
        {"text": "On market day the baker sells bread, the fisher sells cod, and the dogs wait for both."},
    ),
    build=build,
    export=export,
)

"""Default: next-token training on raw text, for adapting a model to the language of a subject.

Documents are joined with an end-of-text token and cut into blocks; attention never crosses from one document into
the next unless `cross_documents` says so. The loss is the mean negative log-likelihood of every token.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.params import LLMTrainingParams
from engine.spec import Chart, Comparison, Form, Guide, Job, TrainerSpec, twin


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


GUIDE = Guide(
    not_when="You want it to answer questions. Raw text teaches a way of writing, and facts that it repeats, but not to "
    "answer: train the result with SFT afterwards (the pipeline `language` does both). With questions and answers "
    "at hand, SFT alone is enough.",
    data="Text as it is: TXT or Markdown files, a folder of them, or a table with a column `text`. Take out what "
    "nobody should learn, such as page numbers, menus and footers. Some dozen pages change the tone; for facts to "
    "stick, a fact must be met several times and in different words. Texts are joined and cut into blocks of "
    "equal length, so long and short ones may be mixed.",
    settings=(
        (
            "epochs",
            "1 to 3. Each pass shows every text once more; where the held-out line turns up, later passes only learn by heart.",
        ),
        (
            "lr",
            "Chosen for you. Halve it when the loss jumps about; a model that should keep its other abilities wants it small.",
        ),
        (
            "max_length",
            "How much text is seen at once. Longer blocks help texts whose thread runs over pages, and cost memory.",
        ),
        ("peft", "An adapter leaves more of what the model could do before, and needs far less memory."),
        ("lora_r", "With an adapter: 8 to 16 for a manner of writing, 64 and more when facts are to stick."),
        ("cross_documents", "Leave it off: one text should not be read as the beginning of another."),
    ),
    curves="On the sample (66 steps on the starter) both loss lines fall side by side, from 5.3 to about 1.2, steeply at "
    "first and then ever flatter, and the held-out perplexity falls from about 190 to 3.6: from guessing among "
    "two hundred words to guessing among four. On a large model that knows the language already, expect a much "
    "smaller fall, say from 2.5 to 2.0, and be content.",
    troubles=(
        (
            "The held-out line turns up while the other one falls.",
            "It learns by heart. Fewer passes, or more text; the best checkpoint is kept anyway.",
        ),
        (
            "It has forgotten how to answer questions.",
            "Raw text pushes that habit out. Use an adapter and fewer passes, or train the result with SFT.",
        ),
        (
            "Perplexity hardly falls.",
            "Either the model knows such text already, or the text is no language (tables, what a scanner made of a "
            "page). Look at the marked examples of the data step.",
        ),
        (
            "The answers in the playground make no sense.",
            "A model that only read text goes on with what you write. Begin a sentence instead of asking a question.",
        ),
    ),
)


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
    guide=GUIDE,
    charts=(
        Chart(
            "Loss",
            twin("loss"),
            "It should fall. Where rows are held out, and their line turns up while the other still falls, the model has "
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
    in_parallel=True,
    export=export,
)

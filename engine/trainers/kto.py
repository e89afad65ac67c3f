"""KTO: learns from single answers with a thumbs up or down, without pairs (Ethayarajh et al. 2024).

A liked answer should gain on the reference (the model as it was at the start), a disliked one should lose; both are
measured against how far the model has drifted on the whole. Only the answers' tokens count.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.params import LLMTrainingParams
from engine.spec import Chart, Comparison, Copies, Form, Guide, Job, TrainerSpec, twin, twins

_HEAVIEST = 100.0


class KTOParams(LLMTrainingParams):
    """Settings of Kahneman-Tversky optimisation."""

    trainer: Annotated[Literal["kto"], Form("Basic", widget="hidden")] = Field("kto", description="The training method.")
    kto_loss: Annotated[Literal["kto", "apo_zero_unpaired"], Form("Trainer", label="Loss", advanced=True)] = Field(
        "kto",
        description="What a gain is measured against: the model's drift (kto), or nothing (apo_zero_unpaired), which suits "
        "liked answers that are better than the model's own.",
    )
    kto_beta: Annotated[float, Form("Trainer", label="Hold to the original (beta)")] = Field(
        0.1, gt=0, le=10, description="How strongly the model is held to the reference. 0.1 is usual; 0.01 lets it go further."
    )
    kto_desirable_weight: Annotated[
        float | None, Form("Trainer", label="Weight of liked answers", advanced=True, auto=True)
    ] = Field(None, gt=0, le=_HEAVIEST, description="How much an answer with a thumbs up counts. Empty: balanced.")
    kto_undesirable_weight: Annotated[
        float | None, Form("Trainer", label="Weight of disliked answers", advanced=True, auto=True)
    ] = Field(None, gt=0, le=_HEAVIEST, description="How much an answer with a thumbs down counts. Empty: balanced.")


def build(params: KTOParams, kit: Any) -> Job:
    """A trainer on rated answers against a reference; runs in the worker."""
    return kit.feedback_trainer(
        against_drift=params.kto_loss == "kto",
        beta=params.kto_beta,
        up=params.kto_desirable_weight,
        down=params.kto_undesirable_weight,
    )


def copies(params: KTOParams) -> Copies:
    """The drift costs a further pass forwards, over the crossed answers."""
    return Copies(passes=4 / 3 if params.kto_loss == "kto" else 1)


def weights(params: KTOParams, data: Any) -> dict[str, tuple[float, str]]:
    """Weights with which both kinds count the same in all: weight times number is equal (Ethayarajh et al. 2024, §4.2)."""
    up, down, liked = params.kto_desirable_weight, params.kto_undesirable_weight, data.liked
    if liked is None or not 0 < liked < 1:
        why = "Balanced by the thumbs in the data, which are counted when the run begins."
        return {"kto_desirable_weight": (up or down or 1.0, why), "kto_undesirable_weight": (down or up or 1.0, why)}
    balance = (1 - liked) / liked
    why = f"{liked:.0%} of the answers have a thumbs up; with these weights both kinds count the same in all."
    return {
        "kto_desirable_weight": (_weight(max(1.0, balance) if down is None else down * balance), why),
        "kto_undesirable_weight": (_weight(max(1.0, 1 / balance) if up is None else up / balance), why),
    }


def _weight(value: float) -> float:
    return min(_HEAVIEST, max(0.01, float(f"{value:.3g}")))


def export(params: KTOParams, kit: Any) -> Any:
    """TRL's KTOTrainer on answers that are tokens already, dealt and crossed as in the run."""
    crossed = params.kto_loss == "kto"
    if crossed and params.batch_size == 1:
        return "TRL's KTOTrainer refuses one row at a time, which this run trained with."
    return kit.feedback(
        crossed=crossed,
        loss_type=params.kto_loss,
        beta=kit.setting("kto_beta"),
        desirable_weight=kit.setting("kto_desirable_weight"),
        undesirable_weight=kit.setting("kto_undesirable_weight"),
    )


GUIDE = Guide(
    not_when="You have two answers to the same prompt: DPO makes more of a pair. When all thumbs point the same way there "
    "is nothing to tell apart; with thumbs up alone, SFT on the liked answers is the thing.",
    data="Single answers, each with its prompt and a thumb up or down; a rating column with yes and no, up and down, 1 "
    "and 0 is understood. Thumbs need not be equally many, but both kinds must be there. Collect them from people "
    "who use the model: what it says itself is what it learns about.",
    settings=(
        ("kto_beta", "How tightly the model is held to what it was. 0.1 to begin with; less lets it go further."),
        (
            "kto_undesirable_weight",
            "Empty balances both kinds. Raise it when disliked answers come back, lower it when answers get short and timid.",
        ),
        (
            "kto_loss",
            "`kto` measures against the model's drift; `apo_zero_unpaired` suits liked answers that are better than "
            "the model's own.",
        ),
        ("batch_size", "At least 8: each step compares answers with each other."),
        ("lr", "Chosen for you, twenty times smaller than for SFT."),
        ("epochs", "1 to 3, as with all preferences."),
    ),
    curves="On the sample (81 steps) the loss falls from 0.59 to 0.21, a liked answer gains more than a disliked one in all "
    "held-out comparisons after a short while, and the disliked answers fall much further (to -2.8) than the liked ones "
    "rise (to 0.9): the usual picture. The drift stays at 0, an estimate that never falls below it.",
    troubles=(
        (
            "The run is refused: all thumbs are of one kind.",
            "Both are needed. Check which words the thumbs column has, or use SFT on the liked answers.",
        ),
        (
            "Liked answers become less likely, too.",
            "Smaller steps (halve the learning rate), or a smaller `kto_undesirable_weight`.",
        ),
        (
            "Nothing changes.",
            "A smaller `kto_beta`, more passes, or more thumbs: single thumbs say less than pairs.",
        ),
        (
            "The drift climbs to the end.",
            "It moves everywhere and not only in what was rated: larger `kto_beta`, fewer passes.",
        ),
    ),
)


SPEC = TrainerSpec(
    id="kto",
    title="Kahneman-Tversky Optimization (KTO)",
    summary="Align models with thumbs up and thumbs down on single answers; no pairs are needed.",
    use_when="You have answers that people liked or disliked",
    key_features="Works on unpaired and lopsided feedback, no reward model needed",
    example="Learning from the thumbs that users of a chat gave",
    order=80,
    rows="feedback",
    params=KTOParams,
    comparison=Comparison("⭐⭐ Moderate", "⭐⭐⭐ Very Stable", "⭐⭐ Moderate", "⭐⭐ Medium", "Thumbs up and down"),
    guide=GUIDE,
    charts=(
        Chart(
            "Loss",
            twin("loss"),
            "It begins near half of the answers' weight (0.5 when both kinds are equally many) and should fall.",
        ),
        Chart(
            "How often a liked answer gains more",
            twin("rewards/accuracies"),
            "A liked answer against a disliked one: the share in which the liked one gained more. 0.5 is a coin.",
        ),
        Chart(
            "Margin",
            twin("rewards/margins"),
            "How much more the liked answers gained. It should rise and stay modest: a very large one is learned by heart.",
        ),
        Chart(
            "Rewards",
            twins(("rewards/chosen", "liked"), ("rewards/rejected", "disliked")),
            "How far each kind has moved from where it began. The two should part, disliked answers downwards.",
        ),
        Chart(
            "Drift",
            twin("kl"),
            "How far it has moved on answers to other questions. It rises while a manner is learned, then should level off.",
        ),
        Chart(
            "Log-probability of the answers",
            twins(("logps/chosen", "liked"), ("logps/rejected", "disliked")),
            "Liked answers should become likelier, or at least stay; disliked ones should fall.",
        ),
    ),
    example_rows=(
        {"prompt": "When does the harbour open?", "completion": "Good morning! It opens at six.", "label": True},
        {"prompt": "Who lights the lamp?", "completion": "Why do you ask?", "label": False},
        {"prompt": "Is it foggy?", "completion": "Yes, very. Take care.", "label": True},
        {"prompt": "Who sells bread?", "completion": "Look around you.", "label": False},
    ),
    build=build,
    in_parallel=True,
    export=export,
    copies=copies,
    learns="It learns to write the marked tokens of good answers, and not to write those of bad ones.",
    lr_scale=0.05,
    least_batch=8,
    choose=weights,
    pipelines=("preference",),
)

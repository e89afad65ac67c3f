"""Reward model: learns to score texts from pairs of a better and a worse answer (Ouyang et al. 2022, equation 1).

The whole text is read, prompt included, and its last token's state becomes one number; the loss is Bradley and Terry's.
What is saved is a plain sequence classifier with one label.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.params import LLMTrainingParams
from engine.spec import Chart, Comparison, Copies, Form, Job, TrainerSpec, twin, twins


class RewardParams(LLMTrainingParams):
    """Settings of reward model training."""

    trainer: Annotated[Literal["reward"], Form("Basic", widget="hidden")] = Field("reward", description="The training method.")
    centre_rewards: Annotated[float, Form("Trainer", label="Keep scores around zero", advanced=True)] = Field(
        0.01,
        ge=0,
        le=1,
        description="Pulls the two scores of a pair towards zero on average. 0.01 is usual; 0: free.",
    )


def build(params: RewardParams, kit: Any) -> Job:
    """A trainer of scores on whole pairs; runs in the worker."""
    return kit.score_trainer(kit.pair_rows(whole=True), centre=params.centre_rewards)


def export(params: RewardParams, kit: Any) -> Any:
    """TRL's RewardTrainer on pairs that are tokens already."""
    return kit.scores(center_rewards_coefficient=params.centre_rewards or None)


SPEC = TrainerSpec(
    id="reward",
    title="Reward Model Training",
    summary="Train models to score response quality for RLHF pipelines.",
    use_when="Building PPO/RLHF systems",
    key_features="Learn human preferences, foundation for PPO",
    example="Creating scoring functions from human feedback",
    order=70,
    rows="preference",
    params=RewardParams,
    comparison=Comparison("⭐⭐ Moderate", "⭐⭐⭐ Very Stable", "⭐⭐ Moderate", "⭐ Low", "Scoring function"),
    charts=(
        Chart(
            "Loss",
            twin("loss"),
            "It begins near 0.69, which is guessing, and should fall. The held-out line is the one that counts.",
        ),
        Chart(
            "How often the better answer scores higher",
            twin("rewards/accuracies"),
            "0.5 is a coin. People agree with each other in about 0.7 to 0.8 of such pairs, so more than that is good.",
        ),
        Chart(
            "Margin",
            twin("rewards/margins"),
            "How far the two scores lie apart. It should rise and then level off.",
        ),
        Chart(
            "Scores",
            twins(("rewards/chosen", "better"), ("rewards/rejected", "worse")),
            "The two lines should part, one above zero and one below.",
        ),
    ),
    example_rows=(
        {"prompt": "When does the harbour open?", "chosen": "At six, what a fine hour!", "rejected": "At six. Sigh."},
        {"prompt": "Who lights the lamp?", "chosen": "The keeper, bless her!", "rejected": "The keeper. Who cares."},
        {"prompt": "Is it foggy?", "chosen": "Yes, and how lovely it looks!", "rejected": "Yes. Again."},
    ),
    build=build,
    export=export,
    copies=Copies(sequences=2, vocabulary_head=False),
    makes="score",
    learns="It reads both texts whole and learns to give the better one the higher score; the marked tokens are the answers.",
    lr_scale=0.3,
    pipelines=("rlhf",),
)

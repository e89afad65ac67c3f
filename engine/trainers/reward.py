"""Reward model: learns to score texts from pairs of a better and a worse answer (Ouyang et al. 2022, equation 1).

The whole text is read, prompt included, and its last token's state becomes one number; the loss is Bradley and Terry's.
What is saved is a plain sequence classifier with one label.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.params import LLMTrainingParams
from engine.spec import Chart, Comparison, Copies, Form, Guide, Job, TrainerSpec, twin, twins


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


GUIDE = Guide(
    not_when="You only want better answers: DPO learns from the same pairs in one training. When a rule can tell a good "
    "answer (a word, a length, a right result), reward functions need no model at all; see "
    "[rewards](../rewards.md).",
    data="Pairs of a better and a worse answer to the same prompt. It must have seen what it will have to judge: put "
    "in answers of the model that PPO will train, bad ones included. A judge that saw only fine sentences gives a "
    "ramble any score. Some hundred pairs with one clear difference are enough; people's finer taste needs "
    "thousands.",
    settings=(
        ("epochs", "1 to 3. A judge that knows its pairs by heart is no judge of new answers."),
        ("lr", "Chosen for you. Lower it when held-out accuracy falls while training goes on."),
        ("max_length", "Above the longest pair: a cut answer is judged without its end."),
        ("centre_rewards", "Keeps scores near zero, so that other rewards can be added to them. Leave it at 0.01."),
        ("peft", "An adapter is usually enough to judge, and PPO holds the reward model beside two others."),
    ),
    curves="On the sample (69 steps) the loss falls from 0.74, which is guessing, to about 0.14; the better answer "
    "scores higher in half of the held-out pairs at first and in nearly all at the end, and the two scores part "
    "to about 1.5 and -1.6. The differences of the sample are plain ones. On people's preferences 0.7 to 0.8 is "
    "good, and 0.95 is a reason to look for a give-away.",
    troubles=(
        (
            "Accuracy stays near 0.5 on held-out pairs.",
            "The pairs contradict each other, or the difference is too fine for so few. Read twenty of them and "
            "decide yourself first.",
        ),
        (
            "Accuracy is 1 after a few steps.",
            "Something trivial gives the better answer away, mostly its length or one word. Try a few answers in the "
            "playground, which shows their scores.",
        ),
        (
            "PPO with it makes answers long or odd.",
            "It was never shown such answers. Add pairs in which they are the worse ones, and train it anew.",
        ),
        (
            "The scores drift away from zero.",
            "Raise `centre_rewards` a little, for instance to 0.05.",
        ),
    ),
)


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
    guide=GUIDE,
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
    in_parallel=True,
    export=export,
    copies=Copies(sequences=2, vocabulary_head=False),
    makes="score",
    learns="It reads both texts whole and learns to give the better one the higher score; the marked tokens are the answers.",
    lr_scale=0.3,
    pipelines=("rlhf",),
)

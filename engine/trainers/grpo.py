"""GRPO: the model answers each prompt several times, and learns from how the answers score against each other.

The baseline is the group's own mean (Shao et al. 2024, section 4.1), so no critic is held in memory. Rewards are rules,
a reward model, or both.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.rewards.settings import RewardedParams
from engine.spec import Chart, Comparison, Copies, Form, Guide, Job, MoreThan, TrainerSpec, twin


class GRPOParams(RewardedParams):
    """Settings of group relative policy optimisation."""

    trainer: Annotated[Literal["grpo"], Form("Basic", widget="hidden")] = Field("grpo", description="The training method.")
    rl_num_generations: Annotated[int, Form("Trainer", label="Answers a prompt")] = Field(
        8,
        ge=2,
        le=256,
        description="Answers compared with each other. 4 to 16 is usual; more is steadier, and slower.",
    )
    rl_rounds: Annotated[int, Form("Trainer", label="Steps a round of answers", advanced=True)] = Field(
        1, ge=1, le=64, description="Answers for this many steps are written at once: faster, but a little out of date."
    )
    rl_clip_range: Annotated[float, Form("Trainer", label="Clip range", advanced=True, when={"rl_rounds": MoreThan(1)})] = (
        Field(
            0.2,
            gt=0,
            lt=1,
            description="How far an answer's probability may move while it is learned from. 0.1 to 0.3 is usual.",
        )
    )
    grpo_loss: Annotated[Literal["dapo", "grpo", "dr_grpo", "bnpo"], Form("Trainer", label="Loss", advanced=True)] = Field(
        "dapo", description="How tokens are averaged: over the step (dapo), each answer by itself (grpo), or by a constant."
    )


def build(params: GRPOParams, kit: Any) -> Job:
    """A trainer on groups of the model's own answers; runs in the worker."""
    return kit.group_trainer(**_settings(params))


def export(params: GRPOParams, kit: Any) -> Any:
    """TRL's GRPOTrainer with the run's rewards written out."""
    return kit.groups(**_settings(params))


def _settings(params: GRPOParams) -> dict[str, Any]:
    return {
        "kl": params.rl_kl_coef,
        "answers": params.rl_num_generations,
        "rounds": params.rl_rounds,
        "max_new_tokens": params.rl_max_new_tokens,
        "temperature": params.rl_temperature,
        "top_k": params.rl_top_k,
        "top_p": params.rl_top_p,
        "loss": params.grpo_loss,
        "clip": params.rl_clip_range,
    }


def copies(params: GRPOParams) -> Copies:
    """A reference is a second model, except where it is the adapter's own base; a reward model is taken to be as large.

    An answer is written (about as slow as training on it), learned from, and asked about if there is a reference.
    """
    judges, reference = int(bool(params.rl_reward_model_path)), params.rl_kl_coef > 0
    return Copies(
        sequences=params.rl_num_generations,
        written=params.rl_max_new_tokens,
        frozen=judges + int(reference and not params.peft),
        passes=7 / 3 if reference else 2,
    )


GUIDE = Guide(
    not_when="You cannot score an answer by a rule, a right result or a reward model: pairs (DPO) or thumbs (KTO) are then "
    "the way. When right answers are known word for word and there is one way to say them, SFT is quicker.",
    data="Prompts without answers, and beside them whatever the rules compare with: a column with the result, the "
    "fact, the wanted form. The model answers each prompt several times and learns which of its answers scored "
    "better. Prompts that it sometimes gets right teach most; those that it always or never gets right teach "
    "nothing.",
    settings=(
        (
            "rl_rewards",
            "Rules, one a line. Part marks (`similar: answer`, a length) give a spread where right or wrong does not.",
        ),
        ("rl_num_generations", "Answers to each prompt that are compared. 8 to begin with; 16 is steadier and twice as slow."),
        ("rl_max_new_tokens", "As few as a good answer needs: writing takes most of the time."),
        (
            "rl_kl_coef",
            "What moving away from the original costs. 0 saves a model in memory, where rules alone keep the language.",
        ),
        ("lr", "Chosen for you. Halve it when the drift jumps."),
        ("rl_temperature", "1 tries enough; a little more where all answers of a group are alike."),
    ),
    curves="On the sample (102 steps) the held-out reward rises from 0.7 to about 2.3 of 3, more than half of it in the "
    "first quarter, while the answers shrink from 23 to 13 tokens and hardly any is cut. Single steps swing "
    "between 1.5 and 3, since a step sees few prompts: judge by the held-out line. Where more and more groups "
    "have no spread, the task is learned.",
    troubles=(
        (
            "The run ends: all answers to a prompt score the same.",
            "There is nothing to compare. Give part marks, raise the temperature, or train with SFT until some "
            "answers are right.",
        ),
        (
            "The reward rises, but the answers get strange.",
            "It found a trick. Add a rule against it (`no-repeat`, a length), or raise `rl_kl_coef`.",
        ),
        (
            "Most answers are cut.",
            "Allow more tokens (`rl_max_new_tokens`), or reward short answers.",
        ),
        (
            "The reward goes up and down.",
            "More answers a prompt, or more prompts a step (`gradient_accumulation`).",
        ),
    ),
)


SPEC = TrainerSpec(
    id="grpo",
    title="Group Relative Policy Optimization (GRPO)",
    summary="Reinforcement learning from rewards that compares several answers to each prompt; no value model is needed.",
    use_when="You can score an answer: with a rule, a right result, or a reward model",
    key_features="Simpler and lighter than PPO, learns from rewards alone",
    example="Sums with checkable results, answers in a wanted form",
    order=90,
    rows="prompts",
    params=GRPOParams,
    comparison=Comparison("⭐⭐⭐ Complex", "⭐⭐ Moderate", "⭐⭐⭐ High", "⭐⭐ Medium", "Checkable rewards"),
    guide=GUIDE,
    charts=(
        Chart(
            "Reward",
            twin("reward"),
            "The mean score of the answers. It should rise and level off; read the sample answers for tricks.",
        ),
        Chart(
            "Spread of the reward",
            twin("reward_std"),
            "How much scores differ. Nothing is learned without a spread; it shrinks when all answers have become good.",
        ),
        Chart(
            "Groups without a spread",
            (("frac_reward_zero_std", "training"),),
            "Share of the prompts whose answers all scored the same. Near 1 nothing is learned: give part marks.",
        ),
        Chart(
            "Length of the answers",
            twin("completions/mean_length"),
            "In tokens. An answer that grows or shrinks without need is often a trick to please the reward.",
        ),
        Chart(
            "Answers that were cut",
            (("completions/clipped_ratio", "training"),),
            "Share of the answers that reached the longest length. It should be small: allow more tokens, if it is not.",
        ),
        Chart(
            "Drift",
            twin("kl"),
            "How far the model has moved from the base model. It should grow slowly; a jump means steps that are too large.",
        ),
        Chart(
            "Entropy",
            (("entropy", "training"),),
            "How undecided the model is at each token. It should fall slowly; at 0 all answers are the same.",
        ),
        Chart(
            "Clipped",
            (("clip_ratio/region_mean", "training"),),
            "Share of the tokens that moved as far as one round allows. 0 with one step a round; else below 0.2.",
        ),
        Chart(
            "Loss",
            (("loss", "training"),),
            "It hovers around zero and says little in this kind of training: the reward is what counts.",
        ),
    ),
    example_rows=(
        {"prompt": "When does the harbour open?"},
        {"prompt": "Who lights the lamp?"},
        {"prompt": [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Is it foggy?"}]},
        {"prompt": "Who sells bread on market day?"},
    ),
    build=build,
    export=export,
    copies=copies,
    learns="Nothing here is learned by itself: the model answers these prompts, and learns from how its answers score.",
    lr_scale=0.3,
    held_by="rl_kl_coef",
    drift=("kl", ""),
    cut_answers="completions/clipped_ratio",
    headline="reward",
    judged_by="eval_reward",
    higher_is_better=True,
    end_to_end=False,
    pipelines=("rlhf",),
    example_settings={"rl_rewards": ["length: 12 words", "no-repeat"]},
)

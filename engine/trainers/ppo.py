"""PPO: the model tries answers of its own and learns from their scores (Schulman et al. 2017, Ouyang et al. 2022).

Scores come from a reward model, from reward functions, or from both. A penalty on the distance to the model as it was
keeps the answers sensible. One step answers a batch of prompts and learns from the answers in several passes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.rewards.settings import RewardedParams
from engine.spec import Chart, Comparison, Copies, Form, Guide, Job, MoreThan, TrainerSpec, twin


class PPOParams(RewardedParams):
    """Settings of proximal policy optimisation."""

    trainer: Annotated[Literal["ppo"], Form("Basic", widget="hidden")] = Field("ppo", description="The training method.")
    rl_kl_target: Annotated[
        float | None, Form("Trainer", label="Distance to aim at", advanced=True, when={"rl_kl_coef": MoreThan(0)})
    ] = Field(
        None, gt=0, le=1000, description="Moves that cost so that answers stay this far (KL, nats). Empty: the cost is fixed."
    )
    rl_missing_eos_penalty: Annotated[float, Form("Trainer", label="Cost of an answer without an end")] = Field(
        1.0, ge=0, le=1000, description="Taken off the score of an answer that reached the longest length. 0: nothing is."
    )
    rl_mini_batch_size: Annotated[int, Form("Trainer", label="Answers per small step", advanced=True)] = Field(
        8, ge=1, le=4096, description="The answers of a step are learned from in small steps of this many."
    )
    rl_num_ppo_epochs: Annotated[int, Form("Trainer", label="Passes over the answers", advanced=True)] = Field(
        4, ge=1, le=100, description="How often each answer is learned from before new ones are written. 1 to 4 is usual."
    )
    rl_value_clip_range: Annotated[float | None, Form("Trainer", label="Value clip range", advanced=True)] = Field(
        None, gt=0, le=100, description="How far a guessed value may move in one step, such as 0.2. Empty: as far as it likes."
    )
    rl_value_loss_coef: Annotated[float, Form("Trainer", label="Weight of the value loss", advanced=True)] = Field(
        0.5, ge=0, le=10, description="How much guessing the score beforehand counts. 0.1 to 1 is usual."
    )
    rl_entropy_coef: Annotated[float, Form("Trainer", label="Weight of variety", advanced=True)] = Field(
        0.0, ge=0, le=1, description="Rewards keeping several answers possible. 0 to 0.01 is usual."
    )
    rl_gamma: Annotated[float, Form("Trainer", label="Discount", advanced=True)] = Field(
        1.0, gt=0, le=1, description="How much later tokens' rewards count for earlier ones. 1 is usual for answers."
    )
    rl_gae_lambda: Annotated[float, Form("Trainer", label="GAE lambda", advanced=True)] = Field(
        1.0,
        ge=0,
        le=1,
        description="1 trusts the scores alone, which is quicker in short runs; 0.95 the guessed values a little.",
    )
    rl_whiten_rewards: Annotated[bool, Form("Trainer", label="Even out rewards", advanced=True)] = Field(
        False, description="Scale each batch's token rewards to the same spread; for reward models with wild scores."
    )
    rl_whiten_advantages: Annotated[bool, Form("Trainer", label="Even out advantages", advanced=True)] = Field(
        True, description="Scale each batch's advantages to the same mean and spread, which makes steps steadier."
    )


def build(params: PPOParams, kit: Any) -> Job:
    """A trainer that answers prompts and learns from the scores; runs in the worker."""
    return kit.policy_trainer()


def copies(params: PPOParams) -> Copies:
    """The reference is the adapter's own base, or a second model; a reward model is taken to be of the same size.

    An answer is written once (about as slow as training on it), asked about twice, and learned from in each pass.
    """
    judges = 1 if params.rl_reward_model_path else 0
    return Copies(
        frozen=judges + (0 if params.peft else 1),
        written=params.rl_max_new_tokens,
        passes=params.rl_num_ppo_epochs + 5 / 3,
    )


GUIDE = Guide(
    not_when="You have pairs and no measure of your own: DPO gets there with one training and less to go wrong. If a rule "
    "can score the answers, GRPO does the same with less memory and fewer settings.",
    data="Prompts without answers, as they will be asked later; the model writes the answers itself. Columns beside "
    "the prompt (a right answer, a name) can be used by rules such as `contains: name`. With a reward model and "
    "no data of its own, the run takes the prompts that the reward model was trained on. 100 prompts are a start.",
    settings=(
        ("rl_rewards", "Rules, one a line. Begin with one or two; whatever they forget, the model will find out."),
        (
            "rl_reward_model_path",
            "A trained reward model as the judge, alone or beside rules. Rules such as `no-repeat` keep it honest.",
        ),
        ("rl_kl_coef", "What moving away from the original costs. 0.05 to begin with; 0.1 to 0.2 when answers get strange."),
        ("rl_max_new_tokens", "As few as a good answer needs: writing takes most of the time."),
        ("lr", "Chosen for you. Halve it when more than a fifth of the tokens are held back."),
        ("batch_size", "Answers a step; 32 and more make steps that mean something."),
        ("rl_missing_eos_penalty", "What an answer without an end costs. It teaches to stop; 0 turns it off."),
    ),
    curves="On the sample (30 steps of 32 answers) the held-out score rises from 0.5 to about 1.7 of 2, most of it in "
    "the first ten steps; the distance climbs to about 15 and stays there; the answers shrink from 23 tokens to "
    "about 10, as its rules ask, and all of them come to an end. The score of a single step jumps about by a few "
    "tenths, so judge by the held-out line.",
    troubles=(
        (
            "The score rises, but the answers get strange.",
            "It found a trick. Read the sample answers, add a rule against the trick (`no-repeat`, a length), raise "
            "`rl_kl_coef`.",
        ),
        (
            "The score does not rise.",
            "Look at the spread: with none, all answers score the same and there is nothing to choose. Train with SFT "
            "first, give part marks (`similar: answer` instead of `match: answer`), or raise the temperature.",
        ),
        (
            "Answers run to the longest length.",
            "Raise `rl_missing_eos_penalty`, or reward a length.",
        ),
        (
            "The distance to the original shoots up.",
            "Halve the learning rate, raise `rl_kl_coef`, or name a distance to aim at (`rl_kl_target`).",
        ),
        (
            "It is slow.",
            "Writing answers is: fewer tokens (`rl_max_new_tokens`), and a GPU for models of more than some hundred "
            "million weights.",
        ),
    ),
)


SPEC = TrainerSpec(
    id="ppo",
    title="Proximal Policy Optimization (PPO)",
    summary="Full reinforcement learning with custom reward functions.",
    use_when="You need maximum flexibility with rewards",
    key_features="Most flexible, supports any reward function",
    example="Complex optimization with custom metrics",
    order=60,
    rows="prompts",
    params=PPOParams,
    comparison=Comparison("⭐⭐⭐ Complex", "⭐⭐ Moderate", "⭐⭐⭐ High", "⭐⭐⭐ High", "Complex rewards"),
    guide=GUIDE,
    charts=(
        Chart(
            "Score",
            twin("reward"),
            "The mean score of the answers. It should rise; the best model is the one with the highest held-out score.",
        ),
        Chart(
            "Distance to the original",
            twin("kl"),
            "How far the answers have moved (KL, in nats an answer). A slow rise is fine; a steep one spoils the language.",
        ),
        Chart(
            "Length of the answers",
            twin("answer_length"),
            "In tokens. A length that runs to the limit means that answers no longer come to an end.",
        ),
        Chart(
            "Answers that come to an end",
            twin("finished"),
            "Share of the answers that end before the longest length. It should be close to 1.",
        ),
        Chart(
            "Variety",
            (
                ("entropy", "tokens the model hesitates over"),
                ("reward_std", "spread of the scores"),
                ("eval_reward_std", "spread, held-out"),
            ),
            "With no spread among the scores there is nothing to learn from. Both fall slowly in a healthy run.",
        ),
        Chart(
            "Learning",
            (("loss", "loss"), ("policy_loss", "policy"), ("value_loss", "value")),
            "The value line should fall and stay small; the others hover around zero and say little.",
        ),
        Chart(
            "Care",
            (("clip_fraction", "held back"), ("approx_kl", "moved in a step"), ("ppo/first_ratio", "check: must be 1")),
            "Under a fifth of the tokens should be held back; more means that the learning rate is too high.",
        ),
        Chart(
            "Foresight",
            (("explained_variance", "foreseen"),),
            "How much of the scores is foreseen: 1 is all, 0 nothing. It begins below 0 and should rise.",
        ),
    ),
    example_rows=(
        {"prompt": "When does the harbour open?", "answer": "At six."},
        {"prompt": "Who lights the lamp?", "answer": "The keeper."},
        {"prompt": "Is it foggy?", "answer": "Yes."},
    ),
    example_settings={"rl_rewards": ["length: 8-16", "no-repeat"]},
    build=build,
    copies=copies,
    learns="The model is given these tokens and writes its own answers; it learns from the answers' scores.",
    lr_scale=0.3,
    held_by="rl_kl_coef",
    drift=("kl", "answer_length"),
    cut_answers="!finished",
    headline="reward",
    judged_by="eval_reward",
    higher_is_better=True,
    least_batch=16,
    pipelines=("rlhf",),
)

"""What trainers that learn from scores ask for: reward functions, a reward model, or both."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from engine.errors import ModelError
from engine.models import trained_on
from engine.params import LLMTrainingParams
from engine.rewards.lines import settled
from engine.spec import Form


class RewardedParams(LLMTrainingParams):
    """Settings of every trainer whose answers are scored while it trains.

    Raises:
        ParamError: also when there is neither a reward model nor a reward function, or a line is no reward.
    """

    rl_reward_model_path: Annotated[str | None, Form("Rewards", label="Reward model", widget="judge")] = Field(
        None,
        description="A model that scores the answers: a finished reward run, a folder or a Hub id. Without data, its prompts "
        "are taken.",
    )
    rl_rewards: Annotated[list[str], Form("Rewards", label="Reward functions", widget="rewards")] = Field(
        default_factory=list,
        description=(
            "Rules that score an answer, one a line, with a weight if you like: `2 * keyword: please`, `length: 40`, `json`, "
            "`match: answer`. See docs/rewards.md."
        ),
    )
    rl_reward_model_weight: Annotated[float, Form("Rewards", label="Weight of the reward model", advanced=True)] = Field(
        1.0, gt=-1000, lt=1000, description="How much the model's score counts beside the reward functions."
    )

    rl_max_new_tokens: Annotated[int, Form("Trainer", label="Longest answer, in tokens")] = Field(
        64, ge=1, le=8192, description="Longer answers are cut off. Writing takes most of the time: as few as the task allows."
    )
    rl_kl_coef: Annotated[float, Form("Trainer", label="Hold to the original")] = Field(
        0.05, ge=0, le=10, description="What each step away from the original model costs (KL). 0.01 to 0.2 is usual."
    )
    rl_clip_range: Annotated[float, Form("Trainer", label="Clip range", advanced=True)] = Field(
        0.2, gt=0, lt=1, description="How far an answer's probability may move in one step. 0.1 to 0.3 is usual."
    )
    rl_temperature: Annotated[float, Form("Trainer", label="Temperature", advanced=True)] = Field(
        1.0, gt=0, le=10, description="How freely answers are tried out. 0.7 to 1 is usual; higher tries more."
    )
    rl_top_k: Annotated[int, Form("Trainer", label="Top k", advanced=True)] = Field(
        0, ge=0, le=1_000_000, description="Sample among this many likeliest tokens only. 0: among all, as the theory has it."
    )
    rl_top_p: Annotated[float, Form("Trainer", label="Top p", advanced=True)] = Field(
        1.0, gt=0, le=1, description="Sample among the likeliest tokens of this joint probability only. 1: among all."
    )

    @model_validator(mode="before")
    @classmethod
    def _prompts_of_the_judge(cls, values: Any) -> Any:
        """Without data, the prompts are those that the reward model was trained on, where its run says which."""
        if not isinstance(values, dict) or "data_path" in values or not values.get("rl_reward_model_path"):
            return values
        try:
            return {**trained_on(str(values["rl_reward_model_path"])), **values}
        except ModelError as error:
            raise ValueError(f"{error} (--rl-reward-model-path)") from None

    @field_validator("rl_reward_model_path", mode="before")
    @classmethod
    def _no_model_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("rl_rewards", mode="before")
    @classmethod
    def _lines_of_text(cls, value: Any) -> Any:
        return value.splitlines() if isinstance(value, str) else value

    @field_validator("rl_rewards")
    @classmethod
    def _readable(cls, lines: list[str], info: ValidationInfo) -> list[str]:
        given = [settled(line) for line in lines if line.strip()]
        if not given and info.data.get("rl_reward_model_path") is None:
            raise ValueError(
                "nothing scores the answers yet. Add a reward function, such as `length: 20-40`, or name a reward model"
            )
        return given

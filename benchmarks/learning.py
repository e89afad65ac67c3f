"""What every trainer teaches the starter, with three seeds: held-out behaviour before and after, as a table.

    python benchmarks/learning.py [trainer ...] [full | lora]

The samples are trained as the page fills them in, full and LoRA. What is measured was in no training row: preference
accuracy, the mean reward of new answers, or the share of answers that are as they should be. The tests of tests/train hold
one seed to the same limits. About half an hour on two cores for all.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from os import environ
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from engine import LLMTrainingParams, train  # noqa: E402
from engine.runs.directory import RunDirectory  # noqa: E402
from engine.samples import samples  # noqa: E402
from tests.train.test_distillation import SAMPLE as CRIER  # noqa: E402
from tests.train.test_distillation import crier_like  # noqa: E402
from tests.train.test_preference_learning import polite_share, rude_pairs  # noqa: E402
from tests.train.toys import series  # noqa: E402

SEEDS = (1, 2, 3)
WAYS = ("full", "lora")
# A run's name, to what is measured of it and of the model that it began with.
Measure = Callable[[str], tuple[float, float]]


@dataclass(frozen=True)
class Behaviour:
    """`limit` is what the tests ask for; `settings` come over the sample's own, `lora` over these with an adapter.

    The sample `rude` is not a bundled one: the pairs of good manners, turned round.
    """

    trainer: str
    sample: str
    words: str
    limit: str
    measure: Measure
    settings: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] = field(default_factory=dict)


def curve(key: str, last: Callable[[list[float]], float] = lambda values: values[-1]) -> Measure:
    """The first and the last held-out value of a curve."""

    def measure(name: str) -> tuple[float, float]:
        values = list(series(RunDirectory.open(name), key).values())
        return values[0], last(values)

    return measure


def manners(name: str) -> tuple[float, float]:
    return polite_share("starter-instructed"), polite_share(name)


def crier(name: str) -> tuple[float, float]:
    """Shares of answers without the long prompt; the teacher's with it is near 1."""
    return crier_like(CRIER.settings["model"], "{input}"), crier_like(name, "{input}")


def rise(name: str) -> tuple[float, float]:
    """How far the best held-out reward lies above the first, in standard deviations of the first."""
    run = RunDirectory.open(name)
    scores, spread = list(series(run, "eval_reward").values()), next(iter(series(run, "eval_reward_std").values()))
    return 0.0, (max(scores) - scores[0]) / spread


def distance(name: str) -> tuple[float, float]:
    """KL to the model at the start, in nats an answer, where the held-out reward is best."""
    run = RunDirectory.open(name)
    scores, far = series(run, "eval_reward"), series(run, "eval_kl")
    return far[min(far)], far[max(scores, key=lambda step: scores[step])]


# SFT, then a reward model, then PPO from the first and led by the second.
LED = {"model": "sft-{}", "rl_reward_model_path": "judge-{}", "rl_rewards": [], "rl_kl_coef": 0.1, "rl_max_new_tokens": 24}
EARLIER = {"sft-{}": ("sft", "neighbours"), "judge-{}": ("reward", "good-cheer")}
RUDE, INSTRUCTED = "rude", {"model": "starter-instructed"}
ACCURACY = "eval_rewards/accuracies"
BEHAVIOURS = (
    Behaviour("default", "harbour-almanac", "held-out loss", "falls", curve("eval_loss", min)),
    Behaviour("sft", "neighbours", "held-out token accuracy", "≥ 0.5", curve("eval_token_accuracy")),
    Behaviour("distillation", "town-crier", "answers as under the long prompt", "≥ 0.8 of the teacher's", crier),
    Behaviour("dpo", "manners", "held-out accuracy", "≥ 0.9", curve(ACCURACY), {"epochs": 2}, {"lr": 2e-3}),
    Behaviour("dpo", "manners", "polite answers", "≥ 0.9", manners, {"epochs": 2}, {"lr": 2e-3}),
    Behaviour("orpo", "whole-sentences", "held-out accuracy", "≥ 0.9", curve(ACCURACY), {"epochs": 1}),
    Behaviour("orpo", RUDE, "held-out accuracy, manners turned round", "≥ 0.9", curve(ACCURACY), {**INSTRUCTED, "epochs": 1}),
    Behaviour("reward", "good-cheer", "held-out accuracy", "≥ 0.9", curve(ACCURACY), {"epochs": 1}),
    Behaviour("ppo", "doorstep", "held-out reward", "≥ 1.6 (0.8 of the maximum)", curve("eval_reward", max), lora={"lr": 2e-3}),
    Behaviour("ppo", "doorstep", "SFT → reward → PPO: rise in standard deviations", "≥ 1", rise, LED),
    Behaviour("ppo", "doorstep", "SFT → reward → PPO: KL, nats an answer", "< 20", distance, LED),
    Behaviour("kto", "thumbs", "held-out accuracy", "≥ 0.9", curve(ACCURACY), {"epochs": 1}),
    Behaviour("grpo", "contest", "held-out reward", "rises", curve("eval_reward", max)),
)


def trained(behaviour: Behaviour, peft: bool, seed: int) -> str:
    """Train the behaviour's sample; returns the run's name. The same training is made once."""
    own = next((sample.settings for sample in samples() if sample.id == behaviour.sample), {})
    settings = {**own, **behaviour.settings, **(behaviour.lora if peft else {})}
    earlier = [pattern for pattern in EARLIER if pattern in settings.values()]
    for pattern in earlier:
        _once(pattern.format(seed), *EARLIER[pattern], {"seed": seed, "eval_steps": 1000})
    named = {key: value.format(seed) for key, value in settings.items() if value in earlier}
    name = f"{behaviour.sample}-{'led-' if earlier else ''}{'lora' if peft else 'full'}-{seed}"
    return _once(name, behaviour.trainer, behaviour.sample, {**settings, **named, "peft": peft, "seed": seed})


def _once(name: str, trainer: str, sample: str, settings: dict[str, Any]) -> str:
    if not (Path(environ["AITRAINING_HOME"]) / name).exists():
        asked = {"project_name": name, "sample_tokens": 0}
        data = rude_pairs(Path(environ["AITRAINING_HOME"])) if sample == RUDE else f"sample:{sample}"
        train(LLMTrainingParams(trainer=trainer, data_path=data, **{**settings, **asked}))
    return name


def main() -> None:
    wanted = {word for word in sys.argv[1:] if word not in WAYS}
    ways = {word for word in sys.argv[1:] if word in WAYS} or set(WAYS)
    rows = [
        "| trainer | | measured | before | seed 1 | seed 2 | seed 3 | the test asks for | seconds a run |",
        "|---" * 9 + "|",
    ]
    with tempfile.TemporaryDirectory(prefix="learning-") as home:
        environ["AITRAINING_HOME"] = home
        for behaviour in BEHAVIOURS:
            if wanted and behaviour.trainer not in wanted:
                continue
            for peft in (way == "lora" for way in WAYS if way in ways):
                began = time.monotonic()
                found = [behaviour.measure(trained(behaviour, peft, seed)) for seed in SEEDS]
                rows.append(_row(behaviour, peft, found, (time.monotonic() - began) / len(SEEDS)))
                print(rows[-1], file=sys.stderr, flush=True)
    print("\n".join(rows))


def _row(behaviour: Behaviour, peft: bool, found: list[tuple[float, float]], seconds: float) -> str:
    before = statistics.mean(first for first, _ in found)
    after = " | ".join(f"{last:.2f}" for _, last in found)
    way = "LoRA" if peft else "full"
    return f"| {behaviour.trainer} | {way} | {behaviour.words} | {before:.2f} | {after} | {behaviour.limit} | {seconds:.0f} |"


if __name__ == "__main__":
    main()

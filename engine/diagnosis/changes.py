"""Changes that help, the likeliest first: each function gives wishes, of which the first that a trainer takes is proposed.

Settings are asked for by name and never trainers: a wish for a setting that a trainer lacks is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.diagnosis.finding import Evidence, Wish
from engine.plan import usual_lr

# A rate above this does not train a language model, whatever the loss: growing it further is no help.
_HIGHEST_LR = 0.05
# Whoever has made so many steps in vain does not lack steps.
_MOST_STEPS = 100_000
# A rate so far below the usual one is not what makes steps too large.
_FAR_BELOW, _LOWEST_LR = 0.01, 1e-9
# Where no cost holds the model to what it was, the highest that is usual.
_USUAL_HOLD = 0.2


def less_memory(e: Evidence) -> Iterator[Wish]:
    """The same training in less memory first (half the rows at once, twice as often), then ways that cost something."""
    p = e.chosen
    half = {"batch_size": (p.batch_size or 1) // 2, "gradient_accumulation": p.gradient_accumulation * 2}
    if e.trained and half["batch_size"]:
        yield half
    adapter = {"peft": True, **({"fsdp": False} if p.fsdp else {})}  # beside which the model is not split
    if not e.trained:  # the weights themselves were too much, with what the optimizer keeps of them
        yield adapter
    yield {"gradient_checkpointing": True}
    yield adapter
    if half["batch_size"]:
        yield half
    if (p.max_length or 0) >= 64:
        yield {"max_length": (p.max_length or 0) // 2}


def smaller_steps(e: Evidence, divide: float) -> Iterator[Wish]:
    """The usual rate for a model of this size, or a fraction of the run's where that is smaller; then exacter numbers."""
    lr, parameters = e.chosen.lr, e.plan.get("model_parameters")
    if lr is not None:
        usual = usual_lr(e.params, parameters) if parameters else lr
        if lr > _FAR_BELOW * usual and lr > _LOWEST_LR:
            yield {"lr": _short(min(usual, lr / divide))}
    yield {"precision": "fp32"}


def larger_steps(e: Evidence) -> Iterator[Wish]:
    """The usual rate where the run's was far below it, else three times its rate; more passes where that is too much."""
    lr, parameters = e.chosen.lr, e.plan.get("model_parameters")
    if lr is not None:
        usual = usual_lr(e.params, parameters) if parameters else 0.0
        wanted = usual if lr < usual / 3 else 3 * lr
        if wanted <= _HIGHEST_LR:
            yield {"lr": _short(wanted)}
    if e.params.max_steps and e.params.max_steps <= _MOST_STEPS:
        yield {"max_steps": 2 * e.params.max_steps}
    yield {"epochs": min(1000.0, 2 * e.params.epochs)}


def tighter_hold(e: Evidence) -> Iterator[Wish]:
    """Hold the model closer to what it was; where it is held as tightly as is usual already, take smaller steps."""
    name = e.spec.held_by
    if name and e.has(name):
        now = getattr(e.chosen, name) or 0.0
        if now < _USUAL_HOLD:
            yield {name: _short(min(_USUAL_HOLD, 4 * now) if now else _USUAL_HOLD / 2)}
    yield from smaller_steps(e, 3)


def likelier_good_answers(e: Evidence) -> Iterator[Wish]:
    """What this trainer has to keep good answers likely, else smaller steps."""
    yield dict(e.spec.keeps_good)
    yield from smaller_steps(e, 3)


def shorter_training(e: Evidence, best_step: int) -> Iterator[Wish]:
    """As far as the best measurement, since a rate that falls to its end there makes more of those steps."""
    if not e.params.keep_best:
        yield {"keep_best": True}
    if e.params.max_steps:
        yield {"max_steps": best_step}
    per_pass = e.plan.get("steps_per_epoch")
    if per_pass and best_step:
        yield {"epochs": _short(best_step / per_pass)}
    yield {"early_stopping_patience": 2}


def more_room(e: Evidence, wanted: int) -> Iterator[Wish]:
    """Rows as long as they are, as far as the model reads; a power of two, as the plan chooses them."""
    context = e.plan.get("model_context") or wanted
    length = min(max(32, 1 << (wanted - 1).bit_length()), context)
    if length > (e.chosen.max_length or 0):
        yield {"max_length": length}


def longer_answers(e: Evidence) -> Iterator[Wish]:
    yield {"rl_max_new_tokens": 2 * getattr(e.chosen, "rl_max_new_tokens", 0)}


def more_variety(e: Evidence) -> Iterator[Wish]:
    """Answers that differ can be told apart. Above 1.5 a model writes nonsense."""
    now = getattr(e.chosen, "rl_temperature", 1.5)
    if now < 1.5:
        yield {"rl_temperature": _short(min(1.5, now * 1.3))}
    yield {"rl_num_generations": min(256, 2 * getattr(e.chosen, "rl_num_generations", 0))}


def another_template(_: Evidence) -> Iterator[Wish]:
    """Plain lines, which show any conversation."""
    yield {"chat_template": "plain"}


def fewer_files(e: Evidence) -> Iterator[Wish]:
    """One checkpoint at a time; then none but the last few."""
    yield {"save_total_limit": 1}
    total = e.status.total_steps or 1000
    yield {"save_steps": max(total, 1)}


def _short(value: float) -> float:
    """Two figures, as a person would write it."""
    return float(f"{value:.1e}")

"""Runs whose curves say that something is wrong. Each rule names its thresholds and where they come from.

The measure of every threshold is that a healthy curve must never reach it: tests/diagnosis/healthy.json holds the curves of
the nine samples, and all rules are silent on them.
"""

from __future__ import annotations

from statistics import median

from engine.diagnosis import changes
from engine.diagnosis.finding import Evidence, Finding
from engine.diagnosis.series import Points, beginning, ending, lowest, near, noise, smoothed, values

# Points without which a curve says nothing: medians of five at either end, and something between them.
_FEWEST = 12
_FEWEST_MEASURED = 4
# A loss that ends this much above its start was not noisy but wrong: untrained weights would have been better.
_WORSE = 1.15
# Healthy losses never double; those of far too large steps do at once, and a falling rate may bring
# them back to their start, or a little below it.
_LEAPT = 2.0
# Between the median of a few points and a single one, three typical steps of the curve are about two and a half
# standard deviations: one run in a hundred by chance, on top of the other condition. A peak is the highest of many, and
# wants twice as much.
_NOISY = 3.0
# A fiftieth of what there was: less is no movement that anybody would see.
_MOVED = 0.02
# Of the curve at either end, for its median (whose standard error is 1.25 deviations over the root of the points).
_FIFTH = 0.2
# A loss near nothing has nowhere to fall.
_LOW = 0.2
# Held-out loss wanders by some percent between measurements; a tenth of its value and of all that was gained is a turn.
_TURNED = 0.1
# Nats a token. The samples, whose manner changes altogether, end between 0.6 and 1.3; at 4 the original would have
# written each token once in 50 times.
_FAR = 4.0
# Nats and share by which a good answer must have become less likely: healthy DPO moves it by a few.
_LOST_NATS, _LOST_SHARE = 10.0, 0.2
# Half of the answers without an end: on the samples it is a fifth at most once the first quarter is over.
_CUT = 0.5


def diverging(e: Evidence) -> Finding | None:
    """The loss ends above where it began, leapt up and came back no further than that, or gave back half of its gain."""
    if e.spec.higher_is_better:
        return None
    rise = _risen(e.curve("loss"), e.curve(e.spec.judged_by))
    if rise is None:
        return None
    start, top = rise
    change = e.first_valid(changes.smaller_steps(e, 3))
    by_rate = change and change[0].setting == "lr"
    to = f"Train with the learning rate {change[0].becomes:g}." if by_rate else "Take smaller steps."
    return Finding(
        "diverging",
        f"The loss {'rises' if e.working else 'rose'} instead of falling: from {start:.3g} to {top:.3g}.",
        f"Steps of the learning rate {e.chosen.lr:g} throw the model further than they improve it."
        if e.chosen.lr is not None
        else "The steps are too large.",
        f"Stop it: what is lost rarely comes back. {to}" if e.working else to,
        change,
    )


def _risen(loss: Points, held_out: Points) -> tuple[float, float] | None:
    """From where to where the training loss rose, where the held-out loss agrees or no noise explains it."""
    if len(loss) < _FEWEST:
        return None
    first, end, calm = loss[0][1], ending(loss), smoothed(loss)
    low, peak = lowest(calm)[1], max(values(calm))
    gained, lost = first - low, end - low
    for from_, to, wild, sign in (
        (first, end, _NOISY, end > _WORSE * first + 0.1),
        (first, peak, 2 * _NOISY, peak > _LEAPT * first + 0.1 and end > first / 2),
        (low, end, _NOISY, gained > 0.2 * first and lost > 0.5 * gained and end > 2 * low),
    ):
        if sign and (_agrees(held_out) if len(held_out) >= _FEWEST_MEASURED else to - from_ > wild * noise(loss)):
            return from_, to
    return None


def _agrees(held_out: Points) -> bool:
    """Whether the held-out loss, which averages many rows, was or is far above where it could be.

    Where it rises alone, that is over-fitting, and another rule's.
    """
    first, low, end = held_out[0][1], lowest(held_out)[1], held_out[-1][1]
    return max(values(held_out)) > _WORSE * first + 0.1 or end - low > 0.3 * max(0.0, first - low) + 0.1


def flat(e: Evidence) -> Finding | None:
    """The run is over, and the held-out loss (the training loss where nothing is held out) has not moved."""
    if e.working or e.spec.higher_is_better or len(e.curve("loss")) < _FEWEST:
        return None
    moved = _moved(e.curve("loss"), e.curve(e.spec.judged_by))
    if moved is None:
        return None
    start, end = moved
    change = e.first_valid(changes.larger_steps(e))
    return Finding(
        "flat",
        f"The loss hardly moved: {start:.3g} at the start, {end:.3g} at the end.",
        f"Steps of the learning rate {e.chosen.lr:g} were too small, or too few, to change the model."
        if e.chosen.lr is not None
        else "The steps were too small or too few to change the model.",
        "Take larger steps." if change and change[0].setting == "lr" else "Train longer, or look at the data once more.",
        change,
    )


def _moved(loss: Points, held_out: Points) -> tuple[float, float] | None:
    """Start and end of a loss that stayed where it was; None for one that moved, or is so low that it has nowhere to go."""
    if len(held_out) >= _FEWEST_MEASURED:
        start, end = held_out[0][1], held_out[-1][1]
        furthest = max(abs(value - start) for value in values(held_out))
    else:
        start, end = beginning(loss, _FIFTH), ending(loss, _FIFTH)
        furthest = abs(start - end)
        if 1.25 * noise(loss) / (_FIFTH * len(loss)) ** 0.5 > _MOVED * start:
            return None  # the points are too noisy to tell
    return (start, end) if start > _LOW and furthest < _MOVED * start else None


def same_rewards(e: Evidence) -> Finding | None:
    """The answers all score the same, so that there is nothing to choose between."""
    reward, spread = e.curve("reward"), e.curve("reward_std")
    stopped = e.status.cause == "same rewards"
    if not stopped:
        if e.working or not e.spec.higher_is_better or len(reward) < _FEWEST or not spread:
            return None
        if max(values(spread)) > 1e-6 or abs(beginning(reward) - ending(reward)) > 1e-6:
            return None
    return Finding(
        "same rewards",
        "All answers scored the same, so there was nothing to learn from.",
        "Better answers are found by comparing, and no answer was better than another.",
        "Let the model try more freely. If that does not help: a rule that gives part marks, or teach it with examples first.",
        e.first_valid(changes.more_variety(e)),
        confidence="certain" if stopped else "likely",
    )


def overfitting(e: Evidence) -> Finding | None:
    """The held-out loss has turned up for good while the training loss went on falling."""
    loss, held_out = e.curve("loss"), e.curve(e.spec.judged_by)
    if e.spec.higher_is_better or len(held_out) < _FEWEST_MEASURED + 1 or len(loss) < _FEWEST:
        return None
    step, best = lowest(held_out)
    after = [value for at, value in held_out if at > step]
    if len(after) < 2 or not _turned(held_out[0][1], best, after):
        return None
    if ending(loss) > 0.95 * near(loss, step) or _risen(loss, held_out):  # both rise: that is something else
        return None
    kept = e.params.keep_best
    change = e.first_valid(changes.shorter_training(e, step))
    saved = " The best weights were kept: the model is the one of that step." if kept else " The last weights were saved."
    return Finding(
        "over-fitting",
        f"Held-out loss {'rises' if e.working else 'rose'} from step {step} on: from {best:.3g} to {after[-1]:.3g}.",
        "From there on the model learns its rows by heart." + ("" if e.working else saved),
        "Keep the best weights." if not kept else "Train no longer than that; more and more varied rows help most.",
        change,
    )


def _turned(first: float, best: float, after: list[float]) -> bool:
    """Whether the last two measurements lie clearly above the best, measured by its value and by all that was gained."""
    rise = min(after[-2:]) - best
    return rise > _TURNED * best and rise > _TURNED * max(0.0, first - best)


def pushed_away(e: Evidence) -> Finding | None:
    """The margin between good and bad answers grows while the good ones become less likely: both are pushed away."""
    for before in ("eval_", ""):
        likely, margin = e.curve(f"{before}logps/chosen"), e.curve(f"{before}rewards/margins")
        fewest = _FEWEST_MEASURED if before else _FEWEST
        if min(len(likely), len(margin)) >= fewest:
            break
    else:
        return None
    few = 1 if before else 5
    start, end = beginning(likely, 0.1, few), ending(likely, 0.1, few)
    lost = start - end
    if lost < _LOST_NATS or lost < _LOST_SHARE * abs(start) or lost < _NOISY * noise(likely):
        return None
    if ending(margin, 0.1, few) <= beginning(margin, 0.1, few):
        return None
    change = e.first_valid(changes.likelier_good_answers(e))
    return Finding(
        "reward hacking",
        f"The margin grows, but the good answers became less likely too (log-probability {start:.3g} to {end:.3g}).",
        "It is rewarded for the difference alone, and found that making both unlikely widens it.",
        "Take smaller steps."
        if change and change[0].setting == "lr"
        else "Give weight to learning the good answers themselves.",
        change,
    )


def drift(e: Evidence) -> Finding | None:
    """The model has moved so far from what it was that its answers are no longer language it knew."""
    if e.spec.drift is None:
        return None
    far, lengths = e.curve(e.spec.drift[0]), dict(e.curve(e.spec.drift[1]))
    if lengths:
        far = [(step, value / max(1.0, lengths[step])) for step, value in far if step in lengths]
    if len(far) < _FEWEST or ending(far) < _FAR:
        return None
    change = e.first_valid(changes.tighter_hold(e))
    return Finding(
        "kl",
        f"The model {'drifts' if e.working else 'drifted'} far from what it was: {ending(far):.3g} nats a token.",
        "It finds scores in text that the original would never write; such answers are usually strange, whatever they score.",
        ("Stop it, and take" if e.working else "Take") + " smaller steps."
        if change and change[0].setting == "lr"
        else ("Stop it, and hold" if e.working else "Hold") + " it closer to the original.",
        change,
    )


def cut_answers(e: Evidence) -> Finding | None:
    """Most of the answers that the model writes while it learns are cut off."""
    key = e.spec.cut_answers
    points = e.curve(key.removeprefix("!"))
    if not key or len(points) < _FEWEST:
        return None
    late = median(values(points)[-max(5, len(points) // 4) :])
    share = 1 - late if key.startswith("!") else late
    if share < _CUT:
        return None
    return Finding(
        "cut answers",
        f"{share:.0%} of the answers were cut before they came to an end.",
        "They reached the longest length, so they were scored without their end.",
        "Allow more tokens.",
        e.first_valid(changes.longer_answers(e)),
    )

"""Where a sweep stands, in a sentence and what to do now: for the page and the terminal."""

from __future__ import annotations

from engine.params import form_of
from engine.pipelines.gate import titles
from engine.registry import spec_for
from engine.runs.status import State
from engine.spec import TrainerSpec
from engine.sweeps.group import DAMAGED, Progress
from engine.sweeps.space import written
from engine.sweeps.sweep import Sweep


def measure(progress: Progress) -> str:
    """What the runs are judged by, in words: "held-out loss, lower is better"."""
    title = titles(progress.trainer).get(progress.metric, progress.metric.removeprefix("eval_").replace("_", " "))
    return f"held-out {title[:1].lower()}{title[1:]}, {'higher' if progress.higher_is_better else 'lower'} is better"


def told(progress: Progress, *, labels: bool = False) -> tuple[str, str]:
    """What is the case, and a hint ("" when nothing is to be done); with `labels` settings are called as on the page."""
    if progress.state == DAMAGED:
        return "What is written down of this sweep is damaged.", "Its runs are ordinary ones and are still there."
    ended = sum(not one.at_work for one in progress.tries)
    said = f"{ended} of {progress.wanted} runs have ended."
    if progress.best is not None:
        said += f" Best{'' if progress.state == 'done' else ' so far'}: {progress.best.run} with {_chosen(progress, labels)}."
    if progress.trouble:
        return f"{said} {progress.trouble}", "Go on continues from here; runs that have ended are kept."
    return said, _hint(progress)


# What decides of the answers that are scored, and of the score.
_SCORE = (
    "rl_rewards",
    "rl_reward_model_path",
    "rl_reward_model_weight",
    "rl_temperature",
    "rl_max_new_tokens",
    "rl_top_k",
    "rl_top_p",
)


def caution(sweep: Sweep, *, labels: bool = False) -> str:
    """Why the numbers of the runs may not be of one kind; "" where they are. `labels` as in `told`."""
    groups = {name: form_of(sweep.spec.params, name).group for name in sweep.axes}
    called = {name: f"“{_called(sweep.spec, name, labels)}”" if labels else name for name in sweep.axes}
    # the seed decides which rows are held out, and each model counts tokens of its own
    rows = [called[name] for name, group in groups.items() if group == "Data" or name in ("data_path", "seed", "model")]
    own = [called[name] for name, group in groups.items() if group == "Trainer" and "loss" in sweep.spec.judged_by]
    scored = [called[name] for name in groups if name in _SCORE and sweep.spec.judged_by == "eval_reward"]
    if rows:
        return (
            f"{', '.join(rows)} can change which rows or tokens are measured, so the runs are not measured on quite the same."
        )
    if own:
        return f"{', '.join(own)} can change what the loss counts, so a lower one need not be better. Talk to the results, too."
    if scored:
        return (
            f"{', '.join(scored)} can change how answers are written or what a score means, so a higher one need not be "
            "better. Talk to the results, too."
        )
    return ""


def _chosen(progress: Progress, labels: bool) -> str:
    assert progress.best is not None
    spec = spec_for(progress.trainer)
    chosen = progress.best.values.items()
    return ", ".join(f"{_called(spec, name, labels)} {written(value)}" for name, value in chosen)


def _called(spec: TrainerSpec, name: str, labels: bool) -> str:
    """A setting by its name, or by what the page calls it."""
    return form_of(spec.params, name).label if labels else name


def _hint(progress: Progress) -> str:
    if progress.stop_asked and progress.at_work:
        return "The run that trains finishes its step and saves, as you asked; what waited was taken out of the queue."
    if progress.at_work and not progress.driven:
        if progress.kind == "adaptive" and len(progress.tries) < progress.wanted:
            return "The process that chooses the next run has ended. Go on starts it again."
        return (
            "The runs stay in the queue, and start one after the other while the app is open. Go on waits for them without it."
        )
    if progress.state in (State.STOPPED.value, State.INTERRUPTED.value):
        return "Go on queues again what was stopped or cut off; runs that are done or failed stay as they are."
    if progress.state == State.FAILED.value:
        return "No run came to a result. The reasons stand beside them."
    return ""

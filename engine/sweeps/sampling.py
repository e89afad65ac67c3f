"""Which combinations a sweep tries: all of them, some drawn at random, or the next one by what came of those before it.

Drawing is Optuna's: one set of ranges serves its random and its adaptive sampler (TPE, Bergstra et al. 2011, "Algorithms for
Hyper-Parameter Optimization"). Its study is made anew from the runs each time and kept nowhere, so that it needs no storage
and cannot disagree with them. It is loaded only when something is drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.sweeps.space import Axis, Choices, Range
from engine.sweeps.sweep import Sweep

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

Values = dict[str, Any]

# So many draws in a row that were there before: what is left is found by going through the combinations, or not at all.
_PATIENCE = 200
# Below this many results TPE has nothing to learn from and draws at random; Optuna's own number is 10.
_FEWEST, _USUAL = 3, 10


@dataclass(frozen=True)
class Outcome:
    """What came of one try. `value`: its held-out measurement; None for one that failed, which counts as worse than all."""

    values: Values
    value: float | None = None


def combinations(sweep: Sweep) -> list[Values]:
    """Those of a grid, the last setting varying fastest, or the ones that are drawn at random, each once.

    An adaptive sweep has none in advance: see `following`.
    """
    if sweep.kind == "grid":
        return list(_all(sweep))
    if sweep.kind == "random":
        return _drawn(sweep)
    return []


def corners(sweep: Sweep) -> list[Values]:
    """A combination for every listed value and every end of a range, the other settings at their first: what can be judged
    of a sweep before anything is drawn."""
    first = {name: _ends(axis)[0] for name, axis in sweep.axes.items()}
    made = [{**first, name: value} for name, axis in sweep.axes.items() for value in _ends(axis)]
    return [values for place, values in enumerate(made) if values not in made[:place]]


def following(sweep: Sweep, past: Sequence[Outcome]) -> Values | None:
    """What an adaptive sweep tries after `past`; None when every combination was tried. The same past gives the same answer."""
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState, create_trial

    ranges = {name: _range(axis) for name, axis in sweep.axes.items()}
    startup = max(_FEWEST, min(_USUAL, sweep.tries // 3))
    study = _study(TPESampler(seed=sweep.seed + len(past), n_startup_trials=startup), sweep.spec.higher_is_better)
    for outcome in past:
        drawn = {name: _code(axis, outcome.values[name]) for name, axis in sweep.axes.items()}
        if outcome.value is None:  # a trial that was given up ranks below all that were not
            study.add_trial(create_trial(params=drawn, distributions=ranges, state=TrialState.PRUNED))
        else:
            study.add_trial(create_trial(params=drawn, distributions=ranges, value=outcome.value))
    seen = [outcome.values for outcome in past]
    return next(iter(_asked(sweep, study, ranges, seen)), None)


def _drawn(sweep: Sweep) -> list[Values]:
    from optuna.samplers import RandomSampler

    ranges = {name: _range(axis) for name, axis in sweep.axes.items()}
    study = _study(RandomSampler(seed=sweep.seed), sweep.spec.higher_is_better)
    return list(itertools.islice(_asked(sweep, study, ranges, []), sweep.wanted))


def _asked(sweep: Sweep, study: Any, ranges: dict[str, BaseDistribution], seen: list[Values]) -> Iterable[Values]:
    """What the study asks for, each combination once and none of `seen`; then, of a finite sweep, what is left."""
    seen, missed = list(seen), 0
    while missed < _PATIENCE:
        drawn = study.ask(ranges).params
        values = {name: _decoded(axis, drawn[name]) for name, axis in sweep.axes.items()}
        if values in seen:
            missed += 1
            continue
        missed = 0
        seen.append(values)
        yield values
    if sweep.size <= 10 * _PATIENCE:
        yield from (values for values in _all(sweep) if values not in seen)


def _all(sweep: Sweep) -> Iterable[Values]:
    listed = [
        axis.values if isinstance(axis, Choices) else range(int(axis.low), int(axis.high) + 1) for axis in sweep.axes.values()
    ]
    return (dict(zip(sweep.axes, values, strict=True)) for values in itertools.product(*listed))


def _ends(axis: Axis) -> Sequence[Any]:
    return (axis.low, axis.high) if isinstance(axis, Range) else axis.values


def _study(sampler: BaseSampler, higher: bool) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=sampler, direction="maximize" if higher else "minimize")


def _range(axis: Axis) -> BaseDistribution:
    """The axis as Optuna has it; a listed value goes by its place, since it may be a list or nothing."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(axis, Choices):
        return CategoricalDistribution(tuple(range(len(axis))))
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _code(axis: Axis, value: Any) -> Any:
    return axis.values.index(value) if isinstance(axis, Choices) else value


def _decoded(axis: Axis, drawn: Any) -> Any:
    return axis.values[drawn] if isinstance(axis, Choices) else axis.rounded(drawn)

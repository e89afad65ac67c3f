"""What all runs of a sweep will take together, before the first is queued."""

from __future__ import annotations

from dataclasses import dataclass

from engine.device import device
from engine.estimate import estimate
from engine.models import facts
from engine.plan import plan
from engine.registry import spec_for
from engine.sweeps.space import written
from engine.sweeps.sweep import Sweep
from engine.sweeps.tries import Try, check, sketched


@dataclass(frozen=True)
class Outlook:
    """`runs` at most, one after the other: `seconds` and `disk` bytes of all together. `unfit` names combinations that will
    probably not fit into memory, with advice. `sampled`: which runs there will be is not known yet, and this is a mean of some.
    """

    runs: int
    seconds: float
    disk: float
    disk_free: float
    unfit: tuple[str, ...]
    sampled: bool


def outlook(sweep: Sweep) -> Outlook:
    """The sum over all combinations, each planned as its run will be.

    Raises:
        ParamError: some combination cannot be used, or nothing would tell which of them is best.
        DataError, ModelError: data or a model cannot be looked at.
    """
    from engine.preview import data_facts

    made = sketched(sweep)
    check(sweep, made)
    found = []
    for one in made:
        p = one.params
        data, model, here = data_facts(p), facts(p.model), device(p.device)
        found.append(estimate(plan(p, data, model, here), data, model, here, spec_for(p.trainer)))
    sampled = sweep.kind == "adaptive"
    runs = sweep.wanted if sampled else len(made)
    unfit = tuple(f"{_words(one)}: {seen.advice}" for one, seen in zip(made, found, strict=True) if not seen.fits)
    share = runs / len(found)
    seconds, disk = (share * sum(amounts) for amounts in ([e.seconds for e in found], [e.disk for e in found]))
    return Outlook(runs, seconds, disk, found[0].disk_free, unfit, sampled)


def _words(one: Try) -> str:
    return ", ".join(f"{name} {written(value)}" for name, value in one.values.items())

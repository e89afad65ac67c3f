"""The command line that equals a sweep: what the page shows, and what `aitraining sweep` accepts."""

from __future__ import annotations

import shlex

from engine.command import to_argv
from engine.sweeps.sampling import corners
from engine.sweeps.sweep import Sweep
from engine.sweeps.tries import one


def command(sweep: Sweep, *, named: bool = False) -> str:
    """`aitraining sweep …` as one line for a POSIX shell; with its name if it is `named`.

    Raises:
        ParamError: its first combination cannot be used.
    """
    params = one(sweep, corners(sweep)[0]).params
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in type(params).model_fields.items()
        if name in sweep.axes and not field.is_required()
    }
    argv = to_argv(params.model_copy(update=defaults))
    words = ["aitraining", "sweep", *_without(argv[2:], [name for name in sweep.axes if name not in defaults])]
    words += [word for name, axis in sweep.axes.items() for word in ("--sweep", f"{name}={str(axis).replace(', ', ',')}")]
    words += [] if sweep.kind == "grid" else [f"--{sweep.kind}", str(sweep.tries)]
    return shlex.join(words + (["--name", sweep.name] if named else []))


def _without(argv: list[str], names: list[str]) -> list[str]:
    """Flags without those of settings that must be given and vary."""
    flags = {f"--{name.replace('_', '-')}" for name in names}
    kept, skip = list[str](), False
    for word in argv:
        if skip or word in flags:
            skip = word in flags
            continue
        kept.append(word)
    return kept

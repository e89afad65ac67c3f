"""docs/troubleshooting.md: what is recognised in a run and what is proposed, from the table of recognisers."""

from __future__ import annotations

from engine.diagnosis.table import CUT_OFF, OVER, TABLE, Row
from engine.reference.table import table
from engine.runs.status import State

_OPENING = """# When a run goes wrong

A run that ended badly, or that trains badly, is looked at: its cause, its warnings and its curves. What is recognised stands
on its page as a card: what happened, why, and the one change most likely to help, with a button *Retry with this change*. The
button opens *New run* with the run's settings and the change filled in; nothing starts before you press *Start training*. Where
the run can go on from a checkpoint, the button is *Resume*.

`aitraining follow NAME` tells the same at the end, with the command that retries; so does `aitraining runs` of the newest run.
Over HTTP a run that has ended carries `findings` ([integration.md](integration.md#another-web-app)). In Python:

<!-- not run: it needs a run of that name -->
```python
from engine import Run

for finding in Run("sft-starter-1").findings():
    print(finding.what, finding.why, finding.advice, finding.settings)
```

## What is recognised

"""
_CLOSING = """
Curves are judged by medians of many points against the curve's own noise. On the curves of the bundled samples, which the
guides show, no rule says anything, neither at the end nor at any step on the way; a run about which nothing is said may still
be better or worse than you wish. What each chart should look like stands in the [guide of its trainer](README.md#trainers),
what an error means in [errors.md](errors.md).
"""


def page() -> str:
    """The whole page."""
    rows = [(row.title, row.sign, _when(row), row.helps) for row in TABLE]
    return _OPENING + table(("what", "how it is recognised", "in runs that", "what is proposed"), rows) + _CLOSING


def _when(row: Row) -> str:
    if row.states == CUT_OFF:
        return "failed or were cut off"
    if row.states == CUT_OFF | {State.STOPPED}:
        return "failed, were cut off or stopped"
    if row.states == OVER:
        return "ended by themselves or were stopped"
    return "ended, in whatever way" if row.states == OVER | CUT_OFF else "train, or have ended"

"""The progress of a run in a notebook: one output that is drawn anew, with a bar, the time that is left and the loss.

Plain HTML through IPython's own display, so that no widgets need to be installed. Imports IPython only where it runs already.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from typing import Any

from engine.runs.status import Status

_WIDTH, _HEIGHT = 320, 48
_COLOUR = "#2f7de1"
# Points that a curve has at most; of more, some are left out, but never the last.
_POINTS = 200


def in_notebook() -> bool:
    """Whether this is a kernel that shows rich output (Jupyter, VS Code, Colab), and not IPython in a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class NotebookProgress:
    """One output below the cell. `show` replaces what it shows."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last = ""

    def show(self, name: str, status: Status, losses: Sequence[float], left: str) -> None:
        """Draw the run as it is now; nothing is sent when nothing has changed."""
        from IPython.display import HTML, display  # type: ignore[import-not-found]

        drawn = progress_html(name, status, losses, left)
        if drawn == self._last:
            return
        self._last = drawn
        if self._handle is None:
            self._handle = display(HTML(drawn), display_id=True)
        else:
            self._handle.update(HTML(drawn))


def progress_html(name: str, status: Status, losses: Sequence[float], left: str) -> str:
    """A bar with words above it and the curve of the losses below."""
    share = 100 * status.step / status.total_steps if status.total_steps else 0
    words = [escape(status.phase or status.state.value)]
    words += [f"step {status.step:,} of {status.total_steps:,}"] if status.total_steps else []
    words += [f"loss {losses[-1]:.4f}"] if losses else []
    words += [left] if left and not status.ended_state else []
    why = f"<div>{escape(status.reason)} {escape(status.hint)}</div>" if status.reason else ""
    bar = f'<progress max="100" value="{share:.1f}" style="width:100%;accent-color:{_COLOUR}"></progress>'
    return (
        f'<div style="font:13px system-ui,sans-serif;max-width:{_WIDTH}px"><div><b>{escape(name)}</b> {" · ".join(words)}</div>'
        f"{bar}{_curve(losses)}{why}</div>"
    )


def _curve(losses: Sequence[float]) -> str:
    if len(losses) < 2:
        return ""
    losses = [*losses[: -1 : max(1, len(losses) // _POINTS)], losses[-1]]
    low, high = min(losses), max(losses)
    across, up = (_WIDTH - 2) / (len(losses) - 1), (_HEIGHT - 4) / ((high - low) or 1)
    points = " ".join(f"{1 + place * across:.1f},{2 + (high - loss) * up:.1f}" for place, loss in enumerate(losses))
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="loss from {losses[0]:.4f} to {losses[-1]:.4f}">'
        f'<polyline points="{points}" fill="none" stroke="{_COLOUR}" stroke-width="1.5"/></svg>'
    )

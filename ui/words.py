"""Numbers in the words of the page: sizes, durations, counts; sentences with code in them."""

from __future__ import annotations

import re
from html import escape


def size(count: float) -> str:
    """Bytes as people read them: 512 kB, 3.4 GB."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}" if count < 100 * factor else f"{count / factor:.0f} {unit}"
    return f"{count:.0f} bytes"


def duration(seconds: float | None) -> str:
    """A time span in one or two units."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 row, 2,000 rows."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def passes(epochs: float) -> str:
    """How often the data is seen: 1 pass, 2.5 passes."""
    return "1 pass" if epochs == 1 else f"{epochs:g} passes"


def share(part: float) -> str:
    """A share in percent that is not called 0 % while it is something."""
    return "under 1 %" if 0 < part < 0.01 else f"{part:.0%}".replace("%", " %")


def weights(number: int) -> str:
    """A model's size: 2.9 M, 1.2 B."""
    return f"{number / 1e9:.1f} B" if number >= 1e9 else f"{number / 1e6:.1f} M"


def linked(sentence: str) -> str:
    """A sentence as markup as `coded` has it, with its addresses to click on and its lines as lines."""
    address = r"(https?://[^\s,;<>&\"']+[^\s,;<>&\"'.)])"
    marked = re.sub(address, r'<a href="\1" target="_blank" rel="noopener">\1</a>', coded(sentence))
    return marked.replace("\n", "<br>")


def coded(sentence: str) -> str:
    """A sentence as markup, with what stands between `backticks` set as it is typed."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(sentence))

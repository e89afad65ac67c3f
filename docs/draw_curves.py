"""`python docs/draw_curves.py [TRAINER ...]`: train the samples and draw the curves that the guides show (docs/curves/).

Runs that are in $AITRAINING_HOME under the trainer's name already are drawn as they are. Without it the runs are made anew
and thrown away: about a quarter of an hour for all. Look at each picture before it is committed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "curves"
sys.path.insert(0, str(ROOT))

from engine import Run, start  # noqa: E402
from engine.errors import RunNotFound  # noqa: E402
from engine.reference.guides import sample_params  # noqa: E402
from engine.registry import specs  # noqa: E402
from engine.samples import samples  # noqa: E402
from engine.spec import Chart  # noqa: E402

Points = Sequence[tuple[int, float]]

WIDE, HIGH, MARGIN = 400, 190, (34, 14, 40, 46)  # of one chart; its margins: top, right, bottom, left
SHOWN = 4
STYLE = """
  text { font: 11px system-ui, sans-serif; fill: #5d5d57 } .title { font-size: 13px; font-weight: 600; fill: #22221f }
  .frame { stroke: #e4e4de; fill: none } .c0 { --c: #0d7768 } .c1 { --c: #c2620a } .c2 { --c: #5b53c4 } .c3 { --c: #8a6d00 }
  polyline { fill: none; stroke: var(--c); stroke-width: 1.6; stroke-linejoin: round } circle, rect { fill: var(--c) }
  @media (prefers-color-scheme: dark) { text { fill: #a6a69f } .title { fill: #e7e7e3 } .frame { stroke: #44464c }
    .c0 { --c: #4fd1b8 } .c1 { --c: #f6ad55 } .c2 { --c: #a9a4f5 } .c3 { --c: #d9c35c } }
"""


def main(wanted: Sequence[str]) -> None:
    """Train and draw what is wanted, or all of it."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("AITRAINING_HOME", scratch)
        for spec in specs().values():
            if not wanted or spec.id in wanted:
                run = finished(spec.id)
                kept = [(chart, lines_of(chart, run)) for chart in spec.charts]
                drawn = [(chart, lines) for chart, lines in kept if lines][:SHOWN]
                (FOLDER / f"{spec.id}.svg").write_text(picture(drawn), encoding="utf-8")
                print(FOLDER / f"{spec.id}.svg")


def finished(trainer: str) -> Run:
    """The run of the trainer's sample, trained if it is not there."""
    try:
        return Run(trainer)
    except RunNotFound:
        sample = next(sample for sample in samples() if sample.trainer == trainer)
        run = start(sample_params(sample).model_copy(update={"project_name": trainer}))
        run.wait()
        return run


def lines_of(chart: Chart, run: Run) -> list[tuple[str, Points]]:
    """The chart's curves that have points: (label, points)."""
    table = run.metrics()
    found = []
    for key, label in chart.series:
        if key in table:
            values = table[key].dropna()
            found.append((label, list(zip(map(int, values.index), map(float, values), strict=True))))
    return found


def picture(charts: Sequence[tuple[Chart, list[tuple[str, Points]]]]) -> str:
    """Charts beside and below each other, in the colours of the page, light or dark as the reader's system is."""
    columns = min(2, len(charts))
    rows = -(-len(charts) // columns)
    size = f'viewBox="0 0 {columns * WIDE} {rows * HIGH}" width="{columns * WIDE}" height="{rows * HIGH}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{STYLE}</style>"]
    for place, (chart, lines) in enumerate(charts):
        at = f"translate({place % columns * WIDE} {place // columns * HIGH})"
        parts += [f'<g transform="{at}">', *drawn(chart.title, lines), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def drawn(title: str, lines: list[tuple[str, Points]]) -> list[str]:
    """One chart: title, frame with its bounds, curves, what each is."""
    top, right, bottom, left = MARGIN
    wide, high = WIDE - left - right, HIGH - top - bottom
    every = [point for _, points in lines for point in points]
    last, low, highest = max(x for x, _ in every), min(y for _, y in every), max(y for _, y in every)
    span = (highest - low) or 1.0

    def at(x: int, y: float) -> str:
        return f"{left + wide * x / max(last, 1):.1f},{top + high * (1 - (y - low) / span):.1f}"

    parts = [
        f'<text class="title" x="{left}" y="20">{escape(title)}</text>',
        f'<rect class="frame" x="{left}" y="{top}" width="{wide}" height="{high}" style="fill: none"/>',
        f'<text x="{left - 6}" y="{top + 8}" text-anchor="end">{highest:.3g}</text>',
        f'<text x="{left - 6}" y="{top + high}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{left + wide}" y="{top + high + 16}" text-anchor="end">step {last}</text>',
    ]
    place = left
    for number, (label, points) in enumerate(lines):
        path = " ".join(at(x, y) for x, y in points)
        marks = [at(x, y).split(",") for x, y in points] if len(points) <= 30 else []
        dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.4"/>' for x, y in marks)
        parts.append(f'<g class="c{number % 4}"><polyline points="{path}"/>{dots}')
        parts.append(f'<rect x="{place}" y="{HIGH - 17}" width="10" height="10" rx="2"/></g>')
        parts.append(f'<text x="{place + 14}" y="{HIGH - 8}">{escape(label)}</text>')
        place += 26 + 6 * len(label)
    return parts


if __name__ == "__main__":
    main(sys.argv[1:])

"""What the page shows of a file: what it is, its rows, what is wrong, and what the model will see of it.

Everything that comes from the file is escaped; nothing of it is ever markup.
"""

from __future__ import annotations

import math
from html import escape
from typing import Any

from engine.errors import StudioError
from ui.words import count, linked, share, size

_ROWS_SHOWN = 8
_CELL = 240
_EXAMPLES = 6
_AT_ONCE = 3
# Labels of texts that a model learns not to write.
_AGAINST = ("worse", "bad")


# Shown where the file will be, until there is one.
NOTHING_HTML = (
    '<div class="empty"><p><strong>No data yet.</strong></p><p>JSON, JSONL, CSV, Excel’s semicolons, Parquet, plain text, '
    "Markdown; gzipped or zipped. Questions with answers, conversations, preference pairs or raw text: what it holds is "
    "recognised, and you can correct it.</p></div>"
)


def failure_html(error: StudioError) -> str:
    """What happened and what to do now."""
    hint = f"<br><span>{linked(error.hint)}</span>" if error.hint else ""
    return f'<div class="st-note error" role="alert"><strong>{escape(error.message)}</strong>{hint}</div>'


def note_html(sentence: str) -> str:
    """Something to know that is no trouble; nothing for no sentence."""
    return f'<p class="st-note" role="status">{escape(sentence)}</p>' if sentence else ""


def file_html(seen: Any, sentence: str = "") -> str:
    """What a sample is about, the file in one line, how its rows are read and why, and the first rows as they stand in it."""
    about = f"{'' if seen.rows_exact else 'about '}{count(seen.rows, 'row')}"
    size_of = f", {size(seen.size_bytes)}" if seen.size_bytes else ""
    facts = f"{escape(seen.file_format)}, {escape(seen.encoding)}{size_of}, {about}"
    note = f'<p class="st-note">{escape(seen.conversion_note)}{_used(seen)}</p>' if seen.conversion_note else ""
    warnings = "".join(f'<p class="st-note warning">{escape(text)}</p>' for text in seen.warnings)
    return (
        f"{f'<p>{escape(sentence)}</p>' if sentence else ''}"
        f'<p class="data-facts"><strong dir="auto">{escape(seen.name)}</strong> · {facts}</p>'
        f"<p>The rows are <strong>{escape(seen.form_label)}</strong>. <span class='st-soft'>{escape(seen.why)}</span></p>"
        f"{note}{warnings}{problems_html(seen)}{_raw(seen)}"
    )


def _used(seen: Any) -> str:
    """How many of the file's rows are left where a training takes only some of them."""
    if seen.looked_at == seen.usable + sum(seen.problem_counts.values()):
        return ""
    first = "" if seen.looked_at == seen.rows else "first "
    return f" That is {seen.usable:,} of the {first}{count(seen.looked_at, 'row')}."


def problems_html(seen: Any) -> str:
    """Rows that cannot be used, counted by rule, the first of them by number."""
    if not seen.problems:
        return ""
    total = sum(seen.problem_counts.values())
    rules = ", ".join(f"{escape(rule)} ({number:,})" for rule, number in seen.problem_counts.items())
    listed = "".join(f'<li dir="auto">{escape(problem.message)}</li>' for problem in seen.problems[:50])
    more = f"<li>… and {total - 50:,} more</li>" if total > 50 else ""
    among = "" if seen.looked_at == seen.rows else f" among the first {seen.looked_at:,}"
    return (
        f'<div class="st-note warning" id="problems"><strong>{count(total, "row")}{among} cannot be used</strong>: {rules}. '
        f"<details><summary>Which ones</summary><ul>{listed}{more}</ul></details></div>"
    )


def _raw(seen: Any) -> str:
    names = [column.name for column in seen.columns][:40]
    roles = {column: role for role, column in seen.mapping.items()}
    head = "".join(f'<th scope="col" dir="auto">{escape(name)}{_role(roles.get(name))}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{number}</th>{"".join(_cell(values.get(name)) for name in names)}</tr>'
        for number, values in seen.raw[:_ROWS_SHOWN]
    )
    hidden = len(seen.columns) - len(names)
    more = f'<p class="st-soft">{count(hidden, "more column")} not shown.</p>' if hidden > 0 else ""
    return (
        '<details class="raw"><summary>The first rows as they stand in the file</summary><div class="st-scroll">'
        f'<table class="st-table"><thead><tr><th scope="col">Row</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"{more}</details>"
    )


def _role(role: str | None) -> str:
    return f'<span class="role-mark">{escape(role)}</span>' if role else ""


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return f'<td dir="auto">{escape(text[:_CELL])}{"…" if len(text) > _CELL else ""}</td>'


def tokens_html(preview: dict[str, Any]) -> str:
    """Examples as the model sees them with the trained tokens marked, and how long rows are."""
    marked = any(example["trained"] for example in preview["examples"])
    made = [_example(example, marked) for example in preview["examples"][:_EXAMPLES]]
    shown = "".join(made[:_AT_ONCE]) + _more(made[_AT_ONCE:])
    note = f'<p class="st-soft">{escape(preview["note"])}</p>' if preview["note"] else ""
    return (
        '<h2 class="sub">What the model sees</h2>'
        f'<p class="st-soft">{_marking(preview["learns"])}</p>{note}{shown}{_histogram(preview)}'
    )


def _more(made: list[str]) -> str:
    """Further examples, folded away: what comes after them should not be far."""
    if not made:
        return ""
    return f'<details class="more-examples"><summary>{count(len(made), "more example")}</summary>{"".join(made)}</details>'


def _example(example: dict[str, Any], marked: bool) -> str:
    problem = f'<p class="st-note warning">{escape(example["problem"])}</p>' if example["problem"] else ""
    texts = "".join(_text(part) for part in example["parts"])
    facts = f"row {example['row']} · {count(example['tokens'], 'token')}"
    facts += f", {example['trained']} trained" if marked else ""
    return f'<figure class="example">{texts}<figcaption>{facts}</figcaption>{problem}</figure>'


def _marking(sentence: str) -> str:
    """The sentence with its word "marked" marked as the tokens are."""
    return escape(sentence).replace("marked", '<mark class="trained">marked</mark>', 1)


def _text(part: dict[str, Any]) -> str:
    pieces = "".join(
        f'<mark class="trained">{escape(text)}</mark>' if trained else escape(text) for text, trained in part["pieces"]
    )
    against = " against" if part["label"] in _AGAINST else ""
    label = f'<b class="part{against}">{escape(part["label"])}</b>' if part["label"] else ""
    return f'{label}<pre dir="auto">{pieces}</pre>'


def _histogram(preview: dict[str, Any]) -> str:
    """Lengths of rows as bars, with a line where they are cut."""
    lengths, limit = preview["lengths"], preview["max_length"]
    top = max(lengths)
    several = any(part["label"] in _AGAINST[:1] for example in preview["examples"] for part in example["parts"])
    kind = "text" if several else "row"  # a pair is two of them
    step = max(1, math.ceil((top + 1) / 32))
    bars = [0] * math.ceil((top + 1) / step)
    for length in lengths:
        bars[length // step] += 1
    wide, high = 640, 96
    unit = wide / len(bars)
    drawn = "".join(
        f'<rect x="{i * unit + 1:.1f}" y="{high - high * n / max(bars):.1f}" width="{max(unit - 2, 1):.1f}" '
        f'height="{high * n / max(bars):.1f}">'
        f"<title>{i * step} to {(i + 1) * step - 1} tokens: {count(n, kind)}</title></rect>"
        for i, n in enumerate(bars)
        if n
    )
    span = f"{top} tokens" if min(lengths) == top else f"{min(lengths)} to {top} tokens"
    words = f"{count(len(lengths), kind)} looked at, {span}{' each' if len(lengths) > 1 else ''}."
    line = ""
    if limit is not None:
        at = min(limit / (len(bars) * step), 1) * wide
        line = f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{high}"></line>'
        cut, lost = preview["over"], preview["lost"]
        words += (
            f" They are cut at {limit} tokens: {share(cut)} of the {kind}s lose their end, {share(lost)} of all tokens."
            if cut
            else f" Longer ones than {limit} would be cut; none is."
        )
    return (
        f'<figure class="lengths"><b>How long they are</b>'
        f'<svg viewBox="0 0 {wide} {high}" role="img" aria-label="Lengths of rows. {escape(words)}" '
        f'preserveAspectRatio="none">{drawn}{line}</svg><figcaption><span>0</span><span>{len(bars) * step} tokens</span>'
        f"</figcaption><p>{escape(words)}</p></figure>"
    )

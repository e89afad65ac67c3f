"""What the page shows before Start: the model, what the run will take, and whether it fits."""

from __future__ import annotations

from html import escape
from typing import Any

from engine import api
from ui.words import coded, count, duration, passes, size, weights


def model_html(facts: Any) -> str:
    """A model in one card: how large, how long its context, under which licence."""
    rows = (
        ("Weights", f"{weights(facts.parameters)} ({size(facts.bytes_on_disk)} on disk)"),
        ("Architecture", facts.architecture),
        ("Context", f"{facts.context:,} tokens" if facts.context else "no fixed limit"),
        ("Vocabulary", f"{facts.vocabulary:,} tokens"),
        ("Chat template", "its own" if facts.has_chat_template else "none; plain User: and Assistant: lines are used"),
        ("Licence", facts.licence or "not stated"),
        *((("Access", "gated: for those who accepted its terms"),) if facts.gated else ()),
    )
    return _facts("Model", rows) + (_download_html(facts) if facts.kind == "hub" else "")


def _download_html(facts: Any) -> str:
    """Whether the model is yet to be fetched, and whether there is room for it."""
    if not facts.to_fetch:
        return '<p class="st-soft">It has been downloaded already.</p>'
    free = api.hub.room()
    if facts.to_fetch > free:
        return (
            '<div class="st-note error" role="alert"><strong>There is not the room to download it.</strong> It takes '
            f"{size(facts.to_fetch)}, and the disk that keeps downloads has {size(free)} free. Make room there, choose a "
            "smaller model, or start the studio with HF_HOME naming a folder on another disk.</div>"
        )
    return f'<p class="st-soft">Start downloads {size(facts.to_fetch)}, once; {size(free)} are free.</p>'


def review_html(plan: Any, found: Any) -> str:
    """Rows, tokens, steps, time, disk, and memory item by item against what is free."""
    device = api.compute.device_of(plan.params)
    where = "this machine" if plan.params.compute == "local" else "the rented machine"
    rows = (
        ("Training", escape(api.spec_for(plan.params.trainer).title)),
        ("Rows", f"{found.train_rows:,} to train on, {found.valid_rows:,} held out to measure with"),
        ("Tokens", f"about {found.tokens:,} in {passes(plan.params.epochs)}"),
        ("Optimizer steps", f"{found.steps:,}"),
        ("Time", f"about {duration(found.seconds)} <span class='st-soft'>({escape(found.seconds_how)})</span>"),
        ("Disk", f"{size(found.disk)} of {size(found.disk_free)} free"),
        *((cost.what, escape(cost.words)) for cost in found.costs),
        *((what, escape(words)) for what, words in api.compute.cost(plan.params)),
        ("Device", f"{escape(device.name)}, {count(device.cores, 'core')}"),
    )
    listed = "".join(f"<div><dt>{what}</dt><dd>{value}</dd></div>" for what, value in rows)
    return f'<div class="review"><dl class="facts">{listed}</dl>{_memory(found)}{_verdict(found, where)}</div>'


def open_html(missing: dict[str, str]) -> str:
    """What is still to be chosen, and where; "" for nothing."""
    if not missing:
        return ""
    said = " ".join(f"{coded(why.rstrip('.'))}." for why in missing.values())
    first = next(iter(missing))
    return f'<p class="st-note warning" data-open-field="{first}"><strong>One thing is still open.</strong> {said}</p>'


def _memory(found: Any) -> str:
    most = found.memory_total if found.fits else max(found.memory_total, found.memory_free)
    bars = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td><i style="width:{max(100 * amount / most, 0.4):.1f}%"></i></td>'
        f"<td>{size(amount)}</td></tr>"
        for what, amount in found.memory
    )
    return (
        '<table class="memory"><caption>Memory</caption><tbody>'
        f'{bars}<tr class="sum"><th scope="row">In all</th><td><i style="width:{100 * found.memory_total / most:.1f}%"></i>'
        f"</td><td>{size(found.memory_total)}</td></tr>"
        f'<tr class="free{" beyond" if found.memory_free > most else ""}"><th scope="row">Free now</th>'
        f'<td><i style="width:{min(100, 100 * found.memory_free / most):.1f}%"></i></td>'
        f"<td>{size(found.memory_free)}</td></tr></tbody></table>"
    )


def _verdict(found: Any, where: str) -> str:
    """`where` is the machine in words: "this machine"."""
    if found.fits:
        return f'<p class="st-note">It fits on {where}.</p>'
    surely = found.disk_least > found.disk_free
    title = "It cannot be started: the disk is too full." if surely else f"This will probably not fit on {where}."
    advice = found.advice.removeprefix("The disk is too full. ") if surely else found.advice
    return f'<div class="st-note error" role="alert"><strong>{title}</strong> {coded(advice)}</div>'


def _facts(title: str, rows: tuple[tuple[str, str], ...]) -> str:
    listed = "".join(f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd></div>" for what, value in rows)
    return f'<dl class="facts" aria-label="{escape(title)}">{listed}</dl>'

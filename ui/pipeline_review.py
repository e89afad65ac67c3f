"""What the page shows of a pipeline before Start: the chain, and what every stage will take."""

from __future__ import annotations

from html import escape
from typing import Any

from engine import api
from ui.pipeline_draft import SIGNS
from ui.words import count, duration, size

_WORDS = {sign: words for words, sign in SIGNS}


def chain_html(draft: dict[str, Any], place: int, problems: dict[str, list[str]]) -> str:
    """The stages as boxes with arrows; the one whose form is shown is marked. `problems` are by the stages' names."""
    begins = escape(str(draft["stages"][0]["values"].get("model") or "a model"))
    stages = draft["stages"]
    boxes = "".join(_box(stages, number, place, problems.get(stage["name"], [])) for number, stage in enumerate(stages))
    return f'<ol class="chain" aria-label="Stages of the pipeline"><li class="chain-model">{begins}</li>{boxes}</ol>'


def _box(stages: list[dict[str, Any]], number: int, place: int, problems: list[str]) -> str:
    stage, values = stages[number], stages[number]["values"]
    data = str(values.get("data_path") or "").rsplit("/", 1)[-1]
    state = "wrong" if problems and data else ("ready" if data else "open")
    here = ' aria-current="step"' if number == place else ""
    told = f'<span class="stage-wrong">{escape(problems[0])}</span>' if state == "wrong" else ""
    metric, sign, bound = stage.get("gate") or ("", "", "")
    title = api.pipelines.titles(values["trainer"]).get(metric, metric)
    gate = f'<span class="stage-gate">Goes on if: {escape(title)} {_WORDS[sign]} {escape(bound)}</span>' if metric else ""
    others = {other["name"] for other in stages[:number]}
    takes = {field: values[field] for field in api.pipelines.model_settings(values["trainer"]) if values.get(field) in others}
    on = escape(api.pipelines.builds_on(values["trainer"], takes))
    return (
        f'<li data-state="{state}"><button type="button" class="stage" data-place="{number}"{here}>'
        f'<span class="stage-name">{number + 1} · {escape(stage["name"])}</span>'
        f'<span class="stage-about">{escape(api.spec_for(values["trainer"]).title)}{f", {on}" if on else ""}</span>'
        f'<span class="stage-about" dir="auto">{escape(data) or "<b>needs data</b>"}</span>{told}{gate}</button></li>'
    )


def review_html(seen: list[Any]) -> str:
    """Rows, steps, memory and time of every stage, and of all together."""
    known = [stage for stage in seen if stage.estimate]
    rows = "".join(_row(stage) for stage in seen)
    head = "".join(f'<th scope="col">{word}</th>' for word in ("Stage", "Rows", "Steps", "Memory", "Time", ""))
    return (
        f'<div class="review"><div class="st-scroll"><table class="st-table stages-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}{_sum(known)}</tbody></table></div>{_verdict(seen, known)}</div>"
    )


def _row(stage: Any) -> str:
    found, name = stage.estimate, escape(stage.stage.name)
    if stage.move == "keep":
        return f'<tr><th scope="row">{name}</th><td colspan="4">done before, is kept</td><td>{escape(stage.run)}</td></tr>'
    if found is None:
        return f'<tr><th scope="row">{name}</th><td colspan="5" class="lacking">{escape(str(stage.problem))}</td></tr>'
    todo = {"start": f"starts as {stage.run}", "wait for": "is at work", "go on with": "goes on from its checkpoint"}
    cells = (
        ("Rows", f"{found.train_rows:,} to train on, {found.valid_rows:,} held out"),
        ("Steps", f"{found.steps:,} of {found.steps + stage.done:,}" if stage.done else f"{found.steps:,}"),
        ("Memory", size(found.memory_total)),
        ("Time", f"about {duration(found.seconds)}"),
        ("", escape(todo[stage.move])),
    )
    return f'<tr><th scope="row">{name}</th>{_cells(cells)}</tr>'


def _sum(known: list[Any]) -> str:
    todo = [stage.estimate for stage in known if stage.move != "keep"]
    if not todo:
        return ""
    cells = (
        ("Rows", ""),
        ("Steps", f"{sum(found.steps for found in todo):,}"),
        ("Memory", f"{size(max(found.memory_total for found in todo))} at most"),
        ("Time", f"about {duration(sum(found.seconds for found in todo))}"),
        ("", f"{size(sum(found.disk for found in todo))} on disk"),
    )
    return f'<tr class="sum"><th scope="row">All {count(len(todo), "stage")}</th>{_cells(cells)}</tr>'


def _cells(cells: tuple[tuple[str, str], ...]) -> str:
    """Cells, each with what stands above it: on a phone nothing does."""
    return "".join(f'<td data-label="{label}">{value}</td>' for label, value in cells)


def _verdict(seen: list[Any], known: list[Any]) -> str:
    todo = [stage for stage in known if stage.move != "keep"]
    beyond = [stage for stage in todo if not stage.estimate.fits]
    if beyond:
        said = " ".join(f"Stage {stage.stage.name}: {stage.estimate.advice}" for stage in beyond)
        head = "This will probably not fit on this machine."
        return f'<div class="st-note error" role="alert"><strong>{head}</strong> {escape(said)}</div>'
    if len(known) < len(seen):
        return ""
    if todo and sum(stage.estimate.disk for stage in todo) > todo[0].estimate.disk_free:
        free = size(todo[0].estimate.disk_free)
        return (
            f'<div class="st-note error" role="alert"><strong>All stages need more disk than is free ({free}).</strong></div>'
        )
    return '<p class="st-note">It fits on this machine. The stages run one after the other, with nobody watching.</p>'


def problems_html(problems: dict[str, list[str]]) -> str:
    """What is still to be done, stage by stage."""
    listed = "".join(
        f"<li><strong>{escape(stage) if stage else 'The pipeline'}</strong>: {escape(' '.join(said))}</li>"
        for stage, said in problems.items()
    )
    return f'<div class="st-note warning"><strong>Before it can start:</strong><ul class="todo">{listed}</ul></div>'

"""The decision tree as a picture that is clicked through, the use cases, and the one recommendation they end in.

All of it is plain HTML made once; assets/tree.js shows the part that the address bar's answers lead to, so that a
reload, the back button and a bookmark keep every answer. Answers are links to those addresses: one that is clicked
before the script has arrived is not lost, and each can be opened in a tab of its own.
"""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import urlencode

from engine import api

Recommended = Any


def tree_html() -> str:
    """The whole tree: one box a question, its answers as branches."""
    return f'<div class="tree" role="group" aria-label="Decision tree">{_question(api.tree(), ())}</div>'


def _question(node: Any, path: tuple[tuple[str, str], ...]) -> str:
    branches = "".join(_branch(node, answer, word, following, path) for answer, word, following in node.answers)
    return (
        f'<div class="tree-node" data-question="{node.id}" data-path="{_path(path)}">'
        f'<p class="tree-question" id="q-{node.id}">{escape(node.text)}</p>'
        f'<p class="tree-help">{escape(node.explanation)}</p><ul>{branches}</ul></div>'
    )


def _branch(node: Any, answer: str, word: str, following: Any, path: tuple[tuple[str, str], ...]) -> str:
    here = (*path, (node.id, answer))
    link = f'href="?{_path(here)}" data-path="{_path(here)}"'
    button = f'<a class="tree-answer" {link} aria-describedby="q-{node.id}">{escape(word)}</a>'
    if hasattr(following, "advice"):
        leaf = f'<a class="tree-leaf" {link}>{escape(following.advice.words)}</a>'
        return f'<li data-path="{_path(here)}">{button}<span class="tree-arrow" aria-hidden="true">→</span>{leaf}</li>'
    return f'<li data-path="{_path(here)}">{button}{_question(following, here)}</li>'


def _path(path: tuple[tuple[str, str], ...]) -> str:
    """Answers as they stand in the address bar."""
    return escape(urlencode(path))


def use_cases_html() -> str:
    """One card for each thing people want to do, in the documentation's words."""
    cards = "".join(
        f'<a class="case" href="?use={case.id}" data-path="use={case.id}">'
        f"<strong>{escape(case.title)}</strong><span>{escape(case.words)}</span></a>"
        for case in api.use_cases()
    )
    return f'<div class="cases">{cards}</div>'


def recommendations_html() -> str:
    """Every end of the tree and every use case, hidden until its answers are given."""
    ends: list[tuple[str, Recommended]] = [
        (_path(tuple(answers.items())), api.recommend(answers)) for answers, _ in api.leaves()
    ]
    ends += [(f"use={case.id}", api.recommend({"use": case.id})) for case in api.use_cases()]
    return "".join(f'<div class="advice" data-path="{path}" hidden>{recommendation_html(found)}</div>' for path, found in ends)


def recommendation_html(found: Recommended) -> str:
    """A recommendation with its reason, what data it needs, its pipeline, and the way on."""
    advice = found.advice
    note = f'<p class="st-note warning">{escape(found.note)}</p>' if found.note else ""
    return (
        f'<section class="st-card" aria-label="Recommendation"><p class="advice-kicker">Our recommendation</p>'
        f"<h2>{escape(advice.words)}</h2><p>{escape(advice.reason)}</p>"
        f"<p><strong>Data:</strong> {escape(advice.needs)}</p>{note}{_pipeline(found)}{_way_on(found)}</section>"
    )


def _pipeline(found: Recommended) -> str:
    running = api.specs()
    stages = []
    for stage in found.pipeline.stages:
        kind = "" if stage.trainer is None else ("runs" if stage.trainer in running else "later")
        title = ' title="Not in this version"' if kind == "later" else ""
        stages.append(f'<li class="{kind}"{title}>{escape(stage.label)}</li>')
    return f'<p class="pipe-title">{escape(found.pipeline.title)}</p><ol class="pipe">{"".join(stages)}</ol>'


def _way_on(found: Recommended) -> str:
    """All stages in a row and this step alone, the one first that the advice means; what a rule spares; a step on a sample."""
    if found.start is None:
        return ""
    name, whole = api.spec_for(found.start).title, _is_chain(found.pipeline)
    several = whole and len(found.steps) > 1
    words = f"Only this step: {name}" if whole else f"Go on with {name}"
    ways = [
        f'<a class="st-button{"" if several else " main"}" href="/new?trainer={found.start}">{escape(words)}</a>',
        f'<a class="st-button{" main" if several else ""}" href="/new-pipeline?chain={found.pipeline.id}">'
        "Train all stages in a row</a>",
    ][: 2 if whole else 1]
    sample = next((s for s in api.samples() if s.trainer == found.start), None)
    link = urlencode({"trainer": found.start, "data": f"{api.SAMPLE_PREFIX}{sample.id}"}) if sample else ""
    trial = f'<a class="st-button" href="/new?{escape(link)}">Try it on a sample first</a>' if link else ""
    ways = [*(reversed(ways) if several else ways), trial, *_by_rule(found.advice)]
    return f'<p class="advice-go">{"".join(ways)}</p>'


def _by_rule(advice: Any) -> list[str]:
    """The trainings that take a rule in place of the steps before them."""
    known = api.specs()
    return [
        f'<a class="st-button" href="/new?trainer={t}">With a rule: {known[t].title}</a>' for t in advice.by_rule if t in known
    ]


def _is_chain(pipeline: Any) -> bool:
    """Whether it has several stages, all of which run in this version."""
    stages = api.pipelines.chains()[pipeline.id]
    return len(stages) > 1 and set(stages) <= set(api.specs())


def pipelines_html() -> str:
    """The documentation's pipelines as pictures, each a way to all its stages; then a chain of one's own."""
    running = set(api.specs())
    cards = "".join(_chain_card(p) for p in api.pipelines.pictures() if set(api.pipelines.chains()[p.id]) <= running)
    return f'<div class="chains">{cards}</div>'


def _chain_card(pipeline: Any) -> str:
    stages = "".join(f"<li{' class=runs' if stage.trainer else ''}>{escape(stage.label)}</li>" for stage in pipeline.stages)
    link = f"/new-pipeline?chain={pipeline.id}"
    return (
        f'<section class="st-card chain-card" aria-label="{escape(pipeline.title)}"><h3>{escape(pipeline.title)}</h3>'
        f'<ol class="pipe">{stages}</ol><p class="advice-go"><a class="st-button" href="{link}">Set it up</a>'
        f'<a class="st-button" href="{link}&amp;samples=1">Try it on samples</a></p></section>'
    )


def comparison_html() -> str:
    """The documentation's quick comparison, for the trainers that run."""
    head = "".join(
        f'<th scope="col">{word}</th>'
        for word in ("Trainer", "Complexity", "Stability", "Flexibility", "Memory Usage", "Use Case")
    )
    rows = "".join(
        f'<tr><th scope="row"><a href="/new?trainer={spec.id}">{escape(spec.title)}</a></th>'
        + "".join(f"<td>{_starred(cell)}</td>" for cell in _cells(spec.comparison))
        + "</tr>"
        for spec in api.specs().values()
    )
    return f'<div class="st-scroll"><table class="st-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cells(comparison: Any) -> tuple[str, ...]:
    return (
        comparison.complexity,
        comparison.stability,
        comparison.flexibility,
        comparison.memory,
        comparison.use_case,
    )


def _starred(cell: str) -> str:
    """The documentation's stars, drawn with a character that every font has."""
    return escape(cell).replace("⭐", '<span class="star">★</span>')

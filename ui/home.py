"""The first page: what do you want, and what have you got? Ends in one recommendation."""

from __future__ import annotations

from html import escape

import gradio as gr

from engine import api
from ui import tree
from ui.mounting import mounting


def build(app: gr.Blocks) -> None:
    """Put the page's components in the current route."""
    gr.HTML(_page(), apply_default_css=False, elem_id="home", js_on_load=mounting("StudioTree.mount(element)"))


def _page() -> str:
    return (
        '<div class="home"><h1>Teach a language model something of yours</h1>'
        '<p class="lead">You bring examples or texts; the studio picks the training with you, shows what the model will '
        "see, trains on this machine, and lets you talk to the result.</p>"
        f"{_quick()}"
        '<h2 class="home-step">Or answer a few questions</h2>'
        '<p class="st-soft">Click your answers. You can go back and change any of them.</p>'
        f"{tree.tree_html()}"
        '<h2 class="home-step">Or say what it is for</h2>'
        f"{tree.use_cases_html()}"
        f'<div class="advices" aria-live="polite">{tree.recommendations_html()}</div>'
        '<h2 class="home-step">Or several trainings in a row</h2>'
        '<p class="st-soft">Each stage trains on the model of the one before it, tested on held-out rows in between if you '
        "ask for it. Stages can be added, taken out, and read from a file.</p>"
        f"{tree.pipelines_html()}"
        '<h2 class="home-step">The trainings compared</h2>'
        f"{tree.comparison_html()}</div>"
    )


def _quick() -> str:
    """The two shortest ways: a sample that is there, a file that you have."""
    sample = next(s for s in api.samples() if s.trainer in api.specs() and s.trainer == _first_trainer())
    return (
        '<div class="quick">'
        f'<a class="quick-card" id="try-sample" href="/new?trainer={sample.trainer}&amp;data=sample:{sample.id}">'
        f"<strong>Try it on a sample</strong><span>{escape(sample.title)}: {escape(sample.sentence)} Takes about a minute, "
        "needs nothing else.</span></a>"
        '<a class="quick-card" id="have-file" href="/new?trainer=auto"><strong>I already have a file</strong>'
        "<span>Drop it and let it answer the questions: the studio sees what it holds and which training fits.</span></a>"
        "</div>"
    )


def _first_trainer() -> str:
    """The training that the documentation calls the foundation of most: the usual answer of the whole tree."""
    found = api.recommend({}, ["chat"])
    assert found is not None
    assert found.start is not None
    return found.start

"""The wizard's questions in a terminal: ends in the words of an `aitraining llm` command."""

from __future__ import annotations

import shlex

from rich.console import Console
from rich.prompt import Confirm, Prompt

from engine import api
from engine.advice import Advice, Leaf, Question
from engine.advisor import Recommendation, recommend, tree
from engine.command import to_argv
from engine.errors import StudioError

_HELP = ["--help"]


def asked_words() -> list[str]:
    """Ask what the page asks, in the same order and words; returns the command's words, or `--help` when nothing fits."""
    console = Console()
    console.print("Which training is right for you? A few questions; Ctrl-C ends this at any time.\n")
    try:
        found = _recommended(console)
        if found is None or found.start is None:
            return _HELP
        words = ["llm", "--trainer", found.start, *_chosen(console, found.start)]
        console.print("\nThe command for this:\n  aitraining " + shlex.join(words), markup=False, soft_wrap=True)
        if Confirm.ask("Start it now?", console=console, default=True):
            return words
        console.print("Nothing was started.")
        raise SystemExit(0)
    except (KeyboardInterrupt, EOFError):
        console.print("\nNothing was started.")
        raise SystemExit(130) from None


def _recommended(console: Console) -> Recommendation | None:
    answers: dict[str, str] = {}
    node: Question | Leaf = tree()
    while isinstance(node, Question):
        console.print(node.text, style="bold", markup=False)
        console.print(node.explanation, style="dim", markup=False)
        words = {label.lower(): answer for answer, label, _ in node.answers}
        answers[node.id] = words[Prompt.ask("", choices=list(words), default=next(iter(words)), console=console)]
        node = next(following for answer, _, following in node.answers if answer == answers[node.id])
    found = recommend(answers)
    _say(console, node.advice, found)
    return found


def _say(console: Console, advice: Advice, found: Recommendation | None) -> None:
    console.print(f"\n{advice.words}", style="bold green", markup=False)
    console.print(advice.reason, markup=False)
    console.print(f"What you need: {advice.needs}", markup=False)
    if found is not None and found.note:
        console.print(found.note, markup=False)


def _chosen(console: Console, trainer: str) -> list[str]:
    """Data and model, asked again until both can be used."""
    sample = next(sample for sample in api.samples() if sample.trainer == trainer)
    while True:
        question = "\nYour data: a file, a folder, or a bundled sample"
        data = Prompt.ask(question, default=f"{api.SAMPLE_PREFIX}{sample.id}", console=console)
        brought = dict(sample.settings) if data == f"{api.SAMPLE_PREFIX}{sample.id}" else {}
        model = Prompt.ask("The model to start from", default=str(brought.get("model", "starter")), console=console)
        try:
            params = api.validate({**brought, "trainer": trainer, "data_path": data, "model": model})
            api.inspect_data(data, trainer)
            api.model_facts(model)
        except StudioError as error:
            console.print(str(error), style="red", markup=False)
            continue
        return to_argv(params)[4:]

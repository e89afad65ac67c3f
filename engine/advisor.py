"""One recommendation for any answers: walks the decision tree and holds what it says against the trainers that run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.advice import FILE_ADVICE, FILE_ANSWERS, NAMES, PIPELINES, TREE, USE_CASES, Advice, Leaf, Pipeline, Question
from engine.registry import specs
from engine.spec import RowKind


@dataclass(frozen=True)
class Recommendation:
    """One recommendation, as the page shows it.

    `steps` are (trainer id, name, whether it runs in this version) in order; `start` is the trainer to begin with; `note`
    says honestly what is missing ("" when nothing is). `stands_in` is true when `start` is not part of the advice.
    """

    advice: Advice
    steps: tuple[tuple[str, str, bool], ...]
    start: str | None
    note: str
    stands_in: bool
    pipeline: Pipeline


def tree() -> Question:
    """The decision tree, from its first question."""
    return TREE


def use_cases() -> tuple[Advice, ...]:
    """What people want to do, with the documentation's advice for each."""
    return USE_CASES


def pipelines() -> tuple[Pipeline, ...]:
    """The documentation's pipelines, then ours."""
    return PIPELINES


def leaves(node: Question | Leaf | None = None) -> Iterator[tuple[dict[str, str], Advice]]:
    """Every end of the tree with the answers that lead to it."""
    node = node or TREE
    if isinstance(node, Leaf):
        yield {}, node.advice
        return
    for answer, _, following in node.answers:
        for rest, advice in leaves(following):
            yield {node.id: answer, **rest}, advice


def recommend(answers: dict[str, str], kinds: Sequence[RowKind] = ()) -> Recommendation | None:
    """The recommendation that the answers lead to; None while a question is open.

    `answers` maps a question's id to an answer's id, or "use" to a use case's id. `kinds` are the kinds of rows that a
    file can serve, best first: they answer what the person has not, and the usual answer is taken for the rest. A kind that
    the tree has no end for has advice of its own.
    """
    case = next((c for c in USE_CASES if c.id == answers.get("use")), None)
    if case:
        return _resolved(case)
    if kinds and not answers and kinds[0] in FILE_ADVICE:
        return _resolved(FILE_ADVICE[kinds[0]])
    known = {**(FILE_ANSWERS.get(kinds[0], {}) if kinds else {}), **answers}
    node: Question | Leaf = TREE
    while isinstance(node, Question):
        chosen = known.get(node.id) or (node.usual if kinds else None)
        following = next((f for a, _, f in node.answers if a == chosen), None)
        if following is None:
            return None
        node = following
    return _resolved(node.advice)


def _resolved(advice: Advice) -> Recommendation:
    """Advice held against the trainers that this version has."""
    running = specs()
    route = next((r for r in advice.routes if r and r[0] in running), advice.routes[0])
    start = route[0] if route and route[0] in running else None
    stand_in = None if start else next((t for t in advice.instead if t in running), None)
    return Recommendation(
        advice=advice,
        steps=tuple((trainer, NAMES.get(trainer, trainer), trainer in running) for trainer in route),
        start=start or stand_in,
        note=_note(route, stand_in),
        stands_in=start is None,
        pipeline=next(p for p in PIPELINES if p.id == advice.pipeline),
    )


def _note(route: tuple[str, ...], stand_in: str | None) -> str:
    running = specs()
    missing = [NAMES.get(t, t) for t in route if t not in running]
    if not missing:
        return ""
    is_not = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in this version of the studio."
    if route[0] in running:
        return f"{is_not} The first step, {NAMES.get(route[0], route[0])}, runs today, and its model can be used as it is."
    if stand_in is None:
        return is_not
    return f"{is_not} The nearest training that runs today is {NAMES.get(stand_in, stand_in)}."

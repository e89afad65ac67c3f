"""What can be done about rows that are longer than the longest length of a run."""

from __future__ import annotations

from engine.registry import parse, spec_for
from engine.runs.directory import RunDirectory


def way_out(run: RunDirectory) -> str:
    """How to keep rows that are too long: by a greater longest length, or other rows where the model reads no more at once."""
    plan = run.plan()
    params, context = parse(plan["params"]), plan.get("model_context")
    written = spec_for(params.trainer).copies_of(params).written
    if not context or (params.max_length or 0) + written < context:
        return "Choose a greater longest length (--max-length)."
    answers = f", {written} of them for the answer (--rl-max-new-tokens)" if written else ""
    return f"The model reads no more than {context} tokens at once{answers}: shorten the rows, or choose one that reads more."

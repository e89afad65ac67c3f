"""A run as a call of our own engine, for what plain TRL cannot do: every setting that is no default, with its reason."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from engine.export.recipe import Code, Setting, called, comment, value
from engine.export.settled import Settled

# Settings that say which rows are read; the rows of the run go along, and were read by them already.
_OF_THE_DATA = ("data_path", "data_format", "column_mapping", "max_samples", "valid_path", "valid_fraction")

_OPENING = '''"""{title} as AITraining Studio ran it: the run "{name}".

    python train.py

This calls the studio's own engine{version}. Run it where the studio is installed: in its checkout, or after
`pip install -e .` there.
"""
'''
_LAST = """
if __name__ == "__main__":
    trained = train(params)
    print(trained.model_path, trained.metrics)
"""


def engine_call(found: Settled, why: str, *, beside: bool) -> str:
    """The program; `why` says why it is no program of plain TRL, `beside` that the rows lie in a folder beside it."""
    opening = _OPENING.format(title=found.spec.title, name=found.run.name, version=_version())
    here = "Path(__file__).resolve().parent" if beside else f"Path({value(str(found.run.path))})"
    blocks = [
        opening.strip() + "\n" + "\n".join(filter(None, [comment(why), comment(found.note)])),
        "from pathlib import Path\n\nfrom engine import LLMTrainingParams, train",
        f"HERE = {here}",
        called("params", "LLMTrainingParams", _settings(found)),
    ]
    return "\n\n".join(block.strip() for block in blocks) + "\n\n" + _LAST


def _settings(found: Settled) -> dict[str, Setting]:
    """`project_name` is left out: a new run needs a new name."""
    made: dict[str, Setting] = {"trainer": Setting(found.params.trainer), "model": Setting(found.params.model)}
    if found.prepared:
        made["data_path"] = Setting(Code('str(HERE / "data" / "train.jsonl")'), "The rows of the run, as it read them.")
        if found.valid:
            made["valid_path"] = Setting(Code('str(HERE / "data" / "valid.jsonl")'))
        else:
            made["valid_fraction"] = Setting(0.0)
    left_out = {"project_name", *made, *(_OF_THE_DATA if found.prepared else ())}
    for name, field in type(found.params).model_fields.items():
        value: Any = getattr(found.params, name)
        if name not in left_out and value != field.get_default(call_default_factory=True):
            made[name] = Setting(value, found.reasons.get(name, ""))
    return made


def _version() -> str:
    try:
        return f" (version {version('aitraining-studio')})"
    except PackageNotFoundError:  # run from a folder that was never installed
        return ""

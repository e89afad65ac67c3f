"""A run as one program: on plain TRL as its trainer declares, or as a call of our engine."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from engine.export.engine_call import engine_call
from engine.export.recipe import Code, Recipe, Setting, comment, value, written
from engine.export.script_kit import ScriptKit
from engine.export.settled import Settled

_NEEDED = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")
_QUANTISED, _FLASH = "bitsandbytes", "flash-attn"
_NO_SUCH_TRAINER = "TRL has no trainer of this kind."
_NO_HEAD = "TRL reads the model's head directly and refuses an adapter on it, which this run has."
_HEADS = {"lm_head", "embed_out"}

_OPENING = '''"""{title} as AITraining Studio ran it: the run "{name}", on plain transformers, TRL and peft.

    pip install {packages}
    python train.py

Same rows in the same order, same objective, same schedule: the logged loss is that of the run, step by step, but for the
rounding of numbers (and, with dropout, for what is dropped). The model comes to lie in output/model.
"""
'''
_NO_ROWS = (
    "Its rows were not prepared yet. Put rows of {data} into data/train.jsonl, one JSON object a line, in this form: {row}"
)


class Script(NamedTuple):
    """A program, and the files that lie beside it by their names there."""

    text: str
    files: dict[str, Path]


def script(found: Settled, *, beside: bool) -> Script:
    """The program of a run; without `beside` it reads the run's own folder, and nothing needs to lie beside it."""
    declared = found.spec.export
    parts = ("train",) * bool(found.rows) + ("valid",) * bool(found.valid)
    files = {f"data/{part}.jsonl": found.run.data_dir / f"{part}.jsonl" for part in parts} if beside else {}
    if declared is None:
        return Script(engine_call(found, _NO_SUCH_TRAINER, beside=beside), files)
    recipe: Recipe | str = declared(found.params, ScriptKit(found, beside=beside))
    if isinstance(recipe, Recipe) and _adapts_the_head(found) and ("trl", recipe.config) in recipe.imports:
        recipe = _NO_HEAD
    if isinstance(recipe, str):
        return Script(engine_call(found, recipe, beside=beside), files)
    _place(recipe, found, beside)
    return Script(written(recipe, _opening(found)), {**files, **recipe.files})


def _adapts_the_head(found: Settled) -> bool:
    """Whether the next-token head gets an adapter; a scorer has none."""
    named = {name.strip() for name in found.params.target_modules.split(",")}
    return found.params.peft and found.spec.makes == "text" and bool(named & _HEADS)


def _place(recipe: Recipe, found: Settled, beside: bool) -> None:
    """Where the program finds its rows and leaves its model."""
    here = "Path(__file__).resolve().parent" if beside else f"Path({value(str(found.run.path))})"
    places = {
        "HERE": Setting(Code(here), "" if beside else "The folder of the run."),
        "DATA": Setting(Code('HERE / "data"')),
        "OUTPUT": Setting(Code('HERE / "output"' if beside else 'Path("output")')),
    }
    recipe.constants = {**places, **recipe.constants}


def _opening(found: Settled) -> str:
    """The head of the program: what it is, what it needs, and what is to be known about the run."""
    extra = [_QUANTISED] if found.params.quantization != "none" else []
    extra += [_FLASH] if found.params.attention == "flash_attention_2" else []
    packages = " ".join(map(_pinned, [*_NEEDED, *extra]))
    notes = [found.note]
    if not found.prepared:
        row = json.dumps(found.spec.example_rows[0], ensure_ascii=False)
        notes.append(_NO_ROWS.replace("{row}", row).replace("{data}", found.asked.data_path))
    told = "\n".join(filter(None, map(comment, notes)))
    return _OPENING.format(title=found.spec.title, name=found.run.name, packages=packages).strip() + (
        f"\n{told}" if told else ""
    )


def _pinned(package: str) -> str:
    """The package at the version that is here, without the part that says for which hardware it was built."""
    try:
        return f"{package}=={version(package).partition('+')[0]}"
    except PackageNotFoundError:  # the run was made elsewhere
        return package

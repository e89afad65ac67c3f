"""The arrows of the house: who may import whom, what never gets loaded, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.registry import specs

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "engine").rglob("*.py"), *(ROOT / "ui").rglob("*.py"), ROOT / "app.py"])
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "accelerate"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Every module that a file imports, `from a import b` as both `a` and `a.b`; typing-only imports left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reaches(path: Path, *rooms: str, **options: bool) -> set[str]:
    return {m for m in imports(path, **options) for r in rooms if m == r or m.startswith(r + ".")}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_arrows_run_one_way(path: Path) -> None:
    name = module_name(path)
    if name.startswith("engine"):
        assert not reaches(path, "ui", "gradio", "app"), "the engine never imports the page"
    if name.startswith("ui"):
        rooms = reaches(path, "engine") - {"engine"}
        assert all(m.startswith(("engine.api", "engine.errors")) for m in rooms), rooms
    if name.startswith("engine.trainers."):
        others = {m for m in reaches(path, "engine.trainers") if m != name}
        assert not others, "no trainer imports another"
        assert not reaches(path, "engine.worker", "engine.runs", "engine.data", top_level_only=True)
    if name.startswith("engine") and not name.startswith("engine.worker"):
        # a trainer's build() is the worker's own code, declared beside its settings
        assert not reaches(path, "engine.worker", top_level_only=name.startswith("engine.trainers.")), "workers are started"
        assert not reaches(path, *HEAVY, top_level_only=True), "only the worker loads these at import"


@pytest.mark.parametrize("module", ["engine.api", "engine.cli", "engine"])
def test_importing_loads_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY | {'gradio', 'pyarrow', 'optuna'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_files_stay_small_and_named_by_a_noun(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 330
    assert path.stem not in {"utils", "helpers", "common", "manager", "misc"}
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.name == "__init__.py"


def test_every_parameter_is_read_by_some_code() -> None:
    read: set[str] = set()
    for path in SOURCES:
        if path.name in ("params.py", "form.py", "fields.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
    declared = {name for spec in specs().values() for name in spec.params.model_fields}
    assert declared - read == set()


def test_no_parameter_is_a_secret() -> None:
    declared = {name for spec in specs().values() for name in spec.params.model_fields}
    assert not [n for n in declared if any(word in n.split("_") for word in ("token", "key", "secret", "password"))]

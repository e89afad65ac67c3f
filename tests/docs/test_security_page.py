"""SECURITY.md names tests that there are, links that lead somewhere, and variables that are read."""

from __future__ import annotations

import ast
import re

from tests.docs.blocks import ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_what_is_said_to_be_defended_is_held_by_a_test() -> None:
    defended = PAGE.split("## What is defended")[1].split("\n## ")[0]
    files = re.findall(r"`(tests/[\w/.]+\.py)`", defended)
    assert len(files) >= 8
    assert [file for file in files if not (ROOT / file).is_file()] == []
    everything = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in re.findall(r"`(test_\w+)`", PAGE) if f"def {name}(" not in everything] == []


def test_its_variables_are_documented() -> None:
    named = set(re.findall(r"`(AITRAINING_[A-Z_]+)", PAGE))
    assert named and all(f"`{name}`" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") for name in named)


def test_models_bring_no_code_and_checkpoints_no_pickle() -> None:
    """Whoever writes a call that could run what is in a file must say at the call that it does not."""
    loaded = trusted = 0
    for path in [*(ROOT / "engine").rglob("*.py"), *(ROOT / "ui").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"pickle", "dill", "joblib", "marshal", "shelve"}, path
            if not isinstance(node, ast.Call):
                continue
            given = {one.arg: ast.unparse(one.value) for one in node.keywords}
            assert given.get("trust_remote_code", "False") == "False", path
            trusted += "trust_remote_code" in given
            if ast.unparse(node.func) == "torch.load":
                loaded += 1
                assert given.get("weights_only") == "True", path
    assert loaded >= 2 and trusted >= 2

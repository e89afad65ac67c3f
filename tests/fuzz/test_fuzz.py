"""A few hundred of the inputs that the long run makes thousands of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz import inputs, properties

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
_SHORT = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)


@pytest.fixture(autouse=True)
def _nothing_of_ours(runs_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Paths are read from an empty folder."""
    monkeypatch.chdir(tmp_path)


@_SHORT
@given(inputs.files(), inputs.KINDS)
def test_any_file_is_shown_or_refused(named: tuple[str, bytes], kind: Any) -> None:
    properties.file_is_looked_at(named, kind)


@_SHORT
@given(inputs.settings())
def test_any_settings_are_taken_or_refused(given_settings: dict[str, Any]) -> None:
    properties.settings_are_judged(given_settings)


@_SHORT
@given(inputs.yaml_texts())
def test_any_yaml_is_read_or_refused(text: str) -> None:
    properties.yaml_is_read(text)


@_SHORT
@given(inputs.command_lines())
def test_any_command_line_ends_as_promised(words: list[str]) -> None:
    properties.words_are_obeyed(words)

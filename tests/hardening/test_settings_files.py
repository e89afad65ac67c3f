"""Settings files, pipelines and sweeps as YAML: no objects, no bombs, no depth, wherever one is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import config_file
from engine.errors import StudioError
from engine.pipelines import pipeline
from engine.sweeps import sweep

READERS: dict[str, Callable[[str], Any]] = {
    "settings": config_file.read_settings,
    "pipeline": pipeline.from_yaml,
    "sweep": sweep.from_yaml,
}


def laughs() -> str:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


NASTY: dict[str, Callable[[Path], str]] = {
    "an object": lambda made: f"trainer: !!python/object/apply:os.system ['touch {made}']",
    "a name": lambda made: "trainer: !!python/name:os.system",
    "a module": lambda made: "model: !!python/module:os",
    "another's tag": lambda made: "model: !ruby/object:Gem::Requirement x",
    "a billion laughs": lambda made: laughs(),
    "an anchor in itself": lambda made: "a: &a [*a]",
    "a merge": lambda made: "a: &a {b: 1}\nc:\n  <<: *a",
    "deep lists": lambda made: "a: " + "[" * 30_000 + "]" * 30_000,
    "deep mappings": lambda made: "a: " + "{a: " * 15_000 + "}" * 15_000,
    "very long": lambda made: "model: " + "x" * 10_000_000,
    "very many lines": lambda made: "".join(f"k{n}: 1\n" for n in range(300_000)),
    "a long number": lambda made: "lr: " + "9" * 50_000,
    "a long hexadecimal number": lambda made: "lr: 0x" + "f" * 50_000,
    "an impossible date": lambda made: "lr: 2026-99-99",
    "sexagesimal": lambda made: "lr: " + ":".join(["59"] * 15_000),
    "half a character": lambda made: "model: \ud800",
    "a zero byte": lambda made: "model: a\0b",
    "not text": lambda made: "\x01\x02\x03",
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("name", NASTY)
def test_refused_in_words_and_at_once(tmp_path: Path, kind: str, name: str) -> None:
    made = tmp_path / "it-ran"
    began = time.monotonic()
    with pytest.raises(StudioError) as caught:
        READERS[kind](NASTY[name](made))
    assert time.monotonic() - began < 5
    assert not made.exists() and len(str(caught.value)) < 3000

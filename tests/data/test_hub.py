"""Hub ids as data: told apart from paths, and an unreachable Hub is said in words. Nothing is downloaded here."""

from __future__ import annotations

import pytest

from engine.data import inspect
from engine.data.hub import looks_like_id
from engine.errors import DataError


@pytest.mark.parametrize("text", ["tatsu-lab/alpaca", "HuggingFaceH4/ultrachat_200k"])
def test_an_id_looks_like_one(text: str) -> None:
    assert looks_like_id(text)


@pytest.mark.parametrize("text", ["./a/b", "data/rows.jsonl", "/tmp/x", "alpaca", "a/b/c", "sample:x", "../up/there"])
def test_a_path_does_not(text: str) -> None:
    assert not looks_like_id(text)


def test_an_unreachable_hub_is_said_in_words() -> None:
    with pytest.raises(DataError, match="no file or folder 'nobody/nothing' here") as told:
        inspect("nobody/nothing")
    assert told.value.hint

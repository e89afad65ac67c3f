"""Parts of a data set: named behind its path, found by its card or by the names of its files; and columns by their roles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.data import inspect, prepare
from engine.data.parts import Part, chosen, part_of, usual
from engine.errors import DataError
from tests.hub_server import Hub

ROOT = Path(__file__).resolve().parents[2]
CARD = """---
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: main/test-*
- config_name: socratic
  data_files: socratic/*
---
# Sums
"""
TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
FILES = ["main/train-00000-of-00002.jsonl", "main/train-00001-of-00002.jsonl", "main/test-0.jsonl", "socratic/train.jsonl"]


def rows(name: str, count: int = 3) -> str:
    return "".join(json.dumps({"prompt": f"{name} {n}?", "completion": f"{n}."}) + "\n" for n in range(count))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / "sums" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sums" / name).write_text(rows(name))
    return tmp_path / "sums"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a/b:main:train", Part("a/b", "main", "train")),
        ("a/b:test", Part("a/b", "", "test")),
        ("./data:valid", Part("./data", "", "valid")),
        ("a/b", None),
        ("C:\\data\\x.csv", None),
        ("http://x/y", None),
    ],
)
def test_a_part_is_what_stands_behind_a_colon(text: str, part: Part | None) -> None:
    assert part_of(text) == part


@pytest.mark.parametrize("card", [CARD, ""])
@pytest.mark.parametrize(
    ("part", "files"),
    [
        (Part("s", "main", "train"), FILES[:2]),
        (Part("s", "main", "test"), FILES[2:3]),
        (Part("s", "", "socratic"), FILES[3:]),
        (Part("s", "", "main"), FILES[:3]),
    ],
)
def test_the_card_or_the_names_say_what_parts_there_are(card: str, part: Part, files: list[str]) -> None:
    assert sorted(chosen(FILES, card, part)) == sorted(files)


def test_splits_have_many_spellings() -> None:
    names = ["data/train_sft-00000-of-00001.parquet", "data/test_sft-0.parquet", "validation/0.parquet"]
    assert list(chosen(names, "", Part("s", "", "train_sft"))) == names[:1]
    assert list(chosen(names, "", Part("s", "", "valid"))) == names[2:]
    assert list(chosen(names, "", Part("s", "", "train"))) == names[:1], "there is one of that word"
    assert list(usual(names, "", "s")) == names


def test_several_configurations_are_never_mixed_silently(folder: Path) -> None:
    with pytest.raises(DataError, match="several data sets: main, socratic") as told:
        usual(FILES, CARD, "o/sums")
    assert "o/sums:main" in told.value.hint
    assert usual(FILES, CARD.replace("config_name: socratic", "config_name: default"), "s") == {FILES[3]: "train"}


def test_a_part_that_is_not_there_names_those_that_are(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no part 'nowhere'") as told:
        inspect(f"{folder}:nowhere")
    assert all(part in told.value.hint for part in ("main:train", "main:test", "socratic:train"))
    (tmp_path / "one.csv").write_text("prompt,completion\na?,b\n")
    with pytest.raises(DataError, match="is a file, and has no part 'train'"):
        inspect(f"{tmp_path / 'one.csv'}:train")


def test_parts_of_a_folder_train_and_measure(folder: Path, tmp_path: Path) -> None:
    made = prepare(f"{folder}:main:train", "chat", tmp_path / "out", valid_path=f"{folder}:main:test")
    assert (made.train_rows, made.valid_rows, made.own_valid) == (6, 3, True)
    other = prepare(f"{folder}:socratic", "chat", tmp_path / "other")
    assert other.train_rows == 3 and other.sha256 != made.sha256


def test_files_in_folders_of_a_split_are_of_that_split(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        (tmp_path / "set" / split).mkdir(parents=True)
        (tmp_path / "set" / split / "0001.jsonl").write_text(rows(split, 4))
    made = prepare(tmp_path / "set", "chat", tmp_path / "out")
    assert (made.train_rows, made.valid_rows, made.own_valid) == (4, 4, True)


# ---- the Hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        server.datasets["o/sums"] = {"README.md": CARD, **{name: rows(name) for name in FILES}}
        yield server


def looked_at(hub: Hub, tmp_path: Path, reference: str, offline: str = "0") -> subprocess.CompletedProcess[str]:
    """Inspect in a process of its own, since huggingface_hub reads its address when it is imported."""
    code = f"from engine.data import inspect; seen = inspect({reference!r}); print(seen.rows, seen.form)"
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": offline}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_part_of_a_data_set_of_the_hub_is_fetched_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    done = looked_at(hub, tmp_path, "o/sums:main:train")
    assert done.stdout.strip() == "6 qa", done.stderr[-2000:]
    assert sorted(hub.downloaded) == ["README.md", *FILES[:2]]
    again = looked_at(hub, tmp_path, "o/sums:main:train", offline="1")
    assert again.stdout.strip() == "6 qa", again.stderr[-1500:]  # what was fetched can be used without a network

    next((tmp_path / "hf").rglob("train-00001-of-00002.jsonl")).unlink()
    assert "Only some of the files" in looked_at(hub, tmp_path, "o/sums:main:train", offline="1").stderr


def test_a_data_set_of_the_hub_with_several_asks_which(hub: Hub, tmp_path: Path) -> None:
    assert "holds several data sets: main, socratic" in looked_at(hub, tmp_path, "o/sums").stderr
    assert "no part 'nowhere'" in looked_at(hub, tmp_path, "o/sums:nowhere").stderr
    assert "no data set of that id" in looked_at(hub, tmp_path, "o/none:main:train").stderr


@pytest.mark.parametrize("card", [True, False])
def test_test_rows_of_a_data_set_of_the_hub_are_not_trained_on(hub: Hub, tmp_path: Path, card: bool) -> None:
    """Neither where its card says which they are, nor where names of files and folders do."""
    folders = {"train/0.jsonl": rows("a", 10), "test/0.jsonl": rows("b", 5), "validation/0.jsonl": rows("c", 3)}
    parts = [f"  - split: {name.split('/')[0]}_sft\n    path: {name}\n" for name in folders]
    head = f"---\nconfigs:\n- config_name: default\n  data_files:\n{''.join(parts)}---\n"
    hub.datasets["o/talks"] = {**folders, **({"README.md": head} if card else {})}
    done = looked_at(hub, tmp_path, "o/talks")
    assert done.stdout.strip() == "10 qa", done.stderr[-2000:]
    names = [f"data/{split}_prefs-00000-of-00001.jsonl" for split in ("train", "test")]
    hub.datasets["o/prefs"] = {name: rows(name, 4) for name in names}
    assert looked_at(hub, tmp_path, "o/prefs").stdout.strip() == "4 qa"


# ---- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "mapping", "form"),
    [
        ({"a": "x y", "b": "long text", "c": "more text"}, {"prompt": "a", "completion": "c"}, "qa"),
        ({"id": "1", "talk": TALK}, {"text": "talk"}, "messages"),
        ({"text": "plain", "talk": json.dumps(TALK)}, {"text": "talk"}, "messages"),
        ({"t": "Human: Hi\nAssistant: Ho", "u": "v w"}, {"text": "t"}, "transcript"),
        ({"story": "Once upon a time.", "title": "A tale"}, {"text": "story"}, "text"),
        ({"q": "Hi?", "good": "Ho", "poor": "No"}, {"prompt": "q", "chosen": "good", "rejected": "poor"}, "preference"),
    ],
)
def test_columns_that_are_named_say_what_the_rows_are(
    tmp_path: Path, row: dict[str, object], mapping: dict[str, str], form: str
) -> None:
    (tmp_path / "x.jsonl").write_text((json.dumps(row) + "\n") * 2)
    seen = inspect(tmp_path / "x.jsonl", mapping=mapping)
    assert seen.form == form and set(mapping.values()) <= set(seen.mapping.values())
    assert not seen.problems


def test_a_form_for_which_there_is_another_trainer_names_it(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "Once upon a time."}\n')
    with pytest.raises(DataError, match="needs questions with answers") as told:
        prepare(tmp_path / "x.jsonl", "chat", tmp_path / "out")
    assert "Trainers that read it: default." in told.value.hint


def test_one_column_that_is_named_leaves_the_others_their_roles(tmp_path: Path) -> None:
    """On the page columns are chosen one after the other: the second box must not vanish with the first choice."""
    file = tmp_path / "odd.csv"
    file.write_text("n,foo,bar,baz\n" + "".join(f"{n},Ask {n}?,Say {n}.,x{n}\n" for n in range(25)), encoding="utf-8")
    first = inspect(str(file), "chat", mapping={"prompt": "bar"})
    assert (first.form, first.mapping["prompt"]) == (inspect(str(file), "chat").form, "bar")
    second = inspect(str(file), "chat", mapping={"prompt": "bar", "completion": "baz"})
    assert (second.mapping["prompt"], second.mapping["completion"]) == ("bar", "baz") and second.usable == 25

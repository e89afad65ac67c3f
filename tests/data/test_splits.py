"""Which files of a data set are trained on, held out, and left out; and that a person is told so."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from engine.data import inspect, prepare
from engine.errors import DataError

SIZES = {"train": 30, "test": 8, "valid": 6}
LAYOUTS = {
    "words behind a name": ["support_train.jsonl", "support_test.jsonl", "support_validation.jsonl"],
    "words before a name": ["train_data.jsonl", "test_data.jsonl", "valid_data.jsonl"],
    "val": ["train.jsonl", "test.jsonl", "val.jsonl"],
    "dots": ["faq.train.jsonl", "faq.test.jsonl", "faq.dev.jsonl"],
    "spaces and capitals": ["FAQ Train.jsonl", "FAQ Test.jsonl", "FAQ Evaluation.jsonl"],
    "folders": ["ds/train/a.jsonl", "ds/test/a.jsonl", "ds/validation/a.jsonl"],
    "folders with more to their names": ["train_set/a.jsonl", "test_set/a.jsonl", "eval_set/a.jsonl"],
    "as the Hub keeps them": [
        "data/train_prefs-00000-of-00001.jsonl", "data/test_prefs-00000-of-00001.jsonl", "data/val_prefs-00000-of-00001.jsonl",
    ],
}  # fmt: skip


def rows(split: str, count: int) -> bytes:
    return "".join(json.dumps({"prompt": f"{split} {n}?", "completion": f"{n}."}) + "\n" for n in range(count)).encode()


def written(folder: Path, files: dict[str, bytes], pack: str = "") -> Path:
    """The files in a folder, as they are or gzipped, or in a zip."""
    if pack == "zip":
        with zipfile.ZipFile(folder / "set.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return folder / "set.zip"
    for name, content in files.items():
        path = folder / "set" / (name + (".gz" if pack else ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if pack else content)
    return folder / "set"


@pytest.mark.parametrize("pack", ["", "gz", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_test_rows_are_not_trained_on_and_held_out_ones_measure(layout: str, pack: str, tmp_path: Path) -> None:
    names = dict(zip(SIZES, LAYOUTS[layout], strict=True))
    path = written(tmp_path, {name: rows(split, SIZES[split]) for split, name in names.items()}, pack)
    seen, made = inspect(path), prepare(path, "chat", tmp_path / "out")
    assert (seen.rows, seen.held_out) == (30, 6)
    assert (made.train_rows, made.valid_rows, made.own_valid) == (30, 6, True)
    end = ".gz" if pack == "gz" else ""
    for told in (seen.warnings, made.warnings):
        assert f"{names['test']}{end} is not used: by its name it is for a test after training." in told
        assert f"Held out to measure with, and not trained on: {names['valid']}{end}." in told


@pytest.mark.parametrize(
    "names",
    [
        ["test.jsonl"],
        ["unit-test-questions.jsonl", "faq.jsonl"],
        ["train-timetable.jsonl", "stations.jsonl"],
        ["train_test_split.jsonl", "more.jsonl"],
        ["latest.jsonl", "contrain.jsonl"],
    ],
)
def test_a_word_in_a_name_alone_leaves_nothing_out(names: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, {name: rows(name, 10) for name in names})
    seen = inspect(path)
    assert (seen.rows, seen.held_out) == (10 * len(names), None)
    assert not any("not used" in warning for warning in seen.warnings)


def test_a_file_called_test_that_is_chosen_alone_is_data(tmp_path: Path) -> None:
    path = written(tmp_path, {"test.jsonl": rows("test", 10)})
    assert inspect(path / "test.jsonl").rows == 10


def test_several_parts_for_training_are_told(tmp_path: Path) -> None:
    names = [
        "data/train_gen-00000-of-00001.jsonl",
        "data/train_prefs-00000-of-00001.jsonl",
        "data/test_gen-00000-of-00001.jsonl",
    ]
    path = written(tmp_path, {name: rows(name, 10) for name in names})
    seen = inspect(path)
    assert seen.rows == 20 and any(
        warning.startswith("Trained on together: train_gen, train_prefs.") for warning in seen.warnings
    )
    assert inspect(f"{path}:train_gen").rows == 10


def test_files_that_say_nothing_beside_one_for_training_are_told(tmp_path: Path) -> None:
    seen = inspect(written(tmp_path, {"train.jsonl": rows("train", 10), "all.jsonl": rows("all", 10)}))
    assert seen.rows == 10 and "all.jsonl is not used: train.jsonl is for training, as its name says." in seen.warnings


CARD = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: en/a.jsonl
  - split: test
    path: en/b.jsonl
%s---
"""
OTHER = "- config_name: de\n  data_files: de/*\n"


def test_the_card_of_a_folder_says_which_files_are_which(tmp_path: Path) -> None:
    files = {"en/a.jsonl": rows("a", 10), "en/b.jsonl": rows("b", 5), "de/c.jsonl": rows("c", 7)}
    path = written(tmp_path, {**files, "README.md": (CARD % "").encode()})
    seen = inspect(path)
    assert seen.rows == 10
    assert "en/b.jsonl is not used: by its name it is for a test after training." in seen.warnings
    assert "1 file is not used: the README.md of set does not count it in." in seen.warnings


def test_a_folder_whose_card_declares_several_data_sets_asks_which(tmp_path: Path) -> None:
    files = {"en/a.jsonl": rows("a", 10), "en/b.jsonl": rows("b", 5), "de/c.jsonl": rows("c", 7)}
    path = written(tmp_path, {**files, "README.md": (CARD % OTHER).encode()})
    with pytest.raises(DataError, match="set holds several data sets: en, de") as told:
        inspect(path)
    assert f"{path}:en" in told.value.hint, "what it says to write can be written"
    assert (inspect(f"{path}:en").rows, inspect(f"{path}:de").rows) == (10, 7)


def test_a_problem_in_one_of_several_files_names_it(tmp_path: Path) -> None:
    path = written(tmp_path, {"a.jsonl": rows("a", 5), "b.jsonl": b'{"prompt": "x"}\nnot json\n' + rows("b", 3)})
    messages = [problem.message for problem in inspect(path).problems]
    assert [message.split(":")[0] for message in messages] == ["b.jsonl", "b.jsonl"]
    assert "Row 1" in messages[0] and "Line 2" in messages[1]
    assert [problem.row for problem in inspect(path).problems] == [6, 7]

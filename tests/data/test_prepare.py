"""What `prepare` writes: which rows, on which side, the same every time, and what it says about the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import engine.data
from engine.errors import DataError


def _file(folder: Path, name: str, records: list[Any]) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def _pairs(count: int, word: str = "Question") -> list[dict[str, str]]:
    return [{"question": f"{word} {i}?", "answer": f"Answer {i}."} for i in range(count)]


def _written(out: Path, side: str) -> list[Any]:
    return [json.loads(line) for line in (out / f"{side}.jsonl").read_text(encoding="utf-8").splitlines()]


def _keys(rows: list[Any]) -> set[str]:
    return {json.dumps(row, sort_keys=True) for row in rows}


@pytest.mark.parametrize(
    "rows,fraction,valid",
    [
        (1, None, 0),
        (19, None, 0),
        (20, None, 2),
        (100, None, 10),
        (6000, None, 500),
        (100, 0.0, 0),
        (100, 0.25, 25),
        (3, 0.9, 2),
    ],
)
def test_how_many_rows_are_held_out(rows: int, fraction: float | None, valid: int, tmp_path: Path) -> None:
    """A tenth and at most 500 when nobody chose, none of very few; else what was chosen, but one row stays to train on."""
    path = _file(tmp_path, "a.jsonl", _pairs(rows))
    made = engine.data.prepare(path, "chat", tmp_path / "out", valid_fraction=fraction)
    assert (made.train_rows, made.valid_rows) == (rows - valid, valid)
    train, held = _written(tmp_path / "out", "train"), _written(tmp_path / "out", "valid")
    assert (len(train), len(held)) == (rows - valid, valid)
    assert len(_keys(train) | _keys(held)) == rows  # every row is on one side
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["train.jsonl", "valid.jsonl"]


def test_rows_keep_their_order_and_shape(tmp_path: Path) -> None:
    engine.data.prepare(_file(tmp_path, "a.jsonl", _pairs(50)), "chat", tmp_path / "out")
    train = _written(tmp_path / "out", "train")
    numbers = [int(row["prompt"].split()[1][:-1]) for row in train]
    assert numbers == sorted(numbers)
    assert train[0].keys() == {"prompt", "completion"}


def test_the_seed_decides_the_split(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", _pairs(200))
    held: list[set[str]] = []
    for run, seed in enumerate((42, 42, 7, 0, -1)):
        engine.data.prepare(path, "chat", tmp_path / str(run), seed=seed)
        held.append(_keys(_written(tmp_path / str(run), "valid")))
    assert held[0] == held[1] and all(len(rows) == 20 for rows in held)
    assert len({frozenset(rows) for rows in held}) == 4


def test_the_split_does_not_follow_the_order_of_the_file(tmp_path: Path) -> None:
    """A row's side follows from what it says: the same rows in another order, or another format, part the same way."""
    pairs = _pairs(200)
    table = tmp_path / "a.csv"
    table.write_text("question,answer\n" + "".join(f"{p['question']},{p['answer']}\n" for p in reversed(pairs)))
    engine.data.prepare(_file(tmp_path, "a.jsonl", pairs), "chat", tmp_path / "one")
    engine.data.prepare(table, "chat", tmp_path / "two")
    assert _keys(_written(tmp_path / "one", "valid")) == _keys(_written(tmp_path / "two", "valid"))


@pytest.mark.parametrize("fraction", [None, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(6))
def test_copies_never_lie_on_both_sides(seed: int, fraction: float | None, tmp_path: Path) -> None:
    records = _pairs(40) * 2 + _pairs(3, "Often") * 25 + _pairs(30, "Once")
    made = engine.data.prepare(
        _file(tmp_path, "a.jsonl", records), "chat", tmp_path / "out", valid_fraction=fraction, seed=seed
    )
    train, held = _keys(_written(tmp_path / "out", "train")), _keys(_written(tmp_path / "out", "valid"))
    assert train and held and not train & held
    assert made.train_rows + made.valid_rows == len(records)
    wanted = round(len(records) * (0.1 if fraction is None else fraction))
    assert made.valid_rows <= wanted
    assert any("exact copies" in warning for warning in made.warnings)


def test_copies_of_one_row_only_are_all_trained_on(tmp_path: Path) -> None:
    made = engine.data.prepare(_file(tmp_path, "a.jsonl", _pairs(1) * 40), "chat", tmp_path / "out")
    assert (made.train_rows, made.valid_rows) == (40, 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rows", "down", "held_down"), [(40, 20, 2), (40, 4, 1), (40, 1, 0), (20, 2, 1), (40, 0, 0)])
def test_thumbs_of_both_kinds_are_held_out_and_of_both_are_left(
    rows: int, down: int, held_down: int, seed: int, tmp_path: Path
) -> None:
    """Without good beside bad nothing can be measured; and a kind that is all held out cannot be learned."""
    thumbs = [{"prompt": f"Gate {n}?", "completion": f"At {n}.", "label": n >= down} for n in range(rows)]
    made = engine.data.prepare(_file(tmp_path, "a.jsonl", thumbs), "feedback", tmp_path / "out", seed=seed)
    assert (made.train_rows, made.valid_rows) == (rows - rows // 10, rows // 10)
    train, held = _written(tmp_path / "out", "train"), _written(tmp_path / "out", "valid")
    assert sum(not row["label"] for row in held) == held_down
    assert sum(not row["label"] for row in train) == down - held_down


def test_max_samples(tmp_path: Path) -> None:
    """A sample by the seed and not the first rows; the held-out rows are taken out of it."""
    path = _file(tmp_path, "a.jsonl", _pairs(300))
    made = engine.data.prepare(path, "chat", tmp_path / "out", max_samples=100)
    assert (made.train_rows, made.valid_rows) == (90, 10)
    both = _written(tmp_path / "out", "train") + _written(tmp_path / "out", "valid")
    assert _keys(both) != _keys([{"prompt": p["question"], "completion": p["answer"]} for p in _pairs(100)])
    engine.data.prepare(path, "chat", tmp_path / "again", max_samples=100)
    assert _written(tmp_path / "again", "train") == _written(tmp_path / "out", "train")
    more = engine.data.prepare(path, "chat", tmp_path / "more", max_samples=1000)
    assert more.train_rows + more.valid_rows == 300


@pytest.mark.parametrize("seed", range(5))
def test_max_samples_is_the_most_also_with_copies(seed: int, tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", _pairs(2) * 50 + _pairs(20, "Other"))
    made = engine.data.prepare(path, "chat", tmp_path / "out", max_samples=30, seed=seed)
    assert made.train_rows + made.valid_rows == 30


def test_an_own_held_out_file(tmp_path: Path) -> None:
    """It is used whole and nothing else is held out; rows that are trained on too are told."""
    path, own = _file(tmp_path, "a.jsonl", _pairs(100)), _file(tmp_path, "own.jsonl", _pairs(8, "Held") + _pairs(2))
    made = engine.data.prepare(path, "chat", tmp_path / "out", valid_path=own, valid_fraction=0.5)
    assert (made.train_rows, made.valid_rows) == (100, 10)
    assert _written(tmp_path / "out", "valid")[0] == {"prompt": "Held 0?", "completion": "Answer 0."}
    assert any("2 held-out rows are also in the training rows" in warning for warning in made.warnings)


def test_an_own_held_out_file_in_another_format(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("answer,question\nSo.,Why?\n")
    made = engine.data.prepare(_file(tmp_path, "a.jsonl", _pairs(30)), "chat", tmp_path / "out", valid_path=own)
    assert (made.train_rows, made.valid_rows) == (30, 1)
    assert _written(tmp_path / "out", "valid") == [{"prompt": "Why?", "completion": "So."}]


def test_an_own_held_out_file_without_a_usable_row(tmp_path: Path) -> None:
    own = _file(tmp_path, "own.jsonl", [{"question": "Why?", "answer": ""}])
    with pytest.raises(DataError, match="held-out") as caught:
        engine.data.prepare(_file(tmp_path, "a.jsonl", _pairs(30)), "chat", tmp_path / "out", valid_path=own)
    assert caught.value.hint


def test_rows_with_problems_in_an_own_held_out_file_are_told_or_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", [*_pairs(30), {"question": "Why?", "answer": ""}])
    own = _file(tmp_path, "own.jsonl", [*_pairs(4, "Held"), {"question": "Where?", "answer": " "}])
    made = engine.data.prepare(path, "chat", tmp_path / "out", valid_path=own)
    assert (made.train_rows, made.valid_rows, made.dropped) == (30, 4, 2)
    assert made.problem_counts == {"empty completion": 2}
    assert [problem.row for problem in made.problems] == [31, 5]
    assert "Held-out rows: Row 5" in made.problems[1].message
    assert any("1 held-out row with problems was left out" in warning for warning in made.warnings)
    good = _file(tmp_path, "good.jsonl", _pairs(30))
    with pytest.raises(DataError, match=r"1 row has problems\. Held-out rows: Row 5") as caught:
        engine.data.prepare(good, "chat", tmp_path / "out", valid_path=own, drop_bad_rows=False)
    assert caught.value.hint


def test_a_prompt_lies_on_one_side_whatever_goes_with_it(tmp_path: Path) -> None:
    """A number or an answer that is carried along makes the same prompt no other prompt; a system text does."""
    rows = [{"id": n, "prompt": f"Prompt {n % 100}?", "answer": str(n)} for n in range(300)]
    made = engine.data.prepare(_file(tmp_path, "a.jsonl", rows), "prompts", tmp_path / "out")
    train, held = ({row["prompt"] for row in _written(tmp_path / "out", side)} for side in ("train", "valid"))
    assert held and not train & held and made.train_rows + made.valid_rows == 300
    assert any("200 of 300 rows have the same prompt" in warning for warning in made.warnings)
    own = _file(tmp_path, "own.jsonl", [{"id": 999, "prompt": "Prompt 7?", "answer": "7"}])
    made = engine.data.prepare(tmp_path / "a.jsonl", "prompts", tmp_path / "out", valid_path=own)
    assert any("1 held-out rows are also in the training rows" in warning for warning in made.warnings)
    talks = [[{"role": "system", "content": f"Be {n}."}, {"role": "user", "content": "Hi"}] for n in range(30)]
    path = _file(tmp_path, "b.jsonl", [{"prompt": talk} for talk in talks])
    assert not any("same prompt" in warning for warning in engine.data.prepare(path, "prompts", tmp_path / "out").warnings)


def test_a_folder_that_names_its_held_out_file(tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    _file(source, "train.jsonl", _pairs(40))
    _file(source, "validation.jsonl", _pairs(5, "Held"))
    _file(source, "test.jsonl", _pairs(5, "Never"))
    made = engine.data.prepare(source, "chat", tmp_path / "out")
    assert (made.train_rows, made.valid_rows) == (40, 5)
    assert "Never" not in str(_written(tmp_path / "out", "train") + _written(tmp_path / "out", "valid"))


def _with_problems(folder: Path) -> Path:
    path = folder / "bad.jsonl"
    lines = [json.dumps(pair) for pair in _pairs(6)]
    lines[1] = json.dumps({"question": "Why?", "answer": "  "})
    lines[3] = "{broken"
    lines[4] = ""  # an empty line is no row and no problem, but it counts as a line
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_with_problems_are_left_out_and_told(tmp_path: Path) -> None:
    """The number is the line in the file, so that it can be found in an editor."""
    made = engine.data.prepare(_with_problems(tmp_path), "chat", tmp_path / "out")
    assert (made.train_rows, made.dropped) == (3, 2)
    assert [(problem.row, problem.rule) for problem in made.problems] == [(2, "empty completion"), (4, "not JSON")]
    assert "Row 2" in made.problems[0].message and made.problems[0].column == "answer"
    assert made.problem_counts == {"empty completion": 1, "not JSON": 1}
    assert "2 rows with problems were left out" in made.warnings[0]
    seen = engine.data.inspect(_with_problems(tmp_path), "chat")
    assert (seen.problems, seen.problem_counts) == (made.problems, made.problem_counts)


def test_row_numbers_of_a_table_are_those_of_a_spreadsheet(tmp_path: Path) -> None:
    """The header is row 1; a cell may go over several lines of the file."""
    path = tmp_path / "a.csv"
    path.write_text('question,answer\n"A\nand more?",a\nB?,\nC?,c\n')
    assert [number for number, _ in engine.data.rows(path, "chat")] == [2, 3, 4]
    assert engine.data.inspect(path).problems[0].row == 3


def test_rows_with_problems_can_be_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 rows have problems\. Row 2: answer is empty\.") as caught:
        engine.data.prepare(_with_problems(tmp_path), "chat", tmp_path / "out", drop_bad_rows=False)
    assert caught.value.hint
    made = engine.data.prepare(_file(tmp_path, "a.jsonl", _pairs(5)), "chat", tmp_path / "out", drop_bad_rows=False)
    assert (made.train_rows, made.dropped) == (5, 0)


def test_no_usable_row_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", [{"question": "Why?", "answer": ""}] * 3)
    with pytest.raises(DataError, match="The first problem: Row 1") as caught:
        engine.data.prepare(path, "chat", tmp_path / "out")
    assert caught.value.hint


def test_what_is_recorded_of_the_data(tmp_path: Path) -> None:
    """The record that a run keeps: where the rows came from, how they were read, how many went where; all of it JSON."""
    import hashlib

    path = _file(tmp_path, "a.jsonl", [*_pairs(50), {"question": "", "answer": "x"}])
    made = engine.data.prepare(path, "chat", tmp_path / "out")
    record = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert record["source"] == str(path) and record["bytes"] == path.stat().st_size
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (record["form"], record["kind"]) == ("qa", "chat")
    assert record["mapping"] == {"prompt": "question", "completion": "answer"}
    assert (record["train_rows"], record["valid_rows"], record["dropped"]) == (45, 5, 1)
    assert record["train_rows"] + record["valid_rows"] + record["dropped"] == 51
    assert record["problems"][0]["row"] == 51


def test_a_conversion_that_loses_something_is_told(tmp_path: Path) -> None:
    records = [{"prompt": f"Why {i}?", "chosen": "So.", "rejected": "No."} for i in range(5)]
    path = _file(tmp_path, "a.jsonl", records)
    made = engine.data.prepare(path, "chat", tmp_path / "out")
    assert any("Only the better answers" in warning for warning in made.warnings)
    assert _written(tmp_path / "out", "train")[0] == {"prompt": "Why 0?", "completion": "So."}


def test_preparing_twice_leaves_only_the_last(tmp_path: Path) -> None:
    """The same folder again, with other settings: nothing of the first time stays in it."""
    engine.data.prepare(_file(tmp_path, "a.jsonl", _pairs(100)), "chat", tmp_path / "out")
    made = engine.data.prepare(_file(tmp_path, "b.jsonl", _pairs(5, "Other")), "chat", tmp_path / "out")
    assert (made.train_rows, made.valid_rows) == (5, 0)
    assert len(_written(tmp_path / "out", "train")) == 5 and _written(tmp_path / "out", "valid") == []


def _prompts_of(rows: list[Any]) -> set[str]:
    return {json.dumps(row.get("prompt") or row["messages"][:-1]) for row in rows}


_SAME_PROMPT: dict[str, tuple[str, Any]] = {
    "pairs": ("preference", lambda p, n: {"prompt": p, "chosen": f"Good {n}.", "rejected": f"Bad {n}."}),
    "dialogues": (
        "preference",
        lambda p, n: {
            side: [{"role": "user", "content": p}, {"role": "assistant", "content": f"{side} {n}."}]
            for side in ("chosen", "rejected")
        },
    ),
    "thumbs": ("feedback", lambda p, n: {"prompt": p, "completion": f"Answer {n}.", "label": n % 2 == 0}),
    "questions": ("chat", lambda p, n: {"question": p, "answer": f"Answer {n}."}),
    "conversations": (
        "chat",
        lambda p, n: {"messages": [{"role": "user", "content": p}, {"role": "assistant", "content": f"Answer {n}."}]},
    ),
    "prompts": ("prompts", lambda p, n: {"prompt": p, "answer": str(n)}),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("each", [2, 5, 10])
@pytest.mark.parametrize("name", _SAME_PROMPT)
def test_rows_of_one_prompt_lie_on_one_side(name: str, each: int, seed: int, tmp_path: Path) -> None:
    """What is held out measures nothing where the same question was trained on."""
    kind, make = _SAME_PROMPT[name]
    path = _file(tmp_path, "a.jsonl", [make(f"Question {n // each}?", n) for n in range(200)])
    made = engine.data.prepare(path, kind, tmp_path / "out", seed=seed)  # type: ignore[arg-type]
    train, held = _written(tmp_path / "out", "train"), _written(tmp_path / "out", "valid")
    assert len(train) + len(held) == 200 and 15 <= made.valid_rows <= 20
    assert not _prompts_of(train) & _prompts_of(held)
    engine.data.prepare(path, kind, tmp_path / "again", seed=seed)  # type: ignore[arg-type]
    assert _written(tmp_path / "again", "valid") == held


def test_few_prompts_of_many_rows_part_by_a_whole_prompt_or_not_at_all(tmp_path: Path) -> None:
    pairs = [{"prompt": f"Question {n % 5}?", "chosen": f"Good {n}.", "rejected": f"Bad {n}."} for n in range(50)]
    made = engine.data.prepare(_file(tmp_path, "a.jsonl", pairs), "preference", tmp_path / "out")
    assert made.valid_rows == 10 and len(_prompts_of(_written(tmp_path / "out", "valid"))) == 1
    two = [{**pair, "prompt": f"Question {n % 2}?"} for n, pair in enumerate(pairs)]
    made = engine.data.prepare(_file(tmp_path, "b.jsonl", two), "preference", tmp_path / "two")
    assert made.valid_rows == 0 and any(warning.startswith("No rows are held out") for warning in made.warnings)


def test_greetings_of_the_assistant_are_told(tmp_path: Path) -> None:
    turns = [("assistant", "Welcome!"), ("user", "When?"), ("assistant", "At six.")]
    rows = [{"messages": [{"role": role, "content": f"{text} {n}"} for role, text in turns]} for n in range(3)]
    made = engine.data.prepare(_file(tmp_path, "a.jsonl", rows), "chat", tmp_path / "out")
    assert made.dropped == 0 and any("3 of 3 conversations begin with a greeting" in warning for warning in made.warnings)


def test_the_share_of_thumbs_is_that_of_the_rows_that_are_taken(tmp_path: Path) -> None:
    thumbs = [{"prompt": f"Gate {n}?", "completion": f"At {n}.", "label": n % 4 == 0} for n in range(80)]
    made = engine.data.prepare(
        _file(tmp_path, "a.jsonl", thumbs), "feedback", tmp_path / "out", max_samples=10, valid_fraction=0.0
    )
    taken = [json.loads(line)["label"] for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    assert len(taken) == 10 and made.liked == sum(taken) / 10

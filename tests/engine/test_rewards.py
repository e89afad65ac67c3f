"""Reward functions: what a line means, what an answer is worth, and what is said about a line that means nothing."""

from __future__ import annotations

import random
import re
import shlex
import shutil
import time
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

from engine.cli import _parser
from engine.errors import DataError, ParamError, TrainingError
from engine.flags import given_values
from engine.registry import spec_for, specs
from engine.rewards import python_lines, read, rule, written
from engine.rewards.likeness import likeness
from engine.rewards.lines import KINDS
from engine.rewards.settings import RewardedParams
from engine.runs.directory import RunDirectory


def score(line: str, answer: str, /, **row: Any) -> float:
    (values,) = read([line])(["Question?"], [answer], [{"prompt": "Question?", **row}]).values()
    return values[0]


@pytest.mark.parametrize(
    ("line", "answer", "row", "worth"),
    [
        ("keyword: please, thank you", "Yes, Thank You!", {}, 1),
        ("keyword: please", "It pleases me.", {}, 0),
        ("keyword: C++", "I like C++ best", {}, 1),
        ("every-keyword: red, blue", "A red boat.", {}, 0.5),
        ("regex: ^[A-Z].*[.]$", "It opens.", {}, 1),
        ("regex: ^[A-Z]", "it opens", {}, 0),
        ("length: 4", "one two three four", {}, 1),
        ("length: 4", "one", {}, 0.25),
        ("length: 4", "1 2 3 4 5 6", {}, 0.5),
        ("length: 4", "1 2 3 4 5 6 7 8 9 10", {}, 0),
        ("length: 2-4", "a b c", {}, 1),
        ("length: 0-2", "", {}, 1),
        ("length: 10 characters", "12345", {}, 0.5),
        ("json", '{"a": 1}', {}, 1),
        ("json", "5", {}, 0),
        ("json", '{"a": NaN}', {}, 0),
        ("json", "[" * 100_000, {}, 0),
        ("json: name, age", '{"name": "Ida"}', {}, 0.75),
        ("json: name", "[]", {}, 0),
        ("match: answer", " at  SIX. ", {"answer": "At six"}, 1),
        ("match: answer", "At six o'clock", {"answer": "At six"}, 0),
        ("match: answer", "seven", {"answer": ["six", "seven"]}, 1),
        ("contains: answer", "It opens at six.", {"answer": "Six"}, 1),
        ("number: answer", "3 + 4 = 7", {"answer": "so #### 7.0"}, 1),
        ("number: answer", "It is 1,200 miles.", {"answer": 1200}, 1),
        ("number: answer", "from 3-4.", {"answer": 4}, 1),
        ("number: answer", "It is -4.", {"answer": 4}, 0),
        ("number: answer", "none", {"answer": 7}, 0),
        ("similar: answer", "the boat sails", {"answer": "The boat sails."}, 1),
        ("similar: answer", "the boat", {"answer": "the boat sails away"}, 2 / 3),
        ("similar: answer", "no", {"answer": "the boat"}, 0),
        ("no-repeat", "one two three four five", {}, 0),
        ("no-repeat", "a b c a b c", {}, -0.25),
        ("no-repeat: 1", "a a a a", {}, -0.75),
        ("no-repeat", "", {}, 0),
    ],
)
def test_what_an_answer_is_worth(line: str, answer: str, row: dict[str, Any], worth: float) -> None:
    assert score(line, answer, **row) == pytest.approx(worth)


def test_each_reward_is_told_by_itself_and_the_sum_is_weighted() -> None:
    rewards = read(["2 * keyword: yes", "-1 * keyword: no", "length: 2"])
    scores = rewards(["?"] * 2, ["yes no", "no"], [{}, {}])
    assert scores == {"keyword": [1, 0], "keyword-2": [1, 1], "length": [1, 0.5]}
    assert rewards.weights == {"keyword": 2, "keyword-2": -1, "length": 1}
    assert rewards.total(scores) == [2, -0.5]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kindness", ["no reward 'kindness'", "keyword: please", "no-repeat"]),
        ("keyword:", ["does not say what", "keyword: please"]),
        ("keyword: ,", ["at least one word"]),
        ("regex: (", ["no regular expression"]),
        ("length: long", ["40, 20-40 or 200 characters"]),
        ("length: 9-3", ["no length"]),
        ("length: 0", ["no length"]),
        ("no-repeat: 0", ["no number of words"]),
        ("1.2.3 * json", ["weight", "no number"]),
        ("python: reward.py", ["path/to/file.py:function"]),
    ],
)
def test_a_line_that_is_no_reward_is_told(line: str, words: list[str]) -> None:
    with pytest.raises(ParamError) as caught:
        RewardedParams(data_path="x", rl_rewards=[line])
    assert caught.value.problems[0].field == "rl_rewards"
    for word in [*words, "--rl-rewards"]:
        assert word in caught.value.message


def test_something_must_score_the_answers() -> None:
    with pytest.raises(ParamError, match="nothing scores the answers"):
        RewardedParams(data_path="x")
    assert RewardedParams(data_path="x", rl_reward_model_path="cheer").rl_rewards == []
    assert RewardedParams(data_path="x", rl_rewards="json\n\nlength: 3").rl_rewards == ["json", "length: 3"]  # type: ignore[arg-type]


def test_a_column_that_is_missing_is_told_before_the_training() -> None:
    rewards = read(["match: answer"])
    rewards.check_columns([{"prompt": "?", "answer": 0}])
    with pytest.raises(DataError, match=r"'answer', which does not exist .there are: solution. in row 2"):
        rewards.check_columns([{"prompt": "?", "answer": "a"}, {"prompt": "?", "solution": "b"}])
    with pytest.raises(DataError, match="is empty in row 1"):
        rewards.check_columns([{"prompt": "?", "answer": ""}])


def test_a_python_function_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "def vowels(prompts, completions, rows):\n    return [sum(c in 'aeiou' for c in text) for text in completions]\n"
        "def none(prompts, completions, rows):\n    return []\n"
        "def broken(prompts, completions, rows):\n    return 1 / 0\n"
    )
    monkeypatch.chdir(tmp_path)
    kept = RewardedParams(data_path="x", rl_rewards=["0.5 * python: mine.py:vowels"]).rl_rewards
    assert kept == [f"0.5 * python: {tmp_path / 'mine.py'}:vowels"] == python_lines([*kept, "json"])
    monkeypatch.chdir("/")
    assert score(kept[0], "a boat") == 3
    for name, words in {"none": "0 scores for 1", "broken": "ZeroDivisionError", "absent": "no function absent"}.items():
        with pytest.raises(TrainingError, match=words):
            score(f"python: {tmp_path}/mine.py:{name}", "a")
    with pytest.raises(TrainingError, match="no file"):
        score("python: nowhere.py:f", "a")


def test_every_kind_says_its_range() -> None:
    for kind in KINDS.values():
        assert kind.gives.startswith(("0 or 1:", "0 to 1:", "-1 to 0:", "Whatever"))


def test_a_line_is_written_for_who_does_not_know_how() -> None:
    assert written("keyword", " please,  thank you ", "1") == "keyword: please, thank you"
    assert written("no-repeat", "", "") == "no-repeat"
    assert written("length", "6-12", "-0,5") == "-0.5 * length: 6-12"
    for line in (written(name, kind.argument, "2") for name, kind in KINDS.items()):
        assert rule(line).weight == 2
        assert rule(line).wrong == ""


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        (("keyword", " ", "1"), "argument", "Say what, for example please"),
        (("length", "some", "1"), "argument", "'some' is no length"),
        (("regex", "(", "1"), "argument", "no regular expression"),
        (("json", "", "twice"), "weight", "A number such as 2"),
        (("json", "", "0"), "weight", "-1 for a penalty"),
        (("json", "", "nan"), "weight", "A number"),
    ],
)
def test_what_cannot_be_written_is_told_by_its_box(given: tuple[str, str, str], field: str, words: str) -> None:
    with pytest.raises(ParamError) as caught:
        written(*given)
    assert caught.value.problems[0].field == field
    assert words in caught.value.message


def test_a_line_that_is_no_reward_is_still_a_rule() -> None:
    assert rule("keywrd: x").kind is None
    assert "there is no reward" in rule("keywrd: x").wrong


@pytest.mark.parametrize("spec", specs().values(), ids=lambda s: s.id)
def test_example_settings_are_what_a_trainer_needs(spec: Any) -> None:
    assert spec_for(spec.id).params(data_path="x", **spec.example_settings)


def test_the_page_about_rewards_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reward in docs/rewards.md can be read, every Python example runs, every command is one."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")
    blocks = [(kind, text) for kind, text in re.findall(r"```(\w*)\n(.*?)```", page, re.DOTALL)]
    monkeypatch.chdir(tmp_path)
    seen = Counter(kind for kind, _ in blocks)
    assert seen == {"rewards": 2, "python": 3, "bash": 2}
    shown: dict[str, Any] = {}
    for kind, text in blocks:
        if kind == "rewards":
            read(text.splitlines())
        elif kind == "python":
            exec(text, shown)
        else:
            for line in text.splitlines():
                words = shlex.split(line)[1:]
                given_values(_parser(words).parse_args(words))
    own = read(shown["params"].rl_rewards)
    assert own(["?"], ["one seventeen"], [{"prompt": "?"}]) == {"python": [0.5], "no-repeat": [0.0]}
    for name in KINDS:
        assert f"| `{name}" in page, f"{name} is not on the page"


# ---- without data ----------------------------------------------------------------------------------------------------


def test_without_data_the_prompts_are_the_reward_models_own(runs_root: Path, tiny_model: Path, tmp_path: Path) -> None:
    """The documentation's command for PPO names a reward model and no data."""
    judge = RunDirectory.create({"trainer": "reward", "data_path": "pairs.csv", "column_mapping": {"chosen": "A"}}, "judge")
    shutil.copytree(tiny_model, judge.model_dir)
    for spec in specs().values():
        if not issubclass(spec.params, RewardedParams):
            continue
        for name in ("judge", "./judge", str(judge.path), str(judge.model_dir)):
            made = spec.params(rl_reward_model_path=name)
            assert (made.data_path, made.column_mapping) == ("pairs.csv", {"chosen": "A"})
        assert spec.params(rl_reward_model_path="judge", data_path="mine.csv").column_mapping == {}
        with pytest.raises(ParamError, match="data_path is missing"):  # a folder that says nothing about its data
            spec.params(rl_reward_model_path=str(tiny_model))
        with pytest.raises(ParamError, match=r"There is no model './nobody'.*--rl-reward-model-path"):
            spec.params(rl_reward_model_path="./nobody")


def test_likeness_is_that_of_difflib() -> None:
    chance = random.Random(1)
    for _ in range(400):
        some, other = ([chance.choice("abcd"[: chance.randint(1, 4)]) for _ in range(chance.randint(0, 30))] for _ in "ab")
        assert likeness(some, other) == SequenceMatcher(None, some, other, autojunk=False).ratio()


@pytest.mark.parametrize("answer", ["the " * 6_000, "the boat " * 3_000, " ".join(map(str, range(20_000)))])
def test_long_answers_are_compared_in_bounded_time(answer: str) -> None:
    """What says the same again and again took minutes; the same text is still the same."""
    similar = read(["similar: right"])
    began = time.process_time()
    right = "the boat sails " * 2_000
    scores = similar(["?"] * 2, [answer, answer], [{"right": right}, {"right": answer}])["similar"]
    assert 0 <= scores[0] < 0.9 and scores[1] == 1
    assert time.process_time() - began < 10

"""What a sweep can say: values and ranges as people write them, files, and which combinations come of it."""

from __future__ import annotations

import math
import shlex
from typing import Any

import pytest

from engine import start_sweep
from engine.cli import _read, main
from engine.errors import ParamError
from engine.flags import given_values
from engine.registry import spec_for
from engine.sweeps import told
from engine.sweeps.sampling import Outcome, combinations, following
from engine.sweeps.space import Choices, Range, read_axis
from engine.sweeps.sweep import MOST, built, from_mapping, from_yaml
from engine.sweeps.tries import planned
from engine.sweeps.written import command as sweep_command
from engine.trainers.sft import SFTParams

BASE = {"trainer": "sft", "data_path": "sample:neighbours"}

pytestmark = pytest.mark.usefixtures("runs_root")


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("lr", "1e-4,3e-4", Choices((1e-4, 3e-4))),
        ("lr", [1e-4, "3e-4"], Choices((1e-4, 3e-4))),
        ("lora_r", "8, 16", Choices((8, 16))),
        ("peft", "yes,no", Choices((True, False))),
        ("scheduler", "cosine", Choices(("cosine",))),
        ("target_modules", '["q_proj,v_proj", "all-linear"]', Choices(("q_proj,v_proj", "all-linear"))),
        ("lr", "1e-5..1e-3", Range(1e-5, 1e-3, log=True, whole=False)),
        ("lr", "linear:1e-5..1e-3", Range(1e-5, 1e-3, log=False, whole=False)),
        ("epochs", "1 to 3", Range(1.0, 3.0, log=False, whole=False)),
        ("lora_r", "log: 8..64", Range(8, 64, log=True, whole=True)),
        ("lora_r", {"from": 8, "to": 64}, Range(8, 64, log=False, whole=True)),
    ],
)
def test_values_are_read_as_people_write_them(name: str, given: Any, read: Any) -> None:
    axis = read_axis(SFTParams, name, given)
    assert axis == read
    assert read_axis(SFTParams, name, str(axis)) == axis, "what is written is read back"
    assert read_axis(SFTParams, name, axis.plain()) == axis


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("lora_q", "1,2", "There is no setting 'lora_q'. Did you mean lora_r"),
        ("dpo_beta", "0.1,0.2", "dpo_beta belongs to the trainer"),
        ("trainer", "sft,dpo", "trainer cannot be varied"),
        ("lr", "1e-4,,3e-4", "a value is missing"),
        ("lr", "1e-4, 0.0001", "lr: 0.0001 stands there twice"),
        ("lr", "1e-3..1e-5", "begins with its smaller end"),
        ("lr", "log:0..1", "begins above 0"),
        ("lora_r", "8.5..16", "must be a whole number"),
        ("scheduler", {"from": 1, "to": 2}, "takes no numbers"),
        ("lr", {"low": 1}, "a range is written as"),
        ("lr", [], "no values to try"),
        ("target_modules", "[q", "is no JSON list"),
    ],
)
def test_what_cannot_be_read_is_said_by_its_setting(name: str, given: Any, words: str) -> None:
    with pytest.raises(ParamError, match=words) as raised:
        read_axis(SFTParams, name, given)
    assert raised.value.problems[0].field == name


def test_a_grid_is_every_combination_once() -> None:
    sweep = built(BASE, {"lr": "1e-4,3e-4", "epochs": [1, 2, 3]})
    assert [one.values for one in planned(sweep)] == [
        {"lr": lr, "epochs": epochs} for lr in (1e-4, 3e-4) for epochs in (1.0, 2.0, 3.0)
    ]
    assert (sweep.name, sweep.wanted) == ("sweep-1", 6)


def test_a_file_says_the_same_and_is_written_back() -> None:
    text = "sweep: town\nsettings: {trainer: sft, data_path: 'sample:neighbours'}\n"
    text += "try:\n  lr: 1e-5..1e-3\n  epochs: [1, 2]\nrandom: 5\n"
    sweep = from_yaml(text)
    assert sweep == built(BASE, {"lr": "1e-5..1e-3", "epochs": [1, 2]}, random=5, name="town")
    assert from_yaml(sweep.to_yaml()) == sweep
    assert from_yaml(text, "other").name == "other"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"trys": {}}, "A sweep file has no 'trys'"),
        ({"settings": None}, "has no settings"),
        ({"try": None}, "what varies"),
        ({"try": {}}, "Nothing varies"),
        ({"random": 3, "adaptive": 3}, "either random or adaptive"),
        ({"random": 0}, "random is the number of runs"),
        ({"sweep": "no spaces"}, "cannot be a sweep's name"),
        ({"settings": {"data_path": "x"}}, "Which trainer|trainer"),
        ({"try": {"lr": "1e-5..1e-3"}}, "lr is a range, .*and not every number in it can be tried"),
        (
            {"try": {"lr": [n / 1000 for n in range(1, 21)], "lora_r": list(range(1, 21))}},
            f"400 combinations; .* at most {MOST}",
        ),
        ({"adaptive": 500, "try": {"lr": "1e-5..1e-3"}}, f"500 runs; .* at most {MOST}"),
        ({"try": {"lora_q": [1], "lrr": [1]}}, "'lora_q'(.|\n)*'lrr'"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ParamError, match=words):
        from_mapping({"settings": BASE, "try": {"lr": [1e-4]}, **changed})


def test_random_and_adaptive_together_are_refused_however_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ParamError, match="either random or adaptive"):
        start_sweep(BASE, {"lr": "1e-5..1e-3"}, random=3, adaptive=20)
    asked = ["sweep", "--trainer", "sft", "--data-path", "sample:neighbours", "--sweep", "lr=1e-5..1e-3", "--dry-run"]
    assert main([*asked, "--adaptive", "20", "--random", "3"]) == 2
    assert "A sweep is either random or adaptive." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("base", "axes", "field", "words"),
    [
        ({}, {"lr": "1e-4,3"}, "lr", "lr must be more than 0 and less than 1, got 3"),
        ({}, {"lr": "1e-4,fast"}, "lr", "lr must be a number, got 'fast'"),
        ({"epochz": 1}, {"lr": "1e-4"}, "epochz", "Did you mean epochs"),
        ({}, {"lora_r": "8,16"}, "lora_r", r"counts only while peft is yes. Set that as well \(--peft\)"),
        ({"valid_fraction": 0}, {"lr": "1e-4"}, "valid_fraction", "nothing is held out to tell which run is best"),
        ({"max_samples": 5}, {"lr": "1e-4"}, "sweep", "of 5 rows none would be held out"),
        ({"data_path": "no-such-file.csv"}, {"lr": "1e-4"}, "data_path", "no-such-file.csv"),
        ({}, {"model": ["starter", "no-such/model"]}, "model", "no-such/model"),
    ],
)
def test_every_combination_is_judged_before_the_first_is_queued(base: Any, axes: Any, field: str, words: str) -> None:
    with pytest.raises(ParamError, match=words) as raised:
        planned(built({**BASE, **base}, axes))
    assert raised.value.problems[0].field == field
    with pytest.raises(ParamError, match=words):
        planned(built({**BASE, **base}, axes, adaptive=3))


def test_a_setting_that_does_nothing_beside_the_others_makes_no_second_run() -> None:
    sweep = built(BASE, {"peft": [True, False], "lora_r": [8, 16]})
    assert [one.values for one in planned(sweep)] == [
        {"peft": True, "lora_r": 8},
        {"peft": True, "lora_r": 16},
        {"peft": False},
    ]


def test_random_draws_are_inside_different_and_repeatable() -> None:
    axes = {"lr": "1e-5..1e-3", "batch_size": "2..64", "scheduler": "cosine,constant"}
    drawn = combinations(built({**BASE, "seed": "7"}, axes, random=40))
    assert drawn == combinations(built({**BASE, "seed": 7}, axes, random=40))
    assert drawn != combinations(built({**BASE, "seed": 8}, axes, random=40))
    assert len(drawn) == 40 and all(one not in drawn[:place] for place, one in enumerate(drawn))
    assert all(1e-5 <= one["lr"] <= 1e-3 and 2 <= one["batch_size"] <= 64 for one in drawn)
    assert all(type(one["batch_size"]) is int and float(f"{one['lr']:.3g}") == one["lr"] for one in drawn)
    assert {one["scheduler"] for one in drawn} == {"cosine", "constant"}
    below = sum(one["lr"] < 1e-4 for one in drawn)
    assert 10 <= below <= 30, "a wide range is searched by factors: half of the draws lie in each"


def test_more_draws_than_combinations_are_all_of_them() -> None:
    sweep = built(BASE, {"lr": "1e-4,3e-4", "batch_size": "2..4"}, random=50)
    assert sweep.wanted == 6
    assert len(combinations(sweep)) == 6


def test_adaptive_draws_go_where_the_results_are_better() -> None:
    """A made-up measurement with its best at 1e-3: later draws lie nearer to it than the first ones do."""
    sweep = built(BASE, {"lr": "1e-6..1e-1", "scheduler": "cosine,linear"}, adaptive=24)
    past: list[Outcome] = []
    while len(past) < 24:
        values = following(sweep, past)
        assert values is not None and values == following(sweep, past), "the same past, the same answer"
        away = abs(math.log10(values["lr"]) + 3)
        past.append(Outcome(values, None if values["lr"] > 0.03 else away))
    away = [abs(math.log10(one.values["lr"]) + 3) for one in past]
    assert sum(away[16:]) / 8 < 0.6 * sum(away[:8]) / 8
    assert all(one.values not in [other.values for other in past[:place]] for place, one in enumerate(past))


def test_an_adaptive_sweep_ends_when_all_was_tried() -> None:
    sweep = built(BASE, {"scheduler": "cosine,linear"}, adaptive=10)
    past = [Outcome({"scheduler": "linear"}, 1.0), Outcome({"scheduler": "cosine"}, None)]
    assert sweep.wanted == 2
    assert following(sweep, past) is None
    assert following(sweep, past[:1]) == {"scheduler": "cosine"}


def test_the_command_says_the_same() -> None:
    sweep = built(
        {**BASE, "epochs": 2, "peft": True},
        {"lr": "1e-4,3e-4", "lora_r": "8..64", "data_path": ["sample:neighbours"]},
        random=3,
    )
    words = sweep_command(sweep)
    assert words.startswith("aitraining sweep --trainer sft --model starter --epochs 2 --peft --sweep lr=0.0001,0.0003")
    args = _read(shlex.split(words)[1:])
    axes = dict(one.split("=", 1) for one in args._sweep)
    assert combinations(built(given_values(args).values, axes, random=args._random)) == combinations(sweep)


@pytest.mark.parametrize(
    ("trainer", "axis", "words"),
    [
        ("sft", {"lr": "1e-4, 1e-3"}, ""),
        ("sft", {"seed": "1, 2"}, "which rows or tokens are measured"),
        ("sft", {"model": "starter, starter-instructed"}, "which rows or tokens are measured"),
        ("grpo", {"rl_temperature": "0.5, 1"}, "what a score means"),
        ("ppo", {"rl_max_new_tokens": "8, 16"}, "what a score means"),
        ("ppo", {"lr": "1e-5, 1e-4"}, ""),
    ],
)
def test_runs_that_are_not_measured_alike_are_told(trainer: str, axis: dict[str, str], words: str) -> None:
    settings = {"trainer": trainer, "data_path": "sample:doorstep", **spec_for(trainer).example_settings}
    said = told.caution(built(settings, axis))
    assert (words in said) if words else not said

"""The command line: help in groups, wrong flags told with the right one, exit codes, and output that programs can read."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.cli import main
from engine.params import flag, form_of
from engine.registry import spec_for, specs
from engine.runs import launcher, queue
from engine.runs.directory import RunDirectory
from engine.runs.status import State

pytestmark = pytest.mark.usefixtures("runs_root")


@pytest.fixture(autouse=True)
def _nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here may start a training."""

    def refuse(run: RunDirectory) -> int:
        raise AssertionError("a run was started")

    monkeypatch.setattr(launcher, "start_worker", refuse)


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of one command."""
    try:
        code = main(words)
    except SystemExit as end:  # argparse ends the program itself after --help and after wrong flags
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# ---- help ------------------------------------------------------------------------------------------------------------


def test_help_of_the_program_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = shown(capsys, "--help")
    assert code == 0
    listed = {line.split()[0] for line in out.splitlines() if line.startswith("    ")}
    assert {"app", "llm", "runs", "stop", "resume", "pipeline", "pipelines"} <= listed


@pytest.mark.parametrize("trainer", [None, *specs()])
def test_help_lists_every_flag_under_its_group(capsys: pytest.CaptureFixture[str], trainer: str | None) -> None:
    code, out, err = shown(capsys, "llm", *(["--trainer", trainer] if trainer else []), "--help")
    assert (code, err) == (0, "")
    cls = spec_for(trainer or "sft").params
    places = {}
    for name, field in cls.model_fields.items():
        assert flag(name) in out, name
        assert str(field.description).split("%")[0][:40] in out, name
        group = form_of(cls, name).group
        title = f"The {trainer or 'sft'} trainer's own:" if group == "Trainer" else f"{group}:"
        assert f"\n{title}\n" in out, title
        places.setdefault(group, out.index(f"\n{title}\n"))
        # the flag is listed below its group's title; the usage lines above name every flag too
        assert out.rindex(f"  {flag(name)}") > places[group], name
    assert "--config FILE" in out


def test_help_tells_range_choices_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = shown(capsys, "llm", "--trainer", "sft", "--help")
    assert "more than 0 and at most 1000; default: 3]" in out
    assert "one of cosine, linear, constant" in out
    assert "default: chosen for you" in out
    assert "--no-peft" in out


def test_help_of_one_trainer_leaves_out_what_it_does_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--packing" in shown(capsys, "llm", "--trainer", "sft", "--help")[1]
    assert "--packing" not in shown(capsys, "llm", "--trainer", "default", "--help")[1]


# ---- wrong command lines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--learning-rat", "1"], "There is no flag --learning-rat."),
        (["--batchsize", "4"], "Did you mean --batch-size?"),
        (["--epoch", "4"], "Did you mean --epochs?"),  # and not taken for it
        (["--batchsize=4"], "Did you mean --batch-size?"),
        (["banana"], "unrecognized arguments: banana"),
        (["--lr", "3"], "lr must be more than 0 and less than 1, got '3' (--lr)"),
        (["--lora-r", "0"], "lora_r must be at least 1 and at most 1024, got '0' (--lora-r)"),
        (["--epochs", "many"], "epochs must be a number, got 'many' (--epochs)"),
        (["--scheduler", "banana"], "scheduler must be 'cosine'"),
        (["--trainer", "sfd"], "Did you mean 'sft'?"),
        (["--column-mapping", "prompt=Question"], "--column-mapping takes JSON"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml cannot be read"),
        (["--project-name", "../up"], "project_name '../up' does not fit"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_a_sentence(
    capsys: pytest.CaptureFixture[str], runs_root: Path, words: list[str], told: str
) -> None:
    code, out, err = shown(capsys, "llm", "--trainer", "sft", "--data-path", "x.csv", *words)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert out == ""
    assert not runs_root.exists()  # nothing was begun


def test_a_flag_of_another_trainer_names_its_owner(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = shown(capsys, "llm", "--trainer", "default", "--data-path", "x", "--packing")
    assert code == 2
    assert "--packing belongs to the trainer sft; default does not use it." in err


@pytest.mark.parametrize(("words", "told"), [(["--data-path", "x"], "Which trainer?"), (["--trainer", "sft"], "data_path")])
def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    code, _, err = shown(capsys, "llm", *words)
    assert code == 2
    assert told in err


def test_every_problem_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = shown(capsys, "llm", "--trainer", "sft", "--lr", "3", "--epochs", "0")
    assert all(word in err for word in ("--lr", "--epochs", "--data-path"))


def test_settings_of_a_file_are_judged_like_flags(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("trainer: sft\ndata_path: x.csv\nlr: 3\n")
    code, _, err = shown(capsys, "llm", "--config", str(file))
    assert code == 2
    assert "lr must be more than 0 and less than 1" in err


# ---- runs, stop, resume ----------------------------------------------------------------------------------------------


def test_no_runs_are_an_empty_list(capsys: pytest.CaptureFixture[str], runs_root: Path) -> None:
    code, out, _ = shown(capsys, "runs", "--json")
    assert (code, json.loads(out)) == (0, [])
    assert f"No runs in {runs_root} yet." in shown(capsys, "runs")[1]
    assert not runs_root.exists()  # looking makes nothing


def test_runs_are_listed_newest_first(capsys: pytest.CaptureFixture[str], runs_root: Path) -> None:
    for name, state in (("older", State.DONE), ("newer", State.FAILED)):
        run = RunDirectory.create({"trainer": "sft", "model": "starter [red]", "data_path": "x.csv"}, name, runs_root)
        run.update_status(state=state, created=time.time(), best_value=0.5)
    rows = json.loads(shown(capsys, "runs", "--json")[1])
    assert [(row["name"], row["state"]) for row in rows] == [("newer", "failed"), ("older", "done")]
    table = shown(capsys, "runs")[1]
    assert "older" in table
    assert "[red]" in table  # names are text, not markup


@pytest.mark.parametrize("words", [["stop", "none"], ["stop", "../x", "--force"], ["resume", "none"]])
def test_a_run_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, _, err = shown(capsys, *words)
    assert code == 1
    assert "There is no run called" in err


def test_stop_takes_a_run_out_of_the_queue(capsys: pytest.CaptureFixture[str]) -> None:
    from engine.params import LLMTrainingParams

    queue.enqueue(LLMTrainingParams(trainer="sft", data_path="x.csv", project_name="waiting"))
    assert shown(capsys, "stop", "waiting")[:2] == (0, "waiting: stopped\n")


def test_a_pipe_that_closes_early_is_no_accident() -> None:
    command = [sys.executable, "-m", "engine.cli", "llm", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        process.wait(30)

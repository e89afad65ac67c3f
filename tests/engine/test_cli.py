"""The command line: help in groups, wrong flags told with the right one, exit codes, and output that programs can read."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engine.cli import _read, main
from engine.data import prepare
from engine.errors import DataError
from engine.flags import given_values
from engine.params import flag, form_of
from engine.registry import parse as validate
from engine.registry import spec_for, specs
from engine.runs import launcher, queue
from engine.runs.directory import RunDirectory
from engine.runs.lock import FileLock
from engine.runs.status import State

pytestmark = pytest.mark.usefixtures("runs_root")


@pytest.fixture(autouse=True)
def _nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here may start a training."""

    def refuse(run: RunDirectory, environment: dict[str, str]) -> int:
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
    assert max(len(line) for line in out.splitlines()) <= 80, "it fits a terminal"
    cls, words = spec_for(trainer or "sft").params, " ".join(out.split())
    own = f"The {trainer} trainer's own:" if trainer else "The trainer's own (those of sft; --trainer X shows those of X):"
    for name, field in cls.model_fields.items():
        if name != "trainer":  # whose sentence goes on with the list of those there are
            assert " ".join(str(field.description).split()) in words, name
        group = form_of(cls, name).group
        title = own if group == "Trainer" else f"{group}:"
        assert title in out.splitlines(), title
        below = out.split(f"\n{title}\n")[1].split("\n\n")[0]
        assert f"\n  {flag(name)}" in f"\n{below}", f"{name} stands in its group"
    assert "--config FILE" in out


@pytest.mark.parametrize("trainer", specs())
def test_help_shows_what_the_trainer_reads_and_only_that(capsys: pytest.CaptureFixture[str], trainer: str) -> None:
    for words in (["--trainer", trainer], ["--trainer", "sft", "--preview-trainer", trainer]):
        out = shown(capsys, "llm", *words, "--help")[1]
        listed = {word for line in out.splitlines() if line.startswith("  --") for word in re.findall(r"--[a-z0-9-]+", line)}
        read = {flag(name) for name in spec_for(trainer).params.model_fields}
        of_any = {flag(name) for spec in specs().values() for name in spec.params.model_fields}
        assert listed & of_any == read


def test_groups_come_in_the_order_in_which_people_decide(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "llm", "--trainer", "dpo", "--help")[1]
    titles = [line.rstrip(":") for line in out.splitlines() if line.endswith(":") and not line.startswith((" ", "usage"))]
    wanted = ["Basic", "Data", "Training", "Adapter", "The dpo trainer's own", "Evaluation", "Output", "Hub", "Hardware"]
    assert [title for title in titles if title in wanted] == [title for title in wanted if title in titles]


def test_help_for_a_trainer_that_there_is_not_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--trainer", "sfd"], ["--preview-trainer", "sfd"]):
        code, _, err = shown(capsys, "llm", *words, "--help")
        assert code == 2 and "Did you mean 'sft'?" in err


def test_help_tells_range_choices_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(shown(capsys, "llm", "--trainer", "sft", "--help")[1].split())
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
        (["--sweep", "lr=1e-4"], "sweep is not taken: several values of a setting are tried by a command of its own"),
        (["banana"], "'banana' belongs to no flag"),
        (["--batch-size"], "--batch-size"),
        (["--peft=perhaps"], "peft must be true or false, got 'perhaps'"),
        (["--no-peft=true"], "--no-peft takes no value"),
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
    assert "`aitraining llm --trainer default --help` lists the flags." in err
    code, _, err = shown(capsys, "llm", "--trainer", "kto", "--data-path", "x", "--rl-num-generations", "4")
    assert code == 2 and "--rl-num-generations belongs to the trainer grpo; kto does not use it." in err


def test_a_wrong_flag_is_json_for_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = shown(capsys, "llm", "--trainer", "sft", "--data-path", "x", "--batchsize", "4", "--json")
    assert code == 2 and "Did you mean --batch-size?" in json.loads(out)["settings"]["batchsize"]


@pytest.mark.parametrize(("word", "told"), [("run", "Did you mean 'runs'?"), ("banana", "There is no command 'banana'.")])
def test_a_wrong_command_names_the_nearest(capsys: pytest.CaptureFixture[str], word: str, told: str) -> None:
    code, _, err = shown(capsys, word, "--help")
    assert code == 2 and told in err


@pytest.mark.parametrize(
    ("words", "value"),
    [(["--peft"], True), (["--no-peft"], False), (["--peft", "true"], True), (["--peft=False"], False), ([], False)],
)
def test_a_switch_is_on_or_off_in_every_spelling(words: list[str], value: bool) -> None:
    given = given_values(_read(["llm", "--trainer", "sft", "--data-path", "x", *words]))
    assert validate(given.values).peft is value


def test_flags_are_taken_with_dashes_and_underscores_and_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("trainer: sft\ndata_path: x.csv\nepochs: 7\nbatch_size: 2\nmerge_adapter: false\n")
    words = ["--batch_size", "9", "--merge_adapter", "--column_mapping", '{"prompt": "Q"}', "--max-length", "64"]
    made = validate(given_values(_read(["llm", "--config", str(file), *words])).values)
    assert (made.epochs, made.batch_size, made.merge_adapter) == (7, 9, True)
    assert (made.column_mapping, made.max_length) == ({"prompt": "Q"}, 64)


@pytest.mark.parametrize(("words", "told"), [(["--data-path", "x"], "Which trainer?"), (["--trainer", "sft"], "data_path")])
def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    code, _, err = shown(capsys, "llm", *words)
    assert code == 2
    assert told in err


def test_every_problem_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = shown(capsys, "llm", "--trainer", "sft", "--lr", "3", "--epochs", "0")
    assert all(word in err for word in ("--lr", "--epochs", "--data-path"))
    words = ["--bogus", "1", "--lr", "7", "--epochs", "-1", "--unsloth", "true", "--column-mapping", "{"]
    code, out, err = shown(capsys, "llm", "--trainer", "sft", "--data-path", "x", *words, "--json")
    assert (code, sorted(json.loads(out)["settings"])) == (2, ["bogus", "column_mapping", "epochs", "lr", "unsloth"])
    assert "`aitraining llm --trainer sft --help` lists the flags." in err


def test_every_problem_of_a_file_is_told_at_once_and_of_one_setting_the_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("trainer: sft\ndata_path: x.csv\nunsloth: true\nlr: 7\nepocs: 2\nblock_size: 64\nmax_length: many\n")
    code, out, _ = shown(capsys, "llm", "--config", str(file), "--sample-tokens", "-2", "--json")
    told = json.loads(out)
    assert (code, sorted(told["settings"])) == (2, ["epocs", "lr", "max_length", "sample_tokens", "unsloth"])
    assert "max_length must" not in told["error"] and "given twice" in told["settings"]["max_length"]


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
    assert "There is no run called" in err and "`aitraining runs`" in err


def test_what_has_ended_cannot_be_stopped(capsys: pytest.CaptureFixture[str], runs_root: Path) -> None:
    run = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, "old", runs_root)
    run.update_status(state=State.FAILED, reason="It broke.", ended=time.time())
    code, out, err = shown(capsys, "stop", "old")
    assert (code, out) == (1, "") and "has ended already: it is failed" in err
    code, _, err = shown(capsys, "follow", "old")
    assert code == 1 and "failed: It broke." in err
    code, _, err = shown(capsys, "resume", "old")
    assert code == 1 and "it has no checkpoint yet" in err


def test_a_runs_folder_that_cannot_be_read_is_no_empty_list(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("AITRAINING_HOME", str(tmp_path / "file"))
    for words in (["runs"], ["runs", "--json"]):
        code, _, err = shown(capsys, *words)
        assert code == 1 and "cannot be listed" in err and "AITRAINING_HOME" in err


def test_stop_takes_a_run_out_of_the_queue(capsys: pytest.CaptureFixture[str]) -> None:
    from engine.params import LLMTrainingParams

    queue.enqueue(LLMTrainingParams(trainer="sft", data_path="x.csv", project_name="waiting"))
    assert shown(capsys, "stop", "waiting")[:2] == (0, "waiting: stopped\n")


def enqueued(*names: str) -> None:
    from engine.params import LLMTrainingParams

    for name in names:
        queue.enqueue(LLMTrainingParams(trainer="sft", data_path="x.csv", project_name=name))


def test_the_queue_is_shown_paused_and_put_in_another_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "queue") == (0, "No run waits.\n", "")
    enqueued("one", "two", "three")
    code, out, _ = shown(capsys, "queue", "pause")
    assert code == 0 and "The queue is paused" in out
    assert shown(capsys, "queue", "move", "three", "first")[0] == 0
    assert shown(capsys, "queue", "move", "one", "3")[0] == 0
    assert shown(capsys, "queue", "cancel", "two")[0] == 0
    told = json.loads(shown(capsys, "queue", "--json")[1])
    assert told == {
        "paused": True,
        "places": 1,
        "working": [],
        "waiting": ["three", "one"],
        "others_working": 0,
        "others_waiting": 0,
    }
    for words in (["runs"], ["runs", "--json"]):
        assert "The queue is paused" in shown(capsys, *words)[2]
    code, out, err = shown(capsys, "llm", "--trainer", "sft", "--data-path", "x.csv", "--no-follow")
    assert code == 0 and "queued" in out and "`aitraining queue continue`" in err  # and nothing was started


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["move", "one"], 2, "Say where to move it"),
        (["move", "one", "sideways"], 1, "is no place in the queue"),
        (["cancel"], 2, "Say which run to cancel"),
        (["cancel", "nobody"], 1, "There is no run called"),
        (["pause", "one"], 2, "knows nothing of one"),
        (["shuffle"], 2, "shuffle"),
    ],
)
def test_a_wrong_wish_about_the_queue_is_told(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    enqueued("one")
    got, _, err = shown(capsys, "queue", *words)
    assert (got, said in err) == (code, True), err


@pytest.mark.parametrize("port", ["99999", "0", "-1", "web", "1" * 5000])
def test_a_port_that_is_none_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str], port: str) -> None:
    code, _, err = shown(capsys, "app", f"--port={port}")
    assert code == 2 and "is not a port. Give a number from 1 to 65535.\n" in err


def test_a_queue_that_somebody_holds_is_told_in_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueued("one")
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: False)
    code, _, err = shown(capsys, "stop", "one")
    assert code == 1 and re.fullmatch(
        r"aitraining: Another process has held \S+queue\.lock for a minute\. Try again .*\.\n", err
    )


def test_stop_and_discard_leaves_nothing(capsys: pytest.CaptureFixture[str], runs_root: Path) -> None:
    enqueued("unwanted")
    assert shown(capsys, "stop", "unwanted", "--discard")[:2] == (0, "unwanted: deleted\n")
    assert not (runs_root / "unwanted").exists()
    enqueued("ended")
    shown(capsys, "stop", "ended")
    code, _, err = shown(capsys, "stop", "ended", "--discard")
    assert code == 1 and "has ended already" in err
    assert (runs_root / "ended").is_dir()


def test_a_pipe_that_closes_early_is_no_accident() -> None:
    command = [sys.executable, "-m", "engine.cli", "llm", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        process.wait(30)


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(("state", "code"), [(State.DONE, 0), (State.FAILED, 1), (State.STOPPED, 3)])
def test_a_run_came_to_what_it_came_to_whether_somebody_reads_it_or_not(
    runs_root: Path, state: State, code: int, buffered: str
) -> None:
    run = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, "over", runs_root)
    run.update_status(state=state, ended=time.time(), reason="It was so.")
    command, env = [sys.executable, "-m", "engine.cli", "follow", "over"], {**os.environ, "PYTHONUNBUFFERED": buffered}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(30), "BrokenPipe" in said, "Traceback" in said) == (code, False, False), said


def test_progress_is_never_among_the_answers(runs_root: Path) -> None:
    run = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, "over", runs_root)
    run.update_status(state=State.DONE, ended=time.time())
    closed = ["sh", "-c", '"$0" -m engine.cli follow over --json 2>&-', sys.executable]
    done = subprocess.run(closed, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "done")


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------

# A test that runs in the background hands on that Ctrl-C is ignored; a terminal does not.
_ON_A_TERMINAL = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from engine.cli import main; "


def interrupted(*words: str, when: Callable[[subprocess.Popen[str]], object]) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command that is given Ctrl-C as soon as `when` holds."""
    command = [sys.executable, "-c", f"{_ON_A_TERMINAL}sys.exit(main())", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while not when(process):
            assert process.poll() is None and time.monotonic() < deadline, "it never came so far"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)  # of its children too
        return process.returncode, out, err


def test_ctrl_c_while_a_stopped_run_saves_says_that_it_still_stops(runs_root: Path) -> None:
    run = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, "saving", runs_root)
    run.update_status(state=State.TRAINING, launched=time.time(), started=time.time())
    held = run.lock()
    assert held.acquire()
    code, out, err = interrupted("stop", "saving", when=lambda _: run.stop_requested)
    held.release()
    assert (code, out) == (130, "")
    assert err == (
        "\nInterrupted. saving was asked to stop: it finishes its step, saves and ends. `aitraining runs` shows when it has.\n"
    )


@pytest.mark.slow
def test_ctrl_c_in_a_dry_run_is_one_line_of_us_and_of_the_process_that_reads(runs_root: Path, tmp_path: Path) -> None:
    data = tmp_path / "many.csv"
    data.write_text("prompt,completion\n" + "".join(f"Q {n}?,{'A long answer. ' * 20}\n" for n in range(2000)))
    asked = ["llm", "--trainer", "sft", "--data-path", str(data), "--dry-run"]

    def reading(process: subprocess.Popen[str]) -> bool:
        """Whether the question was put to the process that reads, which takes seconds to load what it needs."""
        return any(time.time() - child.create_time() > 0.7 for child in psutil.Process(process.pid).children())

    code, out, err = interrupted(*asked, when=reading)
    assert (code, out, err) == (130, "", "\nInterrupted. Nothing was started.\n")


@pytest.mark.parametrize(
    ("trainer", "flags", "told"),
    [
        ("sft", ["--lora-r", "64"], "lora_r does nothing here: it counts only while peft is yes. Set that as well (--peft)."),
        ("sft", ["--lora-r", "64", "--peft"], ""),
        ("sft", ["--lora-r", "16"], ""),  # what it would be anyway
        ("sft", ["--hub-model-id", "me/mine"], "hub_model_id does nothing here"),
        ("grpo", ["--rl-clip-range", "0.5"], "counts only while rl_rounds is more than 1. Set that as well (--rl-rounds)."),
        ("grpo", ["--rl-clip-range", "0.5", "--rl-rounds", "2"], ""),
        ("ppo", ["--rl-kl-target", "3", "--rl-kl-coef", "0"], "counts only while rl_kl_coef is more than 0."),
        ("ppo", ["--rl-kl-target", "3"], ""),
        ("ppo", ["--rl-clip-range", "0.5"], ""),
    ],
)
def test_a_setting_that_does_nothing_beside_the_others_is_told(
    capsys: pytest.CaptureFixture[str], runs_root: Path, trainer: str, flags: list[str], told: str
) -> None:
    talks = ["--data-path", "sample:neighbours"]
    scored = ["--data-path", "sample:contest", "--rl-rewards", "no-repeat"]
    assert main(["llm", "--trainer", trainer, *(talks if trainer == "sft" else scored), "--dry-run", *flags]) == 0
    said = capsys.readouterr().err
    assert (told in said) if told else "does nothing" not in said


def test_a_dry_run_says_which_files_are_held_out_and_which_are_not_used(
    capsys: pytest.CaptureFixture[str], runs_root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "faq"
    folder.mkdir()
    for split, count in (("train", 30), ("val", 6), ("test", 8)):
        rows = "".join(f'{{"prompt": "{split} {n}?", "completion": "{n}."}}\n' for n in range(count))
        (folder / f"faq-{split}.jsonl").write_text(rows)
    assert main(["llm", "--trainer", "sft", "--data-path", str(folder), "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "30 rows to train on, 6 held out" in said
    assert "Held out to measure with, and not trained on: faq-val.jsonl." in said
    assert "faq-test.jsonl is not used: by its name it is for a test after training." in said


def test_a_dry_run_says_how_the_rows_are_read_and_which_cannot_be(
    capsys: pytest.CaptureFixture[str], runs_root: Path, tmp_path: Path
) -> None:
    data = tmp_path / "faq.csv"
    data.write_text("Question,Answer\n" + "".join(f"Q {n}?,{'A.' if n % 3 else ''}\n" for n in range(30)), encoding="cp1252")
    asked = ["llm", "--trainer", "sft", "--data-path", str(data), "--dry-run"]
    code, out, _ = shown(capsys, *asked)
    assert code == 0
    assert "Rows     questions and answers. The columns Question, Answer hold questions and answers." in out
    assert "10 of 30 rows looked at cannot be used and are left out: empty completion (10). Row 2: Answer is empty." in out
    code, out, _ = shown(capsys, *asked, "--json")
    data_read = json.loads(out)["data"]
    assert data_read["mapping"] == {"prompt": "Question", "completion": "Answer"}
    assert (data_read["unusable"], data_read["usable"]) == ({"empty completion": 10}, 20)
    code, _, err = shown(capsys, *asked, "--no-drop-bad-rows")
    assert code != 0, "it would not start either"
    assert "10 rows have problems. Row 2: Answer is empty." in err


def test_answers_that_nobody_liked_are_said_to_be_so(
    capsys: pytest.CaptureFixture[str], runs_root: Path, tmp_path: Path
) -> None:
    data = tmp_path / "down.csv"
    data.write_text("prompt,completion,label\n" + "".join(f"Q {n}?,A.,down\n" for n in range(30)))
    code, _, err = shown(capsys, "llm", "--trainer", "sft", "--data-path", str(data), "--dry-run")
    assert code != 0
    assert "Not one answer has a thumbs up, and this training learns from those alone." in err
    with pytest.raises(DataError, match="Not one answer has a thumbs up"):  # as the run would say it
        prepare(data, "chat", tmp_path / "out")

"""A sweep's runs in the queue: how they compare, what a failure, a stop, a kill and a second wish do. Nothing is trained."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engine import run_sweep, start_sweep
from engine.cli import main
from engine.errors import ParamError, RunActive, RunNameTaken, RunNotFound, TrainingError
from engine.params import LLMTrainingParams
from engine.registry import spec_for
from engine.runs import launcher, queue
from engine.runs.directory import RunDirectory
from engine.runs.listing import delete
from engine.runs.status import State
from engine.sweeps import detached
from engine.sweeps import door as sweeps
from engine.sweeps.group import Group, progress_of_all
from engine.sweeps.sweep import built
from tests.pipelines.workers import Workers

BASE = LLMTrainingParams(trainer="sft", data_path="sample:neighbours")
LRS = [1e-5, 1e-4, 1e-3]


@pytest.fixture
def here(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Workers:
    """The process's work is done at once, in this process, while the lock is held as it would be for it."""

    def work(module: str, name: str, *, log: Path, keep: object) -> None:
        with log.open("a") as said, contextlib.redirect_stdout(said):
            detached.main([name])

    monkeypatch.setattr(launcher, "start_detached", work)
    monkeypatch.setattr(detached, "_COURTESY_S", 0.0)
    workers.before = measured({1e-5: 3.0, 1e-4: 1.0, 1e-3: 2.0})
    return workers


@pytest.fixture
def left(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Workers:
    """The process that would wait for the runs is killed before it does anything."""
    monkeypatch.setattr(launcher, "start_detached", lambda module, name, *, log, keep: None)
    return workers


def measured(losses: dict[float, float]) -> Callable[[RunDirectory], None]:
    def measure(run: RunDirectory) -> None:
        loss = losses[run.params()["lr"]]
        run.update_status(best_step=4, best_value=loss, metrics={"eval_loss": loss + 9})

    return measure


def test_the_best_is_first_and_what_failed_is_last(here: Workers, capsys: pytest.CaptureFixture[str]) -> None:
    here.ends = {"town-2": State.FAILED}
    found = run_sweep(BASE, {"lr": LRS}, name="town")
    assert here.worked == ["town-1", "town-2", "town-3"], "a failed one stops no other"
    table = found.table()
    assert table["run"].tolist() == ["town-3", "town-1", "town-2"]
    assert table["lr"].tolist() == [1e-3, 1e-5, 1e-4]
    assert table["eval_loss"].tolist()[:2] == [2.0, 3.0]
    assert table["rank"].tolist()[:2] == [1, 2] and table["rank"].isna().tolist() == [False, False, True]
    assert (found.state, found.best.name, str(found.best).endswith("town-3/model")) == ("done", "town-3", True)
    assert "town-2: failed" in capsys.readouterr().err


def test_a_metric_of_which_more_is_better_is_sorted_the_other_way(here: Workers) -> None:
    def measure(run: RunDirectory) -> None:
        run.update_status(best_step=4, best_value=run.params()["lr"] * 1000)

    here.before = measure
    base = {"trainer": "grpo", "data_path": "sample:doorstep", **spec_for("grpo").example_settings}
    table = run_sweep(base, {"lr": LRS}).table()
    assert table["lr"].tolist() == [1e-3, 1e-4, 1e-5]
    assert "eval_reward" in table.columns


def test_a_model_that_only_got_worse_is_judged_by_what_is_saved_of_it(here: Workers) -> None:
    """Its best measurement was the one before the first step; the best of what was trained is what is saved."""

    def measure(run: RunDirectory) -> None:
        worse = run.params()["lr"] == 1e-3
        best = {"best_step": 0 if worse else 4, "best_value": 1.0 if worse else 2.0}
        run.update_status(**best, kept_step=4, kept_value=9.0 if worse else 2.0, metrics={"eval_loss": 19.0})

    here.before = measure
    assert run_sweep(BASE, {"lr": [1e-3, 1e-4]}).table()["eval_loss"].tolist() == [2.0, 9.0]


def test_nothing_is_queued_when_one_combination_cannot_be_used(here: Workers, runs_root: Path) -> None:
    with pytest.raises(ParamError, match="lr must be more than 0 and less than 1, got 3"):
        start_sweep(BASE, {"lr": [1e-4, 3]})
    assert not runs_root.exists()


def test_names_that_are_taken_are_refused(left: Workers, runs_root: Path) -> None:
    queue.enqueue(BASE.model_copy(update={"project_name": "town-2"}))
    with pytest.raises(RunNameTaken, match="There is a run called 'town-2' already"):
        start_sweep(BASE, {"lr": LRS}, name="town")
    assert not (runs_root / "town-1").exists()
    start_sweep(BASE, {"lr": LRS}, name="other")
    with pytest.raises(RunNameTaken, match="There is a sweep called 'other' already"):
        start_sweep(BASE, {"lr": LRS}, name="other")
    assert start_sweep(BASE, {"lr": LRS}).name == "sweep-1"
    with pytest.raises(RunNotFound, match="There is no sweep called 'none' here"):
        sweeps.progress("none")


def test_the_same_wish_handed_in_twice_is_one_sweep(left: Workers) -> None:
    settings = {"trainer": "sft", "data_path": "sample:neighbours"}
    names = [sweeps.start(built(settings, {"lr": LRS}), request) for request in ("wish", "wish", "another", "")]
    assert names == ["sweep-1", "sweep-1", "sweep-2", "sweep-3"]


def test_a_killed_driver_leaves_the_queue_as_it_is_and_go_on_takes_it_up(left: Workers, runs_root: Path) -> None:
    """As after SIGKILL, or a machine that went down: ordinary runs in the ordinary queue."""
    sweep = start_sweep(BASE, {"lr": LRS})
    assert [queue.position(f"sweep-1-{n}") for n in (1, 2, 3)] == [0, 1, 2]
    assert (sweep.state, sweeps.progress("sweep-1").driven) == ("working", False)
    left.before = measured(dict.fromkeys(LRS, 1.0))
    queue.recover(runs_root)  # what a server does when it starts
    while queue.dispatch(runs_root):
        pass
    assert sweep.state == "done"


def test_one_that_was_killed_while_it_queued_is_completed(here: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    enqueue = queue.enqueue

    def killed(params: LLMTrainingParams, **how: object) -> RunDirectory:
        if params.project_name == "town-2":
            raise KeyboardInterrupt
        return enqueue(params, **how)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(queue, "enqueue", killed)
        with pytest.raises(KeyboardInterrupt):
            start_sweep(BASE, {"lr": LRS}, name="town")
    states = {one.run: one.state for one in sweeps.progress("town").tries}
    assert states == {"town-1": "queued", "town-2": "interrupted", "town-3": "interrupted"}
    sweeps.go_on("town")
    assert here.worked == ["town-1", "town-2", "town-3"]
    assert sweeps.progress("town").state == "done"


def test_a_stop_takes_out_what_waits_and_go_on_puts_it_back(left: Workers, runs_root: Path) -> None:
    sweep = start_sweep(BASE, {"lr": LRS}, name="town")
    left.before = measured(dict.fromkeys(LRS, 1.0))
    queue.dispatch(runs_root)
    sweep.stop()
    states = {one.run: one.state for one in sweeps.progress("town").tries}
    assert states == {"town-1": "done", "town-2": "stopped", "town-3": "stopped"}
    assert "Go on queues again" in " ".join(sweeps.told(sweeps.progress("town")))
    assert "with Learning rate 1e-05" in sweeps.told(sweeps.progress("town"), labels=True)[0], "as the page calls it"
    with pytest.raises(
        TrainingError, match=r"Sweep town: stopped\. 3 of 3 runs have ended\. Best so far: town-1 with lr 1e-05"
    ):
        sweep.wait()
    sweeps.go_on("town")
    assert [one.state for one in sweeps.progress("town").tries] == ["done", "queued", "queued"]
    assert left.worked == ["town-1"], "what is done is kept"
    with Group("town").driven(), pytest.raises(RunActive):
        sweeps.go_on("town")


def test_a_sweep_stays_itself_when_the_program_goes_elsewhere(
    left: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AITRAINING_HOME")  # so that runs live in ./runs
    sweeps_of = {}
    for name in ("there", "here"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        sweeps_of[name] = start_sweep(BASE, {"lr": LRS}, name="town")
    monkeypatch.chdir(tmp_path / "there")
    sweeps_of["here"].stop()
    assert sweeps_of["here"].state == "stopped"
    assert [one.state for one in sweeps.progress("town").tries] == ["queued"] * 3, "its namesake's runs wait on"


def test_an_interrupted_run_without_a_checkpoint_is_tried_anew(here: Workers) -> None:
    here.ends = {"town-2": State.INTERRUPTED}
    with pytest.raises(TrainingError, match="interrupted"):
        run_sweep(BASE, {"lr": LRS}, name="town")
    RunDirectory.open("town-2").update_status(launched=1.0)
    sweeps.go_on("town")
    assert here.worked == ["town-1", "town-2", "town-3", "town-2-2"]
    assert [one.run for one in sweeps.progress("town").tries] == ["town-2-2", "town-3", "town-1"]
    assert sweeps.of_runs()["town-2-2"] == "town"


def test_an_adaptive_sweep_asks_after_each_run_and_survives_a_kill(here: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    here.before = lambda run: run.update_status(best_step=4, best_value=abs(run.params()["lr"] - 1e-3)) and None
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "start_detached", lambda module, name, *, log, keep: None)
        start_sweep(BASE, {"lr": "1e-5..1e-1"}, adaptive=6, name="town")
    assert sweeps.progress("town").tries == ()
    assert (sweeps.progress("town").state, sweeps.progress("town").wanted) == ("interrupted", 6)
    here.ends = {"town-3": State.FAILED}
    sweeps.go_on("town")
    progress = sweeps.progress("town")
    assert here.worked == [f"town-{n}" for n in range(1, 7)]
    assert progress.state == "done" and progress.tries[-1].state == "failed"
    values = [one.value for one in progress.tries[:-1]]
    assert values == sorted(values)


def test_a_stopped_adaptive_sweep_asks_for_nothing_more(here: Workers) -> None:
    here.before = lambda run: Group("town").stop_file.touch()
    with pytest.raises(TrainingError):
        run_sweep(BASE, {"lr": "1e-5..1e-1"}, adaptive=6, name="town")
    assert here.worked == ["town-1"]
    assert (sweeps.progress("town").state, sweeps.progress("town").trouble) == ("stopped", "")


def test_whatever_ends_the_process_is_told(here: Workers) -> None:
    def fail(run: RunDirectory) -> None:
        raise KeyError("x")

    here.before = fail
    start_sweep(BASE, {"lr": LRS}, name="town")
    assert "ended by an error: KeyError" in " ".join(sweeps.told(sweeps.progress("town")))


def test_a_run_that_is_gone_and_a_file_that_is_damaged_hide_nothing(here: Workers, runs_root: Path) -> None:
    run_sweep(BASE, {"lr": LRS}, name="town")
    run_sweep(BASE, {"lr": LRS}, name="other")
    delete(RunDirectory.open("town-2"))
    assert [(one.run, one.state) for one in sweeps.progress("town").tries][-1] == ("town-2", "gone")
    (runs_root / ".sweeps" / "other" / "sweep.json").write_text("{")
    assert {found.name: found.state for found in progress_of_all()} == {"town": "done", "other": "damaged"}
    assert set(sweeps.of_runs().values()) == {"town"}
    sweeps.forget("town")
    assert [found.name for found in progress_of_all()] == ["other"]
    assert (runs_root / "town-1" / "model").is_dir(), "its runs stay"


def test_the_command_line_starts_lists_stops_and_goes_on(here: Workers, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "--trainer", "sft", "--data-path", "sample:neighbours", "--sweep", "lr=1e-5,1e-4,1e-3"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["best"], [one["run"] for one in told["tries"]]) == (
        "done",
        "sweep-1-2",
        ["sweep-1-2", "sweep-1-3", "sweep-1-1"],
    )
    assert main([*words, "--random", "2", "--seed", "3", "--no-follow", "--name", "town"]) == 0
    assert "town: `aitraining sweeps town` shows how far it is." in capsys.readouterr().out
    assert main(["sweeps"]) == 0
    assert "sweep-1: done, 3 of 3 runs have ended; best: sweep-1-2, eval_loss 1" in capsys.readouterr().out
    assert main(["sweeps", "town"]) == 0
    assert capsys.readouterr().out.count("town-") >= 2
    assert main(["sweep", "town", "--stop"]) == 0
    assert main(["sweep", "town", "--resume"]) == 0
    assert main(["sweep", "--resume"]) == 2
    assert main([*words, "--name", "town"]) == 1
    assert main(["sweep", "--trainer", "sft", "--data-path", "sample:neighbours"]) == 2
    assert "Nothing varies in this sweep" in capsys.readouterr().err
    assert main(["sweep", "--trainer", "sft", "--data-path", "x", "--sweep", "lr"]) == 2
    assert main([*words, "--epochz", "3"]) == 2
    here.ends = {f"bad-{n}": State.FAILED for n in (1, 2, 3)}
    assert main([*words, "--name", "bad"]) == 1
    assert "No run came to a result" in capsys.readouterr().out


def test_a_file_is_started_by_the_command_line(here: Workers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "--trainer", "sft", "--data-path", "sample:neighbours", "--sweep", "lr=1e-5,1e-4", "--name", "town"]
    assert main([*words, "--yaml"]) == 0
    file = tmp_path / "town.yaml"
    file.write_text(capsys.readouterr().out)
    assert main(["sweep", str(file)]) == 0
    assert here.worked == ["town-1", "town-2"]
    assert main(["sweep", str(file), "--sweep", "lr=1"]) == 2
    assert main(["sweep", str(tmp_path / "none.yaml")]) == 2


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_real_process_waits_for_the_runs_and_a_kill_costs_none(runs_root: Path) -> None:
    """The device is kept busy, so that nothing is trained: the process waits for the first run's turn."""
    busy = RunDirectory.create({"trainer": "sft"}, "busy", runs_root)
    busy.update_status(state=State.TRAINING, launched=time.time(), started=time.time())
    (runs_root / ".active").mkdir(exist_ok=True)
    (runs_root / ".active" / "busy").touch()
    with busy.lock():
        start_sweep(BASE, {"lr": LRS}, name="town")
        until(lambda: bool(drivers(runs_root)))
        assert sweeps.progress("town").driven
        (driver,) = drivers(runs_root)
        driver.kill()
        driver.wait(10)
        progress = sweeps.progress("town")
        assert (progress.driven, [one.state for one in progress.tries]) == (False, ["queued"] * 3)

        sweeps.go_on("town")
        assert [queue.position(f"town-{n}") for n in (1, 2, 3)] == [0, 1, 2], "none was queued twice"
        until(lambda: bool(drivers(runs_root)))
        sweeps.stop("town")
        until(lambda: not sweeps.progress("town").driven)
        assert sweeps.progress("town").state == "stopped"


def drivers(home: Path) -> list[psutil.Process]:
    """The processes that wait for a sweep of this runs folder, whoever started them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = "engine.sweeps.detached" in process.cmdline() and process.environ().get("AITRAINING_HOME") == str(home)
            if ours and process.status() != "zombie":
                found.append(process)
    return found

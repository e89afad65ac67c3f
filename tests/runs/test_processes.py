"""Real worker processes: killed ones are seen for what they are, and a standby starts runs fast that outlive it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine import api
from engine.diagnosis import findings
from engine.runs import events, launcher, queue, standby
from engine.runs.directory import RunDirectory
from engine.runs.status import State

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the standby forks, and groups are killed, on Linux"),
]

# With a busy machine beside us even a small training may take this long to get going.
START_S = 90.0


@pytest.fixture
def start(runs_root: Path, tiny_model: Path, tmp_path: Path) -> Iterator[Callable[..., RunDirectory]]:
    """Starts tiny trainings that take minutes unless `max_steps` says otherwise; whatever still runs is killed."""
    rows = [{"prompt": f"What is {n} and one?", "completion": f"It is {n + 1}."} for n in range(40)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made: list[RunDirectory] = []

    def begin(name: str = "run", max_steps: int = 30_000) -> RunDirectory:
        params = api.LLMTrainingParams(
            trainer="sft",
            model=str(tiny_model),
            data_path=str(data),
            project_name=name,
            max_steps=max_steps,
            epochs=1000,
            batch_size=1,
            max_length=64,
            logging_steps=1,
            eval_steps=50,
            save_steps=50,
            sample_tokens=0,
            device="cpu",
        )
        made.append(RunDirectory(runs_root / api.start(params)))
        return made[-1]

    yield begin
    for run in made:
        pid = process_of(run)
        if pid and run.alive:
            os.killpg(pid, signal.SIGKILL)


@pytest.fixture
def warm() -> Iterator[None]:
    assert standby.ensure_standby(), standby._server and standby._server.trouble()
    yield
    standby.close_standby()


def process_of(run: RunDirectory) -> int | None:
    return run.started_pid if run.pid_file.is_file() else None


def steps_of(run: RunDirectory) -> list[int]:
    return [e["step"] for e in events.read(run.events_file)[0] if e["type"] == "metric"]


def told(run: RunDirectory) -> str:
    """What to read when a test fails."""
    log = run.log_file.read_text(errors="replace")[-3000:] if run.log_file.is_file() else ""
    return f"{run.status()}\n{log}"


def test_a_killed_training_is_interrupted_and_its_lock_free(
    start: Callable[..., RunDirectory], runs_root: Path, wait_until: Callable[..., None]
) -> None:
    run = start("killed")
    second = start("second", max_steps=2)
    assert second.status().state is State.QUEUED
    wait_until(lambda: queue.has_progress(run) or run.status().ended_state, START_S)
    assert run.status().state in (State.TRAINING, State.EVALUATING), told(run)
    assert queue.position("second", runs_root) == 0

    pid = run.written_status().pid
    assert pid == process_of(run)
    os.kill(pid, signal.SIGKILL)  # nobody collects the zombie, whose number still answers
    wait_until(lambda: not run.alive, 5)
    status = run.status()
    assert status.state is State.INTERRUPTED
    assert f"step {status.step} of 30000" in status.reason
    assert "memory" in status.hint
    assert status.cause == "killed"
    (found,) = findings("killed")
    assert "killed by the system (SIGKILL)" in found.what and found.action == "resume" and not found.change
    assert api.told_findings("killed")[0]["command"] == "aitraining resume killed"
    assert api.runs()[-1].state == "interrupted"
    # what was written is whole, and the log can be followed to its end
    assert api.live("killed")["status"]["state"] == "interrupted"

    assert queue.dispatch(runs_root) == ["second"]
    wait_until(lambda: second.status().ended_state, START_S)
    assert second.status().state is State.DONE, told(second)
    assert (second.model_dir / "model.safetensors").is_file()


def test_the_standby_starts_a_run_at_once_and_is_not_needed_any_more(
    warm: None, start: Callable[..., RunDirectory], wait_until: Callable[..., None]
) -> None:
    server = standby._server
    assert server is not None
    began = time.monotonic()
    run = start("warm")
    wait_until(lambda: steps_of(run) or run.status().ended_state, 20)
    took = time.monotonic() - began
    assert steps_of(run), told(run)
    assert took < 5, f"the first metric took {took:.1f} s: were the libraries imported again?"
    pid = process_of(run)
    assert pid is not None
    process = psutil.Process(pid)
    assert os.getpgid(pid) == pid  # a group of its own, so that a stop reaches all of it and nothing else
    assert process.ppid() != server.process.pid  # it belongs to nobody, so nobody's end is its end

    standby.close_standby()
    assert server.process.poll() is not None
    assert not server.folder.exists()
    assert not standby.standby_ready()
    reached = len(steps_of(run))
    wait_until(lambda: len(steps_of(run)) > reached + 3)
    assert run.alive

    launcher.stop(run)
    status = launcher.wait_until_stopped("warm")
    assert status.state is State.STOPPED, told(run)
    assert "Stopped on request" in status.reason
    assert (run.model_dir / "model.safetensors").is_file()
    wait_until(lambda: not psutil.pid_exists(pid), 10)  # and leaves no zombie


OWNER = """
import sys
from engine.runs import standby, queue
from engine.runs.directory import runs_root
queue.recover(runs_root())
assert standby.ensure_standby()
first = standby._server
first.process.kill()
first.process.wait()
assert standby.ensure_standby() and standby._server is not first and not first.folder.exists()
print(standby._server.process.pid, standby._server.folder, *queue.dispatch(runs_root()), flush=True)
sys.stdin.read()
"""


def test_a_run_outlives_the_process_that_started_it(
    start: Callable[..., RunDirectory], runs_root: Path, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(queue, "dispatch", lambda root: [])  # the owner below starts it, not we
        run = start("orphan")
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdin is not None
    assert owner.stdout is not None
    with owner.stdin, owner.stdout:
        server, folder, name = owner.stdout.readline().split()
        assert name == "orphan"
        wait_until(lambda: steps_of(run) or run.status().ended_state, START_S)
        owner.kill()
        owner.wait()
    wait_until(lambda: not psutil.pid_exists(int(server)), 10)  # the standby goes with its owner
    assert not Path(folder).exists()
    reached = len(steps_of(run))
    wait_until(lambda: len(steps_of(run)) > reached + 3)
    assert run.alive, told(run)
    # whoever comes next finds it working, and can end it
    launcher.stop(run, force=True)
    assert run.status().state is State.STOPPED


def test_force_ends_a_run_that_does_not_listen(
    warm: None, start: Callable[..., RunDirectory], wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "TERM_S", 1.0)
    run = start("deaf")
    wait_until(lambda: len(steps_of(run)) >= 2 or run.status().ended_state, 30)
    pid = run.written_status().pid
    assert pid is not None, told(run)
    os.kill(pid, signal.SIGSTOP)  # hears neither the stop file nor SIGTERM
    began = time.monotonic()
    launcher.stop(run, force=True)
    assert 0.5 < time.monotonic() - began < 8  # asked politely first, and then not
    status = run.status()
    assert status.state is State.STOPPED
    assert "ended by force at step" in status.reason
    assert not run.alive
    launcher.stop(run, force=True)  # once more is harmless


def test_a_stop_that_is_not_heard_becomes_force(
    warm: None, start: Callable[..., RunDirectory], wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "GRACE_S", 0.5)
    monkeypatch.setattr(launcher, "TERM_S", 0.5)
    run = start("hung")
    wait_until(lambda: len(steps_of(run)) >= 2 or run.status().ended_state, 30)
    pid = run.written_status().pid
    assert pid is not None, told(run)
    os.kill(pid, signal.SIGSTOP)
    launcher.stop(run)
    wait_until(lambda: run.status().ended_state, 10)
    assert run.status().state is State.STOPPED
    wait_until(lambda: not psutil.pid_exists(pid), 5)


def test_a_number_that_another_process_has_now_is_left_alone(runs_root: Path) -> None:
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        run = RunDirectory.create({"trainer": "sft"}, "old", runs_root)
        started = psutil.Process(innocent.pid).create_time() - 100  # the run's own process began earlier
        run.update_status(state=State.TRAINING, launched=1.0, started=1.0, pid=innocent.pid, pid_started=started)
        with run.lock():  # somebody holds the lock, so the run counts as working
            launcher._end(run, launcher._family(run))
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()

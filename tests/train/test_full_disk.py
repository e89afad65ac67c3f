"""A disk that fills up while a run is at work: the run stops in a state that says so, and goes on once there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine import Run
from engine.errors import TrainingError
from engine.params import LLMTrainingParams
from engine.runs import checkpoints, events, queue
from engine.runs.directory import RunDirectory
from engine.runs.retention import remove_checkpoints
from engine.runs.status import State
from engine.worker import placing
from engine.worker.checkpointing import require_room
from tests.train.toys import jsonl, qa, series

pytestmark = pytest.mark.slow

STEPS = 8
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return jsonl(tmp_path_factory.mktemp("data") / "qa.jsonl", qa(40))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, data: str) -> RunDirectory:
    """The run that nothing happened to."""
    from engine.worker.train import main

    run = make(tmp_path_factory.mktemp("whole"), tiny_model, data, "whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AITRAINING_HOME", str(run.path.parent))
        patched.setattr("signal.signal", lambda *_: None)
        assert main({"run": str(run.path)}, None) == 0
    return run


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("A small disk can only be mounted by root on Linux.")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Another program takes what is free, but for `leave` bytes."""
    file = folder / "other"
    file.write_bytes(b"x" * max(0, shutil.disk_usage(folder).free - leave))
    return file


def make(root: Path, tiny_model: Path, data: str, name: str) -> RunDirectory:
    short: dict[str, Any] = {"precision": "fp32", "device": "cpu", "sample_tokens": 0, "max_steps": STEPS, "save_steps": 2}
    often: dict[str, Any] = {"batch_size": 2, "eval_steps": 2, "logging_steps": 1, "valid_fraction": 0.2}
    params = LLMTrainingParams(trainer="sft", model=str(tiny_model), data_path=data, **short, **often)
    return RunDirectory.create(params.model_dump(mode="json"), name, root)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, does: Callable[[], object]) -> None:
    from engine.worker.callbacks import RunCallback

    ended = RunCallback.on_step_end

    def watched(self: RunCallback, args: Any, state: Any, control: Any, **given: Any) -> Any:
        if state.global_step == step:
            does()
        return ended(self, args, state, control, **given)

    monkeypatch.setattr(RunCallback, "on_step_end", watched)


def no_half(run: RunDirectory) -> bool:
    """Nothing of a file that was not finished is left, and every checkpoint is whole."""
    parts = [path for path in run.path.rglob("*") if path.name.endswith(".part") or path.name == ".room"]
    return not parts and all(checkpoints.trouble(path) == "" for path in checkpoints.all_of(run))


def same_weights(one: RunDirectory, other: RunDirectory) -> None:
    ours, theirs = (load_file(run.model_dir / "model.safetensors") for run in (one, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("leave", [400_000, 0], ids=["no room for a checkpoint", "no room for a letter"])
def test_a_disk_that_fills_up_stops_the_run_and_resume_ends_as_if_nothing_had_been(
    disk: Path, work: Any, tiny_model: Path, monkeypatch: Any, whole: RunDirectory, data: str, leave: int
) -> None:
    monkeypatch.setenv("AITRAINING_HOME", str(disk))
    run = make(disk, tiny_model, data, "run")
    others: list[Path] = []
    at_step(monkeypatch, 5, lambda: others.append(fill(disk, leave)))
    assert work(run) == 1
    monkeypatch.undo()
    monkeypatch.setenv("AITRAINING_HOME", str(disk))

    status = run.status()
    assert (status.state, status.cause, status.resumable) == (State.STOPPED, "disk", True)
    assert status.reason.startswith(f"Stopped at step {status.step} of {STEPS}: the disk is full.")
    assert "Free space" in status.hint and "it goes on from step 4." in status.hint
    assert not run.alive and no_half(run)
    told, _ = events.read(run.events_file)
    assert len(told) == len(run.events_file.read_bytes().splitlines()), "no event is torn"
    assert list(series(run, "loss"))[:4] == [1, 2, 3, 4]
    assert [checkpoints.step_of(path) for path in checkpoints.all_of(run)] == [4, 2]
    (found,) = Run("run").findings()
    assert (found.kind, found.action) == ("disk", "resume")

    others[0].unlink()
    queue.resume(run)
    assert work(run) == 0
    assert run.status().state is State.DONE
    assert [checkpoints.step_of(path) for path in checkpoints.all_of(run)] == [8, 6], "as many as were asked for"
    same_weights(run, whole)
    assert series(run, "loss") == series(whole, "loss")


def test_a_model_that_finds_no_room_leaves_the_run_to_be_resumed(
    disk: Path, work: Callable[[RunDirectory], int], tiny_model: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.worker import train

    monkeypatch.setenv("AITRAINING_HOME", str(disk))
    run = make(disk, tiny_model, data, "run")
    others: list[Path] = []
    save = train.save_model
    monkeypatch.setattr(train, "save_model", lambda *a, **k: (others.append(fill(disk, 100_000)), save(*a, **k)))
    assert work(run) == 1
    status = run.status()
    assert (status.state, status.cause, status.step) == (State.STOPPED, "disk", STEPS)
    assert "The finished model takes" in status.reason and not run.model_dir.exists() and no_half(run)
    others[0].unlink()
    monkeypatch.setattr(train, "save_model", save)
    queue.resume(run)
    assert work(run) == 0
    assert run.status().state is State.DONE and (run.model_dir / "model.safetensors").is_file()


def test_room_is_looked_for_before_anything_is_written(tmp_path: Path) -> None:
    require_room(tmp_path, 1000, "It")
    with pytest.raises(TrainingError, match=r"It takes 1\.0 EB, and .* are free in") as caught:
        require_room(tmp_path, 10**18, "It")
    assert caught.value.cause == "disk"


# ---- kills in the middle -----------------------------------------------------------------------------------------------

# Imports once, then trains each run in a child that is killed at one place of its checkpoint of step 4.
KILLED = """
import os, signal, sys
import engine.worker.checkpointing as module
from engine.worker.train import main
def killing(name, now):
    real = getattr(module, name)
    def killed(*args):
        made = real(*args)
        if now(*args):
            os.kill(os.getpid(), signal.SIGKILL)
        return made
    setattr(module, name, killed)
cases = [
    ("require_room", lambda folder, *_: (folder / "checkpoint-2").is_dir()),
    ("_to_disk", lambda part: part.name == "checkpoint-4"),
    ("put", lambda part, target: target.name == "checkpoint-4"),
]
for (name, now), path in zip(cases, sys.argv[1:], strict=True):
    child = os.fork()
    if not child:
        if name == "_to_disk":
            import engine.worker.placing as module
        killing(name, now)
        os._exit(main({"run": path}, None))
    print("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_kill_while_a_checkpoint_is_saved_leaves_the_old_or_the_new(
    runs_root: Path, work: Callable[[RunDirectory], int], tiny_model: Path, whole: RunDirectory, data: str
) -> None:
    """Before a byte of it is written, when all of it is and it has no name yet, and once it has its name."""
    runs = [make(runs_root, tiny_model, data, name) for name in ("before", "aside", "after")]
    around = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-c", KILLED, *(str(run.path) for run in runs)]
    done = subprocess.run(argv, env=around, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("exit")] == ["exit -9"] * 3
    for run, step in zip(runs, (2, 2, 4), strict=True):
        assert run.status().state is State.INTERRUPTED
        newest = checkpoints.look(run).newest
        assert newest is not None and checkpoints.step_of(newest) == step, run.name
    assert (runs[1].checkpoints_dir / ".part" / "checkpoint-4").is_dir(), "it was killed in the middle"
    queue.resume(runs[1])
    assert work(runs[1]) == 0
    assert no_half(runs[1]) and not (runs[1].checkpoints_dir / ".part").exists()
    same_weights(runs[1], whole)


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_model_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool) -> None:
    """Also where two names cannot be exchanged: there a kill between two steps is undone by whoever goes on."""
    old, new, replace = tmp_path / "model", tmp_path / ".model.part", os.replace
    for folder, text in ((old, "old"), (new, "new")):
        folder.mkdir()
        (folder / "file").write_text(text)

    def cut_off(one: Path, other: Path) -> None:
        if other == old:
            raise KeyboardInterrupt
        replace(one, other)

    if not exchanges:
        monkeypatch.setattr(placing, "_exchanged", lambda *_: False)
        monkeypatch.setattr(placing.os, "replace", cut_off)
        with pytest.raises(KeyboardInterrupt):
            placing.put(new, old)
        monkeypatch.setattr(placing.os, "replace", replace)
        assert not old.exists()
        placing.put_back(old)
        assert (old / "file").read_text() == "old"
    placing.put(new, old)
    assert (old / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# ---- checkpoints that are damaged ----------------------------------------------------------------------------------------


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights cut off": (lambda at: cut(at / "model.safetensors"), "model.safetensors is cut off"),
    "weights empty": (lambda at: (at / "model.safetensors").write_bytes(b""), "model.safetensors is cut off"),
    "weights missing": (lambda at: (at / "model.safetensors").unlink(), "model.safetensors is missing"),
    "state missing": (lambda at: (at / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    "state cut off": (lambda at: cut(at / "trainer_state.json"), "trainer_state.json is cut off"),
    "state empty": (lambda at: (at / "trainer_state.json").write_bytes(b""), "trainer_state.json is cut off"),
    "optimizer cut off": (lambda at: cut(at / "optimizer.pt"), "optimizer.pt is cut off"),
    "optimizer missing": (lambda at: (at / "optimizer.pt").unlink(), "optimizer.pt is missing"),
    "random numbers empty": (lambda at: (at / "rng_state.pth").write_bytes(b""), "rng_state.pth is cut off"),
}


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, data: str) -> Path:
    """A run of eight steps that was killed after its sixth, and has checkpoints of steps 4 and 6."""
    from engine.worker.train import main

    root = tmp_path_factory.mktemp("cut-short")
    run = make(root, tiny_model, data, "run")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AITRAINING_HOME", str(root))
        patched.setattr("signal.signal", lambda *_: None)

        def end() -> None:
            raise KeyboardInterrupt

        at_step(patched, 7, end)
        assert main({"run": str(run.path)}, None) == 1
    assert [checkpoints.step_of(path) for path in checkpoints.all_of(run)] == [6, 4]
    return run.path


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_found_out(cut_short: Path, tmp_path: Path, damage: str) -> None:
    run = RunDirectory(Path(shutil.copytree(cut_short, tmp_path / "run")))
    spoil, why = DAMAGE[damage]
    spoil(run.checkpoints_dir / "checkpoint-6")
    found = checkpoints.look(run)
    assert found.newest == run.checkpoints_dir / "checkpoint-4"
    assert [str(one) for one in found.damaged] == [f"The checkpoint of step 6 is damaged: {why}."]
    queue.resume(run)  # from the one before
    assert run.status().state is State.QUEUED


def test_a_run_with_a_damaged_checkpoint_goes_on_from_the_one_before_and_says_so(
    cut_short: Path, runs_root: Path, work: Callable[[RunDirectory], int]
) -> None:
    run = RunDirectory(Path(shutil.copytree(cut_short, runs_root / "run")))
    cut(run.checkpoints_dir / "checkpoint-6" / "model.safetensors")
    queue.resume(run)
    assert work(run) == 0
    assert run.status().state is State.DONE
    warned = [event["message"] for event in events.read(run.events_file)[0] if event["type"] == "warning"]
    assert warned == ["The checkpoint of step 6 is damaged: model.safetensors is cut off. The run goes on from step 4."]
    assert [event["step"] for event in events.read(run.events_file)[0] if event["type"] == "resumed"] == [4]
    assert [checkpoints.step_of(path) for path in checkpoints.all_of(run)] == [8, 6]


def test_a_run_whose_checkpoints_are_all_damaged_or_removed_says_why_it_cannot_be_resumed(
    cut_short: Path, runs_root: Path
) -> None:
    run = RunDirectory(Path(shutil.copytree(cut_short, runs_root / "run")))
    for path in checkpoints.all_of(run):
        cut(path / "optimizer.pt")
    with pytest.raises(Exception, match=r"cannot be resumed: The checkpoint of step 6 is damaged: optimizer\.pt is cut off"):
        queue.resume(run)
    freed = remove_checkpoints(run)
    assert freed > 100_000
    with pytest.raises(Exception, match="cannot be resumed: its checkpoints were removed"):
        queue.resume(run)


def test_checkpoints_are_sorted_by_step_and_not_by_a_clock_that_was_set_back(tmp_path: Path) -> None:
    from engine.worker.checkpointing import _forget_older

    for step, age in ((90, 5), (100, 1), (110, 900)):  # the newest has the oldest time
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        os.utime(folder, (1e9 - age, 1e9 - age))
    _forget_older(tmp_path, newest=110, most=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-100", "checkpoint-110"]

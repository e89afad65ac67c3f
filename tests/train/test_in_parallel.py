"""A run of several processes from its start to any of its ends: nobody is left behind, and what is told is true."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import api
from engine.device import Device
from engine.errors import DeviceError
from engine.models import facts
from engine.params import LLMTrainingParams
from engine.plan import DataFacts, plan
from engine.registry import specs
from engine.runs import launcher, queue, standby
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.train.toys import jsonl, qa, series

ENDLESS = {"epochs": 1000, "processes": 2, "batch_size": 2, "save_steps": 2, "valid_fraction": 0.0, "scheduler": "constant"}


@pytest.fixture(scope="module")
def warm() -> Iterator[None]:
    assert standby.ensure_standby()
    yield
    standby.close_standby()


@pytest.fixture
def under_way(new_run: Callable[..., RunDirectory], tmp_path: Path, wait_until: Callable[..., None]) -> Callable[..., Any]:
    """Starts a run and returns it, with its processes, once it has a checkpoint."""

    def start(**values: Any) -> tuple[RunDirectory, list[psutil.Process]]:
        run = new_run(jsonl(tmp_path / "rows.jsonl", qa(16)), **{**ENDLESS, **values})
        return run, follow(run)

    def follow(run: RunDirectory) -> list[psutil.Process]:
        launcher.start_worker(run)
        wait_until(lambda: run.status().ended_state or (run.status().step >= 3 and run.status().resumable), 120)
        assert run.status().state is State.TRAINING, run.log_file.read_text()
        first = psutil.Process(run.status().pid or 0)
        helpers = first.children()
        assert len(helpers) == 1 and os.getpgid(helpers[0].pid) == first.pid
        return [first, *helpers]

    return start


def gone(processes: list[psutil.Process]) -> bool:
    return not [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_a_stop_ends_all_processes_and_a_resume_goes_on(under_way: Any, warm: None, wait_until: Any) -> None:
    run, processes = under_way(max_steps=100_000)
    queue.stop(run)
    wait_until(lambda: run.status().ended_state, 60)
    status = run.status()
    assert (status.state, status.cause) == (State.STOPPED, "stopped"), status
    assert (run.model_dir / "model.safetensors").is_file()
    wait_until(lambda: gone(processes))

    queue.resume(run)
    launcher.start_worker(run)
    wait_until(lambda: run.status().step > status.step + 1, 60)
    assert list(series(run, "loss")) == list(range(1, len(series(run, "loss")) + 1)), "no step is missing, none is twice"
    queue.stop(run, force=True)
    assert run.status().state is State.STOPPED


@pytest.mark.slow
def test_a_killed_process_ends_the_run_with_the_truth(under_way: Any, warm: None, wait_until: Any) -> None:
    run, processes = under_way()
    processes[1].send_signal(signal.SIGKILL)
    wait_until(lambda: run.status().ended_state, 60)
    status = run.status()
    assert (status.state, status.cause) == (State.FAILED, "killed")
    assert "ended without a word (process 2 of 2, by signal 9)" in status.reason and "Resume" in status.hint
    wait_until(lambda: gone(processes))
    queue.resume(run)


@pytest.mark.slow
def test_when_the_first_process_is_killed_none_is_left(under_way: Any, warm: None, wait_until: Any) -> None:
    run, processes = under_way()
    processes[0].send_signal(signal.SIGKILL)
    wait_until(lambda: gone(processes))
    assert run.status().state is State.INTERRUPTED


@pytest.mark.long
def test_processes_that_start_cold(under_way: Any, wait_until: Any) -> None:
    standby.close_standby()
    run, processes = under_way(max_steps=100_000)
    assert "engine.worker.rank" in processes[1].cmdline()
    processes[1].send_signal(signal.SIGKILL)
    wait_until(lambda: run.status().ended_state, 60)
    assert run.status().cause == "killed"
    wait_until(lambda: gone(processes))


@pytest.mark.long
def test_torchrun_may_start_them(new_run: Any, work: Any, tmp_path: Path) -> None:
    """As on several machines that share the folder of runs."""
    rows = jsonl(tmp_path / "rows.jsonl", qa(10))
    few = {"epochs": 1, "valid_fraction": 0.0, "scheduler": "constant"}
    one, two = new_run(rows, "one", batch_size=4, **few), new_run(rows, "two", batch_size=2, **few)
    assert work(one) == 0
    how = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "engine.worker", "train"]
    subprocess.run([sys.executable, *how, f'{{"run": "{two.path}"}}'], check=True, timeout=300)
    assert two.status().state is State.DONE
    assert two.plan()["params"]["processes"] == 2
    assert series(two, "loss") == pytest.approx(series(one, "loss"), rel=1e-4)


# ---- before Start


def planned(trainer: str, device: Device, **values: Any) -> Any:
    example = specs()[trainer].example_settings
    params = LLMTrainingParams(trainer=trainer, data_path="sample:neighbours", **{**example, **values})
    return plan(params, DataFacts(rows=64, valid_rows=0), facts("starter"), device)


CPU = Device("cpu", "a processor", 8, 32 << 30, 32 << 30, bf16=False)
GPUS = Device("cuda", "a card", 8, 80 << 30, 80 << 30, bf16=True, count=4)


@pytest.mark.parametrize("trainer", [spec.id for spec in specs().values() if not spec.in_parallel])
def test_a_trainer_of_one_process_says_so_before_it_starts(trainer: str) -> None:
    with pytest.raises(DeviceError, match="trains in one process, and 2 are set") as caught:
        planned(trainer, CPU, processes=2)
    assert "Set processes to 1" in caught.value.hint


def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(DeviceError, match="8 processes need as many GPUs, and there are 4 here"):
        planned("sft", GPUS, processes=8)
    assert planned("sft", GPUS, processes=4).total_steps


def test_the_plan_counts_the_rows_of_all_processes() -> None:
    one, two = (planned("sft", CPU, processes=n, batch_size=8 // n, epochs=1) for n in (1, 2))
    assert (one.total_steps, one.tokens_per_step) == (two.total_steps, two.tokens_per_step) == (8, one.tokens_per_step)


def test_on_a_processor_every_process_needs_the_memory() -> None:
    data = DataFacts(rows=64, valid_rows=0)
    one, two = (api.estimate(planned("sft", CPU, processes=n, batch_size=4), data) for n in (1, 2))
    assert two.memory_total == 2 * one.memory_total

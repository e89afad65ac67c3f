"""Runs on a rented machine: the Hub's real client against a server of the tests' own that really executes the job."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import api
from engine.compute.rented import rented
from engine.errors import DeviceError
from engine.params import LLMTrainingParams
from engine.runs import events, queue
from engine.runs.directory import RunDirectory
from engine.runs.live import live
from engine.runs.status import State
from tests.jobs_server import HARDWARE, JobsHub

TOKEN = "hf_SECRETofTheRentedOnes"
ROWS = [{"prompt": f"When does gate {n} open?", "completion": f"It opens at {n % 12}."} for n in range(24)]


@pytest.fixture
def hub(tmp_path: Path, runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsHub]:
    """The Hub for this process and all that it starts, with somebody logged in."""
    from huggingface_hub import constants

    from engine.compute import hf_jobs

    with JobsHub(tmp_path / "jobs") as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        files = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for name, value in {"HF_ENDPOINT": server.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        hf_jobs._listed.cache_clear()
        yield server
        hf_jobs._listed.cache_clear()


@pytest.fixture
def asked(tmp_path: Path, tiny_model: Path) -> Callable[..., LLMTrainingParams]:
    """Settings of a small run at Hugging Face."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    short = {"precision": "fp32", "sample_tokens": 0, "logging_steps": 1, "batch_size": 4, "epochs": 1}

    def make(**values: Any) -> LLMTrainingParams:
        where = {"compute": "hf-jobs", "job_hardware": "a10g-small", "job_hours": 2}
        return LLMTrainingParams(
            **{"trainer": "sft", "model": str(tiny_model), "data_path": str(rows), **short, **where, **values}
        )

    return make


def begun(params: LLMTrainingParams) -> RunDirectory:
    run = queue.enqueue(params)
    assert queue.dispatch(run.path.parent) == [run.name]
    return run


def losses(run: RunDirectory) -> list[int]:
    """The steps whose loss was told."""
    found, _ = events.read(run.events_file)
    return [event["step"] for event in found if event["type"] == "metric" and "loss" in event["values"]]


# ---- before Start


def test_machine_price_and_most_that_it_costs_are_known_before_start(hub: JobsHub, asked: Any) -> None:
    params = asked()
    lines = dict(api.compute.cost(params))
    assert lines["Where"] == "Hugging Face Jobs, Nvidia A10G - small: 1 × A10G with 24 GB, $1.00 an hour"
    assert lines["Cost"] == "at most $2.00, since it is ended after 2 hours; Stop ends it at once"
    device = api.compute.device_of(params)
    assert (device.kind, device.count, device.bf16, device.memory_total) == ("cuda", 1, True, 24 << 30)
    assert api.compute.rentable()[0][0] == "CPU Basic: 2 cores, 16 GB, $0.01 an hour"


def test_the_price_is_what_the_hub_says(hub: JobsHub, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HARDWARE[1], "unitCostUSD", 0.05)
    assert dict(api.compute.cost(asked()))["Cost"].startswith("at most $6.00")


def test_what_cannot_be_rented_says_why(hub: JobsHub, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="There is no machine called 'a11g'") as caught:
        api.compute.device_of(asked(job_hardware="a11g"))
    assert "a10g-small" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(DeviceError, match="Nobody is logged in"):
        api.compute.device_of(asked())
    assert "HF_TOKEN" in api.compute.cannot_rent() and api.compute.rentable() == []


def test_a_silent_hub_is_told_as_such(hub: JobsHub, asked: Any) -> None:
    hub.close()
    with pytest.raises(DeviceError, match="Hugging Face cannot be reached"):
        api.compute.device_of(asked())


# ---- the whole way


@pytest.mark.slow
def test_a_run_goes_there_and_its_model_comes_back(hub: JobsHub, asked: Any, wait_until: Any, tiny_model: Path) -> None:
    from safetensors.torch import load_file

    run = begun(asked())
    wait_until(lambda: run.status().ended_state, 120)
    status = run.status()
    assert (status.state, status.reason) == (State.DONE, ""), run.log_file.read_text()
    assert status.step == status.total_steps == 6 and status.metrics["loss"] > 0
    assert losses(run) == list(range(1, 7))
    assert "step 6" in run.log_file.read_text()
    ours, theirs = load_file(run.model_dir / "model.safetensors"), load_file(tiny_model / "model.safetensors")
    assert any(not tensor.equal(theirs[name]) for name, tensor in ours.items())
    assert run.plan()["params"]["compute"] == "local"

    job, spec = rented(run), next(iter(hub.jobs.values())).spec
    assert job is not None and job.ended and job.so_far == pytest.approx((job.ended - (job.started or 0)) / 3600, rel=0.01)
    shown = live(run, 0, 0)["status"]["job"]
    assert shown["per_hour"] == pytest.approx(1.0, rel=1e-3) and shown["most"] == pytest.approx(2.0, rel=1e-3)
    assert (spec["flavor"], spec["timeoutSeconds"]) == ("a10g-small", 7200)
    assert "torch>=2.13,<2.15" in spec["command"] and not any(word.startswith("gradio") for word in spec["command"])
    assert hub.private[job.repo] and hub.deleted == [job.repo] and not hub.parcels
    _the_token_is_a_secret(run, spec, hub)


def _the_token_is_a_secret(run: RunDirectory, spec: dict[str, Any], hub: JobsHub) -> None:
    assert spec["secrets"] == {"HF_TOKEN": TOKEN} and hub.tokens == {TOKEN}
    assert TOKEN not in json.dumps({key: value for key, value in spec.items() if key != "secrets"})
    for file in run.path.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


@pytest.mark.slow
def test_stop_cancels_the_job_even_after_nobody_followed_it(hub: JobsHub, asked: Any, wait_until: Any) -> None:
    """The process that follows is killed, as when the machine restarts; the next server takes the job up again."""
    run = begun(asked(epochs=1000))
    wait_until(lambda: run.status().step >= 3, 120)
    follower = psutil.Process(run.status().pid or 0)
    follower.send_signal(signal.SIGKILL)
    wait_until(lambda: run.status().state is State.INTERRUPTED)
    assert "may still be at work, and cost" in run.status().reason
    assert next(iter(hub.jobs.values())).stage == "RUNNING"

    queue.recover(run.path.parent)  # what a server does first
    wait_until(lambda: run.alive and run.status().state is State.TRAINING, 60)
    before = run.status().step
    wait_until(lambda: run.status().step > before, 90)
    assert len(hub.jobs) == 1
    points = losses(run)
    assert points == list(range(1, len(points) + 1)), "no point is missing, none is there twice"

    queue.stop(run)
    wait_until(lambda: run.status().ended_state, 60)
    assert (run.status().state, run.status().cause) == (State.STOPPED, "stopped")
    assert next(iter(hub.jobs.values())).stage == "CANCELED"
    assert not queue.has_progress(run) and hub.deleted


@pytest.mark.slow
def test_a_model_comes_back_though_the_jobs_log_was_cut_off(hub: JobsHub, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that ended well has sent its model; the repository that holds it is the only place where it is."""
    from engine.compute import follow

    hub.silent_after = 12
    monkeypatch.setattr(follow, "_LAST_LINES_S", 0.5)
    run = queue.enqueue(asked())
    follow.Follower(run).go()
    assert next(iter(hub.jobs.values())).stage == "COMPLETED"
    assert (run.status().state, run.status().reason) == (State.DONE, "")
    assert (run.model_dir / "model.safetensors").is_file()
    assert hub.deleted and not hub.parcels
    warned = [event["message"] for event in events.read(run.events_file)[0] if event["type"] == "warning"]
    assert any("the log" in said and "missing" in said for said in warned)


@pytest.mark.parametrize(
    ("code", "said", "words"),
    [(402, "Payment required", "cannot pay for this machine (402). It says: Payment required."), (403, "Pro only", "(403)")],
)
def test_a_refused_job_fails_in_words(hub: JobsHub, asked: Any, wait_until: Any, code: int, said: str, words: str) -> None:
    hub.refuse_jobs = (code, said)
    run = begun(asked())
    wait_until(lambda: run.status().ended_state, 60)
    assert run.status().state is State.FAILED and words in run.status().reason, run.status()
    assert "https://huggingface.co/settings/billing" in run.status().hint
    assert hub.deleted, "what was sent is deleted when nothing comes of it"


@pytest.mark.long  # the way there, back and the stop run at every change
@pytest.mark.slow
def test_a_job_whose_time_is_over_and_one_that_breaks(hub: JobsHub, asked: Any, wait_until: Any) -> None:
    short = begun(asked(job_hours=2 / 3600))
    broken = begun(asked(max_length=512, job_hardware="cpu-basic"))
    for run in (short, broken):
        wait_until(lambda run=run: run.status().ended_state, 120)
        assert run.status().state is State.FAILED
    assert short.status().cause == "timeout" and "--job-hours" in short.status().hint
    assert broken.status().cause == "model" and "reads at most 256 tokens" in broken.status().reason

"""The app's own processes on a GPU: trainings from the standby, stop and kill, the playground, memory that runs out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import LLMTrainingParams, api, start
from engine.errors import DeviceError
from engine.registry import specs
from engine.runs import standby
from engine.runs.status import State
from tests.contract.conftest import numbered
from tests.train.toys import series

SETTINGS = {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours", "max_steps": 20, "batch_size": 4}


@pytest.fixture
def app(runs_root: Path) -> Iterator[None]:
    """What `make app` has open: the fork server."""
    assert standby.ensure_standby(), "the fork server did not start beside a GPU"
    yield
    standby.close_standby()


def used_on_card() -> int:
    """Bytes of the card's memory that anybody uses."""
    free, total = torch.cuda.mem_get_info()
    return total - free


def ended(run: Any, timeout_s: float = 120) -> Any:
    deadline = time.monotonic() + timeout_s
    while not run.status.ended_state:
        assert time.monotonic() < deadline, run.status
        time.sleep(0.1)
    return run.status


def test_a_training_from_the_standby_takes_the_card_by_itself(app: None) -> None:
    run = start(LLMTrainingParams(**SETTINGS))
    status = ended(run)
    log = (run.path / "worker.log").read_text()
    assert status.state is State.DONE, log[-3000:]
    assert status.device == torch.cuda.get_device_name(0)
    chosen = json.loads((run.path / "plan.json").read_text())["params"]
    assert (chosen["device"], chosen["attention"]) == ("cuda", "documents")
    assert chosen["precision"] == ("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16")
    assert "Traceback" not in log


def test_a_quantised_training_from_the_standby_finds_its_library(app: None) -> None:
    pytest.importorskip("bitsandbytes")
    run = start(LLMTrainingParams(**SETTINGS, peft=True, quantization="int4"))
    assert ended(run).state is State.DONE, (run.path / "worker.log").read_text()[-3000:]


@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_a_run_that_was_stopped_and_killed_ends_like_one_that_was_not(
    app: None, peft: bool, wait_until: Callable[..., None]
) -> None:
    asked = {
        **SETTINGS,
        "max_steps": 60,
        "save_steps": 10,
        "eval_steps": 10,
        "logging_steps": 1,
        "peft": peft,
        "sample_tokens": 0,
    }
    whole = start(LLMTrainingParams(**asked, project_name="whole"))
    assert ended(whole).state is State.DONE, whole.status
    parts = start(LLMTrainingParams(**asked, project_name="parts"))
    wait_until(lambda: parts.status.step >= 12, 60)
    parts.stop()
    assert ended(parts).state is State.STOPPED, parts.status
    stopped_at = parts.status.step
    assert 12 <= stopped_at < 60
    api.resume("parts")
    wait_until(lambda: parts.status.step >= stopped_at + 12 or parts.status.ended_state, 60)
    assert not parts.status.ended_state, parts.status
    os.killpg(os.getpgid(int(parts.status.pid)), signal.SIGKILL)
    assert ended(parts).state is State.INTERRUPTED
    api.resume("parts")
    assert ended(parts).state is State.DONE, parts.status
    one, other = (series(run._directory, "eval_loss") for run in (whole, parts))
    assert other[60] == pytest.approx(one[60], rel=0.02)
    assert other[10] == pytest.approx(one[10], rel=0.01)


def test_the_playground_answers_and_gives_the_memory_back(app: None) -> None:
    before = used_on_card()
    chat = api.chat()
    ask = {"id": 1, "models": ["starter", "starter"], "settings": {"max_tokens": 24}}
    ask["messages"] = [[{"role": "user", "content": "When does the harbour open?"}]] * 2
    pieces = list(chat.answer(ask))
    held = used_on_card() - before
    assert not [piece for piece in pieces if piece["type"] == "error"], pieces
    assert sum(piece["type"] == "end" for piece in pieces) == 2
    assert any(piece["type"] == "text" for piece in pieces)
    assert held > 100 << 20, "the models are on the card"
    chat.close()
    deadline = time.monotonic() + 20
    while used_on_card() - before > 20 << 20 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert used_on_card() - before < 20 << 20


def test_tokens_are_shown_without_taking_the_card(app: None) -> None:
    before = used_on_card()
    shown = api.token_preview(LLMTrainingParams(**SETTINGS), 5)
    assert len(shown["examples"]) == 5
    assert used_on_card() - before < 20 << 20


def test_memory_that_runs_out_is_said_in_words(trainings: Any) -> None:
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (24 << 20)) / total)
    try:
        spec = specs()["sft"]
        run = trainings.new(spec, "too-much", numbered(spec, 300), device="cuda", batch_size=256, max_steps=2)
        assert trainings.work(run) == 1
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    status = run.status()
    assert (status.state, status.reason, status.cause) == (State.FAILED, "Memory ran out.", "memory")
    assert "halve the rows per step" in status.hint


def test_an_attention_that_is_not_installed_is_refused_in_words() -> None:
    if api.device().flash_attention:
        pytest.skip("flash-attn is installed here")
    params = LLMTrainingParams(**SETTINGS, attention="flash_attention_2")
    with pytest.raises(DeviceError, match="the package flash-attn"):
        api.plan(params, api.data_facts(params))


def test_the_card_is_described_as_pytorch_sees_it() -> None:
    found, seen = api.device(), torch.cuda.get_device_properties(0)
    assert (found.kind, found.name) == ("cuda", seen.name)
    assert found.memory_total == pytest.approx(seen.total_memory, rel=0.05)
    assert found.bf16 is ((seen.major, seen.minor) >= (8, 0))
    assert subprocess.run(["nvidia-smi"], capture_output=True, check=False).returncode == 0

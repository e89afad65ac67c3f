"""What this machine trains on, with an `nvidia-smi` that is a small script of ours."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import api
from engine import device as module
from engine.device import Device, device
from engine.memory import BASE
from engine.plan import DataFacts

CARD = "NVIDIA A10G, 23028, 22500, 8.6"


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """The answer is kept for two seconds, in which other tests would see it."""
    module._probe.cache_clear()
    yield
    module._probe.cache_clear()


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts an `nvidia-smi` first on the path; returns the file in which it notes what it was asked."""
    notes = tmp_path / "asked"

    def install(says: str = CARD, does: str = "") -> Path:
        script = tmp_path / "bin" / "nvidia-smi"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\necho \"$@\" >> '{notes}'\n{does}\ncat <<'END'\n{says}\nEND\n")
        script.chmod(0o755)
        return notes

    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(module, "_torch_knows_cuda", lambda: True)
    return install


def found(wish: str = "auto") -> Device:
    module._probe.cache_clear()
    return device(wish)


def test_a_card_is_found_with_its_memory(card: Callable[..., Path]) -> None:
    notes = card()
    seen = found()
    assert (seen.kind, seen.name, seen.bf16) == ("cuda", "NVIDIA A10G", True)
    assert (seen.memory_total, seen.memory_free) == (23028 << 20, 22500 << 20)
    assert "-i" not in notes.read_text().split()
    card("Tesla T4, 15360, 15000, 7.5")
    assert found().bf16 is False
    card("One, 100, 90, 8.0\nAnother, 200, 190, 9.0")
    assert found().name == "One"


def test_a_name_may_have_a_comma(card: Callable[..., Path]) -> None:
    card("NVIDIA Card, Special Edition, 8192, 8000, 8.9")
    seen = found()
    assert (seen.name, seen.memory_free >> 20) == ("NVIDIA Card, Special Edition", 8000)


@pytest.mark.parametrize("visible", ["", "-1", " -1 ", " "])
def test_a_card_that_is_hidden_is_none(card: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    notes = card()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert found().kind == "cpu"
    assert not notes.exists()


@pytest.mark.parametrize(("visible", "asked"), [("1", "1"), ("2,0", "2"), (" 3 , 1", "3"), ("GPU-5a1c", "GPU-5a1c")])
def test_the_first_card_that_is_not_hidden_is_asked_for(
    card: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, visible: str, asked: str
) -> None:
    notes = card()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert found().kind == "cuda"
    words = notes.read_text().split()
    assert words[words.index("-i") + 1 :] == [asked]


def test_a_card_that_shares_the_machines_memory_names_none_of_its_own(card: Callable[..., Path]) -> None:
    card("NVIDIA GB10, [N/A], [N/A], 12.1")
    seen = found()
    assert (seen.kind, seen.bf16, seen.memory_total) == ("cuda", True, psutil.virtual_memory().total)
    assert 0 < seen.memory_free <= seen.memory_total
    card("An old card, 2000, 1900, [N/A]")
    seen = found()
    assert (seen.memory_free >> 20, seen.bf16) == (1900, False)


@pytest.mark.parametrize(
    ("says", "does"),
    [("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "exit 9"), (CARD, "exit 1"), ("", "")],
    ids=["no driver", "a code that is not 0", "no card"],
)
def test_a_driver_that_fails_means_the_processor(card: Callable[..., Path], says: str, does: str) -> None:
    notes = card(says, does)
    assert found().kind == "cpu"
    assert notes.exists()


def test_a_driver_that_hangs_means_the_processor(card: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    card(does="exec sleep 60")
    run, limits = subprocess.run, []

    def impatient(*args: Any, timeout: float, **rest: Any) -> Any:
        limits.append(timeout)
        return run(*args, timeout=0.5, **rest)

    monkeypatch.setattr(module.subprocess, "run", impatient)
    assert found().kind == "cpu"
    assert len(limits) == 1
    assert limits[0] <= 60


def test_a_program_that_cannot_be_run_means_the_processor(card: Callable[..., Path], tmp_path: Path) -> None:
    card()
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/no/such/interpreter\n")
    assert found().kind == "cpu"


def test_who_asks_for_the_processor_gets_it(card: Callable[..., Path]) -> None:
    card()
    assert found().kind == "cuda"
    seen = found("cpu")
    assert (seen.kind, seen.flash_attention, seen.quantization) == ("cpu", False, False)
    assert seen.memory_total <= psutil.virtual_memory().total
    assert seen.name != "NVIDIA A10G"
    assert found("cuda").kind == "cuda"
    assert replace(api.device("cpu"), memory_free=0) == replace(seen, memory_free=0)  # which changes all the time
    assert api.device().kind == "cuda"


def test_a_run_for_the_processor_is_planned_with_what_that_has(
    card: Callable[..., Path], runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card()
    monkeypatch.setattr(module, "_cpu_name", lambda: "A processor")
    data = DataFacts(300)

    def planned(where: str) -> tuple[str, str, int]:
        params = api.LLMTrainingParams(trainer="sft", data_path="sample:neighbours", device=where)
        chosen = api.plan(params, data)
        items = dict(api.estimate(chosen, data).memory)
        return chosen.params.attention or "", chosen.reasons["precision"], items["Python and its libraries"]

    attention, reason, base = planned("cpu")
    assert (attention, base) == ("documents", BASE["cpu"])
    assert reason.startswith("A processor ")
    attention, reason, base = planned("auto")
    assert (attention, base) == ("documents", BASE["cuda"])
    assert reason.startswith("NVIDIA A10G ")


def test_a_pytorch_without_cuda_trains_on_the_processor(card: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    notes = card()
    monkeypatch.setattr(module, "_torch_knows_cuda", lambda: False)
    assert found().kind == "cpu"
    assert not notes.exists()


def test_what_pytorch_was_built_for_is_read_without_importing_it() -> None:
    import torch

    assert module._torch_knows_cuda() is (torch.version.cuda is not None)

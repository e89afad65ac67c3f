"""Real workers that run out of memory or disk, find no model, or diverge: told in the right words, and retrying helps."""

from __future__ import annotations

import errno
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from transformers import Trainer

from engine import LLMTrainingParams, Run, api
from engine.cli import main
from engine.diagnosis import Finding
from engine.diagnosis.remedy import remedied
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.train.toys import jsonl, qa

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and limits the address space of a process")
# Imports once, then does each run whose folder it is told in a child of its own; its memory may grow by so many bytes.
WORKERS = """
import os, resource, sys
import psutil
import engine.worker.train as worker
grow = int(sys.argv[1])
most = psutil.Process().memory_info().vms + grow
for line in sys.stdin:
    child = os.fork()
    if not child:
        if grow:
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        os._exit(worker.main({"run": line.strip()}, None))
    print("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
Work = Callable[[RunDirectory], int]


@contextmanager
def workers(grow: int = 0, **env: str) -> Iterator[Work]:
    """Does runs in processes of their own and returns their exit codes."""
    argv = [sys.executable, "-c", WORKERS, str(grow)]
    around = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **env}
    with subprocess.Popen(argv, cwd=ROOT, env=around, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        told, heard = process.stdin, process.stdout
        assert told and heard

        def work(run: RunDirectory) -> int:
            print(run.path, file=told, flush=True)
            return int(next(line for line in heard if line.startswith("exit ")).split()[1])

        yield work
        told.close()


def only(name: str) -> Finding:
    found = Run(name).findings()
    assert len(found) == 1, [one.sentence for one in found]
    return found[0]


def retried(name: str, root: Path) -> RunDirectory:
    """The run that "Retry with this change" would start."""
    params, _ = remedied(name, only(name).kind)
    return RunDirectory.create(params.model_dump(mode="json"), f"{name}-2", root)


@LINUX
def test_a_worker_without_memory_says_so_and_the_proposed_change_makes_it_fit(
    runs_root: Path, new_run: Callable[..., RunDirectory], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"{n}", "completion": "the harbour opens at six " * 34} for n in range(32)]
    # attention over all rows of a step at once: what it takes grows with the square of their number
    asked = {"batch_size": 32, "attention": "sdpa", "max_steps": 1, "max_length": 256, "valid_fraction": 0}
    first = new_run(jsonl(tmp_path / "long.jsonl", rows), **asked)
    with workers(grow=500_000_000) as work:
        assert work(first) == 1
        found = only("run")
        assert found.kind == "memory" and found.confidence == "certain"
        assert found.what == "Memory ran out." and "half the rows at once" in found.advice
        assert found.settings == {"batch_size": 16, "gradient_accumulation": 2}
        second = retried("run", runs_root)
        assert work(second) == 0
    assert second.status().state is State.DONE and Run(second.name).findings() == []

    # the same on the command line and for other programs
    assert main(["follow", "run"]) == 1
    said = capsys.readouterr().err
    assert found.what in said and "Rows per step: 32 → 16" in said and "--gradient-accumulation 2" in said
    report = api.run_report("run")["findings"][0]
    assert report["kind"] == "memory" and "--batch-size 16" in report["command"]
    assert report["change"][0] == {
        "setting": "batch_size",
        "label": "Rows per step",
        "was": 32,
        "becomes": 16,
        "words": "Rows per step: 32 → 16",
    }


class Hub(http.server.BaseHTTPRequestHandler):
    """Refuses as the Hub does: what is gated with 403, what it does not know with 404."""

    def do_GET(self) -> None:
        gated = "/gated" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@LINUX
def test_models_that_the_hub_does_not_give(runs_root: Path, new_run: Callable[..., RunDirectory], tmp_path: Path) -> None:
    data = jsonl(tmp_path / "qa.jsonl", qa(8))
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{hub.server_port}"
    with workers(HF_ENDPOINT=at, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path / "hub"), NO_PROXY="127.0.0.1") as work:
        assert work(new_run(data, "gated", model="org/gated")) == 1
        assert work(new_run(data, "missing", model="org/nothing")) == 1
        hub.shutdown()
        hub.server_close()
        assert work(new_run(data, "offline", model="org/anything")) == 1
    gated, missing, offline = only("gated"), only("missing"), only("offline")
    assert gated.kind == "gated" and "org/gated is gated" in gated.what and "HF_TOKEN" in gated.advice
    assert missing.kind == "missing" and "'org/nothing'" in missing.what and "correct the model" in missing.advice
    assert offline.kind == "offline" and "cannot be reached" in offline.what
    assert offline.settings == {"model": "starter"}


def test_a_run_that_diverges_is_recognised_and_gets_a_usual_rate(
    runs_root: Path, new_run: Callable[..., RunDirectory], work: Work, tmp_path: Path
) -> None:
    data = jsonl(tmp_path / "qa.jsonl", qa(40))
    assert work(new_run(data, lr=0.9, max_steps=14, epochs=20, batch_size=4)) == 0
    found = only("run")
    assert found.kind == "diverging" and "0.9" in found.why
    assert found.settings == {"lr": 1e-3}
    second = retried("run", runs_root)
    assert work(second) == 0
    assert Run(second.name).findings() == []


def test_a_template_that_renders_nothing_is_told_and_plain_lines_help(
    runs_root: Path, new_run: Callable[..., RunDirectory], work: Work, tiny_model: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "{%- for message in messages -%}{%- endfor -%}"
    tokenizer.save_pretrained(tmp_path / "mute")
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(tmp_path / "mute")
    data = jsonl(tmp_path / "qa.jsonl", qa(8))
    assert work(new_run(data, model=str(tmp_path / "mute"), max_steps=2)) == 1
    found = only("run")
    assert found.kind == "template" and "all of the rows" in found.what
    assert found.settings == {"chat_template": "plain"}
    assert work(retried("run", runs_root)) == 0


def test_answers_that_do_not_fit_are_told_and_get_the_room_that_they_need(
    runs_root: Path, new_run: Callable[..., RunDirectory], work: Work, tmp_path: Path
) -> None:
    """All of them lose their end: the run is done, and its model cannot have learned where to stop."""
    data = jsonl(tmp_path / "qa.jsonl", qa(8, "It opens at {}, and the boats go out before the sun is up, every day."))
    assert work(new_run(data, max_length=32, max_steps=2)) == 0
    found = only("run")
    assert found.kind == "cut rows" and found.what.startswith("all of the rows") and found.settings == {"max_length": 64}
    second = retried("run", runs_root)
    assert work(second) == 0
    assert Run(second.name).findings() == []


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runs folder on a disk of one megabyte; where none may be mounted, one checkpoint finds no room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setenv("AITRAINING_HOME", str(folder))
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if sys.platform.startswith("linux") and subprocess.run(words, capture_output=True, check=False).returncode == 0:
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True)
        return

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Trainer, "_save_checkpoint", full)
    yield folder


def test_a_full_disk_is_told_although_nothing_fits_on_it(
    small_disk: Path, work: Work, tiny_model: Path, tmp_path: Path
) -> None:
    data = jsonl(tmp_path / "qa.jsonl", qa(40))
    short = {"precision": "fp32", "device": "cpu", "sample_tokens": 0, "max_steps": 8, "save_steps": 2, "batch_size": 2}
    params = LLMTrainingParams(trainer="sft", model=str(tiny_model), data_path=data, **short)  # type: ignore[arg-type]
    run = RunDirectory.create(params.model_dump(mode="json"), "full", small_disk)
    assert work(run) == 1
    status = run.status()
    # with a checkpoint it can go on from there, and without one it has failed
    state, action = (State.STOPPED, "resume") if status.resumable else (State.FAILED, "retry")
    assert (status.state, status.cause) == (state, "disk")
    assert "he disk is full." in status.reason and "aitraining prune" in status.hint
    found = only("full")
    assert (found.kind, found.action) == ("disk", action) and "delete old runs" in found.advice
    assert status.resumable or found.settings == {"save_total_limit": 1}
    assert not run.alive and not list(run.path.glob("*.part"))

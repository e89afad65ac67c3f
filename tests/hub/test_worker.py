"""A run whose model and data are on the Hub: the download is told, can be stopped, goes on, and is explained when refused."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import keys
from engine.diagnosis.remedy import told_findings
from engine.errors import ModelError
from engine.models import facts
from engine.params import LLMTrainingParams
from engine.runs import events
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.watch import transferred
from engine.worker import hub as at_hub
from tests.hub_server import Hub
from tests.train.toys import all_events, jsonl, qa

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def new_run(runs_root: Path, tmp_path: Path) -> Callable[..., RunDirectory]:
    def make(name: str = "run", **values: object) -> RunDirectory:
        short = {"precision": "fp32", "device": "cpu", "sample_tokens": 0, "logging_steps": 1, "max_steps": 2}
        data = {"data_path": jsonl(tmp_path / "qa.jsonl", qa(30))}
        params = LLMTrainingParams(**{"trainer": "sft", "model": "club/tiny", **short, **data, **values})  # type: ignore[arg-type]
        return RunDirectory.create(params.model_dump(mode="json"), name, runs_root)

    return make


@pytest.mark.slow
def test_a_run_fetches_its_model_and_data_in_view_of_all(
    on_hub: Hub,
    new_run: Callable[..., RunDirectory],
    work: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(at_hub, "_STATUS_S", 0.0)
    monkeypatch.setattr(at_hub, "_EVENT_S", 0.0)
    monkeypatch.setenv("HF_TOKEN", "hf_member")
    on_hub.gated, on_hub.members, on_hub.bytes_a_second = {"club/tiny"}, {"hf_member"}, 120_000
    on_hub.datasets["club/talk"] = {"train.jsonl": "".join(json.dumps(row) + "\n" for row in qa(400))}
    size = len(on_hub.models["club/tiny"]["model.safetensors"])
    seen: list[dict[str, object]] = []
    told = at_hub.Transfer.__call__

    def watched(self: at_hub.Transfer, done: int, total: int) -> None:
        told(self, done, total)
        seen.append(self.reporter.run.status().transfer or {})

    monkeypatch.setattr(at_hub.Transfer, "__call__", watched)
    run = new_run(data_path="club/talk")
    assert work(run) == 0, run.log_file
    phases = [event["phase"] for event in all_events(run, "phase")]
    assert phases.index("Downloading the data") < phases.index("Downloading the model") < phases.index("Loading the model")
    moved = all_events(run, "transfer")
    assert {event["what"] for event in moved} == {"club/talk", "club/tiny"}
    assert moved[-1]["done"] == moved[-1]["total"] > size
    part = [one for one in seen if one["what"] == "club/tiny" and 0 < int(str(one["done"])) < int(str(one["total"]))]
    assert part and int(str(part[-1]["per_second"])) > 0
    assert run.status().state is State.DONE and run.status().transfer is None
    card = (run.model_dir / "README.md").read_text()
    assert "base_model: club/tiny" in card
    # the next one needs no download, and no token
    assert facts("club/tiny").to_fetch == 0


@pytest.mark.slow
def test_a_stop_ends_a_download_and_the_next_run_goes_on_with_it(
    on_hub: Hub,
    new_run: Callable[..., RunDirectory],
    work: Callable[..., int],
    wait_until: Callable[..., None],
) -> None:
    on_hub.bytes_a_second = 60_000
    run = new_run("first")
    asker = threading.Thread(target=lambda: (wait_until(lambda: run.status().transfer), run.request_stop()))
    asker.start()
    assert work(run) == 0
    asker.join()
    status = run.status()
    assert (status.state, status.transfer) == (State.STOPPED, None)
    assert not on_hub.ranges
    on_hub.bytes_a_second = 0
    again = new_run("second")
    assert work(again) == 0 and again.status().state is State.DONE
    assert on_hub.ranges and on_hub.ranges[0] != "bytes=0-"


@pytest.mark.parametrize("logged_in", [False, True])
def test_a_gated_model_says_what_to_click_and_how_to_log_in(
    on_hub: Hub,
    new_run: Callable[..., RunDirectory],
    work: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    logged_in: bool,
) -> None:
    on_hub.gated = {"club/tiny"}
    if logged_in:
        monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    run = new_run()
    assert work(run) == 1
    status = run.status()
    assert status.cause == "gated" and "accepted its terms" in status.reason
    assert f"{on_hub.address}/club/tiny" in status.hint and "Agree and access repository" in status.hint
    assert ("has not been let in" in status.hint) is logged_in
    assert ("hf auth login" in status.hint and "/settings/tokens" in status.hint) is not logged_in
    (finding,) = told_findings(run.name)
    assert finding["kind"] == "gated" and f"{on_hub.address}/club/tiny" in finding["advice"]


def test_missing_private_and_refused_are_told_apart_in_plain_words(on_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    on_hub.hidden, on_hub.members = {"club/tiny"}, {"hf_member"}
    for name in ("club/tiny", "club/none"):
        with pytest.raises(ModelError, match="none on the Hub by that name that you may see") as told:
            facts(name)
        assert "Check the spelling" in told.value.hint and "private" in told.value.hint and "hf auth login" in told.value.hint
    monkeypatch.setenv("HF_TOKEN", "hf_member")
    assert facts("club/tiny").parameters > 0
    on_hub.close()
    with pytest.raises(ModelError, match="cannot be reached"):
        facts("club/other")


def test_facts_of_a_model_are_known_before_it_is_downloaded(on_hub: Hub) -> None:
    on_hub.about["club/tiny"]["cardData"] = {"license": "mit"}
    on_hub.about["club/tiny"]["safetensors"] = {"parameters": {"F32": 60_000}, "total": 60_000}
    found = facts("club/tiny")
    assert (found.kind, found.parameters, found.licence, found.context) == ("hub", 60_000, "mit", 256)
    assert found.to_fetch == found.bytes_on_disk == len(on_hub.models["club/tiny"]["model.safetensors"]) and not found.gated
    assert "model.safetensors" not in on_hub.downloaded


@pytest.mark.parametrize("kept", [(), keys.HUB, keys.TEACHER])
def test_a_process_is_given_no_secret_but_those_it_is_to_have(kept: tuple[str, ...]) -> None:
    here = {"HF_TOKEN": "a", "AITRAINING_TEACHER_KEY": "b", "OPENAI_API_KEY": "c", "PATH": "/bin"}
    assert keys.without(here, kept).keys() == {"PATH", *(set(kept) & set(here))}


def test_the_terminal_shows_a_download(on_hub: Hub, new_run: Callable[..., RunDirectory]) -> None:
    run = new_run()
    moved = {"what": "club/tiny", "done": 1_500_000, "total": 3_000_000, "per_second": 250_000}
    run.log_event("transfer", **moved)
    run.update_status(state=State.STOPPED, reason="Stopped.")
    assert transferred(moved) == "1.5 of 3.0 MB, 0.2 MB a second"
    done = subprocess.run([sys.executable, "-m", "engine.cli", "follow", run.name], cwd=ROOT, capture_output=True, text=True)
    assert "club/tiny: 1.5 of 3.0 MB" in done.stderr
    assert events.read(run.events_file)[0]

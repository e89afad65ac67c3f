"""What NaN, a full disk or a careless hand leave in a run's folder: it never hides the other runs and never stops the queue."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from engine import api
from engine.errors import RunError
from engine.params import LLMTrainingParams
from engine.runs import launcher, line, queue
from engine.runs.directory import RunDirectory
from engine.runs.listing import delete, list_runs
from engine.runs.live import live
from engine.runs.status import State

# As a full disk, a crash of the machine, or an editor leave a status.json.
DAMAGED = {
    "empty": b"",
    "half": b'{"state": "training", "met',
    "no text": b"\xff\xfe\x00garbage",
    "another kind of JSON": b"[1, 2]",
    "null": b"null",
    "no state": b"{}",
    "an unknown state": b'{"state": "dancing"}',
    "metrics that are none": b'{"state": "done", "metrics": [1]}',
    "a time that is none": b'{"state": "done", "created": null}',
    "a time in words": b'{"state": "training", "launched": "x"}',
    "nested too deeply": b"[" * 100_000 + b"]" * 100_000,
}
# A worker of the first days wrote it, with Python's own words for what JSON cannot hold.
OLD = """{"state": "done", "created": 5.0, "started": 6.0, "ended": 9.0, "step": 4, "total_steps": 4, "best_step": 2,
"best_value": NaN, "metrics": {"loss": NaN, "grad_norm": Infinity, "eval_loss": -Infinity, "learning_rate": 0.001}}"""


def make_run(root: Path, name: str, **status: Any) -> RunDirectory:
    run = RunDirectory.create({"trainer": "sft", "model": "starter", "data_path": "x.csv"}, name, root)
    run.update_status(**status)
    return run


def strict(value: Any) -> Any:
    """Through JSON as browsers read it."""
    text = json.dumps(value, allow_nan=False)
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


# ---- numbers that are none -------------------------------------------------------------------------------------------


def test_a_run_whose_numbers_are_none_is_listed_and_shown(tmp_path: Path) -> None:
    measured = {"loss": math.nan, "grad_norm": math.inf, "eval_loss": -math.inf, "learning_rate": 0.001}
    run = make_run(tmp_path, "nan", state=State.FAILED, best_step=3, best_value=math.nan, metrics=measured)
    make_run(tmp_path, "sound", state=State.DONE, metrics={"loss": 1.5})
    json.loads(run.status_file.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))

    listed = {summary.name: summary for summary in list_runs(tmp_path)}
    assert set(listed) == {"nan", "sound"}
    assert listed["nan"].metrics == {"learning_rate": 0.001}  # what is no number is left out, the others stay
    assert listed["nan"].best_value is None
    assert listed["sound"].metrics == {"loss": 1.5}
    for summary in listed.values():
        strict(summary.to_dict())

    seen = strict(live(run, 0, 0))
    assert seen["status"]["metrics"] == {"learning_rate": 0.001}
    assert (seen["status"]["best_step"], seen["status"]["best_value"]) == (3, None)


def test_a_status_with_bare_nan_from_an_older_version_is_read(tmp_path: Path) -> None:
    run = make_run(tmp_path, "old")
    run.status_file.write_text(OLD)
    (summary,) = list_runs(tmp_path)
    assert (summary.name, summary.state, summary.step, summary.seconds) == ("old", "done", 4, 3.0)
    assert (summary.best_value, summary.metrics) == (None, {"learning_rate": 0.001})
    strict(summary.to_dict())
    assert strict(live(run, 0, 0))["status"]["metrics"] == {"learning_rate": 0.001}
    # and the first change of it makes it one that every program reads
    run.update_status(phase="x")
    strict(json.loads(run.status_file.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON")))


# ---- a status that cannot be read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_run_is_left_out_of_the_list_and_says_why_when_it_is_opened(tmp_path: Path, content: bytes) -> None:
    make_run(tmp_path, "sound", state=State.DONE)
    run = make_run(tmp_path, "broken", state=State.DONE)
    run.status_file.write_bytes(content)
    assert [summary.name for summary in list_runs(tmp_path)] == ["sound"]
    for ask in (run.status, run.written_status, lambda: live(run, 0, 0), lambda: run.update_status(step=1)):
        with pytest.raises(RunError, match=r"'broken' cannot be read: .*status\.json is damaged") as caught:
            ask()
        assert "`model`" in caught.value.hint  # what is left of it can be found
    assert run.status_file.read_bytes() == content  # and nothing was written over it


@pytest.mark.parametrize("content", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_run_holds_nobody_up(runs_root: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    started: list[str] = []
    monkeypatch.setattr(launcher, "start_worker", lambda run, environment: started.append(run.name))

    def waiting(name: str) -> RunDirectory:
        return queue.enqueue(LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name=name))

    broken, sound = waiting("broken"), waiting("sound")
    (line.folder(runs_root, ".active") / broken.name).touch()  # as if it had also been the one at work
    broken.status_file.write_bytes(content)
    queue.recover(runs_root)
    assert queue.position(sound.name, runs_root) == 0
    assert queue.position(broken.name, runs_root) is None
    assert queue.dispatch(runs_root) == ["sound"]
    assert started == ["sound"]
    assert not line.waiting(runs_root)
    assert [marker.name for marker in (runs_root / ".active").iterdir()] == ["sound"]
    queue.recover(runs_root)  # a damaged run is not put back in line
    assert "broken" not in str(line.waiting(runs_root))


def test_settings_that_are_no_settings_hide_no_other_run(tmp_path: Path) -> None:
    make_run(tmp_path, "sound", state=State.DONE)
    for number, content in enumerate(("[]", "", "[" * 100_000)):
        make_run(tmp_path, f"broken-{number}", state=State.DONE).params_file.write_text(content)
    assert [summary.name for summary in list_runs(tmp_path)] == ["sound"]


def test_a_damaged_run_can_be_deleted(tmp_path: Path) -> None:
    run = make_run(tmp_path, "broken", state=State.DONE)
    run.status_file.write_bytes(b"")
    delete(run)
    assert not run.path.exists()


# ---- the files beside it ---------------------------------------------------------------------------------------------

NO_OBJECT = {"empty": b"", "no text": b"\xff\xfe\x00", "half": b'{"a": ', "a list": b"[]", "too deep": b"[" * 100_000}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose workers would be started, in their order."""
    found: list[str] = []
    monkeypatch.setattr(launcher, "start_worker", lambda run, environment: found.append(run.name))
    return found


def waiting_run(name: str) -> RunDirectory:
    return queue.enqueue(LLMTrainingParams(trainer="sft", data_path="sample:neighbours", project_name=name))


@pytest.mark.parametrize("content", NO_OBJECT.values(), ids=list(NO_OBJECT))
def test_settings_of_a_run_that_waits_do_not_hide_the_queue(runs_root: Path, content: bytes) -> None:
    broken, _ = waiting_run("broken"), waiting_run("sound")
    broken.params_file.write_bytes(content)
    found, total, _, lines = api.queue.overview(0, 50)
    assert ([run.name for run in found], total, [line["name"] for line in lines]) == (["sound"], 1, ["sound"])
    with pytest.raises(RunError, match=r"'broken' cannot be read: .*params\.json is damaged"):
        api.run_report("broken")


def test_stray_files_in_the_folders_of_the_queue_stop_nothing(runs_root: Path, started: list[str]) -> None:
    (line.folder(runs_root, ".queue") / ".DS_Store").write_bytes(b"\x00\xff")
    (line.folder(runs_root, ".queue") / "notes.txt").touch()
    (line.folder(runs_root, ".active") / "gone").write_bytes(b"\xff\xfe")
    (line.folder(runs_root, ".active") / "folder").mkdir()
    (line.folder(runs_root, ".discard") / "gone").write_bytes(b"\xff\xfe")
    waiting_run("sound")
    queue.recover(runs_root)
    assert api.queue.overview(0, 50)[3][0]["name"] == "sound"
    assert queue.dispatch(runs_root) == ["sound"] == started
    assert (runs_root / ".queue/.DS_Store").exists()  # somebody else's


@pytest.mark.parametrize("content", NO_OBJECT.values(), ids=list(NO_OBJECT))
@pytest.mark.parametrize("file", ["upload.json", "job.json", "plan.json", "data.json"])
def test_a_run_is_shown_without_what_is_damaged(runs_root: Path, file: str, content: bytes) -> None:
    params = LLMTrainingParams(trainer="sft", data_path="sample:neighbours").model_dump(mode="json")
    run = RunDirectory.create(params, "run")
    run.update_status(state=State.STOPPED, started=1.0, ended=2.0)
    (run.path / file).write_bytes(content)
    assert api.run_report("run")["state"] == "stopped"
    shown = strict(api.live("run", 0, 0))["status"]
    assert (shown["job"], shown["upload"] is None) == (None, file != "upload.json")
    if file == "upload.json":
        assert (shown["upload"]["state"], "damaged" in shown["upload"]["error"]) == ("failed", True)
    if file == "job.json":  # a machine may be at work: none is rented besides it
        with pytest.raises(RunError, match=r"job\.json is damaged"):
            queue.resume(run)


MALFORMED = [
    '{"t": 1, "type": "metric"}',
    '{"t": 1, "type": "metric", "step": 1, "values": [1]}',
    '{"t": 1, "type": "metric", "step": 1, "values": {"loss": "low"}}',
    '{"t": 1, "type": "metric", "step": "one", "values": {"loss": 1}}',
    '{"type": "metric", "step": 1, "values": {"loss": 1}}',
    '{"t": 1, "type": "resumed"}',
    '{"t": 1, "type": "sample", "step": 1}',
    '{"t": 1, "type": "phase"}',
    '{"t": 1, "type": ["metric"]}',
    '{"t": 1}',
    "[" * 100_000,
]


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:60])
def test_a_malformed_event_hides_no_other(runs_root: Path, text: str) -> None:
    params = LLMTrainingParams(trainer="sft", data_path="sample:neighbours").model_dump(mode="json")
    run = RunDirectory.create(params, "run")
    run.update_status(state=State.STOPPED, started=1.0, ended=2.0)
    run.log_event("metric", step=1, values={"loss": 2.0})
    with run.events_file.open("a") as file:
        file.write(text + "\n")
    run.log_event("metric", step=2, values={"loss": 1.0})
    assert api.live("run", 0, 0)["curves"]["loss"] == ([1, 2], [2.0, 1.0])
    assert api.run_report("run")["name"] == "run"


def test_what_a_killed_delete_left_is_cleared_away_at_the_next_start(runs_root: Path) -> None:
    kept = make_run(runs_root, "kept", state=State.DONE)
    half = runs_root / ".deleted-gone" / "model"
    half.mkdir(parents=True)
    (half / "model.safetensors").touch()
    queue.recover(runs_root)
    assert not half.parent.exists() and kept.path.exists()

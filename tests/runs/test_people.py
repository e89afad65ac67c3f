"""Whose runs these are: a name means nothing of another person's, nothing is found for nobody, one queue serves all."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from engine import api, people
from engine.data.source import source_of
from engine.errors import DataError, ModelError, RunError, RunNotFound
from engine.lifetime import close_app, open_app
from engine.models import resolve
from engine.params import LLMTrainingParams
from engine.people import NobodyAsks, Person, acting
from engine.registry import parse
from engine.runs import launcher, line, queue
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.status import State
from engine.sweeps.drive import begun

ADA, BEN = Person("ada", "Ada"), Person("ben", "Ben")


@pytest.fixture
def shared(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runs folder of a server that people sign in to."""
    monkeypatch.setenv("AITRAINING_LOGINS", "people")
    monkeypatch.delenv("AITRAINING_PERSON", raising=False)
    for subject, name in (("1", "ada"), ("2", "ben")):
        people.signed_in(subject, name)
    return runs_root


def settings(**values: Any) -> LLMTrainingParams:
    return parse({"trainer": "sft", "model": "starter", "data_path": "sample:neighbours", **values})


def queued(person: Person, name: str) -> RunDirectory:
    with acting(person):
        return queue.enqueue(settings(project_name=name), request_id=name)


def test_nothing_is_found_for_nobody(shared: Path) -> None:
    queued(ADA, "one")
    for ask in (api.runs, api.model_choices, lambda: api.run_status("one"), lambda: api.stop("one"), api.pipelines.listed):
        with pytest.raises(NobodyAsks):
            ask()
    with pytest.raises(NobodyAsks):
        api.store_upload(__file__, "x.txt")
    found: list[object] = []

    def elsewhere() -> None:
        try:
            found.append(runs_root())
        except NobodyAsks as error:
            found.append(error)

    with acting(ADA):  # a thread of its own is of nobody, until it is told
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert isinstance(found[0], NobodyAsks)


def test_without_logins_all_is_the_one_persons(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AITRAINING_LOGINS", raising=False)
    monkeypatch.delenv("AITRAINING_PERSON", raising=False)
    run = queue.enqueue(settings(project_name="mine"))
    assert run.path == runs_root / "mine" and api.runs_root() == runs_root
    assert people.may_read(Path("/etc/passwd"))


def test_two_people_take_the_same_name_and_meet_nothing_of_each_other(shared: Path) -> None:
    hers, his = queued(ADA, "same"), queued(BEN, "same")
    assert (hers.path, his.path) == (shared / ".people" / "ada" / "same", shared / ".people" / "ben" / "same")
    (hers.path / "model").mkdir()
    (hers.path / "model" / "config.json").write_text("{}")
    only = queued(ADA, "hers-only")
    with acting(ADA):
        assert {run.name for run in api.runs()} == {"same", "hers-only"}
        assert resolve("same").path == hers.model_dir
    with acting(BEN):
        assert [run.name for run in api.runs()] == ["same"]
        assert resolve("same").kind == "hub", "his has no model, and hers is not his"
        for name in ("hers-only", "../ada/same", "ada~same", str(only.path), ".people/ada/same"):
            with pytest.raises(RunNotFound):
                RunDirectory.open(name)
        for path in (str(hers.path), str(hers.model_dir), f"{shared}/.people/ben/../ada/same/model"):
            with pytest.raises(ModelError, match="no model"):
                resolve(path)


def test_a_request_of_one_person_is_not_anothers(shared: Path) -> None:
    assert queued(ADA, "a").path != queued(BEN, "a").path
    with acting(BEN):
        assert queue.enqueue(settings(), request_id="a").path.parent.name == "ben"


@pytest.mark.parametrize("kind", ["people", "password"])
def test_what_may_be_read_is_ones_own_and_what_comes_with_the_studio(
    shared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setenv("AITRAINING_LOGINS", kind)
    person = ADA if kind == "people" else Person()
    own = person.folder
    for file in ("run/data/rows.jsonl", ".uploads/aa/rows.jsonl", ".uploads/.incoming/rows.jsonl", ".requests/x", ".login/key"):
        (own / file).parent.mkdir(parents=True, exist_ok=True)
        (own / file).write_text('{"text": "x"}\n')
    (shared / ".people" / "ben" / "rows.jsonl").write_text('{"text": "x"}\n')
    (own / ".uploads" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (tmp_path / "secret.jsonl").write_text('{"text": "x"}\n')
    with acting(person):
        for fine in (own / "run/data/rows.jsonl", own / ".uploads/aa/rows.jsonl", api.samples()[0].path):
            assert source_of(fine).files
        for file in (
            own / ".uploads/.incoming/rows.jsonl", own / ".requests/x", own / ".login/key", own / ".uploads/link.jsonl",
            shared / ".people/ben/rows.jsonl", tmp_path / "secret.jsonl", Path("/etc/passwd"), own, tmp_path,
        ):  # fmt: skip
            with pytest.raises(DataError, match="There is no file"):
                source_of(file)


def test_one_queue_serves_all_in_their_order(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[RunDirectory] = []
    monkeypatch.setattr(launcher, "start_worker", lambda run, environment: started.append(run))
    first, second, third = queued(ADA, "x"), queued(BEN, "x"), queued(BEN, "y")
    with acting(BEN):
        assert [queue.position(name, runs_root()) for name in ("x", "y")] == [1, 2]
        assert queue.dispatch(runs_root()) == ["x"], "whoever asks, the one that waits longest is started"
    assert [run.path for run in started] == [first.path]
    first.update_status(state=State.DONE, started=1.0, ended=2.0)
    assert queue.dispatch(shared) == ["x"] and started[1].path == second.path
    with acting(BEN):
        api.stop("y")
    second.update_status(state=State.DONE, started=1.0, ended=2.0)
    assert queue.dispatch(shared) == [] and third.status().state is State.STOPPED


def test_a_lost_place_in_the_queue_is_given_back_to_everybody(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "dispatch", lambda root: [])
    monkeypatch.setenv("AITRAINING_STANDBY", "0")
    queued(ADA, "x"), queued(BEN, "x")
    for called in line.waiting(shared):
        line.leave(shared, called)
    open_app()
    close_app()
    assert sorted(line.waiting(shared)) == ["ada~x", "ben~x"]


def test_a_process_works_for_the_owner_of_its_run_whoever_started_it(shared: Path) -> None:
    run = queued(ADA, "x")
    code = (
        "import sys; from pathlib import Path; from engine import people; from engine.runs.directory import runs_root\n"
        f"people.act_for_owner_of(Path({str(run.path)!r})); print(runs_root())"
    )
    with acting(BEN):
        env = launcher.worker_environment()
    assert env["AITRAINING_PERSON"] == "ben" and env["AITRAINING_LOGINS"] == "people"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(shared / ".people" / "ada")
    told = code.replace("people.act_for_owner_of", "id")
    asked = subprocess.run([sys.executable, "-c", told], env=env, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == str(shared / ".people" / "ben")


def test_a_folder_is_of_who_came_first_with_that_name(shared: Path) -> None:
    assert people.signed_in("1", "ada").id == "ada", "the same person again"
    assert people.signed_in("1", "lovelace").id == "ada", "under another name"
    assert people.signed_in("9", "Ada").id == "ada-2", "another person who has the name now"
    assert people.signed_in("10", "local").id == "local-2", "no folder is called as the person at this machine"
    assert people.signed_in("11", "../x").id == "x" and people.signed_in("12", "…").id == "person"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"subject": "1"'])
def test_a_damaged_folder_of_one_person_keeps_nobody_out(shared: Path, content: str) -> None:
    """It is nobody's until it is mended: to guess whose it was would give it to somebody else."""
    (shared / ".people" / "ada" / "person.json").write_text(content)
    assert people.signed_in("2", "ben").id == "ben" and people.signed_in("1", "ada").id == "ada-2"
    assert {person.id for person in people.everybody()} == {"", "ada", "ada-2", "ben"}, "their runs are started all the same"
    assert people.mark("ada") == "" != people.mark("ben")


def test_an_admin_names_another_persons_run_and_nobody_else_does(shared: Path) -> None:
    with acting(Person("grace", "grace", admin=True)):
        assert people.owner_and_name("ada~x") == (Person("ada", "ada"), "x")
        assert people.owner_and_name("local~x") == (Person("", "local"), "x")
        assert people.owner_and_name("../ada~x")[1] == "../ada~x" and people.owner_and_name("x")[1] == "x"
        assert {person.id for person in people.visible()} == {"grace", "", "ada", "ben"}
    with acting(ADA):
        assert people.owner_and_name("ben~x") == (ADA, "ben~x") and people.visible() == [ADA]


def test_nobody_lines_up_runs_without_end(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "dispatch", lambda root: [])
    monkeypatch.setenv("AITRAINING_RUNS_EACH", "2")
    settings = {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours"}
    with acting(ADA):
        api.start(api.validate(settings)), api.start(api.validate(settings))
        with pytest.raises(RunError, match="2 runs of yours wait or are at work"):
            api.start(api.validate(settings))
        asked = {"sweep": "rates", "settings": settings, "try": {"lr": [1e-4, 1e-3]}}
        with pytest.raises(RunError, match="this studio takes 2 of one person"), begun(api.sweeps.from_mapping(asked)):
            pass
    with acting(BEN):
        api.start(api.validate(settings))

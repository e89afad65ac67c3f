"""Nothing that is typed becomes a path out of the studio's own folders: every setting that there is, and every address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import httpx
import pytest

from engine import api
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from tests.hardening.conftest import RUN
from tests.login.doors import doors
from ui import shell

OUTSIDE = ["/etc/passwd", "../../../../../../etc/passwd", "~/.ssh/id_rsa", "/proc/self/environ", "file:///etc/passwd"]
# What is no path: words for a model, names of columns, layers and accounts. They are written into the run's own files.
WORDS = {
    "column_mapping": lambda text: {"prompt": text},
    "hub_model_id": str,
    "job_hardware": str,
    "job_owner": str,
    "sample_prompts": lambda text: [text],
    "student_prompt_template": lambda text: f"{text} {{input}}",
    "target_modules": str,
    "teacher_prompt_template": lambda text: f"{text} {{input}}",
}


def text_settings() -> dict[str, str]:
    """Every setting that takes free text -> a trainer that has it. A new one is here by itself."""
    found: dict[str, str] = {}
    for trainer, spec in api.specs().items():
        for name, field in spec.params.model_fields.items():
            if any(str in (kind, *get_args(kind)) for kind in (field.annotation, *get_args(field.annotation))):
                found.setdefault(name, trainer)
    return found


SETTINGS = text_settings()


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - WORDS.keys()))
def test_a_setting_that_may_be_a_path_leads_nowhere_else(studio: httpx.Client, name: str, path: str) -> None:
    """Whoever adds a setting of text has it refused as a path, or says among WORDS that it is none."""
    run = {**RUN, "trainer": SETTINGS[name], name: [path] if name == "rl_rewards" else path}
    if SETTINGS[name] == "distillation":
        run["data_path"] = "sample:town-crier"
    answer = studio.post("/studio/api/runs", json=run)
    assert answer.status_code == 422, f"{name} may be {path}"
    assert name in answer.json()["settings"], answer.text
    assert "root:" not in answer.text
    assert studio.get("/studio/api/runs").json() == []


@pytest.mark.parametrize("name", sorted(WORDS))
def test_words_stay_words(studio: httpx.Client, runs_root: Path, name: str) -> None:
    run = {**RUN, "trainer": SETTINGS[name], name: WORDS[name]("../../outside")}
    if SETTINGS[name] == "distillation":
        run |= {"data_path": "sample:town-crier", "teacher_model": "starter-instructed"}
        run["teacher_prompt_template"] = run.get("teacher_prompt_template", "Be short. {input}")
    answer = studio.post("/studio/api/runs", json=run)
    if answer.status_code == 201:
        assert Path(RunDirectory.open(answer.json()["name"]).path).parent == runs_root
    else:
        assert name in answer.json()["settings"], answer.text
    assert not (runs_root / ".." / ".." / "outside").exists()


@pytest.fixture
def neighbour(runs_root: Path) -> str:
    """A run beside one, and a file that is in no run."""
    run = RunDirectory.create({"trainer": "sft"}, "mine", runs_root)
    run.model_dir.mkdir()
    (run.model_dir / "config.json").write_text("{}")
    run.update_status(state=State.DONE)
    (run.path / "secret").write_text("canary")
    (runs_root.parent / "secret").write_text("canary")
    return run.name


ODD = ["..", "%2e%2e", "..%2f..", "%2e%2e%2f%2e%2e%2fsecret", "..%5c..", "....//", "%00", "mine%2f..", "/etc", "~", "."]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("odd", ODD)
def test_no_address_leads_out_of_a_run(studio: httpx.Client, runs_root: Path, neighbour: str, odd: str) -> None:
    """Every address that takes a name or a file's name, each method of it, asked with every spelling of the way up."""
    named = [door for door in doors(shell.own_routes()) if door.asks]
    assert len(named) > 30
    before = contents(runs_root.parent)
    for door in named:
        ways = [{"": odd, "action": action} for action in ("stop", "delete", "resume", "rename", "forget")]
        if "{file" in door.template:
            ways.append({"": neighbour, "file": f"{odd}/secret"})
        for path in dict.fromkeys(door.path(filled) for filled in ways):
            if door.method == "PUT" and "/data/" in path:
                continue  # an upload, whose name is looked at below
            answer = studio.request(door.method, path, json=None if door.method in ("GET", "HEAD") else {"name": odd})
            assert "canary" not in answer.text and answer.status_code < 500, f"{door.method} {path}: {answer.status_code}"
    assert contents(runs_root.parent) == before


@pytest.mark.parametrize(
    "name", ["../../outside.csv", "..%2foutside.csv", "/etc/cron.d/x.csv", "a%00b.csv", ".csv", "..", "con.csv"]
)
def test_an_uploaded_files_name_is_a_name(studio: httpx.Client, runs_root: Path, name: str) -> None:
    answer = studio.put(f"/studio/api/data/{name}", content=b"question,answer\na,b\n")
    if answer.status_code == 201:
        kept = Path(answer.json()["data_path"]).resolve()
        assert kept.is_relative_to(runs_root / ".uploads") and kept.read_bytes() == b"question,answer\na,b\n"
    assert not list(runs_root.parent.glob("outside*")) and not Path("/etc/cron.d/x.csv").exists()


def test_a_run_is_named_like_a_folder_and_lies_in_the_runs(studio: httpx.Client, runs_root: Path) -> None:
    for name in ("../x", "a/b", "..", ".hidden", "a\0b", "x" * 300, "a\nb"):
        answer = studio.post("/studio/api/runs", json={**RUN, "project_name": name})
        assert answer.status_code == 422 and "project_name" in answer.json()["settings"], json.dumps(name)
    assert not [path for path in runs_root.glob("*") if not path.name.startswith(".")]

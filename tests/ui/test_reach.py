"""A page that is served to others reads no file that was not given to it; on one's own machine it reads what one can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from engine import api
from engine.errors import ParamError
from engine.runs.directory import RunDirectory
from ui.new_pipeline import Page as PipelinePage
from ui.new_run import Page
from ui.reach import (
    refuse_foreign,
    refuse_foreign_sweep,
    refuse_renting_again,
    refuse_renting_stages,
    refuse_renting_tries,
)


def test_on_this_machine_every_path_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AITRAINING_HOST", raising=False)
    refuse_foreign({"data_path": "/etc/passwd"})


@pytest.mark.parametrize("name", ["data_path", "valid_path", "model", "model_ref", "rl_reward_model_path"])
@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "~/secrets.csv", "/nowhere/at/all"])
def test_a_served_page_names_no_foreign_file(runs_root: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str) -> None:
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    with pytest.raises(ParamError, match="served to others"):
        refuse_foreign({name: path})


def test_a_link_out_of_the_uploads_is_foreign(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    (runs_root / ".uploads").mkdir(parents=True)
    (runs_root / ".uploads" / "link").symlink_to("/etc/passwd")
    with pytest.raises(ParamError):
        refuse_foreign({"data_path": str(runs_root / ".uploads" / "link")})


def test_a_served_page_keeps_samples_runs_uploads_and_the_hub(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    (runs_root / ".uploads").mkdir(parents=True)
    (runs_root / ".uploads" / "rows.csv").write_text("text\nx\n")
    for path in ("sample:neighbours", "org/name", str(runs_root / ".uploads" / "rows.csv")):
        refuse_foreign({"data_path": path, "model": "starter"})


def test_a_part_of_a_foreign_folder_is_foreign(runs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    (tmp_path / "secrets").mkdir()
    monkeypatch.chdir(tmp_path)
    for path in ("secrets:train", "./secrets:main:train", f"{tmp_path}/secrets:train"):
        with pytest.raises(ParamError, match="served to others"):
            refuse_foreign({"data_path": path})
    refuse_foreign({"data_path": "org/name:main:train"})


def test_a_served_page_uploads_nothing_in_its_owners_name(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_foreign({"data_path": "sample:neighbours", "push_to_hub": True})  # on this machine alone
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    with pytest.raises(ParamError, match="uploads nothing"):
        refuse_foreign({"data_path": "sample:neighbours", "push_to_hub": True})


def test_a_served_page_rents_no_machine_on_its_owners_account(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rented = {"data_path": "sample:neighbours", "compute": "hf-jobs", "job_hardware": "a10g-small", "job_owner": "acme"}
    run = RunDirectory.create({"trainer": "sft", "project_name": "dear", **rented}, "dear")
    refuse_foreign(rented)  # on this machine alone
    refuse_renting_again(run.name)
    sweep = {"sweep": "s", "settings": {"trainer": "sft", **rented}, "try": {"lr": [1e-3, 1e-4]}}
    axis = {"sweep": "s", "settings": {"trainer": "sft", "data_path": "sample:neighbours"}, "try": {"compute": ["hf-jobs"]}}
    for host, logins in (("0.0.0.0", "password"), ("127.0.0.1", "people")):
        monkeypatch.setenv("AITRAINING_HOST", host)
        monkeypatch.setenv("AITRAINING_LOGINS", logins)
        with api.people.acting(api.people.Person()):
            refuse_foreign({"data_path": "sample:neighbours", "compute": "local"})
            with pytest.raises(ParamError, match="rents no machines") as caught:
                refuse_foreign(rented)
            assert caught.value.problems[0].field == "compute"
            with pytest.raises(ParamError, match="rents no machines"):
                refuse_renting_again(run.name)
            for asked in (sweep, axis):
                with pytest.raises(ParamError, match="rents no machines"):
                    refuse_foreign_sweep(api.sweeps.from_mapping(asked))


@pytest.mark.parametrize(("host", "offered"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_a_served_page_offers_no_machine_to_rent_and_says_why(
    monkeypatch: pytest.MonkeyPatch, host: str, offered: bool
) -> None:
    monkeypatch.setenv("AITRAINING_HOST", host)
    with gr.Blocks() as blocks:
        form = Page().form
    told = " ".join(str(block.value) for block in blocks.blocks.values() if isinstance(block, gr.HTML))
    config = next(one for one in blocks.get_config_file()["components"] if one["props"].get("elem_id") == "field-compute")
    assert [name for _, name in config["props"]["choices"]] == (["local", "hf-jobs"] if offered else ["local"])
    # settings that came with a rented machine are told, and can be changed
    assert form.widgets["compute"].preprocess("hf-jobs") == "hf-jobs" and form.widgets["compute"].interactive
    assert ("rents no machines on its owner" in told) is not offered


def test_a_served_page_takes_no_configuration_that_may_name_files_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"zero_optimization": {"stage": 2}, "tensorboard": {"enabled": True, "output_path": "/etc"}}
    refuse_foreign({"data_path": "sample:neighbours", "deepspeed": config})  # on this machine alone
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    with pytest.raises(ParamError, match="no configuration of DeepSpeed"):
        refuse_foreign({"data_path": "sample:neighbours", "deepspeed": config})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_browser_names_no_program_unless_the_app_was_started_so(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("AITRAINING_HOST", host)
    monkeypatch.delenv("AITRAINING_ALLOW_PYTHON_REWARDS", raising=False)
    refuse_foreign({"rl_rewards": ["keyword: python: x.py:f"]})
    with pytest.raises(ParamError, match="AITRAINING_ALLOW_PYTHON_REWARDS=1") as caught:
        refuse_foreign({"rl_rewards": ["json", " 2 * python: x.py:f"]})
    assert caught.value.problems[0].field == "rl_rewards"
    for text in (
        "python: x.py:f",
        "json\n2 * python: x.py:f",
        ["json\n python: x.py:f"],
    ):  # a setting is lines, however it comes
        with pytest.raises(ParamError, match="runs no Python file"):
            refuse_foreign({"rl_rewards": text})
    monkeypatch.setenv("AITRAINING_ALLOW_PYTHON_REWARDS", "1")
    refuse_foreign({"rl_rewards": ["python: x.py:f"]})


def test_a_served_page_asks_no_other_servers_and_reads_no_foreign_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"data_path": "sample:town-crier", "teacher_endpoint": "http://attacker/v1", "teacher_model": "m"}
    refuse_foreign(asked)  # on this machine alone
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    with pytest.raises(ParamError, match="asks no other servers"):
        refuse_foreign(asked)
    with pytest.raises(ParamError, match="uploaded files"):
        refuse_foreign({"teacher_model": "/etc"})
    refuse_foreign({"teacher_model": "starter-instructed"})


def test_a_served_page_does_not_go_on_with_what_rents(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the owner began from the command line: each resumed stage and run would be paid for once more."""
    settings = {"trainer": "sft", "data_path": "sample:neighbours", "compute": "hf-jobs", "job_hardware": "a10g-small"}
    pipeline = api.pipelines.from_mapping({"pipeline": "p", "stages": {"only": settings}})
    sweep = api.sweeps.from_mapping({"sweep": "s", "settings": settings, "try": {"lr": [1e-3, 1e-4]}})
    monkeypatch.setattr(api.pipelines, "declared", lambda name: pipeline)
    monkeypatch.setattr(api.sweeps, "declared", lambda name: sweep)
    refuse_renting_stages("p")  # on this machine alone
    refuse_renting_tries("s")
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    with pytest.raises(ParamError, match="rents no machines"):
        refuse_renting_stages("p")
    with pytest.raises(ParamError, match="rents no machines"):
        refuse_renting_tries("s")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("made", [Page, PipelinePage])
def test_the_page_asks_for_a_path_only_where_it_would_take_one(monkeypatch: pytest.MonkeyPatch, host: str, made: Any) -> None:
    monkeypatch.setenv("AITRAINING_HOST", host)
    with gr.Blocks():
        page = made()
    widgets: list[Any] = [page.form.widgets[name] for name in ("data_path", "model")]
    words = " ".join(f"{widget.label} {widget.info}" for widget in widgets)
    assert "org/name" in words
    if host == "127.0.0.1":
        assert "file on this machine" in words and "folder on this machine" in words and "A path to" in words
    else:
        assert "path" not in words and "this machine" not in words and "files are uploaded" in words

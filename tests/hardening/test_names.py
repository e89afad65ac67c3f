"""Names that no file can have, in every place that takes one: they are told, and end nothing."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from engine import api, cli, people
from engine.errors import DataError, ModelError, ParamError, StudioError
from engine.pipelines.asked import asked
from engine.sweeps.python_api import run_sweep
from tests.hardening.conftest import RUN
from ui.reach import refuse_foreign

HOMELESS = "~nobody-of-this-name/x"
LONG = "x" * 5000


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("name", ["model", "data_path", "valid_path"])
@pytest.mark.parametrize("text", [HOMELESS, f"{HOMELESS}:train", LONG, f"a/{'x' * 300}"], ids=["~", "~:", "long", "part"])
def test_a_run_with_a_name_that_is_none_is_told(
    studio: httpx.Client, monkeypatch: pytest.MonkeyPatch, host: str, name: str, text: str
) -> None:
    monkeypatch.setenv("AITRAINING_HOST", host)
    answer = studio.post("/studio/api/runs", json={**RUN, name: text})
    served = host == "0.0.0.0"
    wanted = 422 if served or not text.startswith("~") else 201  # here a file that is not there fails the run, as any other
    assert answer.status_code == wanted, answer.text
    if wanted == 422:
        assert name in answer.json()["settings"]
    else:
        assert studio.get(f"/studio/api/runs/{answer.json()['name']}").status_code == 200


def test_it_is_refused_where_it_is_only_looked_at(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (HOMELESS, f"{HOMELESS}:train"):
        with pytest.raises(DataError, match="There is no file '~nobody"):
            api.inspect_data(text)
    with pytest.raises(ModelError, match="There is no model '~nobody"):
        api.model_facts(HOMELESS)
    for look in (api.inspect_data, api.model_facts):
        with pytest.raises(ParamError, match="5,000 characters, more than the name of a file"):
            look(LONG)
    with pytest.raises(StudioError, match="cannot be read"):
        asked(f"{HOMELESS}.yaml")
    with pytest.raises(StudioError, match="cannot be read"):
        run_sweep(f"{HOMELESS}.yaml")
    monkeypatch.setenv("AITRAINING_HOST", "0.0.0.0")
    for text in (HOMELESS, LONG):
        with pytest.raises(ParamError, match="served to others"):
            refuse_foreign({"data_path": text})


def test_a_runs_folder_in_the_home_of_nobody_ends_no_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AITRAINING_HOME", HOMELESS)
    assert people.machine_root() == tmp_path / HOMELESS
    assert cli.main(["runs"]) == 0 and "Traceback" not in capsys.readouterr().err


def test_a_long_name_of_a_sent_file_is_shortened(studio: httpx.Client) -> None:
    sent = studio.put(f"/studio/api/data/{'x' * 300}.csv", content="a,b\n")
    assert sent.status_code == 201 and Path(sent.json()["data_path"]).name.endswith("x.csv")

"""Every trainer exports a program that compiles and is free of us, or is declared a call of our engine; whatever the data."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import LLMTrainingParams, Run
from engine.cli import main
from engine.data import prepare
from engine.device import device
from engine.errors import RunError
from engine.export.bundle import export
from engine.models import STARTER, facts
from engine.plan import DataFacts, plan
from engine.registry import parse, specs
from engine.runs.directory import RunDirectory, write_json
from engine.runs.status import State
from engine.spec import TrainerSpec
from tests.contract.conftest import numbered

EVERY = pytest.mark.parametrize("spec", specs().values(), ids=list(specs()))
OURS = {"engine", "ui", "app", "aitraining"}
# What a person could write into data, names and prompts so that it would become code if text were ever pasted in.
HOSTILE = "\"\"\"'''\\\n\r\x0c\u2028\x85{x}%s\x00#\nimport os; os.abort()\n"


def prepared(root: Path, spec: TrainerSpec, name: str = "one", rows: int = 30, **values: Any) -> RunDirectory:
    """A run as it stands when its training begins: rows prepared, settings chosen, nothing trained."""
    data = root / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in numbered(spec, rows)), encoding="utf-8")
    params = LLMTrainingParams(**{"trainer": spec.id, "data_path": str(data), **spec.example_settings, **values})
    run = RunDirectory.create(params.model_dump(mode="json"), name, root)
    made = prepare(data, spec.rows, run.data_dir, valid_fraction=params.valid_fraction, seed=params.seed)
    write_json(run.data_file, made.to_dict())
    counted = DataFacts(rows=made.train_rows + made.valid_rows, liked=made.liked)
    write_json(run.plan_file, plan(params, counted, facts(STARTER), device()).to_dict())
    return run


def imported(script: str) -> set[str]:
    """The packages that a program imports, wherever in it."""
    found = set[str]()
    for node in ast.walk(ast.parse(script)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    return found


def untidy(script: Path) -> str:
    """What a linter says of a program: names that are not there, imports that nobody uses, a form that nobody would write."""
    said = ""
    for words in (["check", "--select", "F"], ["format", "--diff", "--line-length", "128"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *words, "--isolated", str(script)], capture_output=True, text=True)
        said += "" if done.returncode == 0 else done.stdout + done.stderr
    return said


def plain(node: ast.Import | ast.ImportFrom) -> bool:
    """Whether an import is of Python's own library."""
    module = str(node.module) if isinstance(node, ast.ImportFrom) else node.names[0].name
    return module.split(".")[0] in sys.stdlib_module_names


@EVERY
@pytest.mark.parametrize("peft", [False, True], ids=["full", "lora"])
def test_every_trainer_exports(spec: TrainerSpec, peft: bool, tmp_path: Path) -> None:
    run = prepared(tmp_path, spec, peft=peft, gradient_accumulation=2, early_stopping_patience=2)
    program = export(run).write(tmp_path / "out")
    script = program.read_text(encoding="utf-8")
    assert untidy(program) == ""
    assert (imported(script) & OURS == set()) == (spec.export is not None)
    for part in ("train", "valid"):
        assert (tmp_path / "out" / "data" / f"{part}.jsonl").read_bytes() == (run.data_dir / f"{part}.jsonl").read_bytes()
    if spec.export is not None:
        assert "pip install torch==" in script and "trl==1.16" in script
        assert "suits" in script, "the reason of a chosen setting stands beside it"
        assert max(map(len, script.splitlines())) <= 128
    again = parse(yaml.safe_load((tmp_path / "out" / "settings.yaml").read_text(encoding="utf-8")))
    assert again == parse(run.plan()["params"]).model_copy(update={"project_name": None})


@EVERY
def test_nothing_from_a_person_becomes_code(spec: TrainerSpec, tmp_path: Path) -> None:
    run = prepared(tmp_path, spec)
    hostile = {"model": HOSTILE, "data_path": HOSTILE, "target_modules": f"a,{HOSTILE}", "sample_prompts": [HOSTILE]}
    hostile |= {name: HOSTILE for name in ("teacher_prompt_template", "model_ref") if name in spec.params.model_fields}
    hostile |= {"rl_reward_model_path": HOSTILE} if "rl_reward_model_path" in spec.params.model_fields else {}
    chosen = run.plan()
    reasons = dict.fromkeys([*chosen["reasons"], "max_length"], HOSTILE)
    for peft in (False, True):
        values = {**chosen["params"], **hostile, "peft": peft}
        for file, text in ((run.plan_file, {**chosen, "params": values, "reasons": reasons}), (run.params_file, values)):
            file.write_text(json.dumps(text), encoding="utf-8")
        for beside in (True, False):
            script = export(run, beside=beside).script
            script.encode()
            calls = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Attribute) and node.attr == "abort"]
            assert not calls and "os" not in imported(script)
            words = [node.value for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Constant)]
            assert HOSTILE in words, "the name is there, whole, as a value"


@pytest.mark.parametrize("name", ["length: 20-40", "regex: \"'\\\\\nimport os", 'keyword: a\'b"""c', "match: answer", "json"])
def test_rewards_are_written_out_and_score_the_same(name: str, tmp_path: Path) -> None:
    from engine.rewards import read

    spec = specs()["grpo"]
    script = export(prepared(tmp_path, spec, rl_rewards=[f"2 * {name}", "no-repeat"])).script
    # what scores, from its first line to `total`, without what trains
    body = ast.parse(script).body
    place = {ast.unparse(node).split("(")[0].split(" =")[0]: number for number, node in enumerate(body)}
    scoring = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom) and plain(node)]
    scoring += body[place["Row"] : place["def total"] + 1]
    room: dict[str, Any] = {}
    exec(compile(ast.Module(scoring, []), "rewards", "exec"), room)
    rewards = read([f"2 * {name}", "no-repeat"])
    answers = ["At six.", "at six at six at six at six", "{}", 'a\'b"""c', ""]
    rows = [{"prompt": "When?", "answer": "At six"}] * len(answers)
    ours = rewards.total(rewards([row["prompt"] for row in rows], answers, rows))
    assert room["total"]([row["prompt"] for row in rows], answers, rows) == ours


def test_what_trl_refuses_is_a_call_of_our_engine_and_says_why(tmp_path: Path) -> None:
    refused = {"sft": {"peft": True, "target_modules": "q_proj, lm_head"}, "kto": {"batch_size": 1}}
    for name, values in refused.items():
        script = export(prepared(tmp_path, specs()[name], name=name, **values)).script
        assert imported(script) & OURS and "refuses" in script
    kept = {"orpo": refused["sft"], "kto": {"batch_size": 1, "kto_loss": "apo_zero_unpaired"}}
    for name, values in kept.items():
        assert not imported(export(prepared(tmp_path, specs()[name], name=f"{name}-2", **values)).script) & OURS


def test_a_file_of_ones_own_goes_along(tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text("def short(prompts, completions, rows):\n    return [-len(text) for text in completions]\n")
    run = prepared(tmp_path, specs()["grpo"], rl_rewards=[f"python: {own}:short"])
    export(run).write(tmp_path / "out")
    assert (tmp_path / "out" / "rewards" / "1" / "mine.py").read_text() == own.read_text()
    for own_files in (True, False):  # a server that is read by others gives away no files but those of its runs
        export(run).zip(packed := io.BytesIO(), own_files=own_files)
        names = zipfile.ZipFile(packed).namelist()
        assert ("one/rewards/1/mine.py" in names) is own_files and "one/data/train.jsonl" in names


def test_rows_of_an_engine_call_are_read_as_they_were(tmp_path: Path) -> None:
    for spec in (one for one in specs().values() if one.export is None):
        run = prepared(tmp_path, spec, name=spec.id)
        export(run).write(tmp_path / spec.id / "out")
        data = tmp_path / spec.id / "out" / "data"
        prepare(data / "train.jsonl", spec.rows, tmp_path / spec.id / "again", valid_path=data / "valid.jsonl")
        for part in ("train", "valid"):
            again = (tmp_path / spec.id / "again" / f"{part}.jsonl").read_bytes()
            assert again == (run.data_dir / f"{part}.jsonl").read_bytes()


def test_no_secret_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AITRAINING_TEACHER_KEY"):
        monkeypatch.setenv(name, "s3cr3t-of-mine")
    for spec in specs().values():
        made = export(prepared(tmp_path, spec, name=spec.id))
        assert "s3cr3t" not in made.script + made.yaml


@EVERY
def test_a_run_that_came_to_nothing_exports_with_its_settings(spec: TrainerSpec, runs_root: Path) -> None:
    params = LLMTrainingParams(
        trainer=spec.id, data_path="nowhere.csv", model="no such model", lr=0.00123, **spec.example_settings
    )
    run = RunDirectory.create(params.model_dump(mode="json"), "failed", runs_root)
    run.write_status(replace(run.written_status(), state=State.FAILED, reason="There is no such file."))
    made = export(run)
    ast.parse(made.script)
    assert "0.00123" in made.script and "lr: 0.00123" in made.yaml
    if spec.export is not None:
        assert "nowhere.csv" in made.script and json.dumps(spec.example_rows[0])[:12] in made.script


def test_a_run_that_was_stopped_says_so_and_goes_on_to_its_end(tmp_path: Path) -> None:
    run = prepared(tmp_path, specs()["sft"], max_steps=50)
    run.write_status(replace(run.written_status(), state=State.STOPPED, step=7, total_steps=40))
    script = export(run).script
    assert "stopped at step 7 of 40" in script and "max_steps=40," in script


def test_from_the_terminal_and_from_python(
    runs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_root.mkdir()
    run = prepared(runs_root, specs()["sft"])
    monkeypatch.chdir(tmp_path)
    assert main(["export", "one"]) == 0
    assert "one-export/train.py" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "one-export").iterdir()) == ["data", "settings.yaml", "train.py"]
    assert main(["export", "one"]) == 1, "what may have been changed is not written over"
    assert "may have been changed" in capsys.readouterr().err
    assert main(["export", "one", "--out", "-"]) == 0
    printed = capsys.readouterr().out
    ast.parse(printed)
    assert str(run.path) in printed, "a program that stands alone reads the rows where the run has them"
    assert main(["export", "one", "--yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["trainer"] == "sft"
    assert main(["export", "one", "--yaml", "--out", "settings"]) == 0
    assert (tmp_path / "settings" / "settings.yaml").is_file()
    assert main(["export", "nobody"]) == 1
    assert Run("one").export(tmp_path / "mine") == tmp_path / "mine" / "train.py"
    with pytest.raises(RunError, match="exists"):
        Run("one").export(tmp_path / "mine")

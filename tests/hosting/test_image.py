"""What must hold of the image, without building it. tests/hosting/image.py carries its steps out, and is run by hand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from engine.deploy.dockerfile import Step, copied, steps
from engine.deploy.files import files_of

ROOT = Path(__file__).resolve().parents[2]
STEPS = steps(ROOT / "Dockerfile")
ENV = {name: value for step in STEPS if step.name == "ENV" for name, value in step.assigned().items()}
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def one(name: str) -> Step:
    (found,) = [step for step in STEPS if step.name == name]
    return found


def test_what_is_copied_is_there_and_enough_to_install_and_serve() -> None:
    sent = files_of(ROOT)
    for source in copied(ROOT / "Dockerfile"):
        assert [name for name in sent if name == source or name.startswith(f"{source}/")], source
    packages = {name.split("/")[0] for name in sent if name.endswith(".py")}
    assert packages == {"app.py", "engine", "ui", "scripts"}
    assert {"pyproject.toml", "constraints.txt", "README.md", "assets/starter/model.safetensors"} <= set(sent)
    assert sum((ROOT / name).stat().st_size for name in sent) < 12e6


def test_what_docker_leaves_out_is_not_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines and let_in == set(copied(ROOT / "Dockerfile"))


def test_it_runs_as_nobody_special_on_the_port_of_a_space() -> None:
    assert one("USER").words == "1000"
    assert not [step for step in STEPS[STEPS.index(one("USER")) :] if step.name == "COPY" and "--chown=1000" not in step.words]
    readme = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert one("EXPOSE").words == ENV["PORT"] == str(readme["app_port"]) == "7860"
    assert ENV["AITRAINING_HOST"] == "0.0.0.0"
    assert one("ENTRYPOINT").argv()[0] == "tini" and one("CMD").argv() == ["python", "app.py"]


def test_what_is_to_be_kept_lies_in_its_volume_and_not_where_a_space_mounts_storage() -> None:
    volume = one("VOLUME").words
    assert all(ENV[name].startswith(f"{volume}/") for name in ("AITRAINING_HOME", "HF_HOME"))
    assert "/data" not in (ROOT / "Dockerfile").read_text(), "a folder there would be taken for storage that stays"
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["studio"]
    assert service["volumes"][0].endswith(f":{volume}") and service["ports"] == ["127.0.0.1:7860:7860"]


# What the container says itself or the studio its own processes, and what is for Spaces alone.
NOT_ASKED = {"PORT", "GRADIO_TEMP_DIR", "AITRAINING_HOST", "AITRAINING_HOME", "HF_HOME", "AITRAINING_CONTAINER"}
NOT_ASKED |= {"AITRAINING_TORCH", "AITRAINING_PERSON", "AITRAINING_LOGINS", "AITRAINING_ALL_GPUS"}
NOT_ASKED |= {"AITRAINING_ADMINS", "AITRAINING_SHARED_TOKEN", "AITRAINING_STORAGE"}
# A key that many have in their shell for something else: AITRAINING_TEACHER_KEY hands over one that is meant.
NOT_ASKED |= {"OPENAI_API_KEY"}


def test_compose_hands_over_what_the_docs_name_and_no_value_of_its_own() -> None:
    """Else a password never arrives, and another one is made up with every restart."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    table = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").split("## Environment\n")[1].split("\n## ")[0]
    named = {
        name for line in table.splitlines() for name in re.findall(r"`([A-Z_]{4,})`", line.split("|")[1] if "|" in line else "")
    }
    assert {"AITRAINING_PASSWORD", "HF_TOKEN"} < named
    for service in services.values():
        assert set(service["environment"]) == named - NOT_ASKED, "a bare name is taken from the shell or from .env"
    assert named >= NOT_ASKED


def test_everything_is_pinned() -> None:
    base = one("FROM").words
    assert re.fullmatch(r"python:3\.1[12]-slim-bookworm", base)
    installs = [step.words for step in STEPS if step.name == "RUN" and "pip install" in step.words]
    assert all("--constraint constraints.txt" in words or "--no-deps" in words for words in installs) and len(installs) == 2
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = dict(re.findall(r"^([\w.-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    names = {name.lower().replace("_", "-") for name in pinned}
    asked = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["cuda"]]
    asked += project["dependency-groups"]["dev"]
    assert [wish for wish in asked if re.split(r"[<>=~\[; ]", wish)[0].lower().replace("_", "-") not in names] == []
    assert all("<" in wish for wish in asked), "no upper bound"


@pytest.mark.parametrize(("kind", "bitsandbytes"), [("cpu", False), ("cuda", True)])
def test_the_layer_of_libraries_is_what_the_project_asks_for(kind: str, bitsandbytes: bool) -> None:
    argv = [sys.executable, str(ROOT / "scripts" / "list_dependencies.py"), kind]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert listed[: len(asked)] == asked
    assert any(line.startswith("bitsandbytes") for line in listed) == bitsandbytes


def test_torch_is_for_the_processor_or_for_a_gpu_and_for_nothing_else() -> None:
    argv = ["sh", "scripts/install_torch.sh", sys.executable, "tpu"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "cpu or cuda" in done.stderr


@pytest.mark.skipif(HADOLINT is None, reason="hadolint comes with the development tools on Linux")
def test_a_linter_of_dockerfiles_has_nothing_to_say() -> None:
    done = subprocess.run([str(HADOLINT), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


# ---- the front matter of a Space ---------------------------------------------------------------------------------------


def test_the_readme_configures_a_space() -> None:
    head = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert head["sdk"] == "docker" and {head["colorFrom"], head["colorTo"]} <= colours and len(head["emoji"]) == 1
    assert len(head["short_description"]) <= 60 and head["title"] and head["tags"]
    assert head["suggested_hardware"] == "cpu-basic"
    assert head["hf_oauth"] is True
    assert "hf_oauth_scopes" not in head, "who somebody is, is all that is asked while nothing uses more"

"""`aitraining deploy`: the real client of the Hub against a server of the tests' own. No token and no run is ever sent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from engine.cli import main
from engine.deploy import files
from engine.deploy.dockerfile import copied
from engine.errors import DeployError
from tests.hub_server import Hub
from tests.space_server import Space

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hf_SECRETofTheTests"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


def deploy(hub: Hub, home: Path, *words: str, token: str = TOKEN, **more: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, since huggingface_hub reads address and token when it is imported."""
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": token}
    argv = [sys.executable, "-m", "engine.cli", "deploy", *words]
    return subprocess.run(argv, cwd=ROOT, env={**environment, **more}, capture_output=True, text=True, timeout=120, check=False)


def test_a_space_is_made_with_all_it_needs_and_brought_up_to_date(hub: Hub, tmp_path: Path) -> None:
    words = ["--space", "studio", "--hardware", "t4-small", "--sleep", "3600", "--storage", "--json"]
    words += ["--variable", "AITRAINING_STANDBY=0", "--secret", "MY_SECRET"]
    done = deploy(hub, tmp_path, *words, MY_SECRET="between-us")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"space": "me/studio", "address": f"{hub.address}/spaces/me/studio", "created": True, "files": told["files"]}
    space = hub.spaces["me/studio"]
    assert space.private and space.sdk == "docker"
    assert space.variables == {"TORCH": "cuda", "AITRAINING_STANDBY": "0"} and space.secrets == {"MY_SECRET": "between-us"}
    assert space.volumes == [{"type": "bucket", "source": "me/studio-storage", "mountPath": "/data"}]
    assert space.buckets["me/studio-storage"]["visibility"] == "private"
    assert space.hardware == {"flavor": "t4-small", "sleepTimeSeconds": 3600}
    assert space.happened[-1] == "commit", "it builds when all the rest is in place"
    for name in ("Dockerfile", "app.py", "engine/cli.py", "assets/starter/model.safetensors", "constraints.txt"):
        assert space.files[name] == (ROOT / name).read_bytes()
    assert not [name for name in space.files if name.startswith(("tests", "docs", "runs", "assets/build", ".git/"))]
    assert hub.tokens == {TOKEN} and TOKEN not in done.stdout + done.stderr
    assert TOKEN.encode() not in b"".join(space.files.values()) and "between-us" not in done.stdout + done.stderr

    _, head, rest = space.files["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(head)["sdk"] == "docker"
    assert "](docs/" not in rest and "<img" not in rest and rest.strip().startswith("# AITraining Studio")

    space.files["engine/old.py"] = b"gone from the checkout since"
    again = deploy(hub, tmp_path, "--space", "me/studio", "--no-private")
    assert again.returncode == 0, again.stderr
    assert f"{hub.address}/spaces/me/studio" in again.stdout
    assert "engine/old.py" not in space.files and ".gitattributes" in space.files
    assert space.private and space.hardware["flavor"] == "t4-small", "what exists stays as it is"


def test_another_persons_space_and_another_kind_of_space_are_left_alone(hub: Hub, tmp_path: Path) -> None:
    done = deploy(hub, tmp_path, "--space", "ada/studio")
    assert done.returncode == 1 and "logged in as me" in done.stderr and "me/studio" in done.stderr
    hub.spaces["me/game"] = Space(files={"app.py": b"a game"})
    done = deploy(hub, tmp_path, "--space", "me/game", "--hardware", "cpu-basic")
    assert done.returncode == 1 and "holds something else" in done.stderr
    assert hub.spaces["me/game"].files == {"app.py": b"a game"} and hub.spaces["me/game"].happened == []


def test_what_keeps_it_from_being_made_is_said_plainly(hub: Hub, tmp_path: Path) -> None:
    done = deploy(hub, tmp_path, "--space", "me/studio", token="")
    assert done.returncode == 1 and "Nobody is logged in" in done.stderr and "HF_TOKEN" in done.stderr
    done = deploy(hub, tmp_path, "--space", "me/a studio")
    assert done.returncode == 1 and "cannot be the name of a Space" in done.stderr
    for code, words in ((403, "does not let this account write"), (402, "wants to be paid")):
        hub.refuses = code
        done = deploy(hub, tmp_path, "--space", "me/studio", "--hardware", "a100-large")
        assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--secret", "NOT_SET"), "NOT_SET"), (("--secret", "KEY=value"), "no value"), (("--variable", "KEY"), "NAME=VALUE")],
)
def test_a_secret_stands_on_no_command_line(capsys: pytest.CaptureFixture[str], words: tuple[str, str], said: str) -> None:
    assert main(["deploy", "--space", "me/studio", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_hub_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    with Hub() as gone:
        pass
    done = deploy(gone, tmp_path, "--space", "me/studio")
    assert done.returncode == 1 and "cannot be reached" in done.stderr and "Traceback" not in done.stderr


# ---- which files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small git checkout with what must not be sent in it."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "ui", root / "ui", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".dockerignore", ".gitignore", "app.py", "README.md"):
        shutil.copy(ROOT / name, root / name)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    monkeypatch.setenv("AITRAINING_HOME", str(root / "ui" / "kept"))
    return root


def test_a_dry_run_sends_nothing_and_lists_what_the_image_copies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--space", "me/studio", "--dry-run", "--json"]) == 0  # there is no Hub, and nobody is logged in
    listed = json.loads(capsys.readouterr().out)["files"]
    sources = copied(ROOT / "Dockerfile")
    assert {"Dockerfile", ".dockerignore", "app.py", "ui/shell.py", "engine/worker/train.py"} <= set(listed)
    assert all(name in ("Dockerfile", ".dockerignore") or name.startswith(tuple(sources)) for name in listed)


def test_runs_ignored_files_secrets_and_links_out_are_not_sent(checkout: Path) -> None:
    (checkout / "ui" / "kept" / "run-1").mkdir(parents=True)
    (checkout / "ui" / "kept" / "run-1" / "params.json").write_text("{}")
    (checkout / "ui" / ".env").write_text("KEY=1")
    (checkout / "ui" / "__pycache__").mkdir()
    (checkout / "ui" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (checkout / "ui" / "passwords").symlink_to("/etc/passwd")
    (checkout / "secrets.txt").write_text("x")
    found = files.files_of(checkout)
    assert "ui/shell.py" in found and "app.py" in found
    assert not [name for name in found if "kept" in name or "pycache" in name or ".env" in name or "password" in name]
    assert "secrets.txt" not in found
    (checkout / "ui" / "mine.py").write_text(f'TOKEN = "hf_{"a1B2" * 9}"')
    with pytest.raises(DeployError, match=r"ui/mine\.py holds what looks like a token"):
        files.files_of(checkout)


def test_an_installed_program_says_that_it_wants_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHECKOUT", tmp_path)
    with pytest.raises(DeployError, match="git checkout") as caught:
        files.checkout()
    assert "Clone" in caught.value.hint

"""What goes to a rented machine and what comes back, by way of one private repository of the Hub that is deleted afterwards.

There: this very program (so that the versions agree), the run's settings, its rows as they were prepared here, and models of
this machine that it needs. Back: the finished model and what was planned.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from engine.compute.hub_answers import asked
from engine.data.run_rows import prepare_for
from engine.errors import DeviceError, StudioError
from engine.models import resolve
from engine.params import LLMTrainingParams, form_of
from engine.registry import parse
from engine.runs.directory import RunDirectory, write_json

ROOT = Path(__file__).resolve().parents[2]
SOURCE, RESULT, MODELS = "source.tar.gz", "result", "models"
# What the program needs of this checkout; the page and how assets were made stay here.
_SENT = ("engine", "pyproject.toml", "assets/starter", "assets/instructed", "assets/samples")
# What the page needs and a training does not.
_PAGE_ONLY = ("gradio", "youplot")
_QUANTIZED = "bitsandbytes"


def requirements(params: LLMTrainingParams) -> list[str]:
    """The packages that the rented machine installs: those that this version of the program names.

    Raises:
        DeviceError: this is no checkout, so nobody knows.
    """
    file = ROOT / "pyproject.toml"
    if not file.is_file():
        raise DeviceError(
            "This installation has no pyproject.toml, so it cannot be sent to another machine.",
            hint="Start it from a checkout (git clone) to train at Hugging Face.",
        )
    named = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["dependencies"]
    further = [_QUANTIZED] if params.quantization != "none" else []
    return [one for one in named if not one.startswith(_PAGE_ONLY)] + further


def send(run: RunDirectory, repo: str) -> None:
    """Put everything into the private repository `repo`, which is made for it.

    Raises:
        DataError: the data cannot be used. ModelError: a model is not there.
        DeviceError: the Hub refuses or is silent.
    """
    from huggingface_hub import HfApi

    params, hub = parse(run.params()), HfApi()
    if not run.data_file.is_file():
        prepared = prepare_for(params, run.data_dir)
        for warning in prepared.warnings:
            run.log_event("warning", message=warning, hint="")
        write_json(run.data_file, prepared.to_dict())
    asked(hub.create_repo, repo, repo_type="dataset", private=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / SOURCE).write_bytes(packed())
        given, models = _elsewhere(params)
        write_json(folder / "params.json", given)
        shutil.copyfile(run.data_file, folder / "data.json")
        (folder / "data").mkdir()
        for file in run.data_dir.glob("*.jsonl"):
            shutil.copyfile(file, folder / "data" / file.name)
        asked(hub.upload_folder, repo_id=repo, repo_type="dataset", folder_path=folder, commit_message=run.name)
    for name, path in models.items():
        where = f"{MODELS}/{name}"
        asked(hub.upload_folder, repo_id=repo, repo_type="dataset", folder_path=path, path_in_repo=where, commit_message=name)


def bring(run: RunDirectory, repo: str) -> None:
    """Fetch the finished model into the run's folder; `model/` comes last, whole or not at all.

    Raises:
        DeviceError: it is not there, or the Hub is silent.
    """
    from huggingface_hub import snapshot_download

    part = run.path / ".result.part"
    shutil.rmtree(part, ignore_errors=True)
    asked(snapshot_download, repo, repo_type="dataset", local_dir=part, allow_patterns=f"{RESULT}/*")
    came = part / RESULT
    if not (came / "model").is_dir():
        raise DeviceError("The finished model has not arrived at Hugging Face.", hint="The log's last lines may tell why.")
    for name in ("plan.json", "adapter", "model"):
        if (came / name).exists():
            shutil.rmtree(run.path / name, ignore_errors=True)
            (came / name).replace(run.path / name)
    shutil.rmtree(part)


def forget(repo: str) -> None:
    """Delete the repository.

    Raises:
        DeviceError: the Hub refuses or is silent.
    """
    from huggingface_hub import HfApi

    asked(HfApi().delete_repo, repo, repo_type="dataset", missing_ok=True)


def clear(run: RunDirectory, repo: str) -> None:
    """Delete the repository of `run`; where that fails, its log says where it lies."""
    try:
        forget(repo)
    except StudioError as error:
        where = f"https://huggingface.co/datasets/{repo}"
        run.log_event("warning", message=f"What was sent to Hugging Face lies there still: {where}", hint=str(error))


def packed() -> bytes:
    """This program as a compressed archive."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name in _SENT:
            archive.add(ROOT / name, arcname=name, filter=_wanted)
    return held.getvalue()


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member


def _elsewhere(params: LLMTrainingParams) -> tuple[dict[str, Any], dict[str, Path]]:
    """The settings as the rented machine needs them, and folders of models that it lacks, by the settings' names.

    There the run trains on that machine, keeps its own name, and puts nothing on the Hub but what comes back to us.
    """
    given = params.model_dump(mode="json")
    given |= {"compute": "local", "job_hardware": None, "job_owner": None, "push_to_hub": False, "device": "auto"}
    models: dict[str, Path] = {}
    for name in type(params).model_fields:
        if form_of(type(params), name).widget in ("model", "judge") and given[name]:
            source = resolve(given[name])
            if source.path is not None and source.kind != "starter":
                models[name] = source.path
                given[name] = f"{MODELS}/{name}"
    return given, models

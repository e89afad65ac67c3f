"""What a rented machine is told to do: the command, its environment and its label, for run_job."""

from __future__ import annotations

from typing import Any

from engine.compute.parcel import SOURCE, requirements
from engine.compute.rented import Rented
from engine.params import LLMTrainingParams

# Python, and uv to install what is needed; the GPU's driver comes with the machine, CUDA with PyTorch's package.
IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
LABEL = "aitraining"
_PYTHON = "3.12"
# Fetches the parcel, unpacks the program that it holds, and hands over to it.
_BEGIN = f"""
import os, pathlib, sys, tarfile
from huggingface_hub import snapshot_download
here, repo = pathlib.Path.cwd() / "aitraining-job", sys.argv[1]
parcel = pathlib.Path(snapshot_download(repo, repo_type="dataset", local_dir=here / "parcel"))
with tarfile.open(parcel / "{SOURCE}") as archive:
    archive.extractall(here / "source", filter="data")
os.environ["PYTHONPATH"] = str(here / "source")
sys.path.insert(0, str(here / "source"))
from engine.compute.in_job import main
raise SystemExit(main(parcel, repo))
"""


def errand(params: LLMTrainingParams, job: Rented, token: str) -> dict[str, Any]:
    """Keyword arguments of run_job. The token is a secret there: the Hub encrypts it and shows it to nobody."""
    packages = [word for one in requirements(params) for word in ("--with", one)]
    return {
        "image": IMAGE,
        "command": ["uv", "run", "--no-project", "--python", _PYTHON, *packages, "python", "-c", _BEGIN, job.repo],
        "env": {"PYTHONUNBUFFERED": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        "secrets": {"HF_TOKEN": token},
        "flavor": job.hardware,
        "timeout": int(job.timeout_s),
        "name": f"aitraining-{job.key}",
        "labels": {LABEL: job.key},
        "namespace": job.namespace,
    }

"""A checkpoint that looks whole, for tests that train nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from engine.runs.directory import RunDirectory


def make_checkpoint(run: RunDirectory, step: int) -> Path:
    """Files with which a run may go on at `step`; of the formats they have, and next to empty."""
    folder = run.checkpoints_dir / f"checkpoint-{step}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}), encoding="ascii")
    save_file({"weight": np.zeros(1, dtype=np.float32)}, folder / "model.safetensors")
    with zipfile.ZipFile(folder / "optimizer.pt", "w") as made:
        made.writestr("data.pkl", b"")
    return folder

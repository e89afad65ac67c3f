"""What the fork server imports before it forks: nothing that would touch a GPU, which would then be lost to its children."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As the app starts it; see engine/runs/standby.py.
ALONE = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
PROGRAM = """
import sys
from engine.worker import standby
standby.preload()
assert "bitsandbytes" not in sys.modules, "it was imported before the fork"
from peft.import_utils import is_bnb_available
from transformers.utils import is_bitsandbytes_available
print("there", is_bnb_available(), is_bitsandbytes_available())
import bitsandbytes
print("imported", bitsandbytes.__version__)
"""


@pytest.mark.long  # a cold process for each library
@pytest.mark.slow
def test_bitsandbytes_is_left_to_the_job_that_needs_it(tmp_path: Path) -> None:
    """On a machine with a GPU its import asks the card what it can do."""
    package = tmp_path / "bitsandbytes"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '99.0'\nprint('looks at the card')\n")
    about = tmp_path / "bitsandbytes-99.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bitsandbytes\nVersion: 99.0\n")
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env={**os.environ, **ALONE, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[:3] == ["there True True", "looks at the card", "imported 99.0"]


@pytest.mark.slow
def test_an_owner_that_dies_first_leaves_nothing_lying(tmp_path: Path) -> None:
    """The pipe on which it says that it is ready has no reader any more."""
    folder = tmp_path / "standby-of-somebody"
    folder.mkdir()
    standby = subprocess.Popen(
        [sys.executable, "-m", "engine.worker.standby", str(folder / "standby")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **ALONE},
        cwd=ROOT,
    )
    assert standby.stdout is not None and standby.stdin is not None and standby.stderr is not None
    standby.stdout.close()
    standby.stdin.close()
    assert "Traceback" not in standby.stderr.read().decode()
    standby.stderr.close()
    assert standby.wait(60) == 0 and not folder.exists()

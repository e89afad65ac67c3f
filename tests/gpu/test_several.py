"""Trainings in two processes that exchange numbers by NCCL: each its model, a half of it, or a half of the optimizer.

One card is enough: NCCL is told that the two are on different machines, as torchrun starts them there.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from engine.registry import specs
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.spec import TrainerSpec
from tests.contract.conftest import numbered
from tests.contract.in_two import HALVES, WHOLE, assert_same

# torchrun says how many processes there are
HALF = {key: value for key, value in HALVES.items() if key != "processes"}
WAYS: dict[str, dict[str, Any]] = {
    "each-its-model": {},
    "fsdp": {"fsdp": True},
    "zero-1": {"deepspeed": {"zero_optimization": {"stage": 1}}},
    "zero-2": {"deepspeed": {"zero_optimization": {"stage": 2}}},
}
SHARED = pytest.mark.parametrize("spec", [spec for spec in specs().values() if spec.in_parallel], ids=lambda spec: spec.id)


def on_two_machines(run: RunDirectory) -> None:
    """Train `run` in two processes, each of which takes itself for the only one of its machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for rank in range(2):
        agent = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank)]
        meeting = ["--master-addr", "127.0.0.1", "--master-port", port]
        work = ["-m", "engine.worker", "train", json.dumps({"run": str(run.path)})]
        told = {"NCCL_HOSTID": f"machine-{rank}", "NCCL_SOCKET_IFNAME": "lo", "GLOO_SOCKET_IFNAME": "lo"}
        env = {**os.environ, **told, "OMP_NUM_THREADS": "1"}
        log = (run.path / f"machine-{rank}.log").open("w")
        asked = [sys.executable, *agent, *meeting, *work]
        started.append(subprocess.Popen(asked, env=env, stdout=log, stderr=subprocess.STDOUT))
    try:
        for process in started:
            process.wait(timeout=240)
    finally:
        for process in started:
            process.terminate()
    words = "\n".join((run.path / f"machine-{rank}.log").read_text()[-4000:] for rank in range(2))
    assert (run.status().state, run.status().reason) == (State.DONE, ""), words


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("way", list(WAYS))
@SHARED
def test_two_learn_what_one_learns(spec: TrainerSpec, way: str, precision: str, trainings: Any) -> None:
    if "deepspeed" in WAYS[way] and find_spec("deepspeed") is None:
        pytest.skip("needs DeepSpeed")
    rows = numbered(spec, 12)
    given = {"device": "cuda", "precision": precision}
    one = trainings.new(spec, f"one-{spec.id}-{way}-{precision}", rows, **given, **WHOLE)
    assert trainings.work(one) == 0, one.status()
    two = trainings.new(spec, f"two-{spec.id}-{way}-{precision}", rows, **given, **HALF, **WAYS[way])
    on_two_machines(two)
    assert two.plan()["params"]["processes"] == 2
    if precision == "fp32":
        assert_same(one, two, near=1e-3, apart=1e-3)
    else:
        # in bf16 the halves round in other places
        from tests.train.toys import series

        assert series(two, "loss") == pytest.approx(series(one, "loss"), rel=0.03, abs=0.01)

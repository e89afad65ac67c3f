"""The processes that train one run together, as one of them sees them: what it is told, adds up and waits for.

Every process holds the whole model and takes its own rows of each step (data parallel; Li et al. 2020, PyTorch Distributed).
What a step is worth is divided by the items of all ranks, so that it is what one process would have made of the same rows.
The first process alone writes to the run's folder. Environment variables are those of torchrun, which may also have
started us, on several machines that share the folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

# The others wait while the first prepares data or asks a teacher; a process that is gone is noticed in another way.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """This process's place among `size` of them. `meeting` is a file by which those of one machine find each other."""

    rank: int = 0
    size: int = 1
    meeting: Path | None = None

    @classmethod
    def of_torchrun(cls) -> Ranks | None:
        """The place that torchrun gave this process; None where it was not started by it."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return None
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def join(self, device: str) -> None:
        """Meet the others; a process that is alone has nobody to meet. `device` is "cpu" or "cuda"."""
        if self.size == 1:
            return
        if self.meeting is not None:
            self._announce()
        if "OMP_NUM_THREADS" not in os.environ:  # they share the cores
            share = max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"]))
            os.environ["OMP_NUM_THREADS"] = str(share)
            torch.set_num_threads(share)
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # numbers that steer the work go between processors even on GPUs, which need not wait for them then
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        store = distributed.FileStore(str(self.meeting), self.size) if self.meeting else None
        distributed.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=_PATIENCE)

    def _announce(self) -> None:
        """What torchrun would have set: accelerate and transformers read it."""
        own = {"RANK": self.rank, "LOCAL_RANK": self.rank, "WORLD_SIZE": self.size, "LOCAL_WORLD_SIZE": self.size}
        os.environ.update({name: str(value) for name, value in own.items()})
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29500")  # read and not used: we meet by a file
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")

    def leave(self) -> None:
        """Part from the others."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def handed_on(self, value: Any) -> Any:
        """The first one's `value`, for all."""
        if self.size == 1:
            return value
        held = [value]
        distributed.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        return held[0]

    def agreed(self, wish: bool) -> bool:
        """The first one's `wish`, so that all do the same in the same step."""
        if self.size == 1:
            return wish
        told = torch.tensor([wish], dtype=torch.uint8)
        distributed.broadcast(told, src=0)
        return bool(told[0])

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """`values` summed over all processes."""
        if self.size > 1:
            values = values.detach().clone()
            distributed.all_reduce(values)
        return values

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The first does the work and leaves files; the others wait, and do it with the files there."""
        if self.size > 1 and not self.first:
            distributed.barrier()
        yield
        if self.size > 1 and self.first:
            distributed.barrier()


ALONE = Ranks()

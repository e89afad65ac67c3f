"""A model that is split among the processes of a run: each holds a part of its weights, gradients and optimizer.

Fully sharded data parallel (Zhao et al. 2023, PyTorch FSDP), as transformers does it while it loads a model: every process
reads its own part, and a layer is put together where it is used. Nearly everything here is asked of all processes at once:
one that stays away keeps the others waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from engine.params import LLMTrainingParams

_TO_FIRST = StateDictOptions(full_state_dict=True, cpu_offload=True)
_FROM_FIRST = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
_OPTIMIZER, _SCHEDULER = "optimizer.pt", "scheduler.pt"


def load_options(params: LLMTrainingParams) -> dict[str, Any]:
    """What `from_pretrained` is told besides, so that it loads this process's part; nothing for a model that is not split."""
    if not params.fsdp:
        return {}
    from transformers.distributed import DistributedConfig

    # under autocast alone every layer's copy in half precision would stay until the backward pass
    half = params.precision == "bf16"
    return {"distributed_config": DistributedConfig(fsdp_size=params.processes, fsdp_mixed_precision=half)}


def is_split(model: Any) -> bool:
    """Whether this process holds only a part of the model."""
    return bool(getattr(model, "is_distributed_loading_by_transformers", False))


def tie(model: Any) -> None:
    """Let embeddings and head be one matrix where they are: transformers 5.23 joins them after the split, which leaves a second
    holder of the head's part, and what that holds is never trained. To be called once, before anybody asks the model.
    """
    body, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or body is None or head.weight is not body.weight:
        return
    state = model._get_fsdp_state()
    for group in state._fsdp_param_groups:
        group.fsdp_params = [one for one in group.fsdp_params if one._module_info.module is not head]
    state._fsdp_param_groups = [group for group in state._fsdp_param_groups if group.fsdp_params]
    for one in body._get_fsdp_state()._fsdp_param_group.fsdp_params:
        if one._module_info.module is body:
            one._module_info.shared_modules.append(head)
            one._module_info.shared_param_names.append("weight")


def part_again(model: Any) -> None:
    """Let go of what was put together to be asked and not trained: until then the model's parameters are not the parts, which
    an optimizer must be given.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with the parts of all processes; as it is if it is not split."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def fill(split: torch.Tensor, values: torch.Tensor) -> None:
    """Give a part, in each process, its share of the same `values`."""
    values = values.to(split.device, split.dtype)
    with torch.no_grad():
        split.copy_(distribute_tensor(values, split.device_mesh, split.placements) if isinstance(split, DTensor) else values)


def whole_weights(model: Any) -> dict[str, torch.Tensor]:
    """All weights by name, in the first process's memory; nothing in the others."""
    part_again(model)
    return cast("dict[str, torch.Tensor]", get_model_state_dict(model, options=_TO_FIRST))


class SplitCheckpoints:
    """Mixed into a transformers Trainer, before it: checkpoints of a split model, in the files that those of a whole one have.

    transformers writes the weights; it has no way yet to write the optimizer of such a model, or to read either.
    """

    args: Any
    model: Any
    optimizer: Any
    lr_scheduler: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not is_split(kwargs["model"]):
            super().__init__(*args, **kwargs)
            return
        kwargs["args"].save_only_model = True  # without which it refuses
        super().__init__(*args, **kwargs)
        self.args.save_only_model = False

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not is_split(self.model):
            super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]
            return
        state = get_optimizer_state_dict(self.model, self._bare_optimizer(), options=_TO_FIRST)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / _OPTIMIZER)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / _SCHEDULER)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not is_split(self.model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
            return
        state: dict[str, Any] = dict(_tensors(Path(resume_from_checkpoint))) if self.args.should_save else {}
        set_model_state_dict(self.model, state, options=_FROM_FIRST)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not is_split(self.model):
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
            return
        first = self.args.should_save
        state = torch.load(Path(checkpoint) / _OPTIMIZER, map_location="cpu", weights_only=True) if first else {}
        set_optimizer_state_dict(self.model, self._bare_optimizer(), state, options=_FROM_FIRST)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / _SCHEDULER, weights_only=True))

    def _bare_optimizer(self) -> Any:
        """The optimizer without what accelerate has wrapped around it."""
        return getattr(self.optimizer, "optimizer", self.optimizer)


def _tensors(checkpoint: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no dict
                yield name, file.get_tensor(name)

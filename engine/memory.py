"""What training holds in memory, item by item, worked out from the settings and the model's shape. No torch.

Weights, gradients and Adam's moments follow Rajbhandari et al. 2020 (ZeRO, section 3.1), activations Korthikanti et al.
2022 (equation 1), reduced to what fused attention keeps.
"""

from __future__ import annotations

from engine import deepspeed
from engine.models import ModelFacts, facts
from engine.params import LLMTrainingParams
from engine.spec import Copies

# Libraries, the interpreter, the allocator's slack, and on a CPU the code that is compiled for every new length of a step
# (benchmarks/memory.py: 0.69 to 1.02 GB, by trainer). Of an NVIDIA GPU: CUDA's own 0.8 GB and what its matrix library keeps.
BASE = {"cpu": 820 << 20, "mps": 900 << 20, "cuda": 820 << 20}
# Bytes that an optimizer remembers for each weight.
_MOMENTS = {"adamw_torch": 8, "adafactor": 0.1, "sgd": 0}
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
# Bytes of a weight that is held in few bits, with the scale of its block.
_FEW_BITS = {"int8": 1.1, "int4": 0.6}
# Numbers a layer keeps for its backward pass, for each token and hidden value, in bytes at two bytes a number.
_KEPT = 34
# Logits, their fp32 copy, its gradient and the softmax, in bytes for each entry of the vocabulary.
_PER_LOGIT = 14


def trained_weights(params: LLMTrainingParams, model: ModelFacts) -> int:
    """Weights that are trained: all, or those of a LoRA adapter on every linear layer (rank × sides of its matrices)."""
    if not params.peft:
        return model.parameters
    per_layer = 4 * 2 * model.hidden + 3 * (model.hidden + model.intermediate)
    return params.lora_r * per_layer * model.layers


def held(params: LLMTrainingParams, model: ModelFacts, copies: Copies) -> list[tuple[str, int]]:
    """What is held all the time: (what, bytes). `params` has its precision chosen."""
    fast = _BYTES[params.precision or "fp32"]
    trained = trained_weights(params, model)
    weights = _weights(params, model)
    moments = _MOMENTS[params.optimizer]
    parts = params.processes if params.fsdp else 1
    frozen = copies.frozen + (copies.frozen_with_lora if params.peft else 0)
    each = facts(copies.frozen_model).parameters if frozen and copies.frozen_model else model.parameters
    others = int(frozen * each * (fast if copies.frozen_fast else 4))
    zero = deepspeed.stage(params)
    if zero:  # weights in the fast format; the optimizer keeps those that are trained exactly, beside what it remembers
        exact = 0 if deepspeed.optimizer_on_cpu(params) else int((4 + moments) * trained) // params.processes
        return [
            ("Weights", fast * (model.parameters + (trained if params.peft else 0))),
            ("Other models, only asked", others),
            ("Gradients", 4 * trained // (params.processes if zero == 2 else 1)),
            ("Optimizer", exact),
        ]
    return [
        ("Weights", (weights + (4 * trained if params.peft else 0)) // parts),
        ("Other models, only asked", others // parts),
        ("Gradients", 4 * trained // parts),
        ("Optimizer", int(moments * trained) // parts),
        ("Copies in the fast number format", model.parameters * 2 if fast == 2 and not (params.peft or params.fsdp) else 0),
        ("Layers put together", _put_together(params, model)),
    ]


def _weights(params: LLMTrainingParams, model: ModelFacts) -> int:
    """Bytes of the model alone. Few bits are for its layers; embeddings and head stay in the training's format."""
    fast = _BYTES[params.precision or "fp32"]
    if params.quantization == "none":
        return model.parameters * (fast if params.peft else 4)
    whole = min(model.parameters, model.vocabulary * model.hidden * (1 if model.tied else 2))
    return int(whole * fast + (model.parameters - whole) * _FEW_BITS[params.quantization])


def _put_together(params: LLMTrainingParams, model: ModelFacts) -> int:
    """Bytes of a split model that are whole at a time: its embeddings and head, the layer at work and the one after it, and
    the gradient of one.
    """
    if not params.fsdp:
        return 0
    return _BYTES[params.precision or "fp32"] * (2 * model.vocabulary * model.hidden + 3 * model.parameters // model.layers)


def checkpoint_bytes(params: LLMTrainingParams, model: ModelFacts) -> int:
    """Bytes of one checkpoint on disk: the weights that are trained, and what the optimizer remembers of them."""
    return int((4 + _MOMENTS[params.optimizer]) * trained_weights(params, model))


def saving(params: LLMTrainingParams, model: ModelFacts, on_cpu: bool) -> int:
    """Bytes that saving takes besides, on a CPU: of full training, the copy from which the best weights are written; of an
    adapter, the merged model in the format of its file, and the same again as it is read back to be compared; of a split model,
    which the first process puts together twice, its share.
    """
    if on_cpu and params.fsdp:
        return 2 * 4 * model.parameters // params.processes
    if not on_cpu or (params.peft and not (params.merge_adapter and params.quantization == "none")):
        return 0
    return model.parameters * (2 * (2 if model.dtype in ("BF16", "F16") else 4) if params.peft else 4)


def activations_per_token(params: LLMTrainingParams, model: ModelFacts) -> float:
    """Bytes kept for the backward pass for each token; recomputed layers keep only what goes into them.

    An adapter's matrices keep what goes into each of the seven that they stand beside, once more.
    """
    fast = _BYTES[params.precision or "fp32"]
    layer = _KEPT * model.hidden * fast / 2
    if params.peft:
        layer += fast * (6 * model.hidden + model.intermediate)
    if params.gradient_checkpointing:
        return fast * model.layers * model.hidden + layer
    return layer * model.layers


def logits_per_token(model: ModelFacts, copies: Copies) -> int:
    """Bytes of the next-token scores for each token that is trained."""
    return model.vocabulary * _PER_LOGIT * copies.heads if copies.vocabulary_head else 0

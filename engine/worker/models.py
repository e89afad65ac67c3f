"""Loads tokenizers and models for training, and puts LoRA adapters on them. safetensors only; no remote code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, GenerationConfig

from engine.bases import base_of
from engine.errors import ModelError
from engine.models import ModelSource, resolve
from engine.params import LLMTrainingParams
from engine.worker import attention
from engine.worker.splitting import is_split, load_options, tie

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_tokenizer(source: ModelSource) -> Any:
    """The model's tokenizer, with a padding token if it has none.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    if source.path is not None and not (source.path / "tokenizer_config.json").is_file():
        source = base_of(source) or source
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.location, trust_remote_code=False)
    except Exception as error:  # the tokenizer library raises plain Exception for a file that it cannot parse
        raise _not_loaded(source, "tokenizer", error) from error
    if tokenizer.eos_token_id is None:
        raise ModelError(f"The tokenizer of {source.reference} has no end-of-text token.", hint="Choose another model.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    _count_spaces(tokenizer)
    return tokenizer


def _count_spaces(tokenizer: Any) -> None:
    """Let each token's place in the text begin with the space before its word, which is a part of it. Many files of byte-level
    tokenizers (GPT-2, Qwen2, RoBERTa) leave it out, and which tokens are trained is decided by their places.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.post_processor is None:
        return
    last = backend.post_processor
    kept = json.loads(last.__getstate__())
    for step in (kept, *kept.get("processors", ())):
        if "trim_offsets" in step:
            step["trim_offsets"] = False
    last.__setstate__(json.dumps(kept).encode())
    backend.post_processor = last


def load_causal(source: ModelSource, params: LLMTrainingParams, **further: Any) -> Any:
    """A model that writes, ready to be trained, with its adapter if one is wanted.

    Raises:
        ModelError: it cannot be loaded, or does not write.
    """
    model = loaded(source, params, AutoModelForCausalLM, **further)
    if (params.attention or "documents") == "documents" and attention.supported(model, params.max_length or 0):
        model.set_attn_implementation(attention.NAME)
    model.config.use_cache = False
    return with_adapter(model, params, "CAUSAL_LM") if params.peft else model


def loaded(source: ModelSource, params: LLMTrainingParams, kind: Any, **further: Any) -> Any:
    """The model as `kind` on its device: full training holds fp32 weights, a LoRA base the fast format. With DeepSpeed all are
    in the fast format: it keeps those that are trained in fp32 itself.

    Raises:
        ModelError: it cannot be loaded.
    """
    dtype = _DTYPES[params.precision or "fp32"] if params.peft or params.deepspeed else torch.float32
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "trust_remote_code": False}
    if params.quantization != "none":
        options["quantization_config"] = _quantized(params)
    asked = params.attention or "documents"
    # the usual one is not asked for by name: transformers takes it where the architecture knows it, else its own
    named = {} if asked in ("documents", "sdpa") else {"attn_implementation": asked}
    try:
        model = load_any(source, kind, **{**named, **options, **load_options(params), **further})
    except (OSError, ValueError) as error:
        if "fsdp_plan" in str(error):
            raise _not_split(source) from error
        raise _not_loaded(source, "model", error) from error
    if is_split(model):
        tie(model)
    elif params.quantization == "none" and params.device != "cpu" and torch.accelerator.is_available():
        model.to(torch.accelerator.current_accelerator())
    return model


def load_frozen(source: ModelSource, params: LLMTrainingParams, *, fast: bool = False) -> Any:
    """A second causal model that is only asked: a reference, a teacher. On the training's device.

    Its weights are as exact as those of a model in full training, and split as those are; `fast` holds them in the training's
    number format.
    """
    plain = params.model_copy(update={"peft": False, "quantization": "none"})
    further = {"dtype": _DTYPES[params.precision or "fp32"]} if fast else {}
    return load_causal(source, plain, **further).eval().requires_grad_(False)


def load_reference(source: ModelSource, params: LLMTrainingParams, tokenizer: Any) -> Any:
    """`load_frozen` for a model that is asked how likely the tokens of `tokenizer` are.

    Raises:
        ModelError: it cannot be loaded, or the same numbers are other words to it.
    """
    another = source.location != resolve(params.model).location
    if another and not same_vocabulary(load_tokenizer(source), tokenizer):
        raise ModelError(
            f"The reference {source.reference} and the model {params.model} write with different vocabularies, so how likely "
            "they find an answer cannot be compared.",
            hint="Leave the reference empty (no --model-ref), or choose one of the same family.",
        )
    return load_frozen(source, params)


def same_vocabulary(tokenizer: Any, other: Any) -> bool:
    """Whether both have the same number for each word, as models need that are compared token by token."""
    return tokenizer.get_vocab() == other.get_vocab()


def put_together(split: Any, weights: dict[str, torch.Tensor], source: ModelSource, params: LLMTrainingParams) -> Any:
    """The model of which `split` is a part, whole in the memory of this machine, with all of its `weights` as they are now."""
    whole = params.model_copy(update={"fsdp": False, "device": "cpu"})
    if split.can_generate():
        model = load_causal(source, whole)
        model.generation_config = split.generation_config
    else:
        model = loaded(source, whole, AutoModelForSequenceClassification, num_labels=split.config.num_labels)
        model.config.pad_token_id = split.config.pad_token_id
    model.load_state_dict(weights)
    return model


def load_any(source: ModelSource, kind: Any = AutoModelForCausalLM, **options: Any) -> Any:
    """A model that writes, or that scores if `kind` is a sequence classifier; an adapter is merged into its base.

    Raises:
        ModelError: a model that writes is wanted, and this one scores.
    """
    if kind is AutoModelForCausalLM and source.scores:
        raise ModelError(
            f"{source.reference} gives scores and does not write.",
            hint="Choose a model that writes; a reward model is for PPO and for the playground.",
        )
    base = base_of(source)
    if base is None:
        return kind.from_pretrained(source.location, **options)
    model = _merged(source, load_any(base, kind, **{**_labels(source), **options}))
    for weight in model.parameters():  # peft froze the base, which is the model now
        weight.requires_grad_(weight.is_floating_point())
    if model.can_generate() and (Path(source.location) / "generation_config.json").is_file():
        # peft leaves it; it names the token that ends an answer
        model.generation_config = GenerationConfig.from_pretrained(source.location)
    return model


def _merged(source: ModelSource, base: Any) -> Any:
    """The base with the adapter's weights added to its own."""
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(source.location)
    if not base.can_generate() and not source.scores:
        config.task_type = None  # an adapter of a model that writes, under the head of one that scores
    return add_up(PeftModel.from_pretrained(base, source.location, config=config))


def add_up(model: Any) -> Any:
    """The model with its adapter's weights in its own. Embeddings and head that are one matrix become two if the adapter is on
    one of them: added to both, it would say something else.
    """
    _part_ends(model.get_base_model())
    return model.merge_and_unload()


def _part_ends(inner: Any) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    body, head = inner.get_input_embeddings(), inner.get_output_embeddings()
    if body is None or head is None or not any(isinstance(end, BaseTunerLayer) for end in (body, head)):
        return
    plain: list[Any] = [end.get_base_layer() if isinstance(end, BaseTunerLayer) else end for end in (body, head)]
    below, above = plain
    if below.weight is above.weight:
        above.weight = torch.nn.Parameter(above.weight.detach().clone(), requires_grad=False)
        inner.config.get_text_config().tie_word_embeddings = False
        inner.config.tie_word_embeddings = False


def _labels(source: ModelSource) -> dict[str, int]:
    """How many scores an adapter's own head gives: transformers would give its base two, into which one does not fit."""
    if not source.scores:
        return {}
    with safe_open(str(Path(source.location) / "adapter_model.safetensors"), "pt") as file:
        heads = [name for name in file.keys() if name.endswith(("score.weight", "classifier.weight"))]  # noqa: SIM118
        return {"num_labels": file.get_slice(heads[0]).get_shape()[0]} if heads else {}


def with_adapter(model: Any, params: LLMTrainingParams, task: str) -> Any:
    """The model with a fresh LoRA adapter (Hu et al. 2021) as its only trainable weights."""
    from peft import LoraConfig, get_peft_model

    # peft's preparation of bases of few bits is left out: it would hold embeddings and norms, and with them all that passes
    # from layer to layer, in fp32, which took more memory than the few bits save
    named: Any = params.target_modules
    if named != "all-linear":
        named = [name.strip() for name in named.split(",") if name.strip()]
        _check_named(named, model, params.model)
    config = LoraConfig(
        r=params.lora_r,
        lora_alpha=params.lora_alpha,
        lora_dropout=params.lora_dropout,
        target_modules=named,
        task_type=task,
    )
    try:
        return exact(get_peft_model(model, config))
    except ValueError as error:
        hint = "Train all weights instead (no adapter), or choose another model."
        if named != "all-linear":
            hint = "Use all-linear (--target-modules all-linear), which finds the layers by itself."
        raise ModelError(f"The adapter cannot be put on this model: {error}", hint=hint) from error


def _check_named(named: list[str], model: Any, called: str) -> None:
    """
    Raises:
        ModelError: a layer is named that is not there; peft is content with one that is.
    """
    layers = [f".{name}" for name, _ in model.named_modules()]
    missing = sorted(name for name in named if not any(layer.endswith(f".{name}") for layer in layers))
    if missing:
        matrices = (
            name
            for name, weight in model.named_parameters(remove_duplicate=False)
            if weight.ndim > 1 and name.endswith(".weight")
        )
        there = sorted({name.split(".")[-2] for name in matrices})
        raise ModelError(
            f"{called} has no layers called {', '.join(missing)}.",
            hint=f"Its layers are called {', '.join(there)}. Or use all-linear (--target-modules all-linear), which finds them "
            "by itself.",
        )


def exact(model: Any) -> Any:
    """The model with what is trained in fp32: peft sees to its own matrices, and leaves a scoring head in the base's format,
    where small steps are rounded away and fp16's loss scaling refuses to work.
    """
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return model


def _quantized(params: LLMTrainingParams) -> Any:
    from transformers import BitsAndBytesConfig

    if params.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_DTYPES[params.precision or "bf16"],
    )


def _not_split(source: ModelSource) -> ModelError:
    return ModelError(
        f"transformers does not know where to split a model of the kind of {source.reference}.",
        hint="Train with whole copies (turn FSDP off), or choose a model of another family: Llama, Qwen, Mistral, Gemma.",
    )


def _not_loaded(source: ModelSource, what: str, error: Exception) -> ModelError:
    first = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
    if source.kind == "hub":
        hint = "Check the id and the network; a gated or private model needs a token (see docs/hub.md)."
    else:
        hint = f"Check that {Path(source.location)} holds config.json, model.safetensors and tokenizer.json."
    return ModelError(f"The {what} of {source.reference} cannot be loaded: {first}", hint=hint)

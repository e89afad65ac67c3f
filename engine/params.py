"""What every trainer shares: one frozen pydantic model. Forms, flags, YAML, params.json and docs are read off it.

A default lives on its field and nowhere else. None on a field marked `auto` means "chosen from data, model and
device"; engine/plan.py chooses and says why. Secrets are never parameters.
"""

from __future__ import annotations

import inspect
import os
import warnings
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from engine.field_words import default_of, values_of
from engine.paths import too_long
from engine.spec import Form

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


# What may name a file of this machine, those that only some trainers have included.
_NAMES = ("model", "data_path", "valid_path", "model_ref", "rl_reward_model_path", "teacher_model")


class LLMTrainingParams(BaseModel):
    """Settings of one run. `LLMTrainingParams(trainer="sft", ...)` returns that trainer's own settings class.

    Raises:
        ParamError: a name is unknown, a value is out of range, or a setting belongs to another trainer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), validate_default=True)

    trainer: Annotated[str, Form("Basic", widget="hidden")] = Field("", description="The training method.")
    model: Annotated[str, Form("Basic", label="Base model", widget="model")] = Field(
        "starter",
        min_length=1,
        description="The model to start from: `starter` (bundled), the name of a finished run, a folder, or a Hub id.",
    )
    data_path: Annotated[str, Form("Basic", label="Data", widget="data")] = Field(
        ...,
        min_length=1,
        description="A file, a folder, `sample:NAME` (bundled), a Hub id, or a part of these: `org/name:config:split`.",
    )
    project_name: Annotated[str | None, Form("Basic", label="Name of the run")] = Field(
        None, pattern=NAME_PATTERN, description="Letters, digits, dots, dashes. Empty: a name is made for you."
    )

    data_format: Annotated[str | None, Form("Data", advanced=True, widget="hidden")] = Field(
        None, description="How to read the rows, when the detected format is not the right one."
    )
    column_mapping: Annotated[dict[str, str], Form("Data", advanced=True, widget="hidden")] = Field(
        default_factory=dict, description='Which column plays which role, as JSON: {"prompt": "Question"}.'
    )
    valid_path: Annotated[str | None, Form("Data", label="Own held-out file", widget="hidden")] = Field(
        None, description="A file of rows that are never trained on, to measure with. Empty: a part of the data."
    )
    valid_fraction: Annotated[float | None, Form("Data", label="Held-out share", auto=True)] = Field(
        None, ge=0, le=0.5, description="Share of the rows kept aside to measure with. 0.1 is usual; 0 keeps none."
    )
    max_samples: Annotated[int | None, Form("Data", label="Rows at most", advanced=True)] = Field(
        None, ge=1, description="Use only this many rows, for a quick try. Empty: all of them."
    )
    drop_bad_rows: Annotated[bool, Form("Data", label="Leave out rows with problems", advanced=True)] = Field(
        True, description="Rows that cannot be used are left out and counted. Off: the run refuses to start."
    )
    max_length: Annotated[int | None, Form("Data", label="Longest row, in tokens", auto=True)] = Field(
        None, ge=8, le=1_048_576, description="Longer rows are cut at the end. 512 to 4096 is usual."
    )
    chat_template: Annotated[Literal["auto", "chatml", "plain"], Form("Data", advanced=True)] = Field(
        "auto", description="How turns become text: the model's own way, ChatML, or plain `User:`/`Assistant:` lines."
    )

    epochs: Annotated[float, Form("Training", label="Passes over the data")] = Field(
        3, gt=0, le=1000, description="How often every row is seen. 1 to 5 is usual; more on very small data."
    )
    max_steps: Annotated[int | None, Form("Training", label="Steps at most", advanced=True)] = Field(
        None, ge=1, description="Stop after this many optimizer steps; the passes may be over sooner."
    )
    batch_size: Annotated[int | None, Form("Training", label="Rows per step", auto=True)] = Field(
        None, ge=1, le=4096, description="Rows that are averaged in one forward pass on one device. 4 to 16 is usual."
    )
    gradient_accumulation: Annotated[int, Form("Training", label="Gradient accumulation", advanced=True)] = Field(
        1, ge=1, le=4096, description="Forward passes joined into one optimizer step: a larger batch in less memory."
    )
    lr: Annotated[float | None, Form("Training", label="Learning rate", auto=True, widget="text")] = Field(
        None,
        gt=0,
        lt=1,
        description="Size of a step. 1e-5 to 1e-4 is usual for full training, ten times that for LoRA.",
    )
    scheduler: Annotated[Literal["cosine", "linear", "constant"], Form("Training", advanced=True)] = Field(
        "cosine", description="How the learning rate falls after its warm-up."
    )
    warmup_ratio: Annotated[float, Form("Training", label="Warm-up share", advanced=True)] = Field(
        0.05, ge=0, lt=1, description="Share of the steps in which the learning rate rises from zero."
    )
    weight_decay: Annotated[float, Form("Training", advanced=True)] = Field(
        0.0, ge=0, lt=1, description="Pulls weights towards zero. 0 to 0.1 is usual."
    )
    max_grad_norm: Annotated[float, Form("Training", label="Gradient clipping", advanced=True)] = Field(
        1.0, ge=0, le=1000, description="Longest gradient that is applied as it is; 0 turns clipping off."
    )
    optimizer: Annotated[Literal["adamw_torch", "adafactor", "sgd"], Form("Training", advanced=True)] = Field(
        "adamw_torch", description="AdamW is right almost always; Adafactor needs less memory."
    )
    seed: Annotated[int, Form("Training", advanced=True)] = Field(
        42, ge=0, lt=2**31, description="Same seed, same data, same machine: the same run."
    )

    peft: Annotated[bool, Form("Adapter", label="Train a LoRA adapter")] = Field(
        False, description="Train small added matrices instead of all weights: far less memory, nearly as good."
    )
    lora_r: Annotated[int, Form("Adapter", label="LoRA rank", when={"peft": (True,)})] = Field(
        16, ge=1, le=1024, description="Size of the adapter. 8 to 16 for style, 64 and more for facts."
    )
    lora_alpha: Annotated[int, Form("Adapter", label="LoRA alpha", when={"peft": (True,)}, advanced=True)] = Field(
        32, ge=1, le=4096, description="Strength of the adapter; twice the rank is usual."
    )
    lora_dropout: Annotated[float, Form("Adapter", label="LoRA dropout", when={"peft": (True,)}, advanced=True)] = Field(
        0.0, ge=0, lt=1, description="Share of the adapter's inputs that are left out at random. 0 to 0.1 is usual."
    )
    target_modules: Annotated[str, Form("Adapter", when={"peft": (True,)}, advanced=True)] = Field(
        "all-linear", min_length=1, description="Layers that get an adapter: `all-linear`, or names joined by commas."
    )
    merge_adapter: Annotated[bool, Form("Adapter", label="Merge at the end", when={"peft": (True,)})] = Field(
        True, description="Save a complete model as well as the adapter. Off: the adapter alone."
    )
    quantization: Annotated[Literal["none", "int8", "int4"], Form("Adapter", when={"peft": (True,)}, advanced=True)] = Field(
        "none", description="Hold the frozen weights in 8 or 4 bits. Needs an NVIDIA GPU and bitsandbytes."
    )

    eval_steps: Annotated[int | None, Form("Evaluation", label="Measure every … steps", auto=True, advanced=True)] = Field(
        None, ge=1, description="How often the held-out rows are measured."
    )
    early_stopping_patience: Annotated[int | None, Form("Evaluation", label="Stop early after", advanced=True)] = Field(
        None, ge=1, le=1000, description="Stop when the held-out loss (or reward) has not improved in this many measurements."
    )
    keep_best: Annotated[bool, Form("Evaluation", label="Keep the best checkpoint", advanced=True)] = Field(
        True, description="Save the model as it was at its best measurement, not as it was at the end."
    )
    sample_prompts: Annotated[list[str], Form("Evaluation", label="Prompts to answer while training", widget="lines")] = Field(
        default_factory=list, max_length=8, description="Answered at the start and at each measurement, one a line."
    )
    sample_tokens: Annotated[int, Form("Evaluation", label="Length of those answers, in tokens", advanced=True)] = Field(
        48, ge=0, le=2048, description="0 turns the sample answers off."
    )

    logging_steps: Annotated[int | None, Form("Output", label="Log every … steps", auto=True, advanced=True)] = Field(
        None, ge=1, description="How often a point is added to the charts."
    )
    save_steps: Annotated[int | None, Form("Output", label="Checkpoint every … steps", auto=True, advanced=True)] = Field(
        None, ge=1, description="How often a checkpoint to resume from is written."
    )
    save_total_limit: Annotated[int, Form("Output", label="Checkpoints kept", advanced=True)] = Field(
        2,
        ge=1,
        le=100,
        description="Older ones are deleted. The weights that measured best are kept apart from them (see keep_best).",
    )

    push_to_hub: Annotated[bool, Form("Hub", label="Upload the finished model", advanced=True)] = Field(
        False, description="Put the model on the Hugging Face Hub when it is done. Needs HF_TOKEN or a login on this machine."
    )
    hub_model_id: Annotated[
        str | None, Form("Hub", label="Its name there", advanced=True, when={"push_to_hub": (True,)}, widget="text")
    ] = Field(
        None,
        pattern=r"^([\w.-]+/)?[\w.-]+$",
        description="As `name` or `owner/name`. Empty: the run's name, in your own account.",
    )
    hub_private: Annotated[bool, Form("Hub", label="For you alone", advanced=True, when={"push_to_hub": (True,)})] = Field(
        True, description="Nobody else sees a new model there. One that exists stays as public as it is."
    )

    compute: Annotated[
        Literal["local", "hf-jobs"],
        Form(
            "Compute", label="Machine", advanced=True, words={"local": "this machine", "hf-jobs": "rented (Hugging Face Jobs)"}
        ),
    ] = Field("local", description="On this machine, or on one that is rented from Hugging Face Jobs for this run.")
    job_hardware: Annotated[
        str | None,
        Form("Compute", label="Rented machine", advanced=True, when={"compute": ("hf-jobs",)}, widget="hardware"),
    ] = Field(None, pattern=r"^[\w.-]+$", description="As Hugging Face Jobs names it, `a10g-small` for example.")
    job_hours: Annotated[float, Form("Compute", label="Hours at most", advanced=True, when={"compute": ("hf-jobs",)})] = Field(
        3, gt=0, le=168, description="It is ended then, whatever it has learned: nothing costs more than these hours."
    )
    job_owner: Annotated[
        str | None, Form("Compute", label="Who pays", when={"compute": ("hf-jobs",)}, advanced=True, widget="text")
    ] = Field(None, pattern=r"^[\w.-]+$", description="An organisation that you belong to. Empty: your own account.")

    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Form("Hardware", advanced=True)] = Field(
        "auto", description="The processor or the GPU. `auto` takes the GPU when there is one."
    )
    processes: Annotated[int, Form("Hardware", label="Processes that train together", advanced=True)] = Field(
        1, ge=1, le=64, description="One for each GPU; each takes its own rows of every step. On a CPU they share its cores."
    )
    fsdp: Annotated[bool, Form("Hardware", label="Split the model among the processes (FSDP)", advanced=True)] = Field(
        False,
        description="Each process holds a part of the weights, all of which are trained: for models too large for a GPU.",
    )
    deepspeed: Annotated[dict[str, Any], Form("Hardware", label="DeepSpeed", advanced=True, widget="long")] = Field(
        default_factory=dict,
        description='Its own configuration as JSON, {"zero_optimization": {"stage": 2}} for example; empty: without it. '
        "It parts optimizer and gradients among the processes.",
    )
    precision: Annotated[Literal["fp32", "bf16", "fp16"] | None, Form("Hardware", auto=True, advanced=True)] = Field(
        None, description="Number format of the arithmetic. Full training keeps its weights in fp32."
    )
    attention: Annotated[
        Literal["documents", "sdpa", "eager", "flash_attention_2"] | None, Form("Hardware", auto=True, advanced=True)
    ] = Field(None, description="Which attention code runs; the results are the same.")
    gradient_checkpointing: Annotated[bool | None, Form("Hardware", auto=True, advanced=True)] = Field(
        None, description="Recompute instead of remembering: about a third slower, much less memory."
    )

    def __new__(cls, /, **values: Any) -> LLMTrainingParams:
        if cls is LLMTrainingParams:
            from engine.registry import class_of  # the one upward import: the base class stands for all trainers

            cls = class_of(values)
        return object.__new__(cls)  # type: ignore[arg-type]  # a subclass, which Python then initialises

    def __init__(self, /, **values: Any) -> None:
        from engine.compatibility import OlderNameWarning, translated

        # a pathlib.Path or what `train` returned stands for its path
        plain = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in values.items()}
        # in a class of one trainer nobody needs to name it
        ours = translated({"trainer": type(self).model_fields["trainer"].default, **plain})
        if ours.lines and not ours.problems:
            warnings.warn("\n".join(ours.lines), OlderNameWarning, stacklevel=2)
        try:
            super().__init__(**ours.values)
        except ValidationError as error:
            from engine.explain import explain

            raise ours.with_those_of(explain(type(self), error)) from None
        ours.refuse()

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        _describe(cls)

    @field_validator("project_name", "data_format", "valid_path", "hub_model_id", "job_hardware", "job_owner", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator(
        "model", "data_path", "valid_path", "model_ref", "rl_reward_model_path", "teacher_model", check_fields=False
    )
    @classmethod
    def _may_be_a_name(cls, value: str | None) -> str | None:
        if value and (why := too_long(value)):
            raise ValueError(why)
        return value

    @field_validator("deepspeed", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("deepspeed")
    @classmethod
    def _goes_with_the_settings(cls, value: dict[str, Any]) -> dict[str, Any]:
        from engine.deepspeed import judged  # not needed before somebody has one

        return judged(value) if value else value

    @field_validator("data_format")
    @classmethod
    def _known_form(cls, value: str | None) -> str | None:
        from engine.data.forms import FORMS  # not needed before somebody names one

        if value is not None and value not in FORMS:
            raise ValueError(f"there is no form {value!r}; the forms are {', '.join(FORMS)}")
        return value


def _describe(cls: type[LLMTrainingParams]) -> None:
    """Let help() and notebooks tell what docs/settings.md tells, and show a signature that can be read."""
    cls.__doc__ = f"{cls.__doc__ or ''}\n{settings_words(cls)}"
    kind, none = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    shown = [
        inspect.Parameter(
            name,
            kind,
            default=none if field.is_required() else field.get_default(call_default_factory=True),
            annotation=field.annotation,
        )
        for name, field in cls.model_fields.items()
    ]
    cls.__signature__ = inspect.Signature(shown)


def settings_words(cls: type[LLMTrainingParams]) -> str:
    """Every setting of a class, a line each: what it may be, what is taken otherwise, and what it does."""
    lines = []
    for name, field in cls.model_fields.items():
        default = default_of(field, auto=form_of(cls, name).auto)
        lines.append(
            f"{name} ({values_of(field)}; {default if field.is_required() else f'default {default}'}): {field.description}"
        )
    return "    Settings:\n" + "\n".join(f"        {line}" for line in lines)


def form_of(cls: type[LLMTrainingParams], name: str) -> Form:
    """The `Form` that the field `name` carries; one that declares no label is called by the field's name."""
    form = next(m for m in cls.model_fields[name].metadata if isinstance(m, Form))
    return form if form.label else replace(form, label=name.replace("_", " ").capitalize())


def model_settings(cls: type[LLMTrainingParams]) -> dict[str, str]:
    """Every setting of `cls` that takes a model, and its widget: "judge" for one that scores, "model" for any other."""
    widgets = {name: form_of(cls, name).widget for name in cls.model_fields}
    return {name: widget for name, widget in widgets.items() if widget in ("model", "judge")}


_describe(LLMTrainingParams)


def flag(name: str) -> str:
    """The command-line flag of a parameter: `batch_size` is `--batch-size`."""
    return "--" + name.replace("_", "-")

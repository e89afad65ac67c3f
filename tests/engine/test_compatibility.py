"""Names and files of AutoTrain and its descendants: what each became is said, and what has no counterpart is an error."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from engine.compatibility import OlderNameWarning, is_older, translated
from engine.config_file import from_yaml, read_settings
from engine.errors import ParamError
from engine.params import LLMTrainingParams
from engine.registry import specs

# Every parameter that aitraining 0.0.54 and AutoTrain Advanced 0.8 document for language models.
DOCUMENTED = """
model project_name data_path train_split valid_split max_samples text_column prompt_text_column rejected_text_column
image_column add_eos_token block_size model_max_length padding chat_template apply_chat_template auto_convert_dataset
column_mapping runtime_mapping use_sharegpt_mapping map_eos_token conversation_extension save_processed_data
response_only_loss packing trainer lr epochs batch_size gradient_accumulation warmup_ratio optimizer scheduler
weight_decay max_grad_norm seed mixed_precision auto_find_batch_size disable_gradient_checkpointing
use_flash_attention_2 attn_implementation distributed_backend ddp_timeout resume_from_checkpoint logging_steps
eval_strategy save_strategy save_steps save_total_limit log peft quantization lora_r lora_alpha lora_dropout
target_modules merge_adapter unsloth model_ref dpo_beta max_prompt_length max_completion_length use_distillation
teacher_model teacher_prompt_template student_prompt_template distill_temperature distill_alpha
distill_max_teacher_length rl_gamma rl_gae_lambda rl_kl_coef rl_value_loss_coef rl_clip_range rl_value_clip_range
rl_num_ppo_epochs rl_mini_batch_size rl_chunk_size rl_optimize_device_cache rl_max_new_tokens rl_top_k rl_top_p
rl_temperature rl_reward_fn rl_multi_objective rl_reward_weights rl_env_type rl_env_config rl_reward_model_path
rl_env_module rl_env_class rl_num_generations rl_loss_type rl_mask_truncated_completions use_vllm vllm_mode
vllm_gpu_memory_utilization vllm_server_url vllm_tensor_parallel_size vllm_server_gpus use_sweep sweep_backend
sweep_n_trials sweep_metric sweep_direction sweep_params post_trial_script wandb_sweep wandb_run_id use_enhanced_eval
eval_metrics eval_dataset_path eval_batch_size eval_save_predictions eval_benchmark custom_metrics token wandb_token
wandb_visualizer custom_loss custom_loss_weights use_forward_backward gradient_accumulation_steps
manual_optimizer_control optimizer_step_frequency grad_clip_value sample_top_k sample_top_p manual_checkpoint_control
save_state_every_n_steps load_state_from token_weights chat_format suggested_chat_template inference_prompts train
deploy inference backend base_model max_seq_length orpo_alpha warmup_steps gradient_checkpointing load_best_model_at_end
metric_for_best_model early_stopping_patience loss_type eval_steps
"""

# The file that the older tools' documentation begins with.
AUTOTRAIN_FILE = """
task: llm-sft
base_model: starter
project_name: my-first
log: tensorboard
backend: local
data:
  path: {data}
  train_split: train
  valid_split: null
  chat_template: tokenizer
  column_mapping:
    text_column: talk
params:
  block_size: 64
  model_max_length: 2048
  epochs: 2
  batch_size: 1
  lr: 1e-5
  peft: true
  quantization: null
  target_modules: all-linear
  padding: right
  optimizer: adamw_torch
  scheduler: linear
  gradient_accumulation: 8
  mixed_precision: bf16
  merge_adapter: true
hub:
  username: ${{HF_USERNAME}}
  token: ${{HF_TOKEN}}
  push_to_hub: false
"""


def made(**values: Any) -> tuple[LLMTrainingParams, str]:
    """The settings, and all that was said about them."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        params = LLMTrainingParams(**{"trainer": "sft", "data_path": "x.csv", **values})
    return params, "\n".join(str(one.message) for one in said if one.category is OlderNameWarning)


def refused(**values: Any) -> str:
    with pytest.raises(ParamError) as caught:
        made(**values)
    return caught.value.message


@pytest.mark.parametrize("name", DOCUMENTED.split())
def test_every_documented_name_is_answered(name: str) -> None:
    ours = {field for spec in specs().values() for field in spec.params.model_fields}
    assert name in ours or is_older(name)
    assert "no setting" not in _said_about(name)


def _said_about(name: str) -> str:
    try:
        return made(**{name: "something"})[1]
    except ParamError as error:
        return error.message


@pytest.mark.parametrize(
    ("old", "ours"),
    [
        ({"block_size": 512}, {"max_length": 512}),
        ({"block_size": "-1"}, {"max_length": None}),
        ({"block_size": 512, "model_max_length": 2048}, {"max_length": 512}),
        ({"mixed_precision": "bf16"}, {"precision": "bf16"}),
        ({"mixed_precision": "none"}, {"precision": "fp32"}),
        ({"fp16": True, "bf16": False}, {"precision": "fp16"}),
        ({"quantization": None}, {"quantization": "none"}),
        ({"scheduler": "constant_with_warmup"}, {"scheduler": "constant"}),
        ({"chat_template": "tokenizer"}, {"chat_template": "auto"}),
        ({"chat_template": "chatml"}, {"chat_template": "chatml"}),
        ({"response_only_loss": False}, {"train_on_prompt": True}),
        ({"disable_gradient_checkpointing": "true"}, {"gradient_checkpointing": False}),
        ({"use_flash_attention_2": True}, {"attention": "flash_attention_2"}),
        ({"auto_find_batch_size": True, "batch_size": 8}, {"batch_size": None}),
        ({"eval_strategy": "no"}, {"valid_fraction": 0}),
        ({"logging_steps": -1}, {"logging_steps": None}),
        ({"gradient_accumulation_steps": 4}, {"gradient_accumulation": 4}),
        ({"eval_dataset_path": "valid.csv"}, {"valid_path": "valid.csv"}),
        (
            {"train_split": "main:train", "valid_split": "test"},
            {"data_path": "x.csv:main:train", "valid_path": "x.csv:main:test"},
        ),
        ({"text_column": "talk"}, {"column_mapping": {"text": "talk"}}),
        ({"column_mapping": {"user_col": "q", "assistant_col": "a"}}, {"column_mapping": {"prompt": "q", "completion": "a"}}),
        ({"trainer": "generic", "text_column": "story"}, {"trainer": "default", "column_mapping": {"text": "story"}}),
        ({"trainer": "orpo", "dpo_beta": 0.3}, {"orpo_weight": 0.3}),
        ({"trainer": "orpo", "orpo_alpha": 1.0}, {"orpo_weight": 1}),
        ({"trainer": "dpo", "dpo_beta": 0.3, "loss_type": "ipo"}, {"dpo_beta": 0.3, "loss": "ipo"}),
        (
            {"trainer": "dpo", "prompt_text_column": "q", "text_column": "good", "rejected_text_column": "bad"},
            {"column_mapping": {"prompt": "q", "chosen": "good", "rejected": "bad"}},
        ),
        ({"trainer": "grpo", "rl_rewards": "json", "rl_loss_type": "dr_grpo"}, {"grpo_loss": "dr_grpo"}),
        ({"trainer": "ppo", "rl_rewards": "json", "text_column": "ask"}, {"column_mapping": {"prompt": "ask"}}),
    ],
)
def test_an_older_name_becomes_ours_and_says_so(old: dict[str, Any], ours: dict[str, Any]) -> None:
    params, said = made(**old)
    assert {name: getattr(params, name) for name in ours} == ours
    changed = [name for name in old if name not in ours or str(old[name]) != str(ours[name])]
    assert all(name in said or name in ("rl_rewards", "batch_size", "column_mapping", "trainer") for name in changed), said


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"warmup_steps": 100}, ["warmup_steps has no counterpart", "warmup_ratio"]),
        ({"padding": "left"}, ["padding has no counterpart"]),
        ({"log": "wandb"}, ["log has no counterpart", "events.jsonl"]),
        ({"backend": "spaces-a10g-large"}, ["backend has no counterpart", "this machine"]),
        ({"unsloth": True, "use_vllm": True}, ["unsloth has no", "use_vllm has no"]),
        ({"sweep_n_trials": 3}, ["sweep_n_trials is not taken", "`aitraining sweep ", "*Try several values*"]),
        ({"wandb_sweep": True}, ["wandb_sweep has no counterpart", "no Weights & Biases", "`aitraining sweep "]),
        ({"post_trial_script": "a.sh"}, ["post_trial_script has no counterpart", "`aitraining sweeps NAME --json`"]),
        ({"rl_env_config": "{}"}, ["rl_env_config", "python: file.py:function"]),
        ({"distributed_backend": "ddp"}, ["distributed_backend has no counterpart", "processes says how many", "deepspeed"]),
        ({"block_size": 64, "max_length": "many"}, ["max_length is given twice", "block_size 64"]),
        ({"chat_template": "zephyr"}, ["chat_template must be", "'chatml'"]),
        ({"optimizer": "paged_adamw_8bit"}, ["optimizer must be", "'adafactor'"]),
        ({"trainer": "dpo", "response_only_loss": True}, ["train_on_prompt belongs to the trainer sft"]),
    ],
)
def test_what_has_no_counterpart_is_an_error_that_says_so(values: dict[str, Any], words: list[str]) -> None:
    message = refused(**values)
    assert all(word in message for word in words), message


def test_what_has_no_counterpart_is_told_with_all_that_is_wrong_besides() -> None:
    message = refused(unsloth=True, lr=7, epocs=2)
    assert all(word in message for word in ("unsloth has no counterpart", "lr must be", "Did you mean epochs")), message
    for read in (from_yaml, read_settings):
        with pytest.raises(ParamError) as caught:
            read("trainer: sft\ndata_path: x\nunsloth: true\nlr: 7\nepocs: 2\n")
        assert [problem.field for problem in caught.value.problems] == ["unsloth", "lr", "epocs"]


@pytest.mark.parametrize("name", ["unsloth", "use_vllm", "use_sweep", "sweep_params", "distributed_backend", "wandb_token"])
def test_what_is_off_asks_for_nothing(name: str) -> None:
    assert f"{name}" in made(**{name: False})[1] and f"{name}" in made(**{name: None})[1]


@pytest.mark.parametrize("name", ["token", "hub_token", "hf_token"])
def test_a_token_is_refused_and_never_repeated(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for message in (refused(**{name: "hf_abcSECRET"}), _of_a_file(tmp_path, f"hub:\n  {name}: hf_abcSECRET\n")):
        assert "HF_TOKEN" in message and "SECRET" not in message
    assert (
        main(["llm", "--trainer", "sft", "--data-path", "x.csv", f"--{name.replace('_', '-')}", "hf_abcSECRET", "--json"]) == 2
    )
    said = capsys.readouterr()
    assert "HF_TOKEN" in said.err and "SECRET" not in said.err + said.out


def _of_a_file(tmp_path: Path, more: str) -> str:
    with pytest.raises(ParamError) as caught:
        from_yaml(f"task: llm-sft\nbase_model: x\ndata:\n  path: {tmp_path}\n{more}")
    return caught.value.message


def test_the_documented_file_is_read_as_it_is() -> None:
    with pytest.warns(OlderNameWarning) as said:
        params = from_yaml(AUTOTRAIN_FILE.format(data="./talks"))
    lines = str(said[0].message).splitlines()
    wanted = LLMTrainingParams(
        trainer="sft", model="starter", project_name="my-first", data_path="./talks", column_mapping={"text": "talk"},
        max_length=64, epochs=2, batch_size=1, lr=1e-5, peft=True, scheduler="linear", gradient_accumulation=8,
        precision="bf16",
    )  # fmt: skip
    assert params == wanted
    for name in ("base_model", "log", "backend", "text_column", "block_size", "padding", "mixed_precision", "token"):
        assert any(line.startswith(name) for line in lines), name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: text-classification\nbase_model: x\ndata:\n  path: y\n", "trains language models"),
        ("task: llm-sft\nbase_model: x\ndata:\n  path: y\nparams:\n  epochs: 3\nepochs: 2\n", "stands there twice"),
        ("task: llm-sft\nbase_model: x\ndata: y\n", "data is a group of settings"),
        ("task: llm-sft\nbase_model: x\ndata:\n  path: y\nsweep:\n  n_trials: 3\n", "`aitraining sweep --trainer sft"),
        ("task: llm-sft\nbase_model: x\ndata:\n  path: y\nparams:\n  epohcs: 2\n", "Did you mean epochs"),
        ("task: llm\nbase_model: x\ndata:\n  path: y\n", "no trainer"),
    ],
)
def test_a_file_of_theirs_with_a_mistake_is_told(text: str, words: str) -> None:
    with warnings.catch_warnings(), pytest.raises(ParamError, match=re.escape(words)):
        warnings.simplefilter("ignore", OlderNameWarning)
        from_yaml(text)


def test_a_trainer_can_stand_among_the_parameters() -> None:
    with pytest.warns(OlderNameWarning):
        assert from_yaml("task: llm\nbase_model: x\ndata:\n  path: y\nparams:\n  trainer: orpo\n").trainer == "orpo"


def test_the_command_line_takes_older_flags_and_says_what_became_of_them(
    capsys: pytest.CaptureFixture[str], runs_root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "theirs.yaml"
    file.write_text("task: llm-dpo\nbase_model: starter\ndata:\n  path: nowhere.json\nparams:\n  block_size: 512\n")
    words = ["--train", "--block-size", "256", "--prompt_text_column", "q", "--text-column=good", "--lr", "9"]
    assert main(["llm", "--config", str(file), *words]) == 2
    said = capsys.readouterr().err
    for line in (
        "train: every start trains",
        "block_size 256 → max_length 256",
        "column_mapping prompt: q",
        "column_mapping chosen: good",
    ):
        assert line in said, said
    assert "lr must be" in said and not runs_root.exists()


def test_flags_win_over_a_file_of_theirs() -> None:
    file = translated({"task": "llm-dpo", "base_model": "m", "data": {"path": "p", "column_mapping": {"text_column": "a"}}})
    flags = translated({"trainer": "dpo", "max_length": "99", "prompt_text_column": "q"}, over=file.values)
    both = {**file.values, **flags.values}
    assert (both["model"], both["max_length"], both["column_mapping"]) == ("m", "99", {"chosen": "a", "prompt": "q"})


def test_settings_of_ours_say_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for spec in specs().values():
            params = LLMTrainingParams(trainer=spec.id, data_path="x.csv", **spec.example_settings)
            LLMTrainingParams(**params.model_dump())

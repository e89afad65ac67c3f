"""The table: every documented name of AutoTrain and its descendants whose name or values differ here, and what it means.

Names that are the same here with the same values are not listed; `sweep_*` stands for every name that begins so. What is
said by several names together (splits, columns, an automatic batch) is in together.py. Sources: the parameter lists of
AutoTrain Advanced 0.8 and of aitraining 0.0.54, their command-line pages and their example files.
"""

from __future__ import annotations

from engine.compatibility.meanings import (
    Meaning,
    becomes,
    elsewhere,
    known_or,
    missing,
    negated,
    one_of,
    secret,
    sentence_for,
    size,
    so_anyway,
    switched_on,
)

_HF_TOKEN = (
    "a token is never a setting, so that it cannot end up in a file, a log or a model card. Put it into the environment "
    "variable HF_TOKEN, or log in once with `hf auth login`"
)
_WANDB = "there is no Weights & Biases here: a run keeps every curve itself, on its page and in events.jsonl"
_OWN_REWARD = "a program of your own is one line of rl_rewards, `python: file.py:function` (docs/rewards.md)"
_SERVER = "answers are written by the process that trains; there is no vLLM here"
_SWEEP = (
    "several values of a setting are tried by a command of its own, "
    "`aitraining sweep --trainer sft --data-path DATA --sweep lr=1e-4,3e-4` (--random or --adaptive says how many "
    "combinations of ranges), and on the page by *Try several values* (docs/sweeps.md)"
)
_AFTER_EACH = "no program is run after each try; `aitraining sweeps NAME --json` tells what came of all of them"
_TOGETHER = "processes says how many share every step; fsdp and deepspeed, what they hold a part of"
_LOOP = "there is no loop of one's own here"
_TALK = "talk to a finished model in the playground"
_STEPS = "steps are counted by max_steps, and the warm-up is a share of them: warmup_ratio"
_RESUME = "`aitraining resume NAME` goes on from a run's last checkpoint"
_MEASURED = "held-out rows are measured every eval_steps, which is chosen for you when it is not given"
_SAVED = "checkpoints to go on from are written every save_steps, which is chosen for you when it is not given"
_TEMPLATES = {"tokenizer": "auto", "default": "auto", "null": "auto", "none": "plain"}
_PRECISION = {"fp16": "fp16", "bf16": "bf16", "fp32": "fp32", "no": "fp32", "none": "fp32"}

TABLE: dict[str, Meaning] = {
    # ---- basic
    "base_model": becomes("model"),
    "backend": so_anyway("it trains on this machine", "local", "local-cli", "local-ui", otherwise="runs train on this machine"),
    "train": so_anyway("every start trains", "true", otherwise="what is started trains; --dry-run starts nothing"),
    "deploy": missing("a finished model is a folder; upload it with `aitraining push NAME`"),
    "inference": missing(_TALK),
    "log": so_anyway(
        "every curve is kept in the run and drawn on its page; no TensorBoard files are written",
        "none",
        "tensorboard",
        otherwise=_WANDB + " (log)",
    ),
    # ---- data
    "block_size": becomes("max_length", by=size),
    "model_max_length": becomes("max_length", by=size),
    "max_seq_length": becomes("max_length", by=size),
    "max_prompt_length": missing("a prompt is not cut by itself; max_length cuts prompt and answer together"),
    "max_completion_length": becomes("rl_max_new_tokens"),
    "max_target_length": missing("an answer is not cut by itself; max_length cuts prompt and answer together"),
    "padding": so_anyway("rows are not padded, or after their end", "right", otherwise="there is no padding on the left here"),
    "add_eos_token": so_anyway("a document always ends with the token for it", "true", otherwise="it cannot be left out here"),
    "apply_chat_template": so_anyway(
        "turns always go through chat_template", "true", otherwise="text that is ready made is learned as `text` rows"
    ),
    "chat_template": becomes("chat_template", by=known_or(_TEMPLATES)),
    "auto_convert_dataset": so_anyway("the format of the rows is always recognised"),
    "use_sharegpt_mapping": so_anyway("ShareGPT rows are recognised"),
    "runtime_mapping": missing("name the columns in column_mapping"),
    "map_eos_token": missing("the template's own end of a turn is learned"),
    "conversation_extension": so_anyway("rows stay as they are", 1, otherwise="unrelated rows are not joined to conversations"),
    "save_processed_data": so_anyway(
        "the rows that were trained on are kept in the run's folder, and uploaded nowhere",
        "auto",
        "local",
        otherwise="the rows are kept in the run's folder alone",
    ),
    "response_only_loss": becomes("train_on_prompt", by=negated),
    "image_column": missing("models that see pictures are not trained here"),
    "chat_format": becomes("chat_template", by=known_or(_TEMPLATES)),
    "suggested_chat_template": so_anyway("the model's own way is taken where it has one"),
    # ---- training
    "learning_rate": becomes("lr"),
    "num_train_epochs": becomes("epochs"),
    "per_device_train_batch_size": becomes("batch_size"),
    "train_batch_size": becomes("batch_size"),
    "gradient_accumulation_steps": becomes("gradient_accumulation"),
    "warmup_steps": missing(_STEPS),
    "optimizer": becomes(
        "optimizer",
        by=known_or(dict.fromkeys(("adamw", "adamw_hf", "adamw_torch_fused"), "adamw_torch")),
    ),
    "scheduler": becomes("scheduler", by=known_or({"constant_with_warmup": "constant"})),
    "mixed_precision": becomes("precision", by=one_of(_PRECISION, "it is fp32, bf16 or fp16 here (precision)")),
    "fp16": becomes("precision", by=switched_on("fp16")),
    "bf16": becomes("precision", by=switched_on("bf16")),
    "disable_gradient_checkpointing": becomes("gradient_checkpointing", by=negated),
    "use_flash_attention_2": becomes("attention", by=switched_on("flash_attention_2")),
    "attn_implementation": becomes("attention"),
    "distributed_backend": missing(_TOGETHER),
    "ddp_timeout": missing("the processes of a run wait for each other as long as it takes"),
    **dict.fromkeys(
        ("eval_strategy", "evaluation_strategy"),
        sentence_for({"no": {"valid_fraction": 0.0}, "epoch": _MEASURED, "steps": _MEASURED}, _MEASURED),
    ),
    "save_strategy": sentence_for({"epoch": _SAVED, "steps": _SAVED}, f"{_SAVED}; save_total_limit 1 keeps one of them"),
    "logging_steps": becomes("logging_steps", by=size),
    "load_best_model_at_end": becomes("keep_best"),
    "metric_for_best_model": so_anyway(
        "the best step is told by the held-out loss, or by the score where there is one",
        "loss",
        "eval_loss",
        otherwise="the best step is told by the held-out loss, or by the score where there is one",
    ),
    "resume_from_checkpoint": missing(_RESUME),
    # ---- adapter
    "use_peft": becomes("peft"),
    "quantization": becomes("quantization", by=known_or({"4bit": "int4", "8bit": "int8", "null": "none", "no": "none"})),
    "use_int4": becomes("quantization", by=switched_on("int4")),
    "use_int8": becomes("quantization", by=switched_on("int8")),
    "unsloth": missing("this app has fast paths of its own, and needs no Unsloth"),
    # ---- pairs
    "dpo_beta": becomes("dpo_beta", "orpo_weight", "kto_beta"),
    "beta": becomes("dpo_beta", "kto_beta", "orpo_weight"),
    "orpo_alpha": becomes("orpo_weight"),
    "loss_type": becomes("loss", "grpo_loss", "kto_loss"),
    # ---- distillation
    "use_distillation": missing("learning from a teacher is a trainer of its own here: prompt distillation"),
    # ---- answers of its own
    "rl_loss_type": becomes("grpo_loss"),
    "rl_reward_fn": missing("rules that score are lines of rl_rewards (docs/rewards.md)"),
    "rl_multi_objective": so_anyway("several rewards are several lines of rl_rewards"),
    "rl_reward_weights": missing("a weight stands before its line in rl_rewards: `2 * length: 40` (docs/rewards.md)"),
    "rl_env_*": missing(_OWN_REWARD),
    "rl_chunk_size": missing("as many answers are written at once as a step learns from: batch_size"),
    "rl_optimize_device_cache": missing("there is no such cache"),
    "rl_mask_truncated_completions": missing("answers that were cut are learned from like others"),
    "use_vllm": missing(_SERVER),
    "vllm_*": missing(_SERVER),
    # ---- sweeps and evaluation
    "use_sweep": elsewhere(_SWEEP),
    "sweep": elsewhere(_SWEEP),
    "sweep_*": elsewhere(_SWEEP),
    "wandb_sweep*": missing(f"{_WANDB}; {_SWEEP}"),
    "post_trial_script": missing(_AFTER_EACH),
    "use_enhanced_eval": missing("every run measures held-out rows, and answers sample_prompts as it learns"),
    "eval_metrics": missing("what is measured follows from the trainer"),
    "eval_dataset_path": becomes("valid_path"),
    "eval_batch_size": missing("held-out rows are measured in batches of batch_size"),
    "eval_save_predictions": missing("answers to sample_prompts are kept with the run"),
    "eval_benchmark": missing("benchmarks are not run here"),
    "custom_metrics": missing("what is measured follows from the trainer"),
    # ---- upload and services
    "token": secret("HF_TOKEN", _HF_TOKEN),
    "hub_token": secret("HF_TOKEN", _HF_TOKEN),
    "hf_token": secret("HF_TOKEN", _HF_TOKEN),
    "wandb_token": secret("WANDB_API_KEY", _WANDB),
    "wandb_*": missing(_WANDB),
    "repo_id": becomes("hub_model_id"),
    # ---- loops by hand
    "custom_loss*": missing(_LOOP),
    "use_forward_backward": missing(_LOOP),
    "forward_backward_*": missing(_LOOP),
    "token_weights": missing(_LOOP),
    "manual_*": missing(_LOOP),
    "optimizer_step_frequency": missing(_LOOP),
    "save_state_every_n_steps": missing(_LOOP),
    "load_state_from": missing(_LOOP),
    "sample_every_n_steps": becomes("eval_steps"),
    "grad_clip_value": becomes("max_grad_norm"),
    "sample_temperature": missing("sample answers take the likeliest words"),
    "sample_top_k": missing("sample answers take the likeliest words"),
    "sample_top_p": missing("sample answers take the likeliest words"),
    "inference_*": missing(_TALK),
}

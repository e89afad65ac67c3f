"""No lock-in: a run's exported program, on plain TRL, makes the run's own losses, step by step."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.chat_templates import CHATML
from engine.export.bundle import export
from engine.models import resolve
from engine.registry import spec_for
from engine.runs.directory import RunDirectory
from engine.spec import TrainerSpec
from engine.worker.models import load_tokenizer
from engine.worker.templates import choose_template
from engine.worker.tokens import chat_tokens
from tests.contract.conftest import numbered
from tests.train.test_labels import THINKS
from tests.train.test_unlearned import ANSWER, ASKED, CALLS, HELLO, REFUSES_CALLS, REFUSES_GREETINGS
from tests.train.toys import jsonl, series

pytestmark = pytest.mark.slow

# What differs from one run to the next: each trainer in full, and between them everything that changes a batch.
CASES: dict[str, dict[str, Any]] = {
    "default": {"trainer": "default", "max_length": 32},
    "default, texts that see each other": {"trainer": "default", "max_length": 32, "cross_documents": True, "peft": True},
    "sft": {"trainer": "sft"},
    "sft, lora, accumulated": {"trainer": "sft", "peft": True, "gradient_accumulation": 3},
    "sft, stopped early": {"trainer": "sft", "early_stopping_patience": 1, "epochs": 6, "lr": 0.05, "save_steps": 4},
    "sft, packed": {"trainer": "sft", "packing": True, "max_length": 64, "train_on_prompt": True},
    "dpo": {"trainer": "dpo", "gradient_accumulation": 3},
    "dpo, lora, its own loss": {
        "trainer": "dpo",
        "peft": True,
        "loss": "sigmoid_norm",
        "label_smoothing": 0.1,
        "sft_weight": 0.5,
        "precompute_reference": False,
    },
    "orpo": {"trainer": "orpo", "gradient_accumulation": 3},
    "reward": {"trainer": "reward", "peft": True},
    # TRL's held-out reward is a mean of batches, of which no prompt may be alone in its own
    "grpo": {"trainer": "grpo", "rl_rewards": ["length: 12 words", "2 * no-repeat"], "valid_fraction": 0.34},
    "kto": {"trainer": "kto", "batch_size": 4},
    "kto, accumulated, lora": {"trainer": "kto", "batch_size": 2, "gradient_accumulation": 3, "peft": True},
}
# Nine rows to train on and three held out, two at a time: no pass, no accumulated step and no measurement comes out even. Of
# rated answers four are held out, for four answer each prompt.
SHORT = {
    "epochs": 2,
    "batch_size": 2,
    "lr": 3e-3,
    "lora_r": 4,
    "weight_decay": 0.1,
    "valid_fraction": 0.25,
    "eval_steps": 3,
    "save_steps": 3,
    "warmup_ratio": 0.2,
}
OWN = {"rl_max_new_tokens": 8, "rl_num_generations": 4, "rl_rounds": 2}


def uneven(spec: TrainerSpec) -> list[dict[str, Any]]:
    """Twelve rows whose texts are of very different lengths, so that what is averaged over what shows in a mean.

    Rated answers share prompts, since one is never crossed with another to the same.
    """
    longer = " And so on and so forth."
    rows = [
        {key: text + longer * (3 * number % 5) if isinstance(text, str) else text for key, text in row.items()}
        for number, row in enumerate(numbered(spec, 12))
    ]
    return [{**row, "prompt": f"Gate {at % 3}?"} for at, row in enumerate(rows)] if spec.rows == "feedback" else rows


@pytest.mark.parametrize("given", CASES.values(), ids=list(CASES))
def test_the_program_makes_the_losses_of_the_run(
    new_run: Callable[..., RunDirectory],
    work: Callable[[RunDirectory], int],
    tmp_path: Path,
    given: dict[str, Any],
) -> None:
    spec = spec_for(given["trainer"])
    data = jsonl(tmp_path / "rows.jsonl", uneven(spec))
    own = {name: value for name, value in OWN.items() if name in spec.params.model_fields}
    run = new_run(data, **{**SHORT, **own, **given})
    assert work(run) == 0, run.status()
    assert ("early_stopping_patience" in given) == (run.status().step < run.status().total_steps)

    program = export(run).write(tmp_path / "taken along")
    trainer = runpy.run_path(str(program), run_name="__main__")["trainer"]

    for key in {"loss", spec.headline, spec.judged_by}:
        theirs = {entry["step"]: entry[key] for entry in trainer.state.log_history if key in entry}
        ours = series(run, key)
        assert len(ours) >= 3 and theirs == pytest.approx(ours, rel=1e-4, abs=1e-6), key
    made, kept = (load_file(folder / "model" / "model.safetensors") for folder in (program.parent / "output", run.path))
    for name, weight in kept.items():  # the best measured, and not simply the last
        assert torch.allclose(made[name].to(weight.dtype), weight, rtol=1e-3, atol=1e-4), name


def test_a_training_that_made_it_worse_keeps_the_same_weights(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tmp_path: Path
) -> None:
    rough = {"lr": 0.9, "optimizer": "sgd", "max_grad_norm": 0.0, "scheduler": "constant", "max_steps": 4}
    data = jsonl(tmp_path / "rows.jsonl", uneven(spec_for("sft")))
    every = {"eval_steps": 1, "save_steps": 1, "warmup_ratio": 0.0}
    run = new_run(data, **{**SHORT, **rough, **every}, trainer="sft", model="starter")
    assert work(run) == 0 and run.status().best_step == 0
    measured = series(run, "eval_loss")
    assert min(list(measured.values())[1:]) < measured[4], "the last must not be the best, or this shows nothing"
    program = export(run).write(tmp_path / "taken along")
    runpy.run_path(str(program), run_name="__main__")
    made, kept = (load_file(folder / "model" / "model.safetensors") for folder in (program.parent / "output", run.path))
    for name, weight in kept.items():
        assert torch.allclose(made[name].to(weight.dtype), weight, rtol=1e-2, atol=4e-3), name


def test_it_begins_with_what_the_run_began_with(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tiny_model: Path, tmp_path: Path
) -> None:
    """Adapters that were trained before, as the base, as the reference and as what scores."""
    rows = {name: jsonl(tmp_path / f"{name}.jsonl", numbered(spec_for(name), 11)) for name in ("sft", "dpo", "reward", "grpo")}
    lora = {"peft": True, "merge_adapter": False, "valid_fraction": 0.0, "max_steps": 3}
    for name in ("sft", "reward"):
        assert work(new_run(rows[name], f"before-{name}", trainer=name, **{**SHORT, **lora, "eval_steps": None})) == 0
    judged = {"rl_reward_model_path": "before-reward", "rl_rewards": ["length: 12 words"], "rl_kl_coef": 0.1}
    further: dict[str, dict[str, Any]] = {
        "dpo": {"precompute_reference": False, "max_steps": 3},
        "dpo-2": {"trainer": "dpo", "peft": True, "model_ref": str(tiny_model), "max_steps": 3},
        "grpo": {**judged, **OWN},
        "reward": {"peft": True, "max_steps": 4},
    }
    for name, given in further.items():
        asked = {**SHORT, "trainer": name, "max_steps": 6, **given}
        run = new_run(rows[asked["trainer"]], name, **{**asked, "model": "before-sft"})
        assert work(run) == 0, run.status()
        made, ours = losses(run, tmp_path / "out" / name), series(run, "loss")
        assert made == pytest.approx(ours, rel=1e-4, abs=1e-6), name


def test_a_scorer_whose_tokenizer_has_nothing_to_pad_with(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tiny_model: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(tiny_model, tmp_path / "bare")
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    (bare / "tokenizer_config.json").write_text(json.dumps({**settings, "pad_token": None, "bos_token": None}))
    data = jsonl(tmp_path / "rows.jsonl", uneven(spec_for("reward")))
    run = new_run(data, **{**SHORT, "trainer": "reward", "model": str(bare), "peft": True, "max_steps": 4})
    assert work(run) == 0, run.status()
    assert losses(run, tmp_path / "out") == pytest.approx(series(run, "loss"), rel=1e-4)


def losses(run: RunDirectory, folder: Path) -> dict[int, float]:
    """What the run's exported program logs, by step."""
    trainer = runpy.run_path(str(export(run).write(folder)), run_name="__main__")["trainer"]
    return {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}


def test_half_precision_differs_by_its_rounding_only(
    new_run: Callable[..., RunDirectory], work: Callable[[RunDirectory], int], tmp_path: Path
) -> None:
    data = jsonl(tmp_path / "rows.jsonl", numbered(spec_for("sft"), 11))
    run = new_run(data, **{**SHORT, "precision": "bf16", "chat_template": "plain", "peft": True, "max_steps": 6})
    assert work(run) == 0, run.status()
    assert losses(run, tmp_path / "out") == pytest.approx(series(run, "loss"), rel=1e-2)


# A template as most models have one, which does not say where answers are.
UNMARKED = CHATML.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")
TURNS = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At six."}]
TALKS: list[dict[str, Any]] = [
    {"prompt": "When?", "completion": "At six."},
    {"messages": [{"role": "system", "content": "Be brief."}, *TURNS, *TURNS]},
    {"prompt": [*TURNS, {"role": "user", "content": "And then?"}], "completion": "Then at nine."},
    {"prompt": [{"role": "user", "content": "Hm?"}], "completion": [{"role": "assistant", "content": "Hm."}, *TURNS]},
]


@pytest.mark.parametrize("template", [CHATML, UNMARKED, THINKS, None], ids=["marked", "unmarked", "thinks", "none"])
@pytest.mark.parametrize("wish", ["auto", "chatml", "plain"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_the_program_learns_the_tokens_that_the_run_learns(
    new_run: Callable[..., RunDirectory],
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    template: str | None,
    wish: str,
    known: bool,
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    tokenizer = load_tokenizer(resolve(str(tmp_path / "model")))
    tokenizer.chat_template = template
    (tmp_path / "model" / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(tmp_path / "model")
    if not known:  # of a model of the Hub, whose files are not on this machine
        monkeypatch.setattr("engine.export.origin._template", lambda source: None)
    run = new_run("rows.jsonl", model=str(tmp_path / "model"), chat_template=wish, max_length=200)
    program = export(run).script.split("\n\n\nset_seed(")[0]
    choose_template(tokenizer, wish)
    learns_the_same(program, tmp_path, TALKS, tokenizer)


def learns_the_same(program: str, folder: Path, rows: list[dict[str, Any]], tokenizer: Any, **how: Any) -> None:
    room: dict[str, Any] = {"__file__": str(folder / "train.py")}
    exec(compile(program, "train.py", "exec"), room)
    for row in rows:
        made = chat_tokens(row, tokenizer, **how)
        assert made.trained and room["tokens"](row) == (made.input_ids, made.labels), row


@pytest.mark.parametrize("template", [CHATML, UNMARKED], ids=["marked", "unmarked"])
@pytest.mark.parametrize("wish", ["auto", "plain"])
def test_the_program_learns_white_space_that_the_tokenizer_passes_over(
    new_run: Callable[..., RunDirectory], tiny_model: Path, tmp_path: Path, wish: str, template: str
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(template)
    held = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    held["post_processor"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(held))
    tokenizer = load_tokenizer(resolve(str(tmp_path / "model")))
    choose_template(tokenizer, wish)
    run = new_run("rows.jsonl", model=str(tmp_path / "model"), chat_template=wish, max_length=200)
    rows = [*TALKS, {"prompt": "When?", "completion": " At  six,\n    or so. "}]
    learns_the_same(export(run).script.split("\n\n\nset_seed(")[0], tmp_path, rows, tokenizer)


def test_the_program_learns_every_token_where_answers_cannot_be_told(
    new_run: Callable[..., RunDirectory], tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages | length }} turns: " + UNMARKED)
    tokenizer = load_tokenizer(resolve(str(tmp_path / "model")))
    run = new_run("rows.jsonl", model=str(tmp_path / "model"), train_on_prompt=True, max_length=200)
    program = export(run).script.split("\n\n\nset_seed(")[0]
    learns_the_same(program, tmp_path, TALKS, tokenizer, train_on_prompt=True)


@pytest.mark.parametrize("template", [CHATML, UNMARKED], ids=["marked", "unmarked"])
@pytest.mark.parametrize("refuses", ["", REFUSES_GREETINGS], ids=["shows", "refuses"])
def test_the_program_reads_greetings_and_refuses_calls_as_the_run_does(
    new_run: Callable[..., RunDirectory], tiny_model: Path, tmp_path: Path, refuses: str, template: str
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(refuses + REFUSES_CALLS.sub("", template))
    tokenizer = load_tokenizer(resolve(str(tmp_path / "model")))
    run = new_run("rows.jsonl", model=str(tmp_path / "model"), max_length=200)
    program = export(run).script.split("\n\n\nset_seed(")[0]
    rows: list[dict[str, Any]] = [{"prompt": [HELLO, ASKED], "completion": [ANSWER, ASKED, ANSWER]}]
    learns_the_same(program, tmp_path, rows, tokenizer)
    room: dict[str, Any] = {"__file__": str(tmp_path / "train.py")}
    exec(compile(program, "train.py", "exec"), room)
    with pytest.raises(ValueError, match="no place for the call of a tool"):
        room["tokens"]({"messages": [ASKED, CALLS, ASKED, ANSWER]})

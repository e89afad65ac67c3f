"""The model card that goes with a finished model: data, settings, what the curves did, how to use it."""

from __future__ import annotations

from typing import Any

from engine.command import command
from engine.config_file import to_yaml
from engine.models import ModelFacts
from engine.plan import Plan
from engine.runs.directory import RunDirectory
from engine.runs.history import Curve
from engine.runs.live import everything
from engine.runs.status import Status
from engine.sparkline import sparkline
from engine.spec import TrainerSpec

# What a reader of the card puts the folder's real place in for.
FOLDER = "path/to/this/folder"
_WIDTH = 24

_TALK = '[{"role": "user", "content": "Hello!"}]'
_ANSWER = """ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**ids, max_new_tokens=100)[0, ids["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))"""
_SCORE = """talk = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Good day, and welcome!"}]
ids = tokenizer.apply_chat_template(talk, return_tensors="pt", return_dict=True)
with torch.no_grad():
    print(float(model(**ids).logits))  # the higher, the better"""

# (what the model is for, whether the folder holds an adapter alone) -> a program that uses it.
_USE = {
    ("chat", False): f"""from transformers import pipeline

chat = pipeline("text-generation", model="{FOLDER}")
print(chat({_TALK}, max_new_tokens=100)[0]["generated_text"][-1]["content"])""",
    ("text", False): f"""from transformers import pipeline

write = pipeline("text-generation", model="{FOLDER}")
print(write("It was", max_new_tokens=100)[0]["generated_text"])""",
    ("score", False): f"""import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "{FOLDER}"
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
{_SCORE}""",
    ("chat", True): f"""from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

folder = "{FOLDER}"
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoPeftModelForCausalLM.from_pretrained(folder)
talk = {_TALK}
{_ANSWER}""",
    ("text", True): f"""from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

folder = "{FOLDER}"
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoPeftModelForCausalLM.from_pretrained(folder)
ids = tokenizer("It was", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**ids, max_new_tokens=100)[0], skip_special_tokens=True))""",
    ("score", True): f"""import torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer

folder = "{FOLDER}"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
{_SCORE}""",
}


def model_card(
    run: RunDirectory, spec: TrainerSpec, given: Any, plan: Plan, status: Status, base: ModelFacts, step: int, *, adapter: bool
) -> str:
    """Markdown with the front matter that the Hub reads.

    `given` are the settings as the person gave them, `step` is that of the saved weights, and `adapter` says whether the
    folder holds an adapter alone.
    """
    params = plan.params
    purpose = "score" if spec.makes == "score" else "text" if spec.rows == "text" else "chat"
    usage = f"\n{spec.usage(params)}\n" if spec.usage else ""
    needs = f"\nThis is an adapter: its base, `{params.model}`, is needed beside it.\n" if adapter else ""
    return f"""---
{_front(spec, params.model, base, adapter)}---

# {run.name}

{spec.title}: {spec.summary}

- Base model: `{params.model}`
{_data(run, plan)}
- Trained: {_trained(params.peft, adapter)}, {status.step} steps of {params.batch_size} rows,
  learning rate {params.lr:g}; these are the weights as they were at step {step}
- Licence: {_licence(base)}

## What the curves did

{_curves(run, status, spec)}

## How to use it
{needs}
```python
{_USE[purpose, adapter]}
```
{usage}
## How it was made

```
{command(given)}
```

```yaml
{to_yaml(params).rstrip()}
```
"""


def _front(spec: TrainerSpec, model: str, base: ModelFacts, adapter: bool) -> str:
    known = base.base_of_adapter or model  # others know a model by its name on the Hub, not by its place here
    lines = [f"base_model: {known}"] if base.kind == "hub" else []
    lines += [f"license: {base.licence}"] if base.licence else []
    lines += [f"library_name: {'peft' if adapter else 'transformers'}", f"tags: [{spec.id}, aitraining-studio]"]
    return "".join(f"{line}\n" for line in lines)


def _data(run: RunDirectory, plan: Plan) -> str:
    data = run.data()
    train, valid = data.get("train_rows", plan.train_rows), data.get("valid_rows", plan.valid_rows)
    return f"- Data: `{plan.params.data_path}`, {train} rows to train on, {valid} held out"


def _trained(peft: bool, adapter: bool) -> str:
    return f"a LoRA adapter{'' if adapter else ', which is merged in'}" if peft else "all weights"


def _licence(base: ModelFacts) -> str:
    if not base.licence:
        return "the base model states none, so ask its makers before you pass this model on"
    return f"{base.licence}, as the base model; what the data allows is yours to know"


def _curves(run: RunDirectory, status: Status, spec: TrainerSpec) -> str:
    """Every curve that the run page draws: its first and its last point, and its course."""
    found: dict[str, Curve] = everything(run)["curves"]
    drawn = {key: f"{chart.title}, {label}" for chart in spec.charts for key, label in chart.series if key in found}
    lines = [f"| {words} (`{key}`) | {_course(found[key])} |" for key, words in drawn.items()]
    if not lines:
        return "No point was logged."
    table = "\n".join(["| | first | last | from first to last |", "|---|---|---|---|", *lines])
    if status.best_value is None:
        return table
    return f"{table}\n\nThe {spec.best_words} at step {status.best_step}: {status.best_value:.4g}."


def _course(curve: Curve) -> str:
    points = [(step, value) for step, value in zip(*curve, strict=True) if value is not None]
    if not points:
        return "no number | no number |"
    (first, began), (last, ended) = points[0], points[-1]
    return f"{began:.4g} at step {first} | {ended:.4g} at step {last} | {sparkline([value for _, value in points], _WIDTH)}"

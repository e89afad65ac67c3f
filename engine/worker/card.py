"""The model card that goes with a finished model: data, settings, what the curves did, how to use it."""

from __future__ import annotations

from typing import Any

from engine.command import command
from engine.config_file import to_yaml
from engine.plan import Plan
from engine.runs.directory import RunDirectory
from engine.runs.status import Status
from engine.spec import TrainerSpec

_USE = {
    "text": """from transformers import pipeline

chat = pipeline("text-generation", model="path/to/this/folder")
print(chat([{"role": "user", "content": "Hello!"}]))""",
    "score": """import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "path/to/this/folder"
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
talk = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Good day, and welcome!"}]
ids = tokenizer.apply_chat_template(talk, return_tensors="pt", return_dict=True)
with torch.no_grad():
    print(float(model(**ids).logits))  # the higher, the better""",
}


def model_card(run: RunDirectory, spec: TrainerSpec, given: Any, plan: Plan, status: Status) -> str:
    """Markdown with the front matter that the Hub reads. `given` are the settings as the person gave them."""
    params, data = plan.params, run.data()
    base = f"base_model: {params.model}\n" if "/" in params.model and not params.model.startswith(("/", ".")) else ""
    adapter = "library_name: peft\n" if params.peft and not params.merge_adapter else "library_name: transformers\n"
    usage = f"\n{spec.usage(params)}\n" if spec.usage else ""
    rows = f"{data.get('train_rows', plan.train_rows)} rows to train on, {data.get('valid_rows', plan.valid_rows)} held out"
    return f"""---
{base}{adapter}tags: [{spec.id}, aitraining-studio]
---

# {run.name}

{spec.title}: {spec.summary}

- Base model: `{params.model}`
- Data: `{params.data_path}`, {rows}
- Trained: {"a LoRA adapter" if params.peft else "all weights"}, {status.step} steps of {params.batch_size} rows,
  learning rate {params.lr:g}

## What the curves did

{_curves(status, spec)}

## How to use it

```python
{_USE[spec.makes]}
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


def _curves(status: Status, spec: TrainerSpec) -> str:
    lines = [f"- {key}: {value:.4g}" for key, value in sorted(status.metrics.items()) if key not in ("memory_bytes", "epoch")]
    if status.best_value is not None:
        lines.append(f"- the {spec.best_words} at step {status.best_step}: {status.best_value:.4f}")
    return "\n".join(lines) or "- no point was logged"

"""docs/trainers/: a guide for each trainer, composed of what its file in engine/trainers/ declares and of its samples."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from engine.advice import PIPELINES
from engine.command import command
from engine.config_file import to_yaml
from engine.data import FORMS
from engine.field_words import default_of
from engine.params import LLMTrainingParams, flag, form_of
from engine.reference.table import table
from engine.registry import specs
from engine.samples import PREFIX, Sample, samples
from engine.spec import TrainerSpec

_LONGEST_COMMAND = 200
_SHOWN_LINES, _SHOWN_CHARACTERS = 8, 900
_PAGE = """# {title}

{summary}

| | |
|---|---|
| Use when | {use_when} |
| Something else, when | {not_when} |
| Key features | {key_features} |
| Example | {example} |
| Complexity, stability, flexibility | {complexity}, {stability}, {flexibility} |
| Memory | {memory} |

{chains}## Data

{data}

{real}
{shapes}
## Train it

On the page: choose *{title}*, pick the sample *{sample_title}* or drop a file of your own,
look it over, start. The same from a terminal and from Python:

{ways}
## Settings that matter

{settings}
Everything else: [all settings](../settings.md), and `aitraining llm --preview-trainer {id} --help`.

## What the curves should look like

{curves}

{picture}

{charts}
## When something is wrong

{troubles}
Messages and their ways out: [errors](../errors.md).
"""


def pages() -> dict[str, str]:
    """Each trainer's guide by its id."""
    return {spec.id: _guide(spec) for spec in specs().values()}


def sample_params(sample: Sample) -> LLMTrainingParams:
    """The settings that train a bundled sample, as the page fills them in."""
    return LLMTrainingParams(**{"trainer": sample.trainer, "data_path": PREFIX + sample.id, **sample.settings})


def _guide(spec: TrainerSpec) -> str:
    sample = next(sample for sample in samples() if sample.trainer == spec.id)
    params, guide, compared = sample_params(sample), spec.guide, spec.comparison
    return _PAGE.format(
        id=spec.id,
        title=spec.title,
        summary=spec.summary,
        use_when=spec.use_when,
        not_when=guide.not_when,
        key_features=spec.key_features,
        example=spec.example,
        complexity=compared.complexity,
        stability=compared.stability,
        flexibility=compared.flexibility,
        memory=compared.memory,
        chains=_chains(spec),
        data=_wrapped(guide.data),
        real=_real(sample),
        shapes=_shapes(spec),
        sample_title=sample.title,
        ways=_ways(params),
        settings=_settings(spec),
        curves=_wrapped(guide.curves),
        picture=f"![Curves of the sample {sample.title}: {spec.charts[0].title}](../curves/{spec.id}.svg)",
        charts=table(("chart", "what good looks like"), ((chart.title, chart.good) for chart in spec.charts)),
        troubles="".join(_wrapped(f"- **{seen}** {advice}", "  ") + "\n" for seen, advice in guide.troubles),
    )


def _chains(spec: TrainerSpec) -> str:
    of = [p for p in PIPELINES if any(stage.trainer == spec.id for stage in p.stages)]
    if not of:
        return ""
    names = ", ".join(f"`{p.id}` ({' → '.join(stage.label for stage in p.stages)})" for p in of)
    return _wrapped(f"Part of the [pipelines](../pipelines.md) {names}.") + "\n\n"


def _wrapped(text: str, margin: str = "") -> str:
    """Lines as long as those that people write here."""
    return textwrap.fill(text, 124, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)


# ---- data ------------------------------------------------------------------------------------------------------------


def _real(sample: Sample) -> str:
    kind = {".jsonl": "json", ".json": "json", ".csv": "csv"}.get(sample.path.suffix, "text")
    said = f"The sample `{PREFIX}{sample.id}` is a real example. {sample.sentence} It begins like this "
    where = f"(`assets/samples/{sample.path.name}`):"
    return f"{_wrapped(said + where)}\n\n```{kind}\n{_beginning(sample.path)}\n```\n"


def _beginning(path: Path) -> str:
    """The first rows of a file as they stand there."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".json":
        return json.dumps(json.loads(text)[:2], ensure_ascii=False, indent=1)
    kept, length = [], 0
    for line in text.splitlines()[:_SHOWN_LINES]:
        length += len(line)
        if kept and length > _SHOWN_CHARACTERS:
            break
        kept.append(line)
    return "\n".join(kept).rstrip()


def _shapes(spec: TrainerSpec) -> str:
    """The other shapes that rows may have, and the names by which columns are recognised."""
    rows = "\n".join(json.dumps(row, ensure_ascii=False) for row in spec.example_rows)
    parts = [f"Rows may look like these, too, in any [format](../../README.md#what-it-does):\n\n```json\n{rows}\n```\n"]
    natural = [form for form in FORMS.values() if form.kinds and form.kinds[0] == spec.rows]
    for form in natural:
        named = "; ".join(f"{role.label.lower()}: {', '.join(f'`{name}`' for name in role.columns[:6])}" for role in form.roles)
        parts.append(_wrapped(f"Columns that are recognised by their names as {form.label}: {named}.") + "\n")
    parts.append("Other names are mapped on the page, or with `--column-mapping`.\n")
    return "\n".join(parts)


# ---- the ways to start it ------------------------------------------------------------------------------------------------


def _ways(params: LLMTrainingParams) -> str:
    line = command(params)
    typed = f"```bash\n{line}\n```\n" if len(line) <= _LONGEST_COMMAND else _with_file(params)
    return f"{typed}\n```python\n{program(params)}\n```\n"


def _with_file(params: LLMTrainingParams) -> str:
    name = f"{params.data_path.removeprefix(PREFIX)}.yaml"
    return f"`{name}`:\n\n```yaml\n{to_yaml(params)}```\n\n```bash\naitraining llm --config {name}\n```\n"


def program(params: LLMTrainingParams) -> str:
    """A Python program that trains with these settings."""
    given = [
        f"    {name}={_literal(getattr(params, name))},"
        for name, field in type(params).model_fields.items()
        if name in ("trainer", "model", "data_path") or getattr(params, name) != field.get_default(call_default_factory=True)
    ]
    opening = ["from engine import LLMTrainingParams, train", "", "params = LLMTrainingParams("]
    return "\n".join([*opening, *given, ")", "result = train(params)", "print(result.model_path, result.metrics)"])


def _literal(value: Any) -> str:
    """A value as a person would write it in Python, long text over several lines."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else repr(value)
    if len(value) <= 90:
        return json.dumps(value, ensure_ascii=False)
    pieces = re.findall(r".{1,90}(?:\s+|$)", value, re.DOTALL)
    return "(\n" + "".join(f"        {json.dumps(piece, ensure_ascii=False)}\n" for piece in pieces) + "    )"


# ---- settings --------------------------------------------------------------------------------------------------------------


def _settings(spec: TrainerSpec) -> str:
    fields = spec.params.model_fields
    rows = [
        (
            f"`{name}`",
            f"`{flag(name)}`",
            default_of(fields[name], auto=form_of(spec.params, name).auto, mark="`"),
            advice,
        )
        for name, advice in spec.guide.settings
    ]
    return table(("setting", "flag", "default", "what it is good for"), rows)

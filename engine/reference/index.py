"""docs/README.md: which page answers what, the comparison of the trainers, the decision tree, use cases and pipelines."""

from __future__ import annotations

from collections.abc import Iterator

from engine.advice import PIPELINES, TREE, USE_CASES, Leaf, Question, Stage
from engine.reference.table import table
from engine.registry import specs

_OPENING = """# Documentation

| you want to | read |
|---|---|
| begin | [the front page](../README.md): two commands, then three clicks |
| find out which training fits | the [decision tree](#which-trainer), the [comparison](#trainers), [use cases](#by-use-case) |
| train well | the [guide](#trainers) of a trainer: data, settings that matter, what curves should look like, troubleshooting |
| change a setting | [settings.md](settings.md): every setting, its range and its default |
| let rules score answers | [rewards.md](rewards.md) |
| train several times in a row | [pipelines.md](pipelines.md) |
| try several values and see which is best | [sweeps.md](sweeps.md) |
| type commands | [cli.md](cli.md): every command and flag |
| program in Python | [api.md](api.md): every public name |
| find models and data on the Hugging Face Hub, get at gated ones, upload yours | [hub.md](hub.md) |
| take a run along as a program without us | [export.md](export.md) |
| train on several GPUs, or on a rented one | [compute.md](compute.md) |
| use it from a notebook, a cron job or another app | [integration.md](integration.md): the HTTP API is there, too |
| run it on a Space, in Docker or on a rented GPU | [deploy.md](deploy.md) |
| share it: in a lab, on a Space | [sharing.md](sharing.md): who comes in, and what they see of each other |
| find out why a run went wrong | [troubleshooting.md](troubleshooting.md): what is recognised, and what is proposed |
| understand an error | [errors.md](errors.md): what each one means and what to do |
| know what was measured | [measured.md](measured.md) |
| know what is promised, and what holds it | [promises.md](promises.md) |
| know who may do what, and what is defended | [SECURITY.md](../SECURITY.md) |
| add a trainer, a setting or a fix | [CONTRIBUTING.md](../CONTRIBUTING.md) |

## Trainers
"""
_CHOOSING = """
## Which trainer

What the first page asks, as text. Questions marked with * are additions to the documentation that users know from AutoTrain.

```text
{tree}
```

## By use case

{cases}
## Pipelines

Several trainings in a row, begun with one command each: [pipelines.md](pipelines.md).

{pipelines}"""
_PRACTICE = """
## Good practice

1. **Start simple.** Begin with SFT, add what it lacks. `--dry-run` says before anything starts what a run will take.
2. **Data quality.** Better data beats a more complex training. The data step shows every example with what is learned of it.
3. **Step by step.** Test each stage before the next one; a pipeline's gates do it for you.
4. **Watch.** Curves, and the same questions answered as it learns, say more than the final number.
5. **Validate.** A tenth of the rows is held out unless you say otherwise, never trained on, and decides which weights are kept.
"""


def page() -> str:
    """The whole page."""
    cases = table(
        ("you want", "take", "because", "data"), ((case.title, case.words, case.reason, case.needs) for case in USE_CASES)
    )
    chains = table(("name", "what it is", "stages"), ((f"`{p.id}`", p.title, _stages(p.stages)) for p in PIPELINES))
    return _OPENING + "\n" + comparison() + _CHOOSING.format(tree=tree(), cases=cases, pipelines=chains) + _PRACTICE


def comparison() -> str:
    """The quick comparison, a row for each trainer."""
    head = ("Trainer", "Complexity", "Stability", "Flexibility", "Memory Usage", "Use Case", "Use when")
    rows = []
    for spec in specs().values():
        c = spec.comparison
        link = f"[{spec.title}](trainers/{spec.id}.md)"
        rows.append((link, c.complexity, c.stability, c.flexibility, c.memory, c.use_case, spec.use_when))
    return table(head, rows)


def tree() -> str:
    """The decision tree as lines of text."""
    return "\n".join([_asked(TREE), *_branches(TREE, "")])


def _asked(question: Question) -> str:
    return question.text + (" *" if question.ours else "")


def _branches(question: Question, margin: str) -> Iterator[str]:
    for place, (_, word, following) in enumerate(question.answers):
        last = place == len(question.answers) - 1
        end = following.advice.words if isinstance(following, Leaf) else _asked(following)
        yield f"{margin}{'└' if last else '├'}── {word} → {end}"
        if isinstance(following, Question):
            yield from _branches(following, margin + ("    " if last else "│   "))


def _stages(stages: tuple[Stage, ...]) -> str:
    return " → ".join(stage.label for stage in stages)

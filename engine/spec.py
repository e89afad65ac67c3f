"""What a trainer declares about itself. Everything on the screen, in the help and in the tests follows from it.

Owns the shape of a declaration; knows no trainer and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from engine.params import LLMTrainingParams

RowKind = Literal["text", "chat", "preference", "prompts", "feedback"]


@dataclass(frozen=True)
class MoreThan:
    """Numbers above a bound, as numbers or as they are typed."""

    bound: float

    def __contains__(self, value: object) -> bool:
        try:
            return float(value) > self.bound  # type: ignore[arg-type]  # what is no number is none of these
        except (TypeError, ValueError):
            return False

    def __str__(self) -> str:
        return f"more than {self.bound:g}"


@dataclass(frozen=True)
class Form:
    """Where and how one parameter is asked for; rides in the field's `Annotated` metadata.

    `when` shows the field only while another field has one of the given values, for example `{"peft": (True,)}`.
    `auto` marks a field whose None means "chosen from data, model and device" (see engine/plan.py).
    `words` are what choices are called on the page, where the value itself is not a word for everybody.
    """

    group: str
    label: str = ""
    advanced: bool = False
    when: dict[str, tuple[Any, ...] | MoreThan] = field(default_factory=dict)
    auto: bool = False
    widget: Literal["", "slider", "text", "long", "lines", "rewards", "judge", "model", "data", "hardware", "hidden"] = ""
    words: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """One chart of the run page: the metrics it draws and, in plain words, what good looks like."""

    title: str
    series: tuple[tuple[str, str], ...]  # (metric key, label)
    good: str
    smooth: bool = True


def twin(key: str) -> tuple[tuple[str, str], ...]:
    """A metric and its held-out twin, which a run logs under eval_…, as a chart's series."""
    return ((key, "training"), (f"eval_{key}", "held-out"))


def twins(*series: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Several metrics with labels of their own, and the held-out twin of each."""
    return (*series, *((f"eval_{key}", f"{label}, held-out") for key, label in series))


@dataclass(frozen=True)
class Comparison:
    """The trainer's row of the quick comparison table, as the documentation words it."""

    complexity: str
    stability: str
    flexibility: str
    memory: str
    use_case: str


@dataclass(frozen=True)
class Guide:
    """How a trainer is used well, in words for people who do not train models for a living: what nothing else here says.

    `not_when` says what fits better otherwise, `data` what makes rows good and how many are enough, `curves` what a real
    run looks like. `settings` are (a setting's name, what it is good for), `troubles` (what one sees, what to do).
    """

    not_when: str
    data: str
    settings: tuple[tuple[str, str], ...]
    curves: str
    troubles: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Copies:
    """How many copies of the model's parts a step holds, for the memory estimate.

    `sequences` counts the sequences scored for one row (2 for a chosen and a rejected answer);
    `frozen` counts further full models without gradients (a reference, a teacher, a reward model), each of the size of
    `frozen_model`, a model reference ("": of the trained model's size). `heads` counts the copies of the next-token
    scores, and `watched` is true when a frozen model reads what the others see of every row at every step.
    """

    sequences: int = 1
    frozen: int = 0
    frozen_with_lora: int = 0
    vocabulary_head: bool = True
    # Tokens that the model writes itself for each row, and how often a step goes over them forwards and backwards.
    written: int = 0
    passes: float = 1.0
    frozen_model: str = ""
    frozen_fast: bool = False  # held in the training's number format, and not in fp32
    heads: int = 1
    watched: bool = False


@dataclass(frozen=True)
class View:
    """A row as one of its readers sees it; `label` says who that is, `trained` whether it is the model that is trained."""

    label: str
    row: dict[str, Any]
    trained: bool = True


@dataclass(frozen=True)
class Cost:
    """What a run takes besides its training: a line of the review, and the seconds that it adds."""

    what: str
    words: str
    seconds: float


class Job(Protocol):
    """What `TrainerSpec.build` returns: something that trains and holds the model that was trained."""

    model: Any

    def train(self, resume_from_checkpoint: str | None = None) -> Any: ...


@dataclass(frozen=True)
class TrainerSpec:
    """One trainer, declared once in its own file under engine/trainers/."""

    id: str
    title: str
    summary: str
    use_when: str
    key_features: str
    example: str
    order: int
    rows: RowKind
    params: type[LLMTrainingParams]
    comparison: Comparison
    guide: Guide
    charts: tuple[Chart, ...]
    example_rows: tuple[dict[str, Any], ...]
    build: Callable[[Any, Any], Job]
    # The run as a program of plain TRL: (settings, kit) -> its recipe, or in words why only our engine has these settings
    # (see engine/export/script_kit.py). None: TRL has no such trainer, and the program is a call of our engine.
    export: Callable[[Any, Any], Any] | None = None
    # What a step holds, or how that follows from the settings.
    copies: Copies | Callable[[Any], Copies] = Copies()
    # Whether the finished model writes text or gives a text a score.
    makes: Literal["text", "score"] = "text"
    # What is done with the marked tokens of an example, for the page that shows them.
    learns: str = "It learns to write the marked tokens; the rest is only read."
    # A step of the size that suits plain next-token training, times this: preference losses want far smaller steps.
    lr_scale: float = 1.0
    # Open settings of this trainer's own that follow from the data: (settings, DataFacts) -> {name: (value, why)}.
    choose: Callable[[Any, Any], dict[str, tuple[Any, str]]] | None = None
    # The metric that must be finite at every logged step for a run to be called done.
    headline: str = "loss"
    # The held-out metric that says which weights were best, and whether more of it is better.
    judged_by: str = "eval_loss"
    higher_is_better: bool = False
    # Rows a step must average over to learn anything but noise, when nobody chose and the memory allows.
    least_batch: int = 1
    # The setting that holds the model to what it was; raised where a run drifts too far.
    held_by: str = ""
    # How far that is for one token, in nats: the metric, and one that it is divided by ("" where it counts one token already).
    drift: tuple[str, str] | None = None
    # The metric that says which share of the model's own answers was cut (or came to an end: then it begins with "!").
    cut_answers: str = ""
    # Settings that keep good answers likely while bad ones are pushed away.
    keeps_good: Mapping[str, Any] = field(default_factory=dict)
    pipelines: tuple[str, ...] = ()
    # Whether a step's rows lie end to end; a trainer that pads them needs an attention that knows padding.
    end_to_end: bool = True
    # Whether several processes can share each step and end with the weights that one would have (engine/worker/ranks.py), each
    # of them with the whole model or with a part (engine/worker/splitting.py).
    in_parallel: bool = False
    # Settings without which this trainer has nothing to do; for its example rows, and where nobody has chosen any yet.
    example_settings: Mapping[str, Any] = field(default_factory=dict)

    # For rows of prompts: who reads what of a row, where that is not simply the row.
    views: Callable[[Any, dict[str, Any]], tuple[View, ...]] | None = None
    # For rows of prompts: how many tokens at most are written after each before it is trained on.
    writes: Callable[[Any], int] | None = None
    # What a plan and its data take besides training.
    costs: Callable[[Any, Any], tuple[Cost, ...]] | None = None
    # What the model card says on how to ask the finished model; "" for nothing special.
    usage: Callable[[Any], str] | None = None

    @property
    def best_words(self) -> str:
        """What was best at the best step: "held-out loss was lowest"."""
        measured = self.judged_by.removeprefix("eval_").replace("_", " ")
        return f"held-out {measured} was {'highest' if self.higher_is_better else 'lowest'}"

    def better(self, value: float, than: float) -> bool:
        """Whether one measurement of `judged_by` beats another."""
        return value > than if self.higher_is_better else value < than

    def copies_of(self, params: Any) -> Copies:
        """What a step with these settings holds."""
        return self.copies if isinstance(self.copies, Copies) else self.copies(params)

    def asked(self, params: Any, row: dict[str, Any]) -> dict[str, Any]:
        """The row as the model that is trained sees it."""
        return next(view.row for view in self.views(params, row) if view.trained) if self.views else row

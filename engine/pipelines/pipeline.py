"""What a pipeline is: a name and stages in order, each with the settings of one run. Reads and writes its YAML.

A setting that takes a model (the forms of the parameters say which) may name an earlier stage instead: it then means
the model that the stage made. Owns the declaration only; nothing here looks at a run.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.config_file import read_mapping, yaml_entry
from engine.data.parts import without_part
from engine.errors import FieldProblem, ParamError
from engine.params import NAME_PATTERN, LLMTrainingParams, model_settings
from engine.paths import expanded
from engine.pipelines.gate import Gate, read_gate
from engine.registry import spec_for
from engine.samples import PREFIX

STAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
# A run is called <pipeline>-<stage>, and a further try of it <pipeline>-<stage>-12, in at most 80 characters.
_LONGEST = 76
# Settings that take a model for a purpose of their own; `with` for any other.
_FROM = {"model": "on the model of", "model_ref": "held to", "teacher_model": "taught by"}
_SHAPE = "A pipeline file holds `pipeline: NAME` and, under `stages:`, each stage's name with its settings."


@dataclass(frozen=True)
class Stage:
    """One training of a pipeline: `settings` as they were written (the trainer among them), and its gate."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    gate: Gate | None = None

    @property
    def trainer(self) -> str:
        return str(self.settings.get("trainer", ""))


@dataclass(frozen=True)
class Pipeline:
    """Stages in the order in which they are trained."""

    name: str
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> Stage:
        """The stage called `name`.

        Raises:
            ParamError: there is none; the message names those there are.
        """
        found = next((stage for stage in self.stages if stage.name == name), None)
        if found is None:
            known = [stage.name for stage in self.stages]
            near = difflib.get_close_matches(name, known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise wrong(f"The pipeline {self.name} has no stage {name!r}.{guess} Its stages are {', '.join(known)}.")
        return found

    def references(self, stage: Stage) -> dict[str, str]:
        """Setting -> the stage that it names, for every setting of `stage` that takes a model."""
        names = {other.name for other in self.stages}
        chosen = {name: stage.settings.get(name) for name in model_settings(spec_for(stage.trainer).params)}
        return {name: value for name, value in chosen.items() if isinstance(value, str) and value in names}

    def changed(
        self,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        gates: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Pipeline:
        """The same pipeline with some settings of some stages, or gates, set anew. A gate of None is taken away.

        Raises:
            ParamError: there is no such stage, or a gate cannot be read.
        """
        made = {stage.name: stage for stage in self.stages}
        gates = dict(gates or {})
        for stage, given in (settings or {}).items():
            values = dict(given)
            if "gate" in values:
                gates.setdefault(stage, values.pop("gate"))
            made[stage] = replace(self.stage(stage), settings={**self.stage(stage).settings, **values})
        for stage, gate in gates.items():
            self.stage(stage)
            made[stage] = replace(made[stage], gate=None if gate is None else _of_stage(stage, read_gate, gate))
        return from_mapping({**replace(self, stages=tuple(made.values())).to_mapping(), "pipeline": name or self.name})

    def to_mapping(self) -> dict[str, Any]:
        """The pipeline as its YAML has it; `from_mapping` reads it back."""
        stages = {stage.name: {**stage.settings, **({"gate": str(stage.gate)} if stage.gate else {})} for stage in self.stages}
        return {"pipeline": self.name, "stages": stages}

    def to_yaml(self) -> str:
        """The pipeline as a file that `aitraining pipeline FILE` takes."""
        return "\n".join(yaml_entry(name, value) for name, value in self.to_mapping().items()) + "\n"


def builds_on(trainer: str, named: Mapping[str, str]) -> str:
    """What a stage takes from others, in words: "on the model of sft, scored by reward". `named`: setting -> stage."""
    widgets = model_settings(spec_for(trainer).params)
    how = {field: "scored by" if widgets[field] == "judge" else _FROM.get(field, "with") for field in named}
    return ", ".join(f"{how[field]} {stage}" for field, stage in named.items())


def from_yaml(text: str) -> Pipeline:
    """A pipeline from the text of its file.

    Raises:
        ParamError: it is not one; says where and what is expected.
    """
    return from_mapping(read_mapping(text, shape=_SHAPE))


def from_mapping(values: Mapping[str, Any]) -> Pipeline:
    """A pipeline from a mapping of the shape that the YAML has. The settings' values are judged later, stage by stage.

    Raises:
        ParamError: a name cannot be used, a stage has no trainer, or something else of the shape is wrong.
    """
    unknown = [key for key in values if key not in ("pipeline", "stages")]
    if unknown:
        raise wrong(f"A pipeline file has no {', '.join(map(repr, unknown))}. {_SHAPE}")
    name, given = values.get("pipeline"), values.get("stages")
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        which = "The pipeline needs a name, `pipeline: my-town`" if name is None else f"{name!r} cannot be a pipeline's name"
        shape = "letters, digits, dots, dashes and underscores, beginning with a letter or digit"
        raise wrong(f"{which}: {shape}.", "pipeline")
    if not isinstance(given, Mapping) or not given:
        raise wrong(f"The pipeline {name} has no stages. {_SHAPE}")
    return Pipeline(name, tuple(_stage(name, stage, settings) for stage, settings in given.items()))


def wrong(message: str, about: str = "") -> ParamError:
    """A ParamError of one problem."""
    return ParamError([FieldProblem(about, message)])


def stage_problems(stage: str, problems: Iterable[FieldProblem]) -> list[FieldProblem]:
    """The same problems, told with the stage that has them."""
    return [FieldProblem(f"{stage}.{p.field}" if p.field else stage, f"stage {stage}: {p.message}") for p in problems]


def _stage(pipeline: str, name: Any, settings: Any) -> Stage:
    if not isinstance(name, str) or not STAGE_NAME.fullmatch(name):
        raise wrong(f"{name!r} cannot be a stage's name: letters, digits, dashes and underscores, at most 40.")
    if len(pipeline) + 1 + len(name) > _LONGEST:
        raise wrong(f"stage {name}: its run would be called {pipeline}-{name}, which is too long. Shorten one of the names.")
    if not isinstance(settings, Mapping) or not isinstance(settings.get("trainer"), str):
        raise wrong(f"stage {name}: which trainer? Give its settings on indented lines, `trainer: …` among them.")
    strange = [key for key in settings if not isinstance(key, str)]
    if strange:
        raise wrong(f"stage {name}: {strange[0]!r} is no setting's name.")
    if settings.get("project_name"):
        raise wrong(f"stage {name}: leave project_name out; the stage's run is called {pipeline}-{name}.")
    _of_stage(name, spec_for, settings["trainer"])
    given = {key: value for key, value in settings.items() if key not in ("gate", "project_name")}
    kept = from_here(spec_for(settings["trainer"]).params, given)
    gate = settings.get("gate")
    return Stage(name, kept, None if gate is None else _of_stage(name, read_gate, gate))


def from_here(cls: type[LLMTrainingParams], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose relative paths are full ones, since what they are for may go on elsewhere; names of models stay names."""
    models = model_settings(cls)
    paths = {*models, "data_path", "valid_path"}
    return {key: _full(value, folder=key in models) if key in paths else value for key, value in settings.items()}


def _full(value: Any, *, folder: bool) -> Any:
    if not isinstance(value, str) or not value.strip() or value.startswith(PREFIX) or (folder and "/" not in value):
        return value
    here, source = expanded(value), without_part(value)
    if not here.exists() and expanded(source).is_dir():  # a part of a folder
        return str(expanded(source).resolve()) + value.removeprefix(source)
    return str(here.resolve()) if here.exists() else value


def _of_stage(stage: str, read: Any, value: Any) -> Any:
    try:
        return read(value)
    except ParamError as error:
        raise ParamError(stage_problems(stage, error.problems), hint=error.hint) from None

"""A pipeline that was set up but not started, kept in the person's own browser, and what it is for the engine.

A draft holds `name`, `again` (the pipeline that it goes on from, "" for a new one), `asked` as a run's draft does, and
`stages`: of each its `name`, the `values` of its form, its `gate` (metric, sign, bound) and `looked`, the data that was
looked at. It is written when another stage is shown. What is in the boxes is kept apart (`shown`), with every plan: so an
answer that comes late cannot bring a stage back that was taken out meanwhile, nor lose one that was added.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from engine import api
from engine.errors import FieldProblem, ParamError, StudioError
from ui import draft as drafts
from ui.fields import to_widget
from ui.form import SettingsForm
from ui.new_run_data import sample_of
from ui.new_run_data import settings_of as settings_of_sample

Draft = dict[str, Any]
Stage = dict[str, Any]

SIGNS = (("at least", ">="), ("at most", "<="), ("more than", ">"), ("less than", "<"))
NO_GATE = ["", ">=", ""]
_ALWAYS = ("trainer", "model", "data_path")
_WISHES = ("chain", "samples", "from", "resume", "stage")


class Stores(drafts.Stores):
    """What the page keeps in the browser; `place` is the stage whose form is shown, `shown` what is in its boxes."""

    def __init__(self) -> None:
        super().__init__("pipeline-")
        self.place = drafts.browser_state("pipeline-place", 0)
        self.shown = drafts.browser_state("pipeline-shown", {})

    @property
    def all(self) -> list[Any]:
        return [*super().all, self.place, self.shown]


def opened(kept: list[Any], query: dict[str, str], form: SettingsForm) -> tuple[list[Any], str]:
    """Draft, seen, step, ticket, place and "show all settings" as they are when the page opens, and a sentence if something
    asked for could not be had.

    An address with wishes in it begins anew, except when the draft came from that very address and was not started: then it
    was a reload.
    """
    draft, seen, step, ticket = dict(kept[0] or {}), dict(kept[1] or {}), int(kept[2] or 0), dict(kept[3] or {})
    place, shown, note = int(kept[4] or 0), dict(kept[5] or {}), ""
    wishes = {key: value for key, value in sorted(query.items()) if key in _WISHES}
    over = bool(ticket.get("started"))
    other = bool(wishes) and draft.get("asked") != repr(wishes)
    if other or not draft.get("stages") or (over and (wishes or draft.get("again"))):
        draft, place, note = _begun(wishes, form)
        draft["asked"] = repr(wishes)
        seen, step, ticket, shown = {"looked": draft["stages"][place]["looked"]}, 0, {}, {}
    else:
        draft = _with_boxes(draft, shown)
        draft["name"] = _fresh(draft["name"]) if over else draft["name"]
    if over or "id" not in ticket:
        ticket = {"id": uuid.uuid4().hex}
    return [draft, seen, step, ticket, min(place, len(draft["stages"]) - 1), bool(shown.get("everything"))], note


def _with_boxes(draft: Draft, shown: dict[str, Any]) -> Draft:
    """The draft with what was in the boxes of the stage that was shown, if it still has that stage."""
    boxes = {key: shown[key] for key in ("values", "gate") if key in shown}
    stages = [{**stage, **boxes} if stage["name"] == shown.get("stage") else stage for stage in draft["stages"]]
    return {**draft, "stages": stages, "name": shown.get("name", draft["name"])}


def _begun(wishes: dict[str, str], form: SettingsForm) -> tuple[Draft, int, str]:
    known = wishes.get("resume") or wishes.get("from") or ""
    note = ""
    if known:
        try:
            declared = api.pipelines.declared(known)
            again = wishes.get("resume", "")
            stages = stages_of(declared, form, looked=True)
            place = next((n for n, stage in enumerate(stages) if stage["name"] == wishes.get("stage")), 0)
            return {"name": known if again else _fresh(known), "again": again, "stages": stages}, place, ""
        except StudioError as error:
            note = str(error)
    chains = api.pipelines.chains()
    chain = wishes.get("chain", "preference")
    chain = chain if chain in chains else "preference"
    data = api.pipelines.sample_data(chain) if wishes.get("samples") else {}
    shaped = {name: with_sample(stage, form) for name, stage in api.pipelines.shaped(chains[chain], data).items()}
    stages = [filled(name, settings, form) for name, settings in shaped.items()]
    return {"name": api.pipelines.free_name(chain), "again": "", "stages": stages}, 0, note


def _fresh(name: str) -> str:
    """A name that is free, near one that is taken."""
    return api.pipelines.free_name(re.sub(r"-\d+$", "", name))


def with_sample(settings: dict[str, Any], form: SettingsForm) -> dict[str, Any]:
    """Settings with what the sample among them needs its training to know."""
    brought = settings_of_sample(sample_of(settings.get("data_path") or ""))
    return {**settings, **{name: value for name, value in brought.items() if not settled(name, settings, form)}}


def settled(name: str, settings: dict[str, Any], form: SettingsForm) -> bool:
    """Whether a stage has settled this and no sample changes it: a model that is not a bundled one, rules beside a judge."""
    field = form.fields[name]
    if field.form.widget == "rewards":
        return any(settings.get(judge) for judge, other in form.fields.items() if other.form.widget == "judge")
    bundled = {source.reference for source in api.model_choices() if source.kind == "starter"}
    return field.names_model and bool(settings.get(name)) and settings[name] not in bundled


# ---- stages --------------------------------------------------------------------------------------------------------


def stages_of(pipeline: api.pipelines.Pipeline, form: SettingsForm, *, looked: bool = False) -> list[Stage]:
    """The stages of a pipeline as the page holds them; `looked`: what they say about bad rows was chosen."""
    made = []
    for stage in pipeline.stages:
        held = filled(stage.name, stage.settings, form)
        if stage.gate:
            held["gate"] = [stage.gate.metric, stage.gate.sign, f"{stage.gate.bound:g}"]
        made.append({**held, "looked": held["values"]["data_path"] if looked else ""})
    return made


def filled(name: str, settings: dict[str, Any], form: SettingsForm) -> Stage:
    """A stage with these settings; what they leave out takes its default."""
    values = {key: to_widget(field, settings.get(key, field.default)) for key, field in form.fields.items()}
    return {"name": name, "values": values, "gate": list(NO_GATE), "looked": ""}


def added(draft: Draft, trainer: str, form: SettingsForm) -> Draft:
    """The draft with one more stage at its end, on the models that the stages before it make."""
    names = {stage["name"] for stage in draft["stages"]}
    name = next(n for n in (trainer, *(f"{trainer}-{number}" for number in range(2, 1000))) if n not in names)
    writer, scorer = str(draft["stages"][0]["values"]["model"]), ""
    for stage in draft["stages"]:
        writes = api.spec_for(stage["values"]["trainer"]).makes == "text"
        writer, scorer = (stage["name"], scorer) if writes else (writer, stage["name"])
    settings = {"trainer": trainer, **api.pipelines.begins(trainer, writer, scorer)}
    return {**draft, "stages": [*draft["stages"], filled(name, settings, form)]}


def without(draft: Draft, place: int, form: SettingsForm) -> Draft:
    """The draft without one stage; those that build on its model build on what it began with."""
    gone, left = draft["stages"][place], []
    for number, stage in enumerate(draft["stages"]):
        if number == place:
            continue
        values = dict(stage["values"])
        for name, field in form.fields.items():
            if field.names_model and values.get(name) == gone["name"]:
                values[name] = gone["values"]["model"] if name == "model" else ""
        left.append({**stage, "values": values})
    return {**draft, "stages": left}


# ---- for the engine ------------------------------------------------------------------------------------------------


def settings_of(stage: Stage, form: SettingsForm) -> dict[str, Any]:
    """What differs from the defaults, in the types that the engine has for it where it can be read.

    Raises:
        ParamError: it is something that a browser may not ask for.
    """
    held = form.chosen(tuple(stage["values"].get(name, "") for name in form.names))
    declared = api.spec_for(held["trainer"]).params.model_fields
    try:
        held = api.validate(held).model_dump(mode="json")
    except ParamError:  # told beside the fields; here what was changed stays as it was written
        usual = filled("", {}, form)["values"]
        held = {name: value for name, value in held.items() if name in _ALWAYS or stage["values"].get(name) != usual[name]}
    kept = {name: value for name, value in held.items() if name in declared and name != "project_name"}
    defaults = {name: declared[name].get_default(call_default_factory=True) for name in kept}
    return {name: value for name, value in kept.items() if name in _ALWAYS or value != defaults[name]}


def gate_of(stage: Stage) -> str:
    """The gate as the engine reads it, "" for none.

    Raises:
        ParamError: there is a metric, and no number that it could be held against.
    """
    metric, sign, bound = stage.get("gate") or NO_GATE
    if not metric:
        return ""
    try:
        float(bound)
    except ValueError:
        said = "Say which number must be reached." if not bound.strip() else f"{bound!r} is no number. Write one such as 0.8."
        raise ParamError([FieldProblem(f"{stage['name']}.gate", f"stage {stage['name']}: {said}")]) from None
    return f"{metric} {sign} {float(bound)!r}"


def pipeline_of(draft: Draft, form: SettingsForm) -> api.pipelines.Pipeline:
    """The pipeline that a draft describes.

    Raises:
        ParamError: its name, a gate, or something that a browser may not ask for; problems' fields are `stage.setting`.
    """
    stages: dict[str, dict[str, Any]] = {}
    problems: list[FieldProblem] = []
    for stage in draft["stages"]:
        name = stage["name"]
        try:
            gate = gate_of(stage)
            stages[name] = {**settings_of(stage, form), **({"gate": gate} if gate else {})}
        except ParamError as error:
            problems += [p if "." in p.field else FieldProblem(f"{name}.{p.field}", p.message) for p in error.problems]
    if problems:
        raise ParamError(problems)
    return api.pipelines.from_mapping({"pipeline": str(draft.get("name") or "").strip() or None, "stages": stages})


def base_of(draft: Draft, reference: str) -> str:
    """The model that `reference` begins with: itself, unless it names a stage."""
    models = {stage["name"]: str(stage["values"].get("model") or "") for stage in draft["stages"]}
    for _ in models:
        reference = models.get(reference, reference)
    return reference


def standing_in(draft: Draft, params: api.LLMTrainingParams, form: SettingsForm) -> api.LLMTrainingParams:
    """A stage's settings with models that are yet to be made replaced by those that they begin with, which can be looked at."""
    named = {name: getattr(params, name, None) for name, field in form.fields.items() if field.names_model}
    return params.model_copy(update={name: base_of(draft, value) for name, value in named.items() if value})

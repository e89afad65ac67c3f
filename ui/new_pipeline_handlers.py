"""What is worked out for the page "New pipeline": functions of what the browser sends, so that any server can answer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import gradio as gr

from engine import api
from engine.errors import ParamError, RunNameTaken, StudioError
from ui import data_view, pipeline_draft, pipeline_review, review_view
from ui.draft import REVIEW
from ui.events import PRIVATE
from ui.fields import Field, models_for
from ui.new_run_data import sample_of
from ui.new_run_handlers import Handlers, rows_refused
from ui.pipeline_data import StageData
from ui.reach import refuse_foreign
from ui.reward_picker import rules_html

if TYPE_CHECKING:
    from ui.new_pipeline import Page

# How many values come before the form's in `asked`.
_BEFORE = 6
Problems = dict[str, list[str]]


class PipelineHandlers(Handlers):
    """Answers to everything that happens on the page; new_pipeline_events.py connects them."""

    def __init__(self, page: Page) -> None:
        super().__init__(page, StageData(page))
        self.pipeline_page = page

    @property
    def asked(self) -> list[Any]:
        p = self.pipeline_page
        return [p.stores.draft, p.stores.place, p.name, *p.gate, *self.form.components]

    def own(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return given[_BEFORE:]

    def draft(self, given: tuple[Any, ...]) -> tuple[dict[str, Any], int]:
        """The draft with what is in the boxes now, and the place of the stage that they belong to."""
        kept, place, name, *gate = given[:_BEFORE]
        kept, place = dict(kept or {}), int(place or 0)
        values = dict(zip(self.form.names, self.own(given), strict=True))
        stages = list(kept["stages"])
        place = min(place, len(stages) - 1)
        stages[place] = {**stages[place], "values": values, "gate": gate}
        return {**kept, "name": name if not kept.get("again") else kept["again"], "stages": stages}, place

    # ---- opening, and turning to another stage

    @property
    def _turned(self) -> list[Any]:
        """What is filled when another stage is shown."""
        p = self.pipeline_page
        stores = [p.stores.draft, p.stores.place, p.stores.seen, p.stores.step]
        shown = [p.steps, p.chain, p.sample, p.gate_box, *p.gate, p.preset, p.to_review, p.remove]
        return [*stores, *shown, *self.form.components]

    @property
    def _opened(self) -> list[Any]:
        p = self.pipeline_page
        return [p.stores.ticket, p.note, p.everything, p.upload, p.name, p.add, p.start, *self._turned]

    def open(self, request: gr.Request, *kept: Any) -> list[Any]:
        """Fill the page from what the browser kept, or from the address."""
        stores, note = pipeline_draft.opened(list(kept), dict(request.query_params), self.form)
        draft, seen, step, ticket, place, everything = stores
        again = bool(draft.get("again"))
        return [
            ticket,
            data_view.failure_html(StudioError(note)) if note else "",
            everything,
            gr.update(interactive=True),
            gr.update(value=draft["name"], interactive=not again),
            gr.update(visible=not again),
            gr.update(value="Go on with these settings" if again else "Start all stages"),
            *self._shown(draft, place, seen, step),
        ]

    def _shown(self, draft: dict[str, Any], place: int, seen: dict[str, Any], step: int) -> list[Any]:
        """The values of `_turned` for the stage at `place`."""
        stage = draft["stages"][place]
        trainer, path = stage["values"]["trainer"], stage["values"].get("data_path", "")
        metric, sign, bound = stage["gate"]
        metrics = [("no test: always go on", ""), *((title, key) for key, title in api.pipelines.titles(trainer).items())]
        last = place == len(draft["stages"]) - 1
        onward = "Next: review of all stages" if last else f"Next: stage {draft['stages'][place + 1]['name']}"
        removable = len(draft["stages"]) > 1 and not draft.get("again")
        earlier = draft["stages"][:place]
        return [
            draft, place, {**seen, "looked": stage["looked"], "seen": path, "auto": False}, step, gr.Tabs(selected=step),
            pipeline_review.chain_html(draft, place, {}), sample_of(path),
            gr.update(visible=not last or bool(metric)), gr.update(choices=metrics, value=metric), sign, bound,
            gr.update(choices=list(api.presets(trainer)), value=None), gr.update(value=onward),
            gr.update(visible=removable, value=f"Remove stage {stage['name']}"),
            *self._filled(stage["values"], earlier),
        ]  # fmt: skip

    def _filled(self, values: dict[str, Any], earlier: list[dict[str, Any]]) -> list[Any]:
        """The form's widgets; the models of the stages before it come first where a model may be named."""
        made = self.fill(values)
        for place, name in enumerate(self.form.names):
            field = self.form.fields[name]
            if field.names_model:
                choices = [*_stages_for(field, earlier), *models_for(field)]
                made[place] = gr.update(choices=choices, value=values.get(name, ""))
        return made

    def turned(self, event: gr.EventData, seen: dict[str, Any], step: int, *given: Any) -> list[Any]:
        """Keep what is in the boxes, and show the stage that was pressed."""
        draft = self._left(seen, given)
        place = max(0, min(int(event.index), len(draft["stages"]) - 1))
        return self._shown(draft, place, seen, 0 if step == REVIEW else step)

    def onward(self, seen: dict[str, Any], step: int, *given: Any) -> list[Any]:
        """The next stage, from its first step; after the last one the review."""
        draft, place = self._left(seen, given), int(given[1] or 0)
        if place + 1 < len(draft["stages"]):
            return self._shown(draft, place + 1, seen, 0)
        return self._shown(draft, place, seen, REVIEW)

    def add(self, trainer: str, seen: dict[str, Any], step: int, *given: Any) -> list[Any]:
        """One more stage at the end, shown."""
        draft, place = self._left(seen, given), int(given[1] or 0)
        if not trainer:
            return ["", *self._shown(draft, place, seen, step)]
        draft = pipeline_draft.added(draft, trainer, self.form)
        return ["", *self._shown(draft, len(draft["stages"]) - 1, seen, 0)]

    def remove(self, seen: dict[str, Any], step: int, *given: Any) -> list[Any]:
        """Take the stage that is shown out."""
        draft, place = self._left(seen, given), int(given[1] or 0)
        if len(draft["stages"]) > 1:
            draft = pipeline_draft.without(draft, place, self.form)
        return self._shown(draft, min(place, len(draft["stages"]) - 1), seen, 0)

    def _left(self, seen: dict[str, Any], given: tuple[Any, ...]) -> dict[str, Any]:
        """The draft as it is when the stage that was shown is left."""
        draft, place = self.draft(given)
        draft["stages"][place]["looked"] = (seen or {}).get("looked", "")
        return draft

    # ---- models that are yet to be made

    def there(self, params: api.LLMTrainingParams, given: tuple[Any, ...]) -> api.LLMTrainingParams:
        return pipeline_draft.standing_in(self.draft(given)[0], params, self.form)

    def model(self, *given: Any) -> str:
        try:
            held = self.form.values(self.own(given))
            refuse_foreign(held)
            draft, _ = self.draft(given)
            named, begins = str(held["model"]), pipeline_draft.base_of(draft, str(held["model"]))
            if named == begins:
                return review_view.model_html(api.model_facts(named))
            note = f'<p class="st-note">It trains on with the model that stage {named} will have made.</p>'
            return note + review_view.model_html(api.model_facts(begins))
        except StudioError as error:
            return data_view.failure_html(error)

    # ---- plan

    @property
    def _written(self) -> Any:
        return self.pipeline_page.stores.shown

    def refresh(self, kept: dict[str, Any], everything: bool, *given: Any) -> list[Any]:
        draft, place = self.draft(given)
        own, stage = self.own(given), draft["stages"][place]
        plan, seen = self._stage_plan(draft, place), self._reviewed(given)[1]
        held = self.form.values(own)
        rules = rules_html(held) if "rl_rewards" in held else ""
        widgets, groups = self.form.shown(own, everything, plan), self.form.groups_shown(own, everything)
        shown = {"stage": stage["name"], "values": stage["values"], "gate": stage["gate"]}
        return [{**shown, "name": draft["name"], "everything": everything}, *seen, rules, *widgets, *groups]

    def _stage_plan(self, draft: dict[str, Any], place: int) -> Any:
        """The plan of the stage that is shown, for the automatic settings' reasons; None while something is wrong."""
        try:
            params = api.validate(pipeline_draft.settings_of(draft["stages"][place], self.form))
            return self._plan_of(pipeline_draft.standing_in(draft, params, self.form))
        except StudioError:
            return None

    @property
    def _seen(self) -> list[Any]:
        return [*super()._seen, self.pipeline_page.chain]

    def _reviewed(self, given: tuple[Any, ...]) -> tuple[Any, list[Any]]:
        draft, place = self.draft(given)
        missing = self.form.open_fields(self.own(given))
        problems, made = self._problems(draft)
        command, yaml = "# The command is shown once the name and every gate can be read.", gr.skip()
        if made is not None:
            command, yaml = api.pipelines.command(made, draft.get("again") or ""), made.to_yaml()
        review, ready = pipeline_review.problems_html(problems), False
        if made is not None and not problems:
            seen = api.pipelines.outlook(made, draft.get("again") or "")
            problems = {name: [str(why)] for name, why in _refused(seen).items()}
            review = (pipeline_review.problems_html(problems) if problems else "") + pipeline_review.review_html(seen)
            ready = all(stage.estimate for stage in seen) and not problems
        note, button = review_view.open_html(missing), gr.update(visible=bool(missing))
        chain = pipeline_review.chain_html(draft, place, problems)
        return None, [review, command, yaml, gr.update(interactive=ready), note, button, button, chain]

    def _problems(self, draft: dict[str, Any]) -> tuple[Problems, api.pipelines.Pipeline | None]:
        """What is wrong, by the stages' names ("": with all of it), in the page's words; and the pipeline, if it is one."""
        made = None
        try:
            made = pipeline_draft.pipeline_of(draft, self.form)
            api.pipelines.check(made, draft.get("again") or "")
        except ParamError as error:
            return self._by_stage(draft, error), made
        except StudioError as error:
            return {"": [error.message]}, made
        return {}, made

    def _by_stage(self, draft: dict[str, Any], error: ParamError) -> Problems:
        found: Problems = {}
        trainers = {stage["name"]: stage["values"]["trainer"] for stage in draft["stages"]}
        for problem in error.problems:
            stage, _, field = problem.field.partition(".")
            known = stage if stage in trainers else ""
            message = problem.message.removeprefix(f"stage {stage}: ")
            said = self.form.plain(type(problem)(field, message), trainers[known]) if known else message
            found.setdefault(known, []).append(said)
        return found

    def judge(self, kept: Any, everything: Any, *given: Any) -> list[Any]:
        """What is wrong with the name, the gate and the stage that is shown, each said beside its box."""
        draft, place = self.draft(given)
        stage, verdicts, fine = draft["stages"][place], self.form.judge(*self.own(given)), gr.validate(True, "")
        wrong = self._beside(draft, stage["name"])
        for field in _model_fields(self.form) & wrong.keys():
            verdicts[self.form.names.index(field)] = gr.validate(False, wrong[field])
        name = wrong.get("pipeline", "")
        # an empty number is still to be chosen, and no mistake
        bound = wrong.get("gate", "").removeprefix("gate: ") if stage["gate"][2].strip() else ""
        return [fine] * 4 + [gr.validate(not name, name), fine, fine, gr.validate(not bound, bound), *verdicts]

    def _beside(self, draft: dict[str, Any], stage: str) -> dict[str, str]:
        """What is wrong with the pipeline's name and with one stage, by field."""
        try:
            api.pipelines.check(pipeline_draft.pipeline_of(draft, self.form), draft.get("again") or "")
        except ParamError as error:
            mine = [(p.field.removeprefix(f"{stage}."), p.message.removeprefix(f"stage {stage}: ")) for p in error.problems]
            return {field: said for field, said in mine if "." not in field}
        except RunNameTaken as error:
            return {"pipeline": f"{error.message} Choose another name."}
        except StudioError:
            return {}  # said in the review
        return {}

    # ---- YAML, start

    def read(self, text: str, seen: dict[str, Any], *given: Any) -> list[Any]:
        """Take a pipeline from YAML."""
        draft, _ = self.draft(given)
        try:
            made = api.pipelines.from_yaml(text or "")
            for stage in made.stages:
                refuse_foreign(stage.settings)
        except StudioError as error:
            return [data_view.failure_html(error), gr.skip(), *[gr.skip()] * len(self._turned)]
        name = draft["again"] or made.name
        draft = {**draft, "name": name, "stages": pipeline_draft.stages_of(made, self.form, looked=True)}
        note = '<p class="st-note">This pipeline is now in the form.</p>'
        return [note, name, *self._shown(draft, 0, seen or {}, 0)]

    def _reading(self) -> Any:
        p = self.pipeline_page
        given = [p.own_yaml, p.stores.seen, *self.asked]
        return p.read_yaml.click(self.read, given, [p.yaml_note, p.name, *self._turned], **PRIVATE)

    def start(self, ticket: dict[str, Any], *given: Any) -> list[Any]:
        """Begin the pipeline, or go on with it. The same ticket with the same settings is the same pipeline."""
        draft, _ = self.draft(given)
        try:
            made = pipeline_draft.pipeline_of(draft, self.form)
            for stage, why in _refused(api.pipelines.outlook(made, draft.get("again") or "")).items():
                raise StudioError(f"Stage {stage}: {why.message}", hint=why.hint)
            if draft.get("again"):
                api.pipelines.go_on(made.name, made)
            else:
                digest = hashlib.sha256(made.to_yaml().encode()).hexdigest()
                api.pipelines.start(made, f"{(ticket or {}).get('id', '')}:{digest}")
        except StudioError as error:
            raise gr.Error(str(error), title="The pipeline was not started", duration=None) from None
        return [{**(ticket or {}), "started": made.name}, made.name]


def _refused(seen: list[Any]) -> dict[str, StudioError]:
    """Why stages are not started, by their names: rows that cannot be used, and nobody has said that they are left out."""
    todo = [stage for stage in seen if stage.move != "keep" and stage.unasked]
    return {stage.stage.name: rows_refused(stage.unasked) for stage in todo}


def _stages_for(field: Field, earlier: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The stages before this one whose models `field` may name."""
    scores = field.form.widget == "judge"
    makes = {stage["name"]: api.spec_for(stage["values"]["trainer"]).makes for stage in earlier}
    return [(f"the model of stage {name}", name) for name, made in reversed(makes.items()) if (made == "score") == scores]


def _model_fields(form: Any) -> set[str]:
    return {name for name, field in form.fields.items() if field.names_model}

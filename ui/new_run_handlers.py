"""What is worked out for the page "New run": functions of what the browser sends, so that any server can answer."""

from __future__ import annotations

import hashlib
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from engine import api
from engine.errors import ParamError, StudioError
from ui import data_view, draft, review_view
from ui.fields import NO_HARDWARE, Field, models_for
from ui.new_run_data import DataStep, sample_of
from ui.reach import refuse_foreign
from ui.reward_picker import columns_of, rules_html
from ui.words import count

if TYPE_CHECKING:
    from ui.new_run import Page


class Handlers:
    """Answers to everything that happens on the page; new_run_events.py connects them."""

    def __init__(self, page: Page, data: DataStep | None = None) -> None:
        self.page, self.form, self.data = page, page.form, data or DataStep(page)

    @property
    def asked(self) -> list[Any]:
        """What is handed to everything that plans."""
        return self.form.components

    @property
    def _written(self) -> Any:
        """The store that is written with every plan."""
        return self.page.stores.draft

    @property
    def _seen(self) -> list[Any]:
        """What shows whether it can be started."""
        p = self.page
        return [p.review, p.command, p.yaml, p.start, p.open_note, p.choose, p.choose_now]

    def own(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """The form's part of what was handed over as `asked`."""
        return given

    # ---- opening

    def open(self, request: gr.Request, *kept: Any) -> list[Any]:
        """Fill the page from what the browser kept, or from the address."""
        query = dict(request.query_params)
        stores, note = draft.opened(list(kept), query, self.form)
        found, _, step, _ = stores
        values = dict(found["values"])
        return [
            *stores,
            data_view.failure_html(StudioError(note)) if note else self._remedy(query),
            gr.Tabs(selected=step) if step else gr.skip(),  # it is open; whoever was quicker stays where they went
            found.get("everything", False),
            sample_of(values.get("data_path", "")),
            gr.update(interactive=True),
            *self.fill(values),
        ]

    def _remedy(self, query: dict[str, str]) -> str:
        try:
            return data_view.note_html(draft.remedy(query))
        except StudioError:  # the run is gone since; what was filled in from it is still here
            return ""

    def fill(self, values: dict[str, Any]) -> list[Any]:
        """Every widget with its value, open for input; those that name a model with the models there are."""
        filled: list[Any] = [values.get(name, "") for name in self.form.names]
        for place, name in enumerate(self.form.names):
            field = self.form.fields[name]
            if field.names_hardware:
                filled[place] = gr.update(choices=[NO_HARDWARE, *api.compute.rentable()], value=values.get(name, ""))
            if field.names_model:
                filled[place] = gr.update(choices=self.models(field), value=values.get(name, ""))
        filled[self.form.names.index("data_path")] = gr.update(value=values.get("data_path", ""), interactive=True)
        return filled

    def models(self, field: Field) -> list[tuple[str, str]]:
        """The models that a field may name."""
        return models_for(field)

    # ---- model, tokens, plan

    def model(self, *given: Any) -> str:
        """Size, context and licence of the chosen model."""
        try:
            held = self.form.values(self.own(given))
            refuse_foreign(held)
            return review_view.model_html(api.model_facts(str(held["model"])))
        except StudioError as error:
            return data_view.failure_html(error)

    def tokens(self, *given: Any) -> str:
        """Rows as the model sees them; nothing where the data view says already what is wrong with the file."""
        held = self.form.values(self.own(given))
        try:
            refuse_foreign(held)
            form, mapping = held.get("data_format"), held.get("column_mapping")
            api.inspect_data(held.get("data_path") or "", held["trainer"], form=form, mapping=mapping)
        except StudioError:
            return ""
        try:
            sketch = self.there(self.form.sketched(self.own(given)), given)
            return data_view.tokens_html(api.token_preview(self._plan_of(sketch).params, 8))
        except ParamError:
            return ""
        except StudioError as error:
            return data_view.failure_html(error)

    def there(self, params: api.LLMTrainingParams, given: tuple[Any, ...]) -> api.LLMTrainingParams:
        """Settings whose models are there to be looked at."""
        return params

    def refresh(self, kept: dict[str, Any], everything: bool, *given: Any) -> list[Any]:
        """Plan again with what is chosen now, and show what follows from it."""
        values = dict(zip(self.form.names, given, strict=True))
        kept = {**(kept or {}), "values": values, "everything": everything}
        plan, seen = self._reviewed(given)
        widgets = self.form.shown(given, everything, plan)
        held = self.form.values(given)
        rules = rules_html(held) if "rl_rewards" in held else ""
        return [kept, *seen, rules, *widgets, *self.form.groups_shown(given, everything)]

    def _reviewed(self, given: tuple[Any, ...]) -> tuple[Any, list[Any]]:
        """The plan (None while something is wrong), and the values of `_seen`."""
        missing = self.form.open_fields(given)
        command, yaml, plan, room = "", gr.skip(), None, False
        try:
            params = self.form.params(given)
            command, yaml = api.command(params), api.to_yaml(params)
            plan = self._plan_of(params)
            found = api.estimate(plan, api.data_facts(params))
            review, room = review_view.review_html(plan, found), found.disk_least <= found.disk_free
            if why := self._unusable(params):
                review, room = data_view.failure_html(why) + review, False
        except StudioError as error:
            held = dict(zip(self.form.names, given, strict=True))
            review = self._trouble(error, held, missing)
            command = command or "# The command is shown once everything is chosen."
        note, button = review_view.open_html(missing), gr.update(visible=bool(missing))
        return plan, [review, command, yaml, gr.update(interactive=plan is not None and room), note, button, button]

    def _trouble(self, error: StudioError, held: dict[str, Any], missing: dict[str, str]) -> str:
        if not held.get("data_path"):
            return data_view.failure_html(
                StudioError("No data is chosen yet.", hint="Choose a file or a sample in the first step.")
            )
        wrong = [p for p in error.problems if p.field not in missing] if isinstance(error, ParamError) else []
        if missing and not wrong:
            return review_view.open_html(missing)
        if wrong:
            error = StudioError("\n".join(self.form.plain(p, held["trainer"]) for p in wrong), hint=error.hint)
        return data_view.failure_html(error)

    def _plan_of(self, params: api.LLMTrainingParams) -> Any:
        return api.plan(params, api.data_facts(params))

    def reward_kind(self, name: str, *given: Any) -> list[Any]:
        """What the chosen kind of reward function asks for, and what it gives."""
        return self.form.picker.look(name, columns_of(self.form.values(given)))

    # ---- settings

    def preset(self, name: str, *given: Any) -> list[Any]:
        """The named starting point over what is chosen."""
        held = dict(zip(self.form.names, given, strict=True))
        wanted = api.presets(held["trainer"]).get(name, {})
        filled = self.form.filled({k: v for k, v in wanted.items() if v is not None})
        return [new if n in wanted else gr.skip() for n, new in zip(self.form.names, filled, strict=True)]

    def read(self, text: str, seen: dict[str, Any]) -> list[Any]:
        """Take settings from YAML."""
        try:
            params, lines = api.read_settings(text or "")
        except StudioError as error:
            return [data_view.failure_html(error), gr.skip(), gr.skip(), *[gr.skip()] * len(self.form.names)]
        values = params.model_dump()
        # what the file says about bad rows is a choice that was made
        seen = {**(seen or {}), "looked": params.data_path, "auto": False}
        became = "".join(f"<br>{escape(line)}" for line in lines)  # names of older tools, and what they are here
        note = f'<p class="st-note">These settings are now in the form.{became}</p>'
        return [note, sample_of(params.data_path), seen, *self.form.filled(values)]

    def judge(self, kept: Any, everything: Any, *given: Any) -> list[Any]:
        return [gr.validate(True, ""), gr.validate(True, ""), *self.form.judge(*given)]

    def stepped(self, event: gr.SelectData, *given: Any) -> list[Any]:
        """Remember the step. The review also counts what was typed and never confirmed.

        The widgets themselves are left alone: Gradio may set a widget back that another answer is changing just now.
        """
        if event.index != draft.REVIEW:
            return [event.index, *[gr.skip()] * len(self._seen)]
        return [event.index, *self.review(*given)]

    def review(self, *given: Any) -> list[Any]:
        """The values of `_seen` for whoever comes to the last step."""
        return self._reviewed(given)[1]

    # ---- start

    def start(self, ticket: dict[str, Any], *given: Any) -> list[Any]:
        """Queue the run. The same ticket with the same settings is the same run, however often and where it is asked."""
        try:
            params = self.form.params(given)
            if why := self._unusable(params):
                raise why
            digest = hashlib.sha256(params.model_dump_json().encode()).hexdigest()
            name = api.start(params, request_id=f"{(ticket or {}).get('id', '')}:{digest}")
        except StudioError as error:
            said = str(self._in_words(error, given)).replace("\n", " ")
            raise gr.Error(said, title="The run was not started", duration=None) from None
        return [{**(ticket or {}), "started": name}, name]

    def _in_words(self, error: StudioError, given: tuple[Any, ...]) -> StudioError:
        """What is wrong with settings, by the names that they have on the page."""
        if not isinstance(error, ParamError):
            return error
        trainer = self.form.values(given)["trainer"]
        return StudioError("\n".join(self.form.plain(p, trainer) for p in error.problems), hint=error.hint)

    def _unusable(self, params: Any) -> StudioError | None:
        """Why the rows are not started with: some cannot be used, and nobody has said that they are to be left out."""
        if params.drop_bad_rows:
            return None
        bad = api.data_facts(params).unusable
        return rows_refused(bad) if bad else None


def rows_refused(bad: int) -> StudioError:
    """Why nothing is started while rows cannot be used and nobody has said that they are to be left out."""
    left_out = "Leave this row out" if bad == 1 else f"Leave these {bad} rows out"
    return StudioError(f"{count(bad, 'row')} cannot be used.", hint=f"Press “{left_out}” in step 1, Data, or correct the file.")

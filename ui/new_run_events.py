"""What happens on the page "New run": every handler is a function of what the browser sends, so any server can answer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import gradio as gr

from engine import api
from engine.errors import ParamError, StudioError
from ui import data_view, draft, review_view
from ui.fields import models_for
from ui.new_run_data import DataStep, sample_of
from ui.reach import refuse_foreign
from ui.reward_picker import columns_of, rules_html
from ui.words import count

if TYPE_CHECKING:
    from ui.new_run import Page

# The last call counts: one that comes while another is answered waits for it and is not dropped, as Gradio would.
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last"}
GO_TO_TOP = "() => { scrollTo(0, 0); return []; }"
GO_TO_OPEN = "() => { window.StudioForm.show(document.querySelector('[data-open-field]')?.dataset.openField); return []; }"
GO_TO_RUN = "(name) => { if (name) location.assign('/run?id=' + encodeURIComponent(name)); }"


class Events:
    """Connects the page's components."""

    def __init__(self, page: Page) -> None:
        self.page, self.form, self.data = page, page.form, DataStep(page)

    def connect(self, app: gr.Blocks) -> None:
        """Register every event of the page."""
        p, inputs = self.page, self.form.components
        kept = p.stores.all
        opened = app.load(self.open, kept, [*kept, p.note, p.steps, p.everything, p.sample, p.upload, *inputs], **_PRIVATE)
        self._after_data(opened)
        chosen = [self.form.widgets[n] for n in ("data_path", "data_format", "column_mapping", "drop_bad_rows")]
        path, filled = chosen[0], [self.form.widgets[name] for name in self.data.of_samples]
        before = [path, *filled]
        took = p.upload.upload(self.data.uploaded, [p.upload, *before], [*chosen, p.sample, p.upload, *filled], **_PRIVATE)
        self._after_data(took)
        own = p.held_out_file.upload(self.data.held_out, [p.held_out_file], [self.form.widgets["valid_path"]], **_PRIVATE)
        self._after_data(own)
        self._after_data(p.sample.input(self.data.sampled, [p.sample, *before], [*chosen, *filled], **_PRIVATE))
        typed = [path.submit, path.blur]
        named = gr.on(typed, self.data.named, [path, p.stores.seen, *filled], [*chosen, p.sample, *filled], **_PRIVATE)
        self._after_data(named)
        self._after_data(
            gr.on([self.form.widgets["trainer"].input], self.data.trained_by, [p.stores.seen], [p.stores.seen], **_PRIVATE)
        )
        self._after_data(self.form.widgets["data_format"].input(lambda: "", None, [chosen[2]], **_PRIVATE))
        mapped = gr.on([role.input for role in p.roles], self.data.mapped, [*inputs, *p.roles], [chosen[2]], **_PRIVATE)
        self._after_data(mapped)
        drop = p.drop.click(lambda: True, None, [chosen[3]], **_PRIVATE)
        self._after_data(drop)
        self._after_model(self.form.widgets["model"].input(lambda: None, None, None, **_PRIVATE))
        self._settings_events()
        self._reward_events()
        self._step_events()

    def _settings_events(self) -> None:
        p, inputs = self.page, self.form.components
        elsewhere = ("trainer", "data_path", "data_format", "column_mapping", "model")
        typed = [w.input for n, w in self.form.widgets.items() if n not in elsewhere]
        changed = gr.on(typed, **self._refreshing(), validator=self.judge)
        changed.success(self.tokens, inputs, [p.token_view], **_PRIVATE)
        gr.on([p.everything.input], **self._refreshing())
        self._after_model(p.preset.input(self.preset, [p.preset, *inputs], inputs, **_PRIVATE))
        read = p.read_yaml.click(
            self.read, [p.yaml, p.stores.seen], [p.yaml_note, p.sample, p.stores.seen, *inputs], **_PRIVATE
        )
        self._after_data(read)
        start = p.start.click(self.start, [p.stores.ticket, *inputs], [p.stores.ticket, p.started], api_visibility="private")
        start.success(None, [p.started], None, js=GO_TO_RUN)

    def _reward_events(self) -> None:
        pick, inputs = self.form.picker, self.form.components
        pick.kind.input(self.reward_kind, [pick.kind, *inputs], [pick.argument, pick.column, pick.says], **_PRIVATE)
        lines = self.form.widgets["rl_rewards"]
        boxes = [pick.kind, pick.argument, pick.column, pick.weight, lines]
        added = gr.on(
            [pick.add.click, pick.argument.submit, pick.weight.submit],
            pick.added,
            boxes,
            [lines, pick.argument, pick.weight, pick.says],
            **_PRIVATE,
        )
        self._after_model(added.success(lambda: None, None, None, **_PRIVATE))

    def _step_events(self) -> None:
        p = self.page
        ways = (
            (p.to_model, 1), (p.skip, 3), (p.back_to_data, 0), (p.to_settings, 2), (p.back_to_model, 1),
            (p.to_review, 3), (p.back_to_settings, 2), (p.choose, 2), (p.choose_now, 2),
        )  # fmt: skip
        for button, step in ways:
            there = GO_TO_OPEN if button in (p.choose, p.choose_now) else GO_TO_TOP
            button.click(
                lambda step=step: (gr.Tabs(selected=step), step),
                None,
                [p.steps, p.stores.step],
                queue=False,
                js=there,
                **_PRIVATE,
            )
        shown = [p.stores.step, *self._seen]
        p.steps.select(self.stepped, self.form.components, shown, **_PRIVATE)

    def _after_data(self, event: Any) -> None:
        """Look at the data again, then at its tokens, then plan."""
        p, inputs = self.page, self.form.components
        looked = event.then(
            self.data.look,
            [p.stores.seen, *inputs],
            [
                *(p.stores.seen, p.file_view, p.drop, p.reading, p.held_out, self.form.widgets["trainer"], p.trainer_note),
                *(p.preset, self.form.widgets["drop_bad_rows"], *p.roles),
            ],
            **_PRIVATE,
        )
        self._after_model(looked)

    def _after_model(self, event: Any) -> None:
        """Facts of the model and tokens of the rows, then the plan."""
        p, inputs = self.page, self.form.components
        shown = event.then(self.model, inputs, [p.model_view], **_PRIVATE)
        shown.then(self.tokens, inputs, [p.token_view], **_PRIVATE).then(**self._refreshing())

    def _refreshing(self) -> dict[str, Any]:
        p = self.page
        return {
            "fn": self.refresh,
            "inputs": [p.stores.draft, p.everything, *self.form.components],
            "outputs": [
                p.stores.draft, *self._seen, self.form.picker.rules, *self.form.components, *self.form.headings.values(),
            ],
            **_PRIVATE,
        }  # fmt: skip

    @property
    def _seen(self) -> list[Any]:
        """What shows whether the run can be started."""
        p = self.page
        return [p.review, p.command, p.yaml, p.start, p.open_note, p.choose, p.choose_now]

    # ---- opening

    def open(self, request: gr.Request, *kept: Any) -> list[Any]:
        """Fill the page from what the browser kept, or from the address."""
        query = dict(request.query_params)
        stores, note = draft.opened(list(kept), query, self.form)
        found, _, step, _ = stores
        values = dict(found["values"])
        filled: list[Any] = [values.get(name, "") for name in self.form.names]
        for place, name in enumerate(self.form.names):
            field = self.form.fields[name]
            if field.names_model:
                filled[place] = gr.update(choices=models_for(field), value=values.get(name, ""))
        filled[self.form.names.index("data_path")] = gr.update(value=values.get("data_path", ""), interactive=True)
        return [
            *stores,
            data_view.failure_html(StudioError(note)) if note else self._remedy(query),
            gr.Tabs(selected=step),
            found.get("everything", False),
            sample_of(values.get("data_path", "")),
            gr.update(interactive=True),
            *filled,
        ]

    def _remedy(self, query: dict[str, str]) -> str:
        try:
            return data_view.note_html(draft.remedy(query))
        except StudioError:  # the run is gone since; what was filled in from it is still here
            return ""

    # ---- model, tokens, plan

    def model(self, *given: Any) -> str:
        """Size, context and licence of the chosen model."""
        try:
            held = self.form.values(given)
            refuse_foreign(held)
            return review_view.model_html(api.model_facts(str(held["model"])))
        except StudioError as error:
            return data_view.failure_html(error)

    def tokens(self, *given: Any) -> str:
        """Rows as the model sees them; nothing where the data view says already what is wrong with the file."""
        held = self.form.values(given)
        try:
            refuse_foreign(held)
            form, mapping = held.get("data_format"), held.get("column_mapping")
            api.inspect_data(held.get("data_path") or "", held["trainer"], form=form, mapping=mapping)
        except StudioError:
            return ""
        try:
            return data_view.tokens_html(api.token_preview(self._plan_of(self.form.sketched(given)).params, 8))
        except ParamError:
            return ""
        except StudioError as error:
            return data_view.failure_html(error)

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
        command, yaml, plan = "", gr.skip(), None
        try:
            params = self.form.params(given)
            command, yaml = api.command(params), api.to_yaml(params)
            plan = self._plan_of(params)
            review = review_view.review_html(plan, api.estimate(plan, api.data_facts(params)))
        except StudioError as error:
            held = dict(zip(self.form.names, given, strict=True))
            review = self._trouble(error, held, missing)
            command = command or "# The command is shown once everything is chosen."
        note, button = review_view.open_html(missing), gr.update(visible=bool(missing))
        return plan, [review, command, yaml, gr.update(interactive=plan is not None), note, button, button]

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
            params = api.from_yaml(text or "")
        except StudioError as error:
            return [data_view.failure_html(error), gr.skip(), gr.skip(), *[gr.skip()] * len(self.form.names)]
        values = params.model_dump()
        # what the file says about bad rows is a choice that was made
        seen = {**(seen or {}), "looked": params.data_path, "auto": False}
        note = '<p class="st-note">These settings are now in the form.</p>'
        return [note, sample_of(params.data_path), seen, *self.form.filled(values)]

    def judge(self, kept: Any, everything: Any, *given: Any) -> list[Any]:
        return [gr.validate(True, ""), gr.validate(True, ""), *self.form.judge(*given)]

    def stepped(self, event: gr.SelectData, *given: Any) -> list[Any]:
        """Remember the step. The review also counts what was typed and never confirmed.

        The widgets themselves are left alone: Gradio may set a widget back that another answer is changing just now.
        """
        if event.index != draft.REVIEW:
            return [event.index, *[gr.skip()] * len(self._seen)]
        return [event.index, *self._reviewed(given)[1]]

    # ---- start

    def start(self, ticket: dict[str, Any], *given: Any) -> list[Any]:
        """Queue the run. The same ticket with the same settings is the same run, however often and where it is asked."""
        try:
            params = self.form.params(given)
            if not params.drop_bad_rows:
                self._refuse_problems(params)
            digest = hashlib.sha256(params.model_dump_json().encode()).hexdigest()
            name = api.start(params, request_id=f"{(ticket or {}).get('id', '')}:{digest}")
        except StudioError as error:
            raise gr.Error(str(error), title="The run was not started", duration=None) from None
        return [{**(ticket or {}), "started": name}, name]

    def _refuse_problems(self, params: Any) -> None:
        seen = api.inspect_data(
            params.data_path, params.trainer, form=params.data_format, mapping=params.column_mapping or None
        )
        bad = sum(seen.problem_counts.values())
        if bad:
            raise StudioError(
                f"{count(bad, 'row')} cannot be used.",
                hint="Press “Leave these rows out” in step 1, Data, or correct the file.",
            )

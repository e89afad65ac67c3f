"""What happens on the page "New run": every handler is a function of what the browser sends, so any server can answer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import gradio as gr

from engine import api
from engine.errors import ParamError, StudioError
from ui import data_view, draft, review_view
from ui.new_run_data import DataStep, sample_of
from ui.reach import refuse_foreign
from ui.words import count

if TYPE_CHECKING:
    from ui.new_run import Page

# The last call counts: one that comes while another is answered waits for it and is not dropped, as Gradio would.
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last"}
REVIEW = 3  # the step's number
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
        self._after_data(p.upload.upload(self.data.uploaded, [p.upload], [*chosen, p.sample, p.upload], **_PRIVATE))
        own = p.held_out_file.upload(self.data.held_out, [p.held_out_file], [self.form.widgets["valid_path"]], **_PRIVATE)
        self._after_data(own)
        filled = [self.form.widgets[name] for name in self.data.of_samples]
        self._after_data(p.sample.input(self.data.sampled, [p.sample, *filled], [*chosen, *filled], **_PRIVATE))
        path = self.form.widgets["data_path"]
        named = gr.on([path.submit, path.blur], self.data.named, [path, p.stores.seen], [*chosen, p.sample], **_PRIVATE)
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

    def _step_events(self) -> None:
        p = self.page
        ways = (
            (p.to_model, 1), (p.skip, 3), (p.back_to_data, 0), (p.to_settings, 2), (p.back_to_model, 1),
            (p.to_review, 3), (p.back_to_settings, 2),
        )  # fmt: skip
        for button, step in ways:
            button.click(
                lambda step=step: (gr.Tabs(selected=step), step),
                None,
                [p.steps, p.stores.step],
                queue=False,
                js="() => { scrollTo(0, 0); return []; }",
                **_PRIVATE,
            )
        shown = [p.stores.step, p.review, p.command, p.yaml, p.start]
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
                p.stores.draft, p.review, p.command, p.yaml, p.start, *self.form.components, *self.form.headings.values(),
            ],
            **_PRIVATE,
        }  # fmt: skip

    # ---- opening

    def open(self, request: gr.Request, *kept: Any) -> list[Any]:
        """Fill the page from what the browser kept, or from the address."""
        stores, note = draft.opened(list(kept), dict(request.query_params), self.form)
        found, _, step, _ = stores
        values = dict(found["values"])
        filled: list[Any] = [values.get(name, "") for name in self.form.names]
        choices = [(source.label, source.reference) for source in api.model_choices() if not source.scores]
        filled[self.form.names.index("model")] = gr.update(choices=choices, value=values.get("model"))
        filled[self.form.names.index("data_path")] = gr.update(value=values.get("data_path", ""), interactive=True)
        return [
            *stores,
            data_view.failure_html(StudioError(note)) if note else "",
            gr.Tabs(selected=step),
            found.get("everything", False),
            sample_of(values.get("data_path", "")),
            gr.update(interactive=True),
            *filled,
        ]

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
        """Rows as the model sees them."""
        try:
            return data_view.tokens_html(api.token_preview(self._planned(given).params, 8))
        except ParamError:
            return ""
        except StudioError as error:
            return data_view.failure_html(error)

    def refresh(self, kept: dict[str, Any], everything: bool, *given: Any) -> list[Any]:
        """Plan again with what is chosen now, and show what follows from it."""
        values = dict(zip(self.form.names, given, strict=True))
        kept = {**(kept or {}), "values": values, "everything": everything}
        plan, review, command, yaml, ready = self._reviewed(given)
        start = gr.update(interactive=ready)
        widgets = self.form.shown(given, everything, plan)
        return [kept, review, command, yaml, start, *widgets, *self.form.groups_shown(given, everything)]

    def _reviewed(self, given: tuple[Any, ...]) -> tuple[Any, str, str, Any, bool]:
        """The plan (None while something is wrong), its review, the command, YAML, and whether it can be started."""
        command, yaml = "", gr.skip()
        try:
            params = self.form.params(given)
            command, yaml = api.command(params), api.to_yaml(params)
            plan = self._planned(given)
            return plan, review_view.review_html(plan, api.estimate(plan, api.data_facts(params))), command, yaml, True
        except StudioError as error:
            nothing = StudioError("No data is chosen yet.", hint="Choose a file or a sample in the first step.")
            command = command or "# The command is shown once the settings are complete."
            chosen = dict(zip(self.form.names, given, strict=True)).get("data_path")
            return None, data_view.failure_html(error if chosen else nothing), command, yaml, False

    def _planned(self, given: tuple[Any, ...]) -> Any:
        params = self.form.params(given)
        return api.plan(params, api.data_facts(params))

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
        if event.index != REVIEW:
            return [event.index, *[gr.skip()] * 4]
        _, review, command, yaml, ready = self._reviewed(given)
        return [event.index, review, command, yaml, gr.update(interactive=ready)]

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

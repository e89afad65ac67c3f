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
GO_TO_RUN = "(name) => { if (name) location.assign('/run?id=' + encodeURIComponent(name)); }"


class Events:
    """Connects the page's components."""

    def __init__(self, page: Page) -> None:
        self.page, self.form, self.data = page, page.form, DataStep(page)

    def connect(self, app: gr.Blocks) -> None:
        """Register every event of the page."""
        p, inputs = self.page, self.form.components
        opened = app.load(
            self.open, [p.draft], [p.draft, p.note, p.steps, p.everything, p.sample, p.upload, *inputs], **_PRIVATE
        )
        self._after_data(opened)
        chosen = [self.form.widgets[n] for n in ("data_path", "data_format", "column_mapping", "drop_bad_rows")]
        self._after_data(p.upload.upload(self.data.uploaded, [p.upload], [*chosen, p.sample, p.upload, p.draft], **_PRIVATE))
        own = p.held_out_file.upload(self.data.held_out, [p.held_out_file], [self.form.widgets["valid_path"]], **_PRIVATE)
        self._after_data(own)
        filled = [self.form.widgets[name] for name in self.data.of_samples]
        self._after_data(p.sample.input(self.data.sampled, [p.sample, *filled], [*chosen, p.draft, *filled], **_PRIVATE))
        path = self.form.widgets["data_path"]
        named = gr.on([path.submit, path.blur], self.data.named, [path, p.draft], [*chosen, p.sample], **_PRIVATE)
        self._after_data(named)
        self._after_data(gr.on([self.form.widgets["trainer"].input], self.data.trained_by, [p.draft], [p.draft], **_PRIVATE))
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
        read = p.read_yaml.click(self.read, [p.yaml, p.draft], [p.yaml_note, p.sample, p.draft, *inputs], **_PRIVATE)
        self._after_data(read)
        start = p.start.click(self.start, [p.draft, *inputs], [p.draft, p.started], api_visibility="private")
        start.success(None, [p.started], None, js=GO_TO_RUN)

    def _step_events(self) -> None:
        p = self.page
        ways = (
            (p.to_model, 1), (p.skip, 3), (p.back_to_data, 0), (p.to_settings, 2), (p.back_to_model, 1),
            (p.to_review, 3), (p.back_to_settings, 2),
        )  # fmt: skip
        for button, step in ways:
            button.click(
                lambda d, step=step: (gr.Tabs(selected=step), {**(d or {}), "step": step}),
                [p.draft],
                [p.steps, p.draft],
                queue=False,
                js="(...given) => { scrollTo(0, 0); return given; }",
                **_PRIVATE,
            )
        # what was typed and never confirmed counts as well
        p.steps.select(self.stepped, [p.draft], [p.draft], **_PRIVATE).then(**self._refreshing())

    def _after_data(self, event: Any) -> None:
        """Look at the data again, then at its tokens, then plan."""
        p, inputs = self.page, self.form.components
        looked = event.then(
            self.data.look,
            [p.draft, *inputs],
            [
                *(p.draft, p.file_view, p.drop, p.reading, p.held_out, self.form.widgets["trainer"], p.trainer_note),
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
            "inputs": [p.draft, p.everything, *self.form.components],
            "outputs": [
                p.draft, p.review, p.command, p.yaml, p.start, *self.form.components, *self.form.headings.values(),
            ],
            **_PRIVATE,
        }  # fmt: skip

    # ---- opening

    def open(self, kept: dict[str, Any] | None, request: gr.Request) -> list[Any]:
        """Fill the page from the draft or from the address."""
        found, note = draft.opened(kept, dict(request.query_params), self.form)
        values = dict(found["values"])
        filled: list[Any] = [values.get(name, "") for name in self.form.names]
        choices = [(source.label, source.reference) for source in api.model_choices()]
        filled[self.form.names.index("model")] = gr.update(choices=choices, value=values.get("model"))
        return [
            found,
            data_view.failure_html(StudioError(note)) if note else "",
            gr.Tabs(selected=found.get("step", 0)),
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
        held = dict(zip(self.form.names, given, strict=True))
        auto = (kept or {}).get("values", {}).get("auto", False)
        kept = {**(kept or {}), "values": {**held, "auto": auto}, "everything": everything}
        plan, command, yaml, ready = None, "", gr.skip(), False
        try:
            params = self.form.params(given)
            command, yaml = api.command(params), api.to_yaml(params)
            plan = self._planned(given)
            review = review_view.review_html(plan, api.estimate(plan, api.data_facts(params)))
            ready = True
        except StudioError as error:
            nothing = StudioError("No data is chosen yet.", hint="Choose a file or a sample in the first step.")
            review = data_view.failure_html(error if held.get("data_path") else nothing)
        start = gr.update(interactive=ready)
        widgets = self.form.shown(given, everything, plan)
        return [kept, review, command, yaml, start, *widgets, *self.form.groups_shown(given, everything)]

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

    def read(self, text: str, kept: dict[str, Any]) -> list[Any]:
        """Take settings from YAML."""
        try:
            params = api.from_yaml(text or "")
        except StudioError as error:
            return [data_view.failure_html(error), gr.skip(), kept, *[gr.skip()] * len(self.form.names)]
        values = params.model_dump()
        # what the file says about bad rows is a choice that was made
        kept = {**kept, "looked": params.data_path, "values": {**kept.get("values", {}), "auto": False}}
        note = '<p class="st-note">These settings are now in the form.</p>'
        return [note, sample_of(params.data_path), kept, *self.form.filled(values)]

    def judge(self, kept: Any, everything: Any, *given: Any) -> list[Any]:
        return [gr.validate(True, ""), gr.validate(True, ""), *self.form.judge(*given)]

    def stepped(self, kept: dict[str, Any], event: gr.SelectData) -> dict[str, Any]:
        return {**(kept or {}), "step": event.index}

    # ---- start

    def start(self, kept: dict[str, Any], *given: Any) -> list[Any]:
        """Queue the run. The same draft with the same settings is the same run, however often and where it is asked."""
        try:
            params = self.form.params(given)
            if not params.drop_bad_rows:
                self._refuse_problems(params)
            digest = hashlib.sha256(params.model_dump_json().encode()).hexdigest()
            name = api.start(params, request_id=f"{kept.get('id', '')}:{digest}")
        except StudioError as error:
            raise gr.Error(str(error), title="The run was not started", duration=None) from None
        return [{**kept, "started": name}, name]

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

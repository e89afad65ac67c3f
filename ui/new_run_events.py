"""What on the page "New run" calls for which answer of new_run_handlers.py, and what follows after it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui.draft import REVIEW
from ui.events import BEGINS, FILE, PRIVATE
from ui.new_run_handlers import Handlers

GO_TO_TOP = "() => { scrollTo(0, 0); return []; }"
GO_TO_OPEN = "() => { window.StudioForm.show(document.querySelector('[data-open-field]')?.dataset.openField); return []; }"
GO_TO_RUN = "(name) => { if (name) location.assign('/run?id=' + encodeURIComponent(name)); }"


class Events(Handlers):
    """Connects the page's components."""

    def connect(self, app: gr.Blocks) -> None:
        """Register every event of the page."""
        p, inputs = self.page, self.form.components
        # what follows on the page once it is filled
        self.filled = self._after_data(app.load(self.open, p.stores.all, self._opened, **PRIVATE))
        chosen = [self.form.widgets[n] for n in ("data_path", "data_format", "column_mapping", "drop_bad_rows")]
        path, filled = chosen[0], [self.form.widgets[name] for name in self.data.of_samples]
        before = [path, *filled]
        took = p.upload.upload(self.data.uploaded, [p.upload, *before], [*chosen, p.sample, p.upload, *filled], **FILE)
        self._after_data(took)
        own = p.held_out_file.upload(self.data.held_out, [p.held_out_file], [self.form.widgets["valid_path"]], **FILE)
        self._after_data(own)
        self._after_data(p.sample.input(self.data.sampled, [p.sample, *before], [*chosen, *filled], **PRIVATE))
        typed = [path.submit, path.blur]
        named = gr.on(typed, self.data.named, [path, p.stores.seen, *filled], [*chosen, p.sample, *filled], **PRIVATE)
        self._after_data(named)
        self._after_data(
            gr.on([self.form.widgets["trainer"].input], self.data.trained_by, [p.stores.seen], [p.stores.seen], **PRIVATE)
        )
        self._after_data(self.form.widgets["data_format"].input(lambda: "", None, [chosen[2]], **PRIVATE))
        mapped = gr.on([role.input for role in p.roles], self.data.mapped, [*inputs, *p.roles], [chosen[2]], **PRIVATE)
        self._after_data(mapped)
        drop = p.drop.click(lambda: True, None, [chosen[3]], **PRIVATE)
        self._after_data(drop)
        self._after_model(self.form.widgets["model"].input(lambda: None, None, None, **PRIVATE))
        self._hub_events([*chosen, p.sample, *filled], filled)
        self._settings_events()
        self._reward_events()
        self._step_events()

    def _hub_events(self, named: list[Any], filled: list[Any]) -> None:
        """What was found on the Hub goes to where it could have been typed."""
        p, seen = self.page, self.page.stores.seen
        self._after_data(p.found_data.input(self.data.named, [p.found_data, seen, *filled], named, **PRIVATE))
        found = p.found_model.input(lambda id: id or gr.skip(), [p.found_model], [self.form.widgets["model"]], **PRIVATE)
        self._after_model(found)

    def _settings_events(self) -> None:
        p, inputs = self.page, self.form.components
        elsewhere = ("trainer", "data_path", "data_format", "column_mapping", "model")
        typed = [w.input for n, w in self.form.widgets.items() if n not in elsewhere]
        changed = gr.on(typed, **self._refreshing(), validator=self.judge)
        changed.success(self.tokens, self.asked, [p.token_view], **PRIVATE)
        # the words beside a box are lost with every answer that reads the form; then the page asks for them again (form.js)
        p.judge.click(lambda *_: None, self._refreshing()["inputs"], None, validator=self.judge, **PRIVATE)
        gr.on([p.everything.input], **self._refreshing())
        self._after_model(p.preset.input(self.preset, [p.preset, *inputs], inputs, **PRIVATE))
        p.copy_yaml.click(None, [p.yaml], [p.own_yaml], js="(text) => text", **PRIVATE)
        self._after_data(self._reading())
        start = p.start.click(self.start, [p.stores.ticket, *self.asked], [p.stores.ticket, p.started], **BEGINS)
        start.success(None, [p.started], None, js=self.go_to_started)

    go_to_started = GO_TO_RUN

    def _reading(self) -> Any:
        """Settings are taken from YAML."""
        p = self.page
        shown = [p.yaml_note, p.sample, p.stores.seen, *self.form.components]
        return p.read_yaml.click(self.read, [p.own_yaml, p.stores.seen], shown, **PRIVATE)

    def _reward_events(self) -> None:
        pick, inputs = self.form.picker, self.form.components
        pick.kind.input(self.reward_kind, [pick.kind, *inputs], [pick.argument, pick.column, pick.says], **PRIVATE)
        lines = self.form.widgets["rl_rewards"]
        boxes = [pick.kind, pick.argument, pick.column, pick.weight, lines]
        added = gr.on(
            [pick.add.click, pick.argument.submit, pick.weight.submit],
            pick.added,
            boxes,
            [lines, pick.argument, pick.weight, pick.says],
            **PRIVATE,
        )
        self._after_model(added.success(lambda: None, None, None, **PRIVATE))

    def _step_events(self) -> None:
        p = self.page
        ways = (
            (p.to_model, 1), (p.skip, REVIEW), (p.back_to_data, 0), (p.to_settings, 2), (p.back_to_model, 1),
            (p.back_to_settings, 2), (p.choose, 2), (p.choose_now, 2), *self._after_settings,
        )  # fmt: skip
        for button, step in ways:
            there = GO_TO_OPEN if button in (p.choose, p.choose_now) else GO_TO_TOP
            stepped = button.click(
                lambda step=step: (gr.Tabs(selected=step), step),
                None,
                [p.steps, p.stores.step],
                queue=False,
                js=there,
                **PRIVATE,
            )
            if step == REVIEW:  # Gradio tells of a step only when its tab was clicked
                stepped.then(self.review, self.asked, self._seen, **PRIVATE)
        shown = [p.stores.step, *self._seen]
        p.steps.select(self.stepped, self.asked, shown, **PRIVATE)

    @property
    def _after_settings(self) -> tuple[tuple[Any, int], ...]:
        return ((self.page.to_review, REVIEW),)

    def _after_data(self, event: Any) -> Any:
        """Look at the data again, then at its tokens, then plan."""
        p, inputs = self.page, self.form.components
        looked = event.then(
            self.data.look,
            [p.stores.seen, *inputs],
            [
                *(p.stores.seen, p.file_view, p.drop, p.reading, p.held_out, self.form.widgets["trainer"], p.trainer_note),
                *(p.preset, self.form.widgets["drop_bad_rows"], *p.roles),
            ],
            **PRIVATE,
        )
        return self._after_model(looked)

    def _after_model(self, event: Any) -> Any:
        """Facts of the model and tokens of the rows, then the plan."""
        p = self.page
        shown = event.then(self.model, self.asked, [p.model_view], **PRIVATE)
        return shown.then(self.tokens, self.asked, [p.token_view], **PRIVATE).then(**self._refreshing())

    def _refreshing(self) -> dict[str, Any]:
        p = self.page
        return {
            "fn": self.refresh,
            "inputs": [self._written, p.everything, *self.asked],
            "outputs": [
                self._written, *self._seen, self.form.picker.rules, *self.form.components, *self.form.headings.values(),
            ],
            **PRIVATE,
        }  # fmt: skip

    @property
    def _opened(self) -> list[Any]:
        """What is filled when the page opens."""
        p = self.page
        return [*p.stores.all, p.note, p.steps, p.everything, p.sample, p.upload, *self.form.components]

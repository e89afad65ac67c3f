"""Trying several values from the page "New run": what varies, one setting a line; how many runs that makes; their Start.

The lines are the truth; the boxes above them write them. What is chosen in the form holds for all runs.
"""

from __future__ import annotations

import hashlib
from html import escape
from typing import Any

import gradio as gr

from engine import api
from engine.errors import FieldProblem, ParamError, StudioError
from ui import data_view
from ui.draft import REVIEW, browser_state
from ui.events import BEGINS, PRIVATE
from ui.form import SettingsForm
from ui.reach import refuse_foreign_sweep
from ui.words import count, duration, size

GO_TO_SWEEP = "(name) => { if (name) location.assign('/sweep?id=' + encodeURIComponent(name)); }"
_KINDS = (
    ("every combination", "grid"),
    ("some of them, drawn at random", "random"),
    ("some, each chosen by the results so far", "adaptive"),
)
# The ways on that the engine names as flags, by what stands here.
_DRAWN = "choose “some of them, drawn at random” at Try"
_WAYS_ON = {
    api.sweeps.LIST_OR_DRAW: f"List its values, or {_DRAWN}.",
    api.sweeps.FEWER_OR_DRAW: f"Try fewer values, or {_DRAWN}.",
}
_ABOUT = (
    "Every combination becomes a run of its own, with all other settings as they are chosen in the form. The runs wait in the "
    "queue for each other, and are compared by what they measure on the held-out rows."
)
# What is not worth trying, or is another thing each time.
_LEFT_OUT = (
    "trainer",
    "project_name",
    "data_path",
    "data_format",
    "column_mapping",
    "deepspeed",
    "valid_path",
    "hub_model_id",
    "rl_rewards",
)
_GROUPS_LEFT_OUT = ("Hub", "Output")


class SweepPanel:
    """The components, to be made where they should stand; `connect` says what happens with them."""

    def __init__(self, form: SettingsForm) -> None:
        self.form = form
        # lines, kind, tries: written by nothing else
        self.store = browser_state("several", {})
        with gr.Accordion("Try several values", open=False, elem_id="several") as self.box:
            gr.HTML(f'<p class="st-soft group-note">{_ABOUT}</p>', apply_default_css=False)
            with gr.Row(elem_id="several-picker", equal_height=False):
                self.setting = gr.Dropdown(
                    self._choices(next(iter(api.specs()))),
                    value=None,
                    label="Setting",
                    elem_id="several-setting",
                    interactive=True,
                    min_width=200,
                    scale=3,
                )
                self.values = gr.Textbox(
                    label="Values to try",
                    info="With commas between them, or a range such as 1e-5..1e-3.",
                    elem_id="several-values",
                    max_lines=1,
                    interactive=True,
                    min_width=220,
                    scale=4,
                )
                self.add = gr.Button("Add", elem_id="several-add", min_width=90, scale=1)
            self.lines = gr.Textbox(
                label="What varies, one setting a line",
                placeholder="Learning rate = 1e-4, 3e-4",
                elem_id="several-lines",
                lines=2,
                max_lines=8,
                interactive=True,
            )
            with gr.Row(equal_height=False):
                self.kind = gr.Radio(list(_KINDS), value="grid", label="Try", elem_id="several-kind", interactive=True, scale=4)
                self.tries = gr.Textbox(
                    "10", label="How many runs", elem_id="several-tries", max_lines=1, visible=False, min_width=120, scale=1
                )
            self.says = gr.HTML("", apply_default_css=False, elem_id="several-says")
            self.start = gr.Button("Start the runs", variant="primary", interactive=False, elem_id="several-start", size="lg")
            self.started = gr.Textbox(visible=False)

    # ---- events

    def connect(self, filled: Any, steps: Any, ticket: Any) -> None:
        """Register what happens. `filled` comes once the page is, `steps` are its tabs, `ticket` its store of the same name."""
        inputs = self.form.components
        typed, shown = [self.lines, self.kind, self.tries], [self.says, self.start, self.tries, self.setting, self.store]
        restored = filled.then(self.open, [self.store], [*typed, self.box], **PRIVATE)
        restored.then(self.outlook, [*typed, *inputs], shown, **PRIVATE)
        steps.select(self.stepped, [*typed, *inputs], shown, **PRIVATE)
        self.setting.input(self.look, [self.setting, *inputs], [self.values], **PRIVATE)
        added = gr.on(
            [self.add.click, self.values.submit],
            self.added,
            [self.setting, self.values, self.lines],
            [self.lines, self.values, self.setting],
            **PRIVATE,
        )
        added.then(self.outlook, [*typed, *inputs], shown, **PRIVATE)
        changed = [self.lines.input, self.kind.input, self.tries.input]
        gr.on(changed, self.outlook, [*typed, *inputs], shown, **PRIVATE)
        start = self.start.click(self.begin, [ticket, *typed, *inputs], [self.started, self.store, ticket], **BEGINS)
        start.success(None, [self.started], None, js=GO_TO_SWEEP)

    # ---- answers

    def open(self, kept: dict[str, Any] | None) -> list[Any]:
        """The boxes as the browser kept them. Where it kept nothing they are left alone: this comes late on a slow line, and
        somebody may have begun to write.
        """
        kept = kept or {}
        if not kept.get("lines"):
            return [gr.skip()] * 4
        return [kept["lines"], kept.get("kind", "grid"), kept.get("tries", "10"), gr.update(open=True)]

    def stepped(self, event: gr.SelectData, *given: Any) -> list[Any]:
        """The review shows what the settings of the other steps make of it."""
        return self.outlook(*given) if event.index == REVIEW else [gr.skip()] * 5

    def look(self, name: str | None, *given: Any) -> Any:
        """Values to begin with, and what the setting may be."""
        if not name:
            return gr.skip()
        held = dict(zip(self.form.names, given, strict=True))
        trainer = held["trainer"]
        return gr.update(
            value=api.sweeps.suggested(trainer, name, self._now(name, given)),
            info=f"{self.form.fields[name].sentence(trainer)} It takes: {api.sweeps.asks(trainer, name)}.",
        )

    def _now(self, name: str, given: tuple[Any, ...]) -> Any:
        """What the setting would be without a sweep."""
        try:
            params = self.form.params(given)
            return getattr(api.plan(params, api.data_facts(params)).params, name)
        except StudioError:  # said where it belongs; nothing is suggested
            return self.form.fields[name].default

    def added(self, name: str | None, values: str, lines: str) -> list[Any]:
        """The lines with one for this setting, in place of the one it had."""
        if not name or not (values or "").strip():
            return [gr.skip(), gr.skip(), gr.skip()]
        field = self.form.fields[name]
        called = {name, *(field.label(trainer).lower() for trainer in field.trainers)}
        kept = [line for line in (lines or "").splitlines() if line.strip() and _setting(line).lower() not in called]
        return ["\n".join([*kept, f"{name} = {values.strip()}"]), gr.update(value="", info=""), None]

    def outlook(self, lines: str, kind: str, tries: str, *given: Any) -> list[Any]:
        """How many runs the lines make and what they take, or what is wrong with them."""
        held = dict(zip(self.form.names, given, strict=True))
        kept = {"lines": lines or "", "kind": kind, "tries": tries}
        choices = gr.update(choices=self._choices(held["trainer"]))
        fixed = [gr.update(visible=kind != "grid"), choices, kept]
        if not (lines or "").strip():
            return ["", gr.update(value="Start the runs", interactive=False), *fixed]
        try:
            sweep = self._sweep(lines, kind, tries, given)
            seen = api.sweeps.outlook(sweep)
        except StudioError as error:
            return [self._trouble(error, held), gr.update(value="Start the runs", interactive=False), *fixed]
        start = gr.update(value=f"Start {count(seen.runs, 'run')}", interactive=True)
        return [outlook_html(sweep, seen, self._labelled(sweep)), start, *fixed]

    def begin(self, ticket: dict[str, Any], lines: str, kind: str, tries: str, *given: Any) -> list[Any]:
        """Queue the runs. The same ticket with the same lines and settings is the same sweep, however often it is asked."""
        try:
            sweep = self._sweep(lines, kind, tries, given)
            told = repr(sorted(sweep.to_mapping()["settings"].items())) + repr(sweep.axes) + f"{kind} {sweep.tries}"
            digest = hashlib.sha256(told.encode()).hexdigest()
            name = api.sweeps.start(sweep, f"{(ticket or {}).get('id', '')}:{digest}")
            return [name, {}, {**(ticket or {}), "started": name}]
        except StudioError as error:
            raise gr.Error(str(error), title="The runs were not started", duration=None) from None

    def _sweep(self, lines: str, kind: str, tries: str, given: tuple[Any, ...]) -> api.sweeps.Sweep:
        chosen = self.form.chosen(given)
        how = {} if kind == "grid" else {kind: _number(tries)}
        sweep = api.sweeps.built(chosen, _axes(lines, self._names(chosen["trainer"])), name=chosen.get("project_name"), **how)
        refuse_foreign_sweep(sweep)
        return sweep

    def _trouble(self, error: StudioError, held: dict[str, Any]) -> str:
        if isinstance(error, ParamError):
            told = "\n".join(self.form.plain(p, held["trainer"]) for p in error.problems)
            error = StudioError(told, hint=_WAYS_ON.get(error.hint, error.hint))
        return data_view.failure_html(error)

    def _labelled(self, sweep: api.sweeps.Sweep) -> str:
        fields, trainer = self.form.fields, sweep.spec.id
        return "; ".join(f"{fields[name].label(trainer)}: {axis}" for name, axis in sweep.axes.items())

    def _names(self, trainer: str) -> dict[str, str]:
        """The settings of a trainer by what the page calls them, in lower case."""
        fields = self.form.fields.items()
        return {field.label(trainer).lower(): name for name, field in fields if trainer in field.trainers}

    def _choices(self, trainer: str) -> list[tuple[str, str]]:
        """The settings of a trainer that are worth trying, those shown without "all settings" first."""
        found = [
            (name, field.forms[trainer])
            for name, field in self.form.fields.items()
            if trainer in field.trainers and name not in _LEFT_OUT and field.forms[trainer].group not in _GROUPS_LEFT_OUT
        ]
        found.sort(key=lambda one: one[1].advanced)
        return [(self.form.fields[name].label(trainer), name) for name, _ in found]


def outlook_html(sweep: api.sweeps.Sweep, seen: Any, axes: str) -> str:
    """How many runs, how long all of them take, and what does not fit."""
    most = "at most " if seen.sampled else ""
    said = (
        f"<strong>{most}{count(seen.runs, 'run')}</strong>, about {duration(seen.seconds)} and {size(seen.disk)} on disk in all"
    )
    parts = [f'<p class="st-note">{said}, one after the other. <span class="st-soft">{escape(axes)}</span></p>']
    if seen.disk > seen.disk_free:
        free = f"<strong>That is more disk than is free ({size(seen.disk_free)}).</strong>"
        parts.append(f'<div class="st-note error" role="alert">{free} Try fewer values.</div>')
    if seen.unfit:
        listed = "".join(f"<li>{escape(words)}</li>" for words in seen.unfit[:5])
        head = "<strong>Some of them will probably not fit into memory:</strong>"
        parts.append(f'<div class="st-note warning">{head}<ul class="todo">{listed}</ul></div>')
    parts.append(f"<p class='st-soft'>The same from the command line: <code>{escape(api.sweeps.command(sweep))}</code></p>")
    if caution := api.sweeps.caution(sweep, labels=True):
        parts.append(f'<div class="st-note warning">{escape(caution)}</div>')
    return "".join(parts)


def _setting(line: str) -> str:
    """What stands before a line's equals sign."""
    return line.partition("=")[0].strip()


def _axes(lines: str, names: dict[str, str]) -> dict[str, str]:
    """What varies, from its lines; `names` has the settings by what the page calls them.

    Raises:
        ParamError: a line is none, or a setting stands there twice.
    """
    found: dict[str, str] = {}
    for line in filter(None, (line.strip() for line in lines.splitlines())):
        name, sign, values = (part.strip() for part in line.partition("="))
        name = names.get(name.lower()) or name.lstrip("-").replace("-", "_")
        if not sign or not name:
            said = f"{line!r} cannot be read. Write a setting and its values: Learning rate = 1e-4, 3e-4."
            raise ParamError([FieldProblem("", said)])
        if name in found:
            raise ParamError([FieldProblem(name, f"{name} stands there twice. Put all its values in one line.")])
        found[name] = values
    return found


def _number(text: str) -> int:
    """How many runs, from its box.

    Raises:
        ParamError: that is no number.
    """
    said = str(text or "").strip()
    if not said.isdecimal() or len(said) > 6:
        raise ParamError([FieldProblem("", f"How many runs must be a whole number, such as 10; got {said[:20]!r}.")])
    return int(said)

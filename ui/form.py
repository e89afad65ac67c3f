"""The settings form: every trainer's parameters in one set of widgets, read as settings and filled from settings."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from engine import api
from engine.errors import FieldProblem, ParamError
from ui.fields import Field, fields, to_parameter, to_widget, widget
from ui.reach import refuse_foreign, renting_refused
from ui.reward_picker import RewardPicker
from ui.words import coded

# Asked for in the steps before the settings, or not by a widget of its own.
ELSEWHERE = ("trainer", "model", "data_path", "data_format", "column_mapping", "valid_path", "valid_fraction", "drop_bad_rows")
GROUPS = ("Basic", "Rewards", "Trainer", "Training", "Adapter", "Data", "Evaluation", "Output", "Hub", "Compute", "Hardware")
# Headings that say more than the group's name does.
TITLES = {
    "Rewards": "What scores the answers",
    "Trainer": "This kind of training",
    "Hub": "Upload to the Hugging Face Hub",
    "Compute": "Where to train",
}


class SettingsForm:
    """The widgets of all parameters, in one fixed order, so that events can hand them over as a list."""

    def __init__(self, hidden: tuple[str, ...] = ()) -> None:
        self.hidden = hidden  # asked for nowhere on this page
        self.fields: dict[str, Field] = fields()
        self.widgets: dict[str, Any] = {}
        self.headings: dict[str, Any] = {}
        self.picker: RewardPicker

    # ---- building

    def put(self, name: str, made: Any = None) -> Any:
        """Place the widget of one parameter here: the usual one, or `made`."""
        self.widgets[name] = made if made is not None else widget(self.fields[name])
        return self.widgets[name]

    def put_groups(self) -> None:
        """Place all that stands nowhere else, group by group; shown is at first what a page shows that nobody has filled."""
        held = {name: to_widget(field, field.default) for name, field in self.fields.items()}
        for group in GROUPS:
            names = [n for n, f in self.fields.items() if f.form.group == group and n not in ELSEWHERE]
            if not names:
                continue
            shown = {name: self.visible(name, held, everything=False) for name in names}
            with gr.Column(elem_classes="group", visible=any(shown.values())) as column:
                gr.HTML(f'<h2 class="sub">{escape(TITLES.get(group, group))}</h2>', apply_default_css=False)
                if any(self.fields[name].form.widget == "rewards" for name in names):
                    self.picker = RewardPicker()
                if group == "Compute" and (why := renting_refused() or api.compute.cannot_rent()):
                    gr.HTML(f'<p class="st-soft">No machine can be rented from here. {coded(why)}</p>', apply_default_css=False)
                with gr.Row(elem_classes="fields"):
                    for name in names:
                        self.put(name).visible = shown[name]
                if group == "Compute" and renting_refused():
                    _offer_local_alone(self.widgets["compute"])
            self.headings[group] = column

    @property
    def names(self) -> list[str]:
        return list(self.widgets)

    @property
    def components(self) -> list[Any]:
        return list(self.widgets.values())

    # ---- reading

    def values(self, given: tuple[Any, ...]) -> dict[str, Any]:
        """Widget values as settings of the chosen trainer; parameters of other trainers are left out."""
        held = dict(zip(self.names, given, strict=True))
        trainer = held["trainer"]
        return {
            name: to_parameter(self.fields[name], value)
            for name, value in held.items()
            if trainer in self.fields[name].trainers
        }

    def chosen(self, given: tuple[Any, ...]) -> dict[str, Any]:
        """What was chosen, not judged yet, except that it is nothing which a browser may not ask for.

        Raises:
            ParamError: it is.
        """
        chosen = {k: v for k, v in self.values(given).items() if v not in (None, "") or self._may_be_empty(k)}
        refuse_foreign(chosen)
        return chosen

    def params(self, given: tuple[Any, ...]) -> api.LLMTrainingParams:
        """The settings.

        Raises:
            ParamError: some cannot be used.
        """
        return api.validate(self.chosen(given))

    def sketched(self, given: tuple[Any, ...]) -> api.LLMTrainingParams:
        """The settings with a trainer's examples where something that it needs is not chosen yet: for looking at data.

        Raises:
            ParamError: something that was chosen cannot be used.
        """
        chosen = {k: v for k, v in self.values(given).items() if v not in (None, "", [])}
        refuse_foreign(chosen)
        if "job_hardware" not in chosen:
            chosen.pop("compute", None)  # the machine is not chosen yet, and changes nothing about the rows
        return api.validate({**api.spec_for(chosen["trainer"]).example_settings, **chosen})

    def open_fields(self, given: tuple[Any, ...]) -> dict[str, str]:
        """What is still to be chosen besides the data, by the fields' names, and why."""
        held = dict(zip(self.names, given, strict=True))
        if not held.get("data_path"):
            return {}
        try:
            self.params(given)
        except ParamError as error:
            return {p.field: self.plain(p, held["trainer"]) for p in error.problems if held.get(p.field) in (None, "")}
        return {}

    def plain(self, problem: FieldProblem, trainer: str) -> str:
        """What is wrong, with the name that the page has for the field."""
        if problem.field not in self.fields:
            return problem.message
        label = self.fields[problem.field].label(trainer)
        said = problem.message.replace(f" ({api.flag(problem.field)})", "")
        said = said.removesuffix(f" {self.fields[problem.field].sentence(trainer)}")  # which stands beside the field already
        return f"{label}{said.removeprefix(problem.field)}" if said.startswith(problem.field) else said

    def _may_be_empty(self, name: str) -> bool:
        return self.fields[name].is_lines or self.fields[name].is_tick

    def judge(self, *given: Any) -> list[Any]:
        """Gradio's verdict on each widget: what is wrong is said beside it."""
        try:
            self.params(given)
        except ParamError as error:
            held = dict(zip(self.names, given, strict=True))
            # that nothing is chosen yet is said where it is chosen, not as a mistake
            wrong = {p.field: self.plain(p, held["trainer"]) for p in error.problems if held.get(p.field) not in (None, "")}
            return [gr.validate(name not in wrong, wrong.get(name, "")) for name in self.names]
        return [gr.validate(True, "")] * len(self.names)

    # ---- writing

    def filled(self, values: dict[str, Any]) -> list[Any]:
        """Widget values for settings; a parameter that is not named takes its default."""
        return [to_widget(self.fields[name], values.get(name, self.fields[name].default)) for name in self.names]

    def shown(self, given: tuple[Any, ...], everything: bool, plan: Any | None) -> list[Any]:
        """Updates for the widgets of the groups: which are shown, and what is chosen where a box is empty."""
        held = dict(zip(self.names, given, strict=True))
        chosen = plan.params.model_dump() if plan else {}
        reasons = plan.reasons if plan else {}
        return [self._look(name, held, everything, chosen, reasons) for name in self.names]

    def _look(self, name: str, held: dict[str, Any], everything: bool, chosen: dict[str, Any], reasons: dict[str, str]) -> Any:
        field = self.fields[name]
        if name in ("trainer", "model", "data_path", "data_format", "column_mapping"):
            return gr.skip()
        sentence = field.sentence(held["trainer"])
        look: dict[str, Any] = {
            "visible": self.visible(name, held, everything),
            "label": field.label(held["trainer"]),
            "info": sentence,
        }
        if name in reasons:
            look["info"] = f"{sentence} Chosen: {reasons[name]}"
        if field.form.auto and field.choices is None:
            value = to_widget(field, chosen.get(name)) if name in reasons else ""
            look["placeholder"] = f"automatic: {value}" if value else "automatic"
        return gr.update(**look)

    def visible(self, name: str, held: dict[str, Any], everything: bool) -> bool:
        """Whether a parameter matters to this trainer, with these other values, at this level of detail."""
        form = self.fields[name].forms.get(held["trainer"])
        if form is None or name in self.hidden or (form.advanced and not everything and name != "drop_bad_rows"):
            return False
        return all(to_parameter(self.fields[other], held[other]) in wanted for other, wanted in form.when.items())

    def groups_shown(self, given: tuple[Any, ...], everything: bool) -> list[Any]:
        """Updates for the groups: one without a single visible field is not shown."""
        held = dict(zip(self.names, given, strict=True))
        return [
            gr.update(
                visible=any(
                    self.visible(n, held, everything)
                    for n, f in self.fields.items()
                    if f.form.group == group and n not in ELSEWHERE
                )
            )
            for group in self.headings
        ]


def _offer_local_alone(compute: gr.Dropdown) -> None:
    """Take the machines that can be rented out of the choice. Settings that come with one (a run from the command line) are
    shown, refused beside the box, and can be changed."""
    compute.choices = [(words, name) for words, name in compute.choices if name == compute.value]
    compute.allow_custom_value = True

"""One parameter, one widget: which widget asks for it, and how its value goes to the engine and back.

Numbers are asked for in text boxes: an empty box means "choose for me", 2e-5 stays 2e-5, and what is wrong with a value
is said by the engine beside the box.
"""

from __future__ import annotations

import json
import types
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from pydantic.fields import FieldInfo

from engine import api
from engine.api import Form

AUTOMATIC = "automatic"
# The first choice where a model may be named and need not be.
NO_MODEL = ("none chosen", "")
# The same for a machine that may be rented.
NO_HARDWARE = ("none chosen", "")
_YES_NO = {"yes": True, "no": False}


@dataclass(frozen=True)
class Field:
    """A parameter with its places in the forms: `forms` and `infos` by the ids of the trainers that have it."""

    name: str
    infos: dict[str, FieldInfo]
    forms: dict[str, Form]

    @property
    def trainers(self) -> frozenset[str]:
        return frozenset(self.forms)

    @property
    def info(self) -> FieldInfo:
        """As the first trainer declares it: type and default are the same for all."""
        return next(iter(self.infos.values()))

    @property
    def form(self) -> Form:
        return next(iter(self.forms.values()))

    @property
    def default(self) -> Any:
        """What the parameter is when nothing is chosen; None for one that must be."""
        return None if self.info.is_required() else self.info.get_default(call_default_factory=True)

    def label(self, trainer: str | None = None) -> str:
        return self.forms.get(trainer or "", self.form).label

    def sentence(self, trainer: str | None = None) -> str:
        return self.infos.get(trainer or "", self.info).description or ""

    @property
    def choices(self) -> list[str] | None:
        """The words to choose from; None for a value that is typed or ticked."""
        plain, optional = _plain(self.info.annotation)
        if get_origin(plain) is Literal:
            return ([AUTOMATIC] if optional else []) + [str(value) for value in get_args(plain)]
        return [AUTOMATIC, *_YES_NO] if plain is bool and optional else None

    @property
    def is_tick(self) -> bool:
        return _plain(self.info.annotation) == (bool, False)

    @property
    def is_lines(self) -> bool:
        return get_origin(_plain(self.info.annotation)[0]) is list

    @property
    def names_model(self) -> bool:
        return self.form.widget in ("model", "judge")

    @property
    def names_hardware(self) -> bool:
        return self.form.widget == "hardware"

    @property
    def is_mapping(self) -> bool:
        return get_origin(_plain(self.info.annotation)[0]) is dict


def fields() -> dict[str, Field]:
    """Every parameter of every trainer that runs, each once, in the order of its declaration."""
    found: dict[str, Field] = {}
    for spec in api.specs().values():
        for name, info in spec.params.model_fields.items():
            field = found.setdefault(name, Field(name, {}, {}))
            field.infos[spec.id], field.forms[spec.id] = info, api.form_of(spec.params, name)
    return found


def widget(field: Field) -> Any:
    """The component that asks for `field`; to be called where it should stand."""
    common: dict[str, Any] = {
        "label": field.label(),
        "info": field.sentence(),
        "elem_id": f"field-{field.name}",
        "elem_classes": "explained" if field.form.auto else None,
        "interactive": True,
    }
    value = to_widget(field, field.default)
    if field.is_tick:
        return gr.Checkbox(value=value, **common)
    if field.choices is not None:
        return gr.Dropdown([(field.form.words.get(one, one), one) for one in field.choices], value=value, **common)
    if field.names_hardware:
        return gr.Dropdown([NO_HARDWARE], value=value, allow_custom_value=True, **common)
    if field.names_model:
        return gr.Dropdown([NO_MODEL], value=value, allow_custom_value=True, **common)
    if field.is_lines:
        return gr.Textbox(value=value, lines=3, max_lines=8, **common)
    if field.form.widget == "long":
        return gr.Textbox(value=value, lines=3, max_lines=12, **common)
    return gr.Textbox(value=value, placeholder=AUTOMATIC if field.form.auto else "", max_lines=1, **common)


def models_for(field: Field) -> list[tuple[str, str]]:
    """The models on this machine that `field` may name: those that score, or those that write."""
    scores = field.form.widget == "judge"
    found = [(source.label, source.reference) for source in api.model_choices() if source.scores == scores]
    return found if field.info.default else [NO_MODEL, *found]


def to_widget(field: Field, value: Any) -> Any:
    """A parameter's value as its widget holds it."""
    if field.is_tick:
        return bool(value)
    if field.choices is not None:
        words = {v: k for k, v in _YES_NO.items()}
        return AUTOMATIC if value is None else str(words.get(value, value) if isinstance(value, bool) else value)
    if field.is_lines:
        return "\n".join(value or [])
    if field.is_mapping:
        return json.dumps(value) if value else ""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def to_parameter(field: Field, value: Any) -> Any:
    """What a widget holds as the engine's value; the default where nothing was chosen."""
    if field.is_tick:
        return bool(value)
    if field.choices is not None:
        if value in (None, "", AUTOMATIC):
            return field.default
        return _YES_NO[value] if set(field.choices) == {AUTOMATIC, *_YES_NO} else value
    if field.is_lines:
        return [line.strip() for line in (value or "").splitlines() if line.strip()]
    text = str(value if value is not None else "").strip()
    if field.is_mapping:
        return _mapping(text) if text else {}
    return text or field.default


def _mapping(text: str) -> Any:
    """What the JSON says; what is none goes to the engine as it is, which says so beside the field."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _plain(annotation: Any) -> tuple[Any, bool]:
    """A field's type without None, and whether None was part of it."""
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        return inner[0], len(inner) < len(get_args(annotation))
    return annotation, False

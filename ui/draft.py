"""What a person has chosen but not started, kept in their own browser: survives a reload and a restart of the server."""

from __future__ import annotations

import uuid
from typing import Any

import gradio as gr

from engine import api
from engine.errors import StudioError
from ui.fields import to_widget
from ui.form import SettingsForm

AUTO = "auto"


def browser_state() -> Any:
    """The store. A fixed secret, because a fresh one at each start would make older drafts unreadable."""
    return gr.BrowserState({}, storage_key="studio-draft", secret="studio-draft")


def opened(draft: dict[str, Any] | None, query: dict[str, str], form: SettingsForm) -> tuple[dict[str, Any], str]:
    """The draft as it is when the page opens, and a sentence if something asked for could not be had.

    An address with wishes in it (`trainer`, `data`, `model`, or `from`, a run's name) begins anew, except when the draft
    came from that very address, which means that the page was only reloaded.
    """
    draft = dict(draft or {})
    wishes = {k: v for k, v in sorted(query.items()) if k in ("trainer", "data", "model", "from")}
    asked = repr(wishes)
    note = ""
    if (wishes and draft.get("asked") != asked) or not draft.get("values"):
        values, note = _begun(wishes, form)
        draft = {"values": values, "asked": asked, "everything": False, "step": 0}
    elif draft.get("started"):
        draft["values"] = {**draft["values"], "project_name": ""}
    if draft.pop("started", None) or "id" not in draft:
        draft["id"] = uuid.uuid4().hex
    return draft, note


def _begun(wishes: dict[str, str], form: SettingsForm) -> tuple[dict[str, Any], str]:
    """Widget values for the wishes of an address."""
    known = api.specs()
    settings: dict[str, Any] = {}
    note = ""
    if "from" in wishes:
        try:
            settings = {**api.run_params(wishes["from"]).model_dump(), "project_name": None}
        except StudioError as error:
            note = str(error)
    trainer = wishes.get("trainer", settings.get("trainer", AUTO))
    settings["trainer"] = trainer if trainer in known or trainer == AUTO else AUTO
    settings.update({name: wishes[key] for key, name in (("data", "data_path"), ("model", "model")) if key in wishes})
    sample = next((s for s in api.samples() if wishes.get("data") == f"{api.SAMPLE_PREFIX}{s.id}"), None)
    settings = {**(sample.settings if sample else {}), **settings}
    values = {name: to_widget(field, settings.get(name, field.default)) for name, field in form.fields.items()}
    values["trainer"] = next(iter(known)) if settings["trainer"] == AUTO else settings["trainer"]
    if settings["trainer"] == AUTO:
        values["auto"] = True
    return values, note

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
REVIEW = 3  # the step's number


def browser_state(name: str, begin: Any) -> Any:
    """A store in the browser. A fixed secret, because a fresh one at each start would make older drafts unreadable."""
    return gr.BrowserState(begin, storage_key=f"studio-{name}", secret="studio-draft")


class Stores:
    """What the page keeps in the browser, each part written by handlers of one kind only.

    Answers may come in another order than they were asked for; with one store for all, a late one would undo another's.
    """

    def __init__(self, page: str = "") -> None:
        # values, asked, everything: written with every plan
        self.draft = browser_state(f"{page}draft", {})
        # looked, seen, auto: which file was looked at, and whether it may decide
        self.seen = browser_state(f"{page}seen", {})
        # the step that is open
        self.step = browser_state(f"{page}step", 0)
        # id, started: one ticket is one run, however often it is handed in
        self.ticket = browser_state(f"{page}ticket", {})

    @property
    def all(self) -> list[Any]:
        return [self.draft, self.seen, self.step, self.ticket]


def opened(kept: list[Any], query: dict[str, str], form: SettingsForm) -> tuple[list[Any], str]:
    """The stores as they are when the page opens, and a sentence if something asked for could not be had.

    An address with wishes in it (`trainer`, `data`, `model`, or `from`, a run's name, with a `finding` of that run) begins
    anew, except when the draft came from that very address and was not started, which means that the page was only reloaded.
    What was started goes on from its own page, where *Run again, changed* brings its settings back in sight.
    """
    draft, seen, step, ticket = dict(kept[0] or {}), dict(kept[1] or {}), int(kept[2] or 0), dict(kept[3] or {})
    wishes = {k: v for k, v in sorted(query.items()) if k in ("trainer", "data", "model", "from", "finding")}
    asked = repr(wishes)
    note = ""
    over = bool(ticket.get("started"))
    if (wishes and (over or draft.get("asked") != asked)) or not draft.get("values"):
        values, auto, note = _begun(wishes, form)
        draft, step, ticket = {"values": values, "asked": asked, "everything": False}, 0, {}
        seen = {"auto": auto, **_agreed(wishes, values)}
        if "finding" in wishes and not note:
            step = REVIEW  # what is changed stands above all steps, and Start is here
    elif over:
        draft["values"] = {**draft["values"], "project_name": ""}
    if over or "id" not in ticket:
        ticket = {"id": uuid.uuid4().hex}
    return [draft, seen, step, ticket], note


def remedy(query: dict[str, str]) -> str:
    """What an address that asks for a change to a run changes, in a sentence; "" for any other address."""
    if "from" not in query or "finding" not in query:
        return ""
    _, found = api.remedied(query["from"], query["finding"])
    changes = ", ".join(map(str, found.change)) or "nothing; what else is to be done stands on the run's page"
    return f"These are the settings of {query['from']} with one change: {changes}."


def _params_of(wishes: dict[str, str]) -> api.LLMTrainingParams:
    if "finding" in wishes:
        return api.remedied(wishes["from"], wishes["finding"])[0]
    return api.run_params(wishes["from"])


def _agreed(wishes: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    """That a run's rows have been looked at: what it says about bad rows was agreed to, and need not be asked again."""
    try:
        before = api.run_params(wishes["from"]).data_path if "from" in wishes else ""
    except StudioError:
        return {}
    return {"looked": before} if before and before == values["data_path"] else {}


def _begun(wishes: dict[str, str], form: SettingsForm) -> tuple[dict[str, Any], bool, str]:
    """Widget values for the wishes of an address, and whether the file may choose the training."""
    known = api.specs()
    settings: dict[str, Any] = {}
    note = ""
    if "from" in wishes:
        try:
            settings = {**_params_of(wishes).model_dump(), "project_name": None}
        except StudioError as error:
            note = str(error)
    trainer = wishes.get("trainer", settings.get("trainer", AUTO))
    settings["trainer"] = trainer if trainer in known or trainer == AUTO else AUTO
    settings.update({name: wishes[key] for key, name in (("data", "data_path"), ("model", "model")) if key in wishes})
    sample = next((s for s in api.samples() if wishes.get("data") == f"{api.SAMPLE_PREFIX}{s.id}"), None)
    settings = {**(sample.settings if sample else {}), **settings}
    values = {name: to_widget(field, settings.get(name, field.default)) for name, field in form.fields.items()}
    values["trainer"] = next(iter(known)) if settings["trainer"] == AUTO else settings["trainer"]
    return values, settings["trainer"] == AUTO, note

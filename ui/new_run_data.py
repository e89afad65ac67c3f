"""The data step of the page "New run": taking a file in, showing what it holds, letting it choose the training."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from engine import api
from engine.errors import StudioError
from ui import data_view
from ui.fields import to_widget
from ui.reach import refuse_foreign

if TYPE_CHECKING:
    from ui.new_run import Page


_MAP_IT = " If they do after all, say under <b>How the rows are read</b> which column is which, and choose it again."


class DataStep:
    """Handlers of the data step."""

    def __init__(self, page: Page) -> None:
        self.page, self.form = page, page.form

    def uploaded(self, file: str | None, before: str, *held: Any) -> list[Any]:
        """Take a dropped file into the studio's own store."""
        if not file:
            return [gr.skip()] * (6 + len(held))
        path = api.store_upload(file, str(file).rsplit("/", 1)[-1])
        return [path, "", "", True, "", None, *self._brought("", before, held)]

    def held_out(self, file: str) -> str:
        """Take a file of held-out rows into the studio's own store."""
        return api.store_upload(file, file.rsplit("/", 1)[-1])

    def sampled(self, sample: str, before: str, *held: Any) -> list[Any]:
        """Take a sample."""
        return [f"{api.SAMPLE_PREFIX}{sample}" if sample else "", "", "", True, *self._brought(sample, before, held)]

    def _brought(self, sample: str, before: str, held: tuple[Any, ...]) -> list[Any]:
        """What the sample's training needs to know besides. What the data `before` brought goes with it, if it is unchanged."""
        chosen, left = settings_of(sample), settings_of(sample_of(before))
        filled: list[Any] = []
        for name, value in zip(self.of_samples, held, strict=True):
            field = self.form.fields[name]
            goes = name in left and value == to_widget(field, left[name])
            filled.append(to_widget(field, chosen.get(name, field.default)) if goes or name in chosen else gr.skip())
        return filled

    @property
    def of_samples(self) -> list[str]:
        """The settings that some sample has a value for."""
        return [name for name in self.form.names if any(name in s.settings for s in api.samples())]

    def named(self, path: str, seen: dict[str, Any], *held: Any) -> list[Any]:
        """Take a path that was typed; leaving the box without having changed it changes nothing."""
        path, before = path.strip(), (seen or {}).get("seen", "")
        if path == before:
            return [gr.skip()] * (5 + len(held))
        sample = sample_of(path)
        return [path, "", "", True, sample, *self._brought(sample, before, held)]

    def trained_by(self, seen: dict[str, Any]) -> dict[str, Any]:
        """The person has chosen a training: the file no longer decides it."""
        return {**(seen or {}), "auto": False}

    def mapped(self, *given: Any) -> str:
        """What the person changed about which column is which, as the parameter holds it."""
        held, columns = self.form.values(given[: len(self.form.names)]), given[len(self.form.names) :]
        refuse_foreign(held)
        seen = api.inspect_data(held["data_path"], None, form=held.get("data_format"))
        roles = [role.name for role in seen.roles]
        changed = {
            role: column or ""
            for role, column in zip(roles, columns, strict=False)
            if seen.mapping.get(role, "") != (column or "")
        }
        return json.dumps(changed) if changed else ""

    def look(self, kept: dict[str, Any], *given: Any) -> list[Any]:
        """Show what the file holds, and let it choose the training where nobody has."""
        held = self.form.values(given)
        path, trainer = str(held.get("data_path") or ""), held["trainer"]
        hidden = gr.update(visible=False)
        nothing = [gr.update(visible=False) for _ in self.page.roles]
        preset = gr.update(choices=list(api.presets(trainer)))
        kept = {**(kept or {}), "seen": path}
        about = about_html(trainer)
        if not path:
            return [kept, data_view.NOTHING_HTML, hidden, hidden, hidden, gr.skip(), about, preset, gr.skip(), *nothing]
        form, mapping = held.get("data_format"), held.get("column_mapping")
        try:
            refuse_foreign(held)
            seen = api.inspect_data(path, None, form=form, mapping=mapping)
        except StudioError as error:
            shown = data_view.failure_html(error)
            return [kept, shown, hidden, hidden, hidden, gr.skip(), about, preset, gr.skip(), *nothing]
        wished, (trainer, note) = trainer, self._trainer_for(seen, kept, trainer)
        if trainer != wished:  # chosen by this file, so the next file may choose again
            kept = {**kept, "auto": True}
        sentence = next((s.sentence for s in api.samples() if s.id == sample_of(path)), "")
        view = data_view.file_html(seen, sentence)
        try:
            seen = api.inspect_data(path, trainer, form=form, mapping=mapping)
            view = data_view.file_html(seen, sentence)
        except StudioError as error:
            view = data_view.failure_html(error) + view
        bad = sum(seen.problem_counts.values())
        fresh = seen.kind is not None and kept.get("looked") != path  # nothing is known of rows that cannot be read yet
        drops = bool(held.get("drop_bad_rows"))
        if fresh:  # rows are never left out without having been asked
            drops, kept = not bad, {**kept, "looked": path}
        leave = gr.update(visible=bool(bad) and not drops, value=f"Leave {'this row' if bad == 1 else f'these {bad} rows'} out")
        reading = gr.update(visible=True, open=seen.kind is None or bool(mapping))
        split = gr.update(visible=True)
        preset = gr.update(choices=list(api.presets(trainer)))
        # only what changed: an answer that comes late must not undo what was chosen meanwhile
        note = about_html(trainer) + note
        train, leaving = (gr.skip() if trainer == wished else trainer), (drops if fresh else gr.skip())
        return [kept, view, leave, reading, split, train, note, preset, leaving, *self._roles(seen)]

    def _trainer_for(self, seen: Any, kept: dict[str, Any], trainer: str) -> tuple[str, str]:
        """The training, and a note when the file chose it or speaks against it."""
        kinds = seen.kinds[1:] if seen.liked == 1.0 else seen.kinds  # only thumbs up say no more than answers do
        found = api.recommend({}, kinds) if kinds else None
        fits = api.spec_for(trainer).rows in seen.kinds
        auto = kept.get("auto")
        if found is None or found.start is None:
            return trainer, ""
        if auto or not fits:
            why = "The file answers the questions" if auto else f"These rows do not suit {api.spec_for(trainer).title}"
            note = f"{why}: <strong>{found.advice.words}</strong>. {found.note} {found.advice.reason}"
            note += "" if auto else _MAP_IT
            return found.start, f'<p class="st-note">{note}</p>'
        return trainer, ""

    def _roles(self, seen: Any) -> list[Any]:
        columns = [("nothing", ""), *((column.name, column.name) for column in seen.columns)]
        shown: list[Any] = [
            gr.update(
                visible=True,
                label=role.label + ("" if role.required else " (optional)"),
                choices=columns,
                value=seen.mapping.get(role.name, ""),
            )
            for role in seen.roles[: len(self.page.roles)]
        ]
        return shown + [gr.update(visible=False)] * (len(self.page.roles) - len(shown))


def about_html(trainer: str) -> str:
    """What a training is for, in the documentation's words."""
    spec = api.spec_for(trainer)
    return f'<p class="st-soft about-training">{escape(spec.summary)} <b>When:</b> {escape(spec.use_when)}.</p>'


def settings_of(sample: str) -> dict[str, Any]:
    """What a sample's training needs to know; nothing for none."""
    return next((dict(s.settings) for s in api.samples() if s.id == sample), {})


def sample_of(path: str) -> str:
    """The sample that a data path stands for; "" for anything else."""
    name = str(path or "").removeprefix(api.SAMPLE_PREFIX)
    known = str(path or "").startswith(api.SAMPLE_PREFIX) and any(s.id == name for s in api.samples())
    return name if known else ""

"""The data step of a stage: as for a run, but the training is settled, and models come from the stages before."""

from __future__ import annotations

from typing import Any

import gradio as gr

from engine import api
from ui.new_run_data import DataStep


class StageData(DataStep):
    """Handlers of the data step of the stage that is shown."""

    def _trainer_for(self, seen: Any, kept: dict[str, Any], trainer: str) -> tuple[str, str]:
        """What a file is good for never changes the stage; that it does not suit is said where the file is shown."""
        return trainer, ""

    def _brought(self, sample: str, before: str, held: tuple[Any, ...]) -> list[Any]:
        """What a sample brings along, except a model in place of one that a stage makes, and rules beside its judge."""
        filled = super()._brought(sample, before, held)
        bundled = {source.reference for source in api.model_choices() if source.kind == "starter"}
        values = dict(zip(self.of_samples, held, strict=True))
        for place, name in enumerate(self.of_samples):
            field = self.form.fields[name]
            if (field.names_model and values[name] and values[name] not in bundled) or field.form.widget == "rewards":
                filled[place] = gr.skip()
        return filled

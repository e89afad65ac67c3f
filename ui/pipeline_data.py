"""The data step of a stage: as for a run, but the training is settled, and models come from the stages before."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui.new_run_data import DataStep
from ui.pipeline_draft import settled


class StageData(DataStep):
    """Handlers of the data step of the stage that is shown."""

    @property
    def of_samples(self) -> list[str]:
        """Also the settings that name a judge: they decide whether a sample's rules are wanted."""
        return [*super().of_samples, *(name for name, field in self.form.fields.items() if field.form.widget == "judge")]

    def _trainer_for(self, seen: Any, kept: dict[str, Any], trainer: str) -> tuple[str, str]:
        """What a file is good for never changes the stage; that it does not suit is said where the file is shown."""
        return trainer, ""

    def _brought(self, sample: str, before: str, held: tuple[Any, ...]) -> list[Any]:
        """What a sample brings along, except a model in place of one that a stage makes, and rules beside its judge."""
        filled = super()._brought(sample, before, held)
        values = dict(zip(self.of_samples, held, strict=True))
        for place, name in enumerate(self.of_samples):
            if settled(name, values, self.form):
                filled[place] = gr.skip()
        return filled

"""What happens on the page "New pipeline": what New run does for one training, for the stage that is chosen; and the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.events import PRIVATE
from ui.new_pipeline_handlers import PipelineHandlers
from ui.new_run_events import GO_TO_TOP, Events

if TYPE_CHECKING:
    from ui.new_pipeline import Page


class PipelineEvents(PipelineHandlers, Events):
    """Connects the page's components."""

    go_to_started = "(name) => { if (name) location.assign('/pipeline?id=' + encodeURIComponent(name)); }"

    def __init__(self, page: Page) -> None:
        super().__init__(page)

    def connect(self, app: gr.Blocks) -> None:
        """Register every event of the page."""
        super().connect(app)
        p = self.pipeline_page
        turning = [p.stores.seen, p.stores.step, *self.asked]
        self._after_data(p.chain.select(self.turned, turning, self._turned, **PRIVATE))
        self._after_data(p.add.input(self.add, [p.add, *turning], [p.add, *self._turned], **PRIVATE))
        self._after_data(p.remove.click(self.remove, turning, self._turned, **PRIVATE))
        onward = p.to_review.click(self.onward, turning, self._turned, **PRIVATE)
        onward.success(None, None, None, js=GO_TO_TOP)
        self._after_data(onward)
        typed = [p.name.input, p.metric.input, p.sign.input, p.bound.input]
        gr.on(typed, **self._refreshing(), validator=self.judge)

    @property
    def _after_settings(self) -> tuple[tuple[Any, int], ...]:
        return ()  # the next stage, or the review: see `onward`

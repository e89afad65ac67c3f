"""The page "New pipeline": the chain as a picture, and for the stage that is chosen the same steps as for a run.

Holds no state; what was chosen for every stage lives in the browser (pipeline_draft.py).
"""

from __future__ import annotations

import gradio as gr

from engine import api
from ui import new_run
from ui.form import SettingsForm
from ui.mounting import mounting
from ui.new_pipeline_events import PipelineEvents
from ui.pipeline_draft import SIGNS, Stores


class Page(new_run.Page):
    """The page's components by name; new_pipeline_events.py says what happens with them."""

    title = "New pipeline"
    about = "Several trainings in a row, each on the models before it. Choose a stage; what belongs to it is below."
    file_chooses = False  # each stage has its training
    start_words = "Start all stages"
    tries_several = False

    def __init__(self) -> None:
        self.form = SettingsForm(hidden=("project_name",))
        self.stores = Stores()
        self._build()

    def _above(self) -> None:
        self.chain = gr.HTML(
            "", apply_default_css=False, elem_id="chain", js_on_load=mounting("Chain.choose(element, trigger)")
        )
        with gr.Row(elem_id="chain-tools", equal_height=False):
            self.name = gr.Textbox(label="Name", elem_id="pipeline-name", max_lines=1, interactive=True, min_width=180)
            trainers = [("choose …", ""), *((spec.title, spec.id) for spec in api.specs().values())]
            self.add = gr.Dropdown(
                trainers, value="", label="Add a stage at the end", elem_id="add-stage", interactive=True, min_width=180
            )
            self.remove = gr.Button("Remove this stage", elem_id="remove-stage", size="md", min_width=150)

    def _after_groups(self) -> None:
        with gr.Column(elem_classes="group", elem_id="gate") as self.gate_box:
            gr.HTML(
                "<h2 class='sub'>Before the next stage</h2>"
                "<p class='st-soft group-note'>The stage is tested on its held-out rows. "
                "If it does not reach this, no later stage is started, and you can change something and go on.</p>",
                apply_default_css=False,
            )
            with gr.Row(elem_classes="fields"):
                self.metric = gr.Dropdown([], label="Go on only if", elem_id="gate-metric", interactive=True)
                self.sign = gr.Dropdown(list(SIGNS), value=">=", label="is", elem_id="gate-sign", interactive=True)
                self.bound = gr.Textbox(label="this", elem_id="gate-bound", max_lines=1, interactive=True)

    def _below(self) -> None:
        self._yaml("The whole pipeline as YAML")

    @property
    def gate(self) -> list[gr.components.Component]:
        """The three boxes of the gate."""
        return [self.metric, self.sign, self.bound]


def build(app: gr.Blocks) -> None:
    """Put the page's components in the current route."""
    page = Page()
    PipelineEvents(page).connect(app)

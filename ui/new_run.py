"""The page "New run": data, model, settings, review, and Start. Holds no state; the draft lives in the browser."""

from __future__ import annotations

import gradio as gr

from engine import api
from ui import draft as drafts
from ui.data_view import NOTHING_HTML
from ui.form import SettingsForm
from ui.mounting import mounting
from ui.new_run_events import Events
from ui.reach import only_local
from ui.sweep_panel import SweepPanel

STEPS = ("1 · Data", "2 · Model", "3 · Settings", "4 · Review and start")
# What may be named as data, on a page for this machine alone and on one that others reach (ui/reach.py refuses the rest).
DATA_HERE = "A path to a file or folder, or a Hugging Face data set like org/name."
DATA_SERVED = "A Hugging Face data set like org/name. This page is served to others, so files are uploaded, not named."
# No form has more roles than this.
ROLES = 10


class Page:
    """The page's components by name; new_run_events.py says what happens with them.

    A stage of a pipeline is set up with the same steps: new_pipeline.py says what is different there.
    """

    title = "New run"
    about = ""  # a sentence under the title
    file_chooses = True  # whether there is a training to choose, by the person or by the file
    start_words = "Start training"
    tries_several = True  # whether several values can be tried

    def __init__(self) -> None:
        self.form = SettingsForm()
        self.stores = drafts.Stores()
        self._build()

    def _build(self) -> None:
        about = f'<p class="st-soft">{self.about}</p>' if self.about else ""
        gr.HTML(f'<h1 class="page-title">{self.title}</h1>{about}', apply_default_css=False)
        self.note = gr.HTML("", apply_default_css=False)
        self._above()
        with gr.Tabs(selected=0, elem_id="steps") as self.steps:
            builders = (self._data, self._model, self._settings, self._review)
            for number, (title, build) in enumerate(zip(STEPS, builders, strict=True)):
                with gr.Tab(title, id=number, elem_id=f"step-{number}"):
                    build()
        self._below()
        self.command = gr.Code(
            "aitraining",  # what Gradio draws for an empty box has a name where screen readers allow none
            language="shell",
            label="The same from the command line",
            interactive=False,
            elem_id="command",
            lines=1,
            wrap_lines=True,
            show_line_numbers=False,
            buttons=["copy"],
        )
        self.started = gr.Textbox(visible=False)
        self.judge = gr.Button(visible="hidden", elem_id="judge")  # pressed by form.js

    def _above(self) -> None:
        """What stands above the steps."""

    def _below(self) -> None:
        """What stands below the steps, before the command."""

    def _data(self) -> None:
        trainers = [(spec.title, spec.id) for spec in api.specs().values()]
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=300, elem_classes="choose"):
                # open for files and paths once the draft is there: what comes before would be lost under it
                self.upload = gr.File(label="Drop your file here", elem_id="upload", height=150, interactive=False)
                self.sample = gr.Dropdown(
                    [("none", ""), *((f"{s.title} ({s.rows:,} rows)", s.id) for s in api.samples())],
                    value="",
                    label="Or take a sample",
                    elem_id="sample",
                    interactive=True,
                )
                path = gr.Textbox(
                    label="Or a file on this machine, or a Hub id" if only_local() else "Or a Hub id",
                    info=DATA_HERE if only_local() else DATA_SERVED,
                    elem_id="field-data_path",
                    max_lines=1,
                    interactive=False,
                )
                self.form.put("data_path", path)
                self.found_data = finder("datasets", "Search data sets on the Hugging Face Hub")
                trainer = gr.Radio(
                    trainers, label="Training", elem_id="field-trainer", elem_classes="cards", visible=self.file_chooses
                )
                self.form.put("trainer", trainer)
                self.trainer_note = gr.HTML("", apply_default_css=False)
            with gr.Column(scale=2, min_width=300):
                self.file_view = gr.HTML(NOTHING_HTML, apply_default_css=False, elem_id="file-view")
                self.drop = gr.Button("Leave these rows out", visible=False, elem_id="drop-rows", size="md")
                with gr.Accordion("How the rows are read", open=False, visible=False, elem_id="reading") as self.reading:
                    self._mapping()
                self.token_view = gr.HTML("", apply_default_css=False, elem_id="token-view")
                with gr.Row(visible=False, elem_id="held-out") as self.held_out:
                    self.form.put("valid_fraction")
                    with gr.Column(min_width=200):
                        self.form.put("valid_path")
                        self.held_out_file = gr.UploadButton("Upload held-out rows", size="sm", elem_id="held-out-file")
                    self.form.put("drop_bad_rows")
                self.open_note = gr.HTML("", apply_default_css=False, elem_id="still-open")
                self.choose = gr.Button("Choose it now", variant="primary", visible=False, elem_id="choose", size="md")
                with gr.Row(elem_classes="onward"):
                    self.skip = gr.Button("All the rest as recommended: review", elem_id="to-review", size="lg")
                    self.to_model = gr.Button("Next: model", variant="primary", elem_id="to-model", size="lg")

    def _mapping(self) -> None:
        forms = [("recognised by itself", ""), *((form.label, name) for name, form in api.row_forms().items())]
        self.form.put(
            "data_format", gr.Dropdown(forms, value="", label="The rows are", elem_id="field-data_format", interactive=True)
        )
        with gr.Row():
            self.roles = [
                gr.Dropdown([], visible=False, interactive=True, elem_id=f"role-{n}", min_width=180) for n in range(ROLES)
            ]
        self.form.put("column_mapping", gr.Textbox(visible=False, elem_id="field-column_mapping"))

    def _model(self) -> None:
        model = gr.Dropdown(
            [],
            label="Base model",
            info=f"The starter, a finished run of yours, {'a folder on this machine, ' if only_local() else ''}or a Hugging "
            "Face id like org/name.",
            allow_custom_value=True,
            elem_id="field-model",
            interactive=True,
        )
        self.form.put("model", model)
        self.found_model = finder("models", "Search models on the Hugging Face Hub")
        self.model_view = gr.HTML("", apply_default_css=False, elem_id="model-view")
        with gr.Row(elem_classes="onward"):
            self.back_to_data = gr.Button("Back", size="lg")
            self.to_settings = gr.Button("Next: settings", variant="primary", elem_id="to-settings", size="lg")

    def _settings(self) -> None:
        with gr.Row(elem_classes="settings-head"):
            self.preset = gr.Radio([], label="Preset", elem_id="preset", interactive=True)
            self.everything = gr.Checkbox(label="Show all settings", elem_id="show-all", interactive=True)
        self.form.put_groups()
        self._after_groups()
        with gr.Row(elem_classes="onward"):
            self.back_to_model = gr.Button("Back", size="lg")
            self.to_review = gr.Button("Next: review", variant="primary", elem_id="after-settings", size="lg")

    def _after_groups(self) -> None:
        """What stands below the settings."""
        self._yaml("Settings as YAML")

    def _yaml(self, title: str) -> None:
        with gr.Accordion(title, open=False, elem_id="yaml"):
            self.yaml = gr.Code(language="yaml", label="As the form stands now", interactive=False, elem_id="yaml-text")
            # a box of its own: what somebody is writing is never replaced by a plan that comes late
            self.own_yaml = gr.Code(language="yaml", label="Your own: paste or write", interactive=True, elem_id="yaml-own")
            with gr.Row():
                self.copy_yaml = gr.Button("Copy the form's settings here", elem_id="copy-yaml", size="md")
                self.read_yaml = gr.Button("Put your own into the form", elem_id="read-yaml", size="md")
            self.yaml_note = gr.HTML("", apply_default_css=False)

    def _review(self) -> None:
        self.review = gr.HTML("", apply_default_css=False, elem_id="review-view")
        self.choose_now = gr.Button("Choose it now", variant="primary", visible=False, elem_id="choose-now", size="md")
        self.several = SweepPanel(self.form) if self.tries_several else None
        with gr.Row(elem_classes="onward"):
            self.back_to_settings = gr.Button("Back", size="lg")
            self.start = gr.Button(self.start_words, variant="primary", interactive=False, elem_id="start", size="lg")


def finder(kind: str, label: str) -> gr.Textbox:
    """A box that searches the Hub while somebody types (assets/hub.js); the id that is chosen is put into what is returned."""
    gr.HTML(
        f'<div class="hub-find" data-kind="{kind}" data-label="{label}" data-into="found-{kind}"></div>',
        apply_default_css=False,
        js_on_load=mounting("HubFind.mount(element.querySelector('.hub-find'))"),
    )
    return gr.Textbox(visible="hidden", elem_id=f"found-{kind}", interactive=True)


def build(app: gr.Blocks) -> None:
    """Put the page's components in the current route."""
    page = Page()
    events = Events(page)
    events.connect(app)
    if page.several is not None:
        page.several.connect(events.filled, page.steps, page.stores.ticket)

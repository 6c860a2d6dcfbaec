"""The tab "Train": the settings of train.py, and the trainings of this machine as they go."""

from functools import partial

import gradio as gr

from errors import UserError
from train import TrainConfig
from webapp.messages import say
from webapp.served import Served
from webapp.setting_fields import SettingFields
from webapp.train_events import Trainings, preview
from webapp.train_runs import CURVES

_FIRST = ("VOCdevkit_path", "num_classes", "plan", "time_limit")
_BEGIN = {"plan": "auto", "time_limit": 60.0}  # with which a beginner need not know more
_PERIOD = 2  # seconds between two looks at the runs
_CALM = {"show_progress": "hidden", "concurrency_limit": 4}


def build(served: Served) -> None:
    """Makes the components of the tab where it is called."""
    try:
        fields = SettingFields(TrainConfig, _BEGIN)
    except UserError as error:  # in the lines of train.py
        gr.HTML(say(str(error), failed=True))
        return
    fields.show(*_FIRST)
    with gr.Accordion("All other settings", open=False, elem_id="train_settings"):
        fields.show_groups()
    command = gr.Code(
        preview(fields, *fields.opening)[1],
        language="shell",
        label="The command that Start runs",
        interactive=False,
        wrap_lines=True,
        lines=1,
        show_line_numbers=False,
        buttons=["copy"],
        elem_id="train_command",
    )
    message = gr.HTML(elem_id="train_message")
    start = gr.Button("Start", variant="primary", elem_id="train_start")
    gr.on(
        [one.change for one in fields.inputs],
        partial(preview, fields),
        fields.inputs,
        [message, command],
        trigger_mode="always_last",
        **_CALM,
    )
    _connect(Trainings(served, fields), fields, message, start)


def _connect(trainings, fields, message, start):
    """The lower half: a run to choose, how far it is, and buttons for what can be done with it."""
    gr.Markdown("### Trainings on this machine")
    # What runs is added while the page is open, and after app.py began anew none is known.
    runs = gr.Dropdown([], label="Run", allow_custom_value=True, elem_id="train_run")
    with gr.Row():
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="train_stop")
        resume = gr.Button("Resume", interactive=False, elem_id="train_resume")
    seen = gr.State({})
    parts = [message, runs, stop, resume, *_show_run(), seen]
    look = {"fn": trainings.follow, "inputs": [runs, seen], "outputs": parts, **_CALM}
    for button, action, inputs in (
        (start, trainings.begin, fields.inputs),
        (stop, trainings.end, [runs]),
        (resume, trainings.go_on, [runs]),
    ):
        button.click(action, inputs, [message, runs], **_CALM).then(**look)
    runs.input(**look)
    # "multiple", as an answer that is lost on the way must not be waited for.
    gr.Timer(_PERIOD).tick(**look, trigger_mode="multiple")


def _show_run():
    """The components that show how a run goes, in the order of `webapp.train_view.View.parts`."""
    status = gr.Textbox(label="How far it is", interactive=False, lines=3, elem_id="train_status")
    with gr.Row():
        curves = [
            gr.LinePlot(
                x="epoch",
                y="value",
                color="of",
                title=title,
                y_title=" ",  # the title says it, and the legend what is what
                color_title=" ",
                height=260,
                min_width=300,
                visible=False,
                elem_id=f"train_{title.lower().replace(' ', '_')}",
            )
            for title in CURVES
        ]
    pictures = gr.Gallery(
        label="Validation images: image, mask, prediction",
        columns=2,
        object_fit="contain",
        height="auto",
        interactive=False,
        visible=False,
        elem_id="train_pictures",
    )
    output = gr.Textbox(
        label="Output",
        interactive=False,
        lines=12,
        max_lines=24,
        visible=False,
        elem_id="train_output",
    )
    return [status, *curves, pictures, output]

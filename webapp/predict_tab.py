"""The tab "Predict": images in; masks, drawings and tables out."""

from typing import Any, NamedTuple

import gradio as gr

from utils.prediction.draw import OPACITY
from webapp.predict_draw import CLASSES, CONFIDENCE
from webapp.predict_events import Predictions
from webapp.served import Served
from webapp.weights import find_weights, named

_TTA = [("no", "none"), ("also mirrored", "h"), ("mirrored and upside down", "hv")]
_CALM = {"show_progress": "hidden", "concurrency_limit": 4}
_TILE = [("large images only", "auto"), ("whole image, shrunk", "no"), ("tiles, unscaled", "yes")]


class Inputs(NamedTuple):
    """Components on the left: what is segmented, and how."""

    files: Any
    weights: Any
    refresh: Any
    about: Any
    tta: Any
    tile: Any
    start: Any
    stop: Any
    message: Any


class Results(NamedTuple):
    """Components on the right: what was found. `message` is the first output of every event."""

    message: Any
    area: Any
    image: Any
    slider: Any
    layer: Any
    opacity: Any
    outlines: Any
    classes: Any
    of_class: Any
    color: Any
    usual: Any
    shares: Any
    regions: Any
    make: Any
    files: Any

    @property
    def look(self):
        """The components that say how a prediction is drawn."""
        return [self.image, self.layer, self.opacity, self.outlines, self.classes]


def build(served: Served):
    """Makes the components of the tab where it is called.

    Returns:
        callable of a `gradio.Request`, to be called when a visitor leaves.
    """
    with gr.Row(elem_classes="halves"):
        with gr.Column(scale=2, min_width=300):
            inputs = _make_inputs(served)
        with gr.Column(scale=5, min_width=340):
            results = _make_results(inputs.message)
    predictions = Predictions(served)
    _connect_inputs(predictions, inputs, results)
    _connect_look(predictions, results)
    return predictions.leave


def _make_inputs(served):
    found = find_weights(served)
    files = gr.File(
        label="Images: drop one or many", file_count="multiple", height=180, elem_id="images"
    )
    weights = gr.Dropdown(
        named(found),
        value=found[0] if found else None,
        label="Weights",
        elem_id="weights",
        filterable=False,
    )
    about = gr.HTML(elem_id="about_weights")
    refresh = gr.Button("Refresh", size="sm")
    with gr.Accordion("How they are segmented", open=False):
        tta = gr.Radio(_TTA, value="none", label="Averaged over flips", elem_id="tta")
        tile = gr.Radio(_TILE, value="auto", label="Tiles", elem_id="tile")
    with gr.Row():
        start = gr.Button("Predict", variant="primary", min_width=120, elem_id="predict")
        stop = gr.Button("Stop", interactive=False, min_width=120, elem_id="predict_stop")
    message = gr.HTML(elem_id="predict_message")
    return Inputs(files, weights, refresh, about, tta, tile, start, stop, message)


def _make_results(message):
    with gr.Column(visible=False) as area:
        image = gr.Dropdown([], label="Image", elem_id="image", type="value", filterable=False)
        slider = gr.ImageSlider(
            label="Image | what is found: drag the line",
            interactive=False,
            buttons=["fullscreen"],
            max_height=560,
            elem_id="slider",
        )
        with gr.Row():
            layer = gr.Radio([CLASSES, CONFIDENCE], value=CLASSES, label="Layer", elem_id="layer")
            opacity = gr.Slider(
                0, 100, round(100 * OPACITY), step=1, label="Opacity (%)", elem_id="opacity"
            )
            outlines = gr.Checkbox(label="Outlines", elem_id="outlines")
        with gr.Accordion("Classes and colours", open=False):
            classes = gr.CheckboxGroup([], label="Classes that are shown", elem_id="classes")
            with gr.Row():
                of_class = gr.Dropdown([], label="Colour of", elem_id="of_class", filterable=False)
                color = gr.ColorPicker(label="Colour", elem_id="color")
                usual = gr.Button("Usual colours", size="sm")
        shares = gr.HTML(elem_id="shares")
        with gr.Accordion("Regions", open=False):
            regions = gr.Dataframe(interactive=False, max_height=320, elem_id="regions")
        make = gr.Button("Make files to download", elem_id="make_files")
        files = gr.File(
            label="Files", file_count="multiple", interactive=False, visible=False, elem_id="files"
        )
    return Results(
        message, area, image, slider, layer, opacity, outlines, classes, of_class, color, usual,
        shares, regions, make, files,
    )  # fmt: skip


def _connect_inputs(predictions, inputs, results):
    """Has the page look for weights, and segment images."""
    about = [results.message, inputs.about]
    found = [*about, inputs.weights]
    # When the page is opened, too: there may be others by now.
    gr.on(None, predictions.refresh, None, found, show_progress="hidden").then(
        predictions.describe, inputs.weights, about, show_progress="hidden"
    )
    inputs.refresh.click(predictions.refresh, inputs.weights, found).then(
        predictions.describe, inputs.weights, about
    )
    inputs.weights.input(predictions.describe, inputs.weights, about)
    # Before the other event, which the page begins when this one has been answered.
    inputs.start.click(predictions.allow_stop, None, inputs.stop, **_CALM)
    segmented = inputs.start.click(
        predictions.segment,
        [
            inputs.files, inputs.weights, inputs.tta, inputs.tile,
            results.layer, results.opacity, results.outlines,
        ],
        [
            results.message, results.area, results.image, results.classes, results.of_class,
            results.color, results.files, results.slider, results.shares, results.regions,
        ],
        show_progress_on=results.message,
    )  # fmt: skip
    inputs.stop.click(predictions.stop, None, inputs.stop, **_CALM)
    segmented.then(lambda: gr.update(interactive=False), None, inputs.stop, **_CALM)


def _connect_look(predictions, results):
    """Has predictions drawn anew, without the network, when it is to be seen otherwise."""
    whole = [results.message, results.slider, results.shares, results.regions]
    results.image.input(predictions.show, results.look, whole, **_CALM)
    gr.on(
        [
            results.layer.input,
            results.opacity.release,
            results.outlines.input,
            results.classes.input,
        ],
        predictions.redraw,
        results.look,
        [results.message, results.slider],
        trigger_mode="always_last",
        **_CALM,
    )
    results.of_class.input(
        predictions.color_of, results.of_class, [results.message, results.color], **_CALM
    )
    results.color.input(
        predictions.recolor,
        [results.of_class, results.color, *results.look],
        whole[:3],
        trigger_mode="always_last",
        **_CALM,
    )
    results.usual.click(
        predictions.usual_colors,
        [results.of_class, *results.look],
        [*whole[:3], results.color],
        **_CALM,
    )
    results.make.click(predictions.make_files, results.look, [results.message, results.files])

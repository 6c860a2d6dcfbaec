"""What happens on the tab "Predict"."""

import os
import secrets

import gradio as gr

from errors import UserError
from utils.images.writing import save_png
from utils.labels import voc_palette
from webapp.loaded import Loaded
from webapp.messages import answering, say
from webapp.predict_draw import Look, draw, format_color, parse_color, reduced
from webapp.predict_files import write_files
from webapp.predict_run import Run
from webapp.predict_tables import MOST_REGIONS, read_regions, shares_table
from webapp.visitors import Visitors
from webapp.weights import NONE_YET, describe, find_weights, named

_LOST = (
    "The connection was lost in between, and what you sent was removed. Remove the images from the "
    "field, drop them again, then press Predict."
)
_NO_RUN = (
    "There are no results to show: nothing could be segmented, or the connection was lost in "
    "between. Press Predict."
)
_TILE = {"auto": None, "no": False, "yes": True}
_PROGRESS = gr.Progress()  # by which Gradio sees that a method shows it
_KEPT = 2  # drawings of a visitor: the browser may still be fetching the last but one


class Predictions:
    """The events of the tab, each a method whose first output is a message.

    Args:
        served: `webapp.served.Served`.
        loaded: `webapp.loaded.Loaded`; None: of its own.
        visitors: `webapp.visitors.Visitors`; None: of its own.
    """

    def __init__(self, served, loaded=None, visitors=None):
        self.served, self.loaded = served, loaded or Loaded()
        self.visitors = visitors or Visitors()

    @answering(2)
    def refresh(self, chosen=None):
        """Looks for weights; returns message, description, list of weights."""
        found = find_weights(self.served)
        if found:
            value = chosen if chosen in found else found[0]
            return "", gr.skip(), gr.update(choices=named(found), value=value)
        return say(self._none_yet()), "", gr.update(choices=[], value=None)

    def _none_yet(self):
        return NONE_YET.format(folders=", ".join(map(str, self.served.folders)))

    @answering(1)
    def describe(self, weights):
        """Returns message and description of a weights file."""
        if not weights:
            return gr.skip(), ""
        return "", say(describe(self.served.resolve(weights)))

    def allow_stop(self, request: gr.Request):
        """Forgets an earlier press of Stop, and returns the button as it can be pressed."""
        self.visitors.of(request).stopped.clear()
        return gr.update(interactive=True)

    def stop(self, request: gr.Request):
        """Ends what is being segmented, after the image that the network is at."""
        self.visitors.of(request).stopped.set()
        return gr.update(interactive=False)

    @answering(9)
    def segment(
        self, request: gr.Request, uploads, weights, tta, tile, layer, opacity, outlines,
        progress=_PROGRESS,
    ):  # fmt: skip
        """Segments images; returns message, what there is to choose from, and what `show` does."""
        if not uploads:
            raise UserError("There is no image yet. Drop one or more on the field, then Predict.")
        if not weights:
            raise UserError(self._none_yet())
        if not all(os.path.exists(path) for path in uploads):
            raise UserError(_LOST)
        visitor = self.visitors.of(request)
        former, visitor.run = visitor.run, None
        visitor.uploads.update(map(str, uploads))
        progress(0, desc="Loading the network")
        path, most = self.served.resolve(weights), self.served.max_pixels
        unet = self.loaded.get(path, tta=tta, tile=_TILE.get(tile), max_pixels=most)
        run = Run(visitor.new_folder(), unet.description, most)
        if former and former.names == run.names:
            run.colors = former.colors
        progress(0, desc="Segmenting")
        run.segment(
            unet,
            uploads,
            lambda done, every: progress((done, every), unit="images"),
            visitor.stopped.is_set,
        )
        message = say(*run.messages, failed=True)
        if not run.results:
            return message, gr.update(visible=False), *[gr.skip()] * 8
        visitor.run = run
        choices = self._choices(run)
        every = list(range(1, len(run.names)))
        return message, *choices, *self._view(run, 0, layer, opacity, outlines, every)

    def _choices(self, run):
        """What there is to choose from: area, images, classes twice, colour; files, still none."""
        images = [(result.image.name, index) for index, result in enumerate(run.results)]
        # The background is never painted.
        classes = [(name, index) for index, name in enumerate(run.names)][1:]
        return (
            gr.update(visible=True),
            gr.update(choices=images, value=0, visible=len(images) > 1),
            gr.update(choices=classes, value=[index for _, index in classes]),
            gr.update(choices=classes, value=1),
            format_color(run.colors[1]),
            gr.update(visible=False, value=None),
        )

    @answering(3)
    def show(self, request: gr.Request, index, *look):
        """Shows an image; returns message, slider, table of shares, table of regions."""
        return gr.skip(), *self._view(self._run_of(request), index, *look)

    def _view(self, run, index, *look):
        slider, shares = self._slider(run, index, *look), self._shares(run, index)
        headers, rows, count = read_regions(run.results[index].regions)
        label = f"{count:,} regions"
        if count > MOST_REGIONS:
            label += f", of which these are the first {MOST_REGIONS}; the file has all"
        return slider, shares, gr.update(value={"headers": headers, "data": rows}, label=label)

    @answering(1)
    def redraw(self, request: gr.Request, index, *look):
        """Draws the image that is shown in another way; returns message, slider."""
        run = self._run_of(request)
        return gr.skip(), self._slider(run, index, *look)

    @answering(1)
    def color_of(self, request: gr.Request, class_id):
        """Returns message and colour of a class."""
        run = self._run_of(request)
        return gr.skip(), format_color(run.colors[_class_of(run, class_id)])

    @answering(2)
    def recolor(self, request: gr.Request, class_id, color, *look):
        """Gives a class another colour; returns message, slider, table of shares."""
        run = self._run_of(request)
        run.colors[_class_of(run, class_id)] = parse_color(color)
        return gr.skip(), self._slider(run, *look), self._shares(run, look[0])

    @answering(3)
    def usual_colors(self, request: gr.Request, class_id, *look):
        """Gives all classes VOC's colours; returns what `recolor` does, and the class's colour."""
        run = self._run_of(request)
        run.colors = voc_palette(256)
        color = format_color(run.colors[_class_of(run, class_id)])
        return gr.skip(), self._slider(run, *look), self._shares(run, look[0]), color

    @answering(1)
    def make_files(
        self, request: gr.Request, index, layer, opacity, outlines, classes, progress=_PROGRESS
    ):
        """Writes files to download, drawn as they are shown; returns message, files."""
        run = self._run_of(request)
        run.layers(index)
        look = _look(layer, opacity, outlines, classes)
        paths = write_files(
            run, index, look, lambda done, every: progress((done, every), unit="images")
        )
        return gr.skip(), gr.update(value=[str(path) for path in paths], visible=True)

    def leave(self, request: gr.Request):
        """Forgets a visitor whose page is closed."""
        self.visitors.end(request)

    def _run_of(self, request):
        run = self.visitors.of(request).run
        if run is None:
            raise UserError(_NO_RUN)
        return run

    def _slider(self, run, index, *look):
        """Paths of the image and of its drawing, in a size that suits a window."""
        folder = run.folder / "shown"
        folder.mkdir(exist_ok=True)
        layers = reduced(run.layers(index))
        image = folder / f"image_{index}.png"
        if not image.exists():
            save_png(image, layers.image)
        # Of a name that was used before the browser would show what it knows.
        drawn = folder / f"drawn_{secrets.token_hex(8)}.png"
        save_png(drawn, draw(layers, run.colors, _look(*look)))
        run.drawings.append(drawn)
        while len(run.drawings) > _KEPT:
            run.drawings.pop(0).unlink(missing_ok=True)
        return str(image), str(drawn)

    def _shares(self, run, index):
        return shares_table(run.layers(index).mask, run.names, run.colors)


def _look(layer, opacity, outlines, classes):
    return Look(layer, min(max((opacity or 0) / 100, 0), 1), bool(outlines), list(classes))


def _class_of(run, class_id):
    if not (isinstance(class_id, int) and 0 < class_id < len(run.names)):
        raise UserError("There is no such class. Choose one of the list.")
    return class_id

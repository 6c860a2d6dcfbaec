"""The results of an image as files, and what is to be said of the images of a run."""

import errno
from contextlib import contextmanager

from errors import UserError
from utils.images.notes import notes_on
from utils.messages import note


@contextmanager
def refusing_long_names(path):
    """Raises UserError where the names of an image's results are too long: others' need not be."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # this image's problem, not the disk's
            raise UserError(f"The name of {path} is too long for its results.") from None
        raise


def save_result(unet, outputs, result, pixels, mask, details=None, legend=False):
    """Draws a mask over its image (in place) and saves what is asked for; the coloured
    image last: where it is, the others are too.

    Args:
        unet: `unet.Unet`, which draws.
        outputs: `utils.prediction.outputs.Outputs`.
        result: `utils.prediction.output_paths.Result`.
        pixels: uint8 (H, W, channels).
        mask: uint8 (H, W), class ids.
        details: `utils.prediction.decide.Details`, of what `outputs.keep` says.
        legend: bool, whether to add class names and shares below the image.

    Returns:
        uint8 (H, W, 3), the coloured image.

    Raises:
        UserError: for what is wrong with this image alone.
    """
    from utils.images.writing import save_png

    with refusing_long_names(result.image):
        outputs.add(result, pixels, mask, details)
        drawn = unet.draw(pixels, mask, legend, out=pixels)
        save_png(result.drawn, drawn)
    return drawn


def say_notes(paths, value_range, outputs):
    """Says what there is to know of the images of a run and of its results, once."""
    for text in notes_on(paths, value_range) + outputs.notes():
        note(text)

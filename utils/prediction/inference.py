"""An image in, a mask of the image's own size out.

`predict_mask` does it for one image, `utils.prediction.stream` for many in batches, and
`utils.prediction.tiles` for a large one in parts.
"""

import cv2
import numpy as np

from errors import UserError
from utils.images.transforms import letterbox_image, normalize, over_channels
from utils.prediction.decide import Sheet

TTA = ("none", "h", "hv")
TILE_ABOVE = 50_000_000  # pixels from which an image is tiled unless told otherwise
_STRIP = 2**19  # floats: these stay in the processor's cache


def check_tta(tta):
    """Raises UserError unless `tta` is one of `TTA`."""
    if tta not in TTA:
        raise UserError(
            f"tta must be none, h (also mirrored left to right) or hv (and upside down); "
            f"got {tta!r}."
        )


def with_flips(model, tta):
    """A model whose probabilities are averaged over flips of its input.

    Args:
        model: callable from float32 (B, H, W, channels) to probabilities, NumPy (B, H, W, C).
        tta: "none"; "h": as it is and mirrored left to right; "hv": these and both upside
            down, four calls.

    Returns:
        A callable as `model`.
    """
    flips = {"none": ((),), "h": ((), (2,)), "hv": ((), (2,), (1,), (1, 2))}[tta]
    if len(flips) == 1:
        return model

    def averaged(batch):
        # A flip is its own inverse.
        parts = (np.flip(model(np.ascontiguousarray(np.flip(batch, f))), f) for f in flips)
        total = np.array(next(parts))
        for part in parts:
            total += part
        return total / len(flips)

    return averaged


def predict_mask(model, image, input_shape, mark=lambda: None, sheet=None):
    """Segments an image.

    Letterboxes it, runs the network, cuts off the padding, resizes the probabilities to
    the image's size (bilinear) and takes the most probable class of each pixel, or the one that
    the sheet decides for.

    Args:
        model: callable from float32 (1, height, width, channels) to probabilities as a NumPy
            array (1, height, width, num_classes), e.g. `keras.Model.predict_on_batch`.
        image: uint8 (H, W, channels).
        input_shape: (height, width) of the network.
        mark: callable without arguments, called before the first stage and after each of the
            three: preprocessing, network, postprocessing.
        sheet: `utils.prediction.decide.Sheet` of the image's size, which takes the probabilities;
            None: one for the mask alone.

    Returns:
        uint8 (H, W), class ids.
    """
    mark()
    canvas, box = letterbox_image(image, input_shape)
    batch = normalize(canvas)[None]
    mark()
    probabilities = model(batch)[0]
    mark()
    mask = mask_of(probabilities, box, image.shape[:2], sheet)
    mark()
    return mask


def mask_of(probabilities, box, size, sheet=None):
    """The mask of a letterboxed image: cuts off the padding, resizes, takes the best class.

    Args:
        probabilities: float32 (height, width, num_classes) of the canvas.
        box: `utils.images.transforms.Box` of the image in it.
        size: (H, W) of the image.
        sheet: as for `predict_mask`.

    Returns:
        uint8 (H, W), class ids.
    """
    return most_probable(probabilities[box.slices], size, _STRIP, sheet)


def is_tiled(size, input_shape, tile):
    """Whether an image is segmented in tiles, unscaled, instead of letterboxed.

    Args:
        size: (height, width) of the image.
        input_shape: (height, width) of the network. An image that fits is never tiled.
        tile: bool, or None: if it has more than `TILE_ABOVE` pixels.
    """
    if size[0] <= input_shape[0] and size[1] <= input_shape[1]:
        return False
    return size[0] * size[1] > TILE_ABOVE if tile is None else tile


def most_probable(probabilities, size, strip=_STRIP, sheet=None):
    """Resizes probabilities (h, w, C) and takes the class of each pixel, in strips of rows.

    Strips keep the memory near `strip` floats, however large the image and C are. `sheet` is as for
    `predict_mask`.

    Returns:
        uint8 of the given size, (height, width).
    """
    sheet = sheet or Sheet(size)
    for rows, resized in resized_strips(probabilities, size, strip):
        sheet.put(rows, slice(0, size[1]), resized)
    return sheet.finish()


def resized_strips(probabilities, size, strip=_STRIP):
    """Yields (slice of rows, float32 (rows, width, C)) of probabilities (h, w, C) resized.

    Args:
        probabilities: float32 (h, w, C).
        size: (height, width); the resize is bilinear.
        strip: int, about so many floats at a time.
    """
    height, width = size
    if probabilities.shape[:2] == (height, width):
        yield slice(0, height), probabilities
        return
    rows = max(strip // (width * probabilities.shape[2]), 1)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        yield slice(start, stop), _resize_rows(probabilities, height, width, start, stop)


def _resize_rows(probabilities, height, width, start, stop):
    """Rows start..stop of the bilinear resize to (height, width).

    Rows are interpolated by hand, between pixel centres as OpenCV does; columns by OpenCV.
    """
    source = (np.arange(start, stop) + 0.5) * (probabilities.shape[0] / height) - 0.5
    source = np.clip(source, 0, probabilities.shape[0] - 1)
    low = np.floor(source).astype(int)
    high = np.minimum(low + 1, probabilities.shape[0] - 1)
    weight = (source - low).astype(np.float32)[:, None, None]
    rows = probabilities[low] * (1 - weight) + probabilities[high] * weight
    return over_channels(lambda part: cv2.resize(part, (width, stop - start)), rows)

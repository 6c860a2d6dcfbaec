"""The probabilities of an image, in blocks: those of a large one may not fit into memory whole.

A visit is a callable that gives each block to a function `each(rows, columns, probabilities)`:
two slices and float32 (rows, columns, num_classes). The blocks cover the image once, and the
most probable class of each pixel is the one that the mask holds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from errors import UserError
from utils.images.transforms import letterbox_image, resize_mask
from utils.prediction.inference import resized_strips
from utils.prediction.tiles import predict_tiles

Floats = npt.NDArray[np.float32]
Each = Callable[[slice, slice, Floats], None]
Visit = Callable[[Each], None]
_MOST = 2**32  # bytes of the probabilities of an image
_STRIP = 2**22  # floats of a block, about


class Visitor:
    """In the place of a `utils.prediction.decide.Sheet`: gives each block to a function."""

    def __init__(self, each: Each) -> None:
        self.put = each

    def finish(self) -> None:
        """All blocks are there."""


def visit_resized(probabilities: Floats, size: tuple[int, int], each: Each) -> None:
    """Visits the probabilities of a letterboxed image, resized to its own size.

    Args:
        probabilities: float32 (h, w, num_classes), without the padding.
        size: (H, W) of the image.
        each: as above.
    """
    for rows, block in resized_strips(probabilities, size):
        each(rows, slice(0, size[1]), block)


def visit_windows(
    model: Callable[..., Any],
    image: npt.NDArray[np.uint8],
    input_shape: tuple[int, int],
    window: tuple[int, int],
    each: Each,
) -> None:
    """Visits the probabilities of which `predict_windows` makes its mask.

    Args:
        model, image, input_shape, window: as for `utils.prediction.tiles.predict_windows`.
        each: as above.
    """
    canvas, box = letterbox_image(image, input_shape)
    parts: list[tuple[slice, slice, Floats]] = []
    predict_tiles(model, canvas, window, sheet=Visitor(lambda *part: parts.append(part)))
    whole = np.empty((*canvas.shape[:2], parts[0][2].shape[2]), np.float32)
    for rows, columns, block in parts:
        whole[rows, columns] = block
    whole = whole[box.slices]
    height, width = image.shape[:2]
    # The mask's pixels are those nearest on the canvas.
    row, column = (
        resize_mask(np.arange(small, dtype=np.uint16)[:, None], (large, 1))[:, 0]
        for small, large in zip(whole.shape[:2], (height, width), strict=True)
    )
    step = max(_STRIP // (width * whole.shape[2]), 1)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        each(rows, slice(0, width), whole[row[rows, None], column])


def gather(visit: Visit, size: tuple[int, int], num_classes: int) -> Floats:
    """All probabilities of an image, float32 (H, W, num_classes).

    Args:
        visit: as above.
        size: (H, W).
        num_classes: int.

    Raises:
        UserError: if they take more than 4 GiB.
    """
    needed = 4 * size[0] * size[1] * num_classes
    if needed > _MOST:
        raise UserError(
            f"The probabilities of {size[1]}x{size[0]} pixels in {num_classes} classes take "
            f"{needed / 2**30:.1f} GiB; at most {_MOST // 2**30} are made at once. Predict parts "
            "of the image, or take confidence: one number a pixel."
        )
    whole = np.empty((*size, num_classes), np.float32)

    def put(rows: slice, columns: slice, block: Floats) -> None:
        whole[rows, columns] = block

    visit(put)
    return whole


def highest(visit: Visit, size: tuple[int, int]) -> Floats:
    """The highest probability of each pixel, that of its class in the mask: float32 (H, W)."""
    found = np.empty(size, np.float32)

    def put(rows: slice, columns: slice, block: Floats) -> None:
        found[rows, columns] = block.max(axis=-1)

    visit(put)
    return found

"""Large images at their own resolution: overlapping tiles, blended, row by row of tiles.

Along each axis, neighbours overlap by at least a quarter of a tile, T:

    tile i      |===================\\-----|
    tile i + 1                |-----\\===================|
                              margin ramp margin

In the middle of the overlap the weight passes from one tile to the next along half a cosine,
T/8 wide; the weights of both sum to 1. A tile's outer pixels, at least T/16 of them, whose
surroundings it does not see, count nothing. So a network that looks no further than T/16
gives the same probabilities as on the whole image.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from utils.images.transforms import (
    GREY,
    Box,
    letterbox_image,
    normalize,
    paste,
    tile_starts,
)
from utils.prediction.decide import Sheet

_RAMP = 8  # of a tile, over which the weight changes over 1/8


class Span(NamedTuple):
    """What one tile contributes along an axis.

    Attributes:
        start: first pixel of the tile, in the image.
        first, last: the image's pixels first..last - 1 get a share of this tile.
        done: pixels before this one have all their shares once this tile is added.
        weights: float32 (last - first,), in 0..1.
    """

    start: int
    first: int
    last: int
    done: int
    weights: np.ndarray


def plan_spans(length, tile):
    """Lays tiles over an axis, evenly.

    Args:
        length: int, pixels of the image.
        tile: int, pixels of a tile, at least 16.

    Returns:
        list of Span, in order.
    """
    starts = tile_starts(length, tile)
    ramp = tile // _RAMP // 2 * 2
    # Half a cosine at the centres of the ramp's pixels.
    rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / ramp)).astype(np.float32)
    ramps = [(now + tile + after) // 2 - ramp // 2 for now, after in pairwise(starts)]
    spans = []
    for index, start in enumerate(starts):
        first = ramps[index - 1] if index else 0
        last = ramps[index] + ramp if index < len(ramps) else length
        weights = np.ones(last - first, np.float32)
        if index:
            weights[:ramp] = rise
        if index < len(ramps):
            weights[-ramp:] = 1 - rise
        spans.append(
            Span(start, first, last, ramps[index] if index < len(ramps) else length, weights)
        )
    return spans


def predict_tiles(model, image, tile, batch_size=1, progress=False, sheet=None):
    """Segments an image of any size in tiles of the network's size, unscaled.

    Args:
        model: callable from float32 (B, height, width, channels) in [-1, 1] to probabilities, NumPy
            (B, height, width, num_classes).
        image: uint8 (H, W, channels); a side shorter than a tile is filled with grey.
        tile: (height, width) of the network.
        batch_size: int, tiles a call; the last call is filled up with grey.
        progress: bool, whether to show a progress bar.
        sheet: `utils.prediction.decide.Sheet` of the image's size, which takes the probabilities;
            None: one for the mask alone.

    Returns:
        uint8 (H, W), class ids. Memory beyond it and the image: the ramps of one row of
        tiles, i.e. tile height / 8 x W x num_classes floats, and the batch's own.
    """
    sheet = sheet or Sheet(image.shape[:2])
    _fill(sheet, model, image, tile, batch_size, progress)
    return sheet.finish()


def _fill(sheet, model, image, tile, batch_size, progress):
    """Puts the blended probabilities of all tiles into a Sheet; arguments as `predict_tiles`."""
    height, width = image.shape[:2]
    rows, columns = plan_spans(height, tile[0]), plan_spans(width, tile[1])
    blend = _Blend(sheet, width)
    places = [(row, column) for row in rows for column in columns]
    batch = np.zeros((batch_size, *tile, image.shape[2]), np.float32)
    starts = range(0, len(places), batch_size)
    for start in tqdm(starts, "Tiles", disable=None if progress else True, leave=False):
        group = places[start : start + batch_size]
        for index, (row, column) in enumerate(group):
            batch[index] = normalize(_cut(image, row.start, column.start, tile))
        for probabilities, (row, column) in zip(model(batch), group, strict=False):
            blend.add(probabilities, row, column)


def predict_windows(model, image, input_shape, window, batch_size=1, progress=False, sheet=None):
    """Segments an image at the scale of training: letterboxed, then in overlapping windows.

    Args:
        model, batch_size, progress, sheet: as for `predict_tiles`.
        image: uint8 (H, W, channels).
        input_shape: (height, width) that it is letterboxed into.
        window: (height, width) of the network.

    Returns:
        uint8 (H, W), class ids.
    """
    canvas, box = letterbox_image(image, input_shape)
    sheet = sheet or Sheet(image.shape[:2])
    letterboxed = sheet.like(canvas.shape[:2])
    _fill(letterboxed, model, canvas, window, batch_size, progress)
    sheet.enlarge(letterboxed, box)
    return sheet.finish()


def _cut(image, top, left, tile):
    part = image[top : top + tile[0], left : left + tile[1]]
    return paste(part, Box(0, 0, *part.shape[:2]), tile, GREY)


class _Blend:
    """Sums the weighted tiles, which come in reading order, into a Sheet.

    Between tiles only sums that still lack a share are kept: `_below` those of the lower
    ramp of a row of tiles, over the image's width; `_beside` those of a tile's right ramp.
    """

    def __init__(self, sheet, width):
        self._sheet, self._width = sheet, width
        self._below = self._beside = None

    def add(self, probabilities, row, column):
        top, left = row.first - row.start, column.first - column.start
        part = probabilities[top : top + len(row.weights), left : left + len(column.weights)]
        part = part * row.weights[:, None, None]
        part *= column.weights[None, :, None]
        if column.first:
            part[:, : self._beside.shape[1]] += self._beside
        ready = column.done - column.first
        self._beside = part[:, ready:].copy()
        part = part[:, :ready]
        across = slice(column.first, column.done)
        if row.first:
            above = self._below[:, across]
            part[: len(above)] += above
        if row.done < row.last:
            if self._below is None:
                shape = (row.last - row.done, self._width, probabilities.shape[-1])
                self._below = np.empty(shape, np.float32)
            self._below[:, across] = part[row.done - row.first :]
        self._sheet.put(slice(row.first, row.done), across, part[: row.done - row.first])

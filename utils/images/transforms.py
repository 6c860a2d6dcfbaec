"""Images as arrays: resizing, letterboxing and its inverse, normalizing.

Sizes are (height, width). Images are uint8 (H, W, channels), RGB if three; masks uint8 (H, W).
"""

from typing import NamedTuple

import cv2
import numpy as np

GREY = 128  # the padding of images
_MOST_BANDS = 128  # that OpenCV takes
_NORMALIZED = (np.arange(256, dtype=np.float32) / 127.5 - 1).astype(np.float32)


def swap_channels(image, strip=256):
    """Turns uint8 (H, W, 3) from RGB to BGR or back, in place; returns it."""
    for top in range(0, len(image), strip):
        rows = image[top : top + strip]
        rows[:] = rows[..., ::-1].copy()
    return image


def over_channels(function, image):
    """Calls an OpenCV function on groups of channels: it takes a few and drops a single one's axis.

    Args:
        function: callable from an array (H, W, channels) to one (H', W', channels).
        image: array (H, W, channels), or (H, W).
    """
    if image.ndim == 2 or 1 < image.shape[2] <= _MOST_BANDS:
        return function(image)
    parts = [
        function(np.ascontiguousarray(image[..., first : first + _MOST_BANDS]))
        for first in range(0, image.shape[2], _MOST_BANDS)
    ]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=2)


def resize_image(image, size):
    """Resizes an image without aliasing: linear, and averaging areas where it shrinks.

    A side that shrinks is first enlarged to the next whole multiple of its new length, then
    averaged over blocks of whole pixels: nearly twice as fast as averaging over fractions.

    Args:
        image: uint8 (H, W, channels), or (H, W).
        size: (height, width), at least 1 each.
    """
    if image.shape[:2] == tuple(size):
        return image
    multiples = [
        max(-(-old // new), 1) * new for old, new in zip(image.shape[:2], size, strict=True)
    ]

    def resize(part):
        part = cv2.resize(part, multiples[::-1], interpolation=cv2.INTER_LINEAR)
        return cv2.resize(part, size[::-1], interpolation=cv2.INTER_AREA)

    return over_channels(resize, image)


def resize_mask(mask, size):
    """Resizes class ids to the nearest pixel: no new ids appear."""
    if mask.shape == tuple(size):
        return mask
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


class Box(NamedTuple):
    """Where an image lies on a canvas, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self):
        """Index of the box's rows and columns."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )


def letterbox_box(size, target):
    """Where an image of `size` lies, centred, when it is fitted into `target`.

    Sizes are rounded, and at least 1 pixel. (Upstream truncates: 511 instead of 512.)
    """
    scale = min(target[0] / size[0], target[1] / size[1])
    height = min(max(round(size[0] * scale), 1), target[0])
    width = min(max(round(size[1] * scale), 1), target[1])
    return Box((target[0] - height) // 2, (target[1] - width) // 2, height, width)


def letterbox_image(image, target):
    """Fits an image into (height, width), keeping its aspect, on grey.

    Returns:
        (uint8 (height, width, channels), Box of the image in it).
    """
    box = letterbox_box(image.shape[:2], target)
    resized = resize_image(image, (box.height, box.width))
    return paste(resized, box, target, GREY), box


def letterbox_mask(mask, target, fill):
    """Fits a mask into (height, width) just as `letterbox_image` does its image."""
    box = letterbox_box(mask.shape[:2], target)
    return paste(resize_mask(mask, (box.height, box.width)), box, target, fill)


def tile_starts(length, tile, overlap=4):
    """Where tiles begin that cover an axis evenly, neighbours overlapping by 1 / `overlap` or more.

    Args:
        length, tile: int, pixels of the axis and of a tile.

    Returns:
        list of int.
    """
    stride = tile - -(-tile // overlap)
    count = max(-(-(length - tile) // stride), 0) + 1
    return np.linspace(0, max(length - tile, 0), count).round().astype(int).tolist()


def paste(image, box, target, fill):
    """Puts an array of the box's size on a canvas of `target` size filled with `fill`."""
    if image.shape[:2] == tuple(target):
        return image
    canvas = np.full((*target, *image.shape[2:]), fill, np.uint8)
    canvas[box.slices] = image
    return canvas


def normalize(image):
    """Maps uint8 0..255 to float32 in [-1, 1]: x / 127.5 - 1."""
    return cv2.LUT(image, _NORMALIZED).reshape(image.shape)

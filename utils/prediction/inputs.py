"""What callers hand over as images: paths, PIL images and arrays, made pixels for a network."""

import math
import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from errors import UserError
from utils.images.arrays import from_array
from utils.images.channels import CONVERTED, channel_count, to_array
from utils.images.header import image_size
from utils.images.reading import read_image

ImageLike = str | os.PathLike[str] | Image.Image | npt.NDArray[Any]
ONE = (str, os.PathLike, Image.Image, np.ndarray)  # the types of a single one
Pixels = npt.NDArray[np.uint8]

# A PIL image is decoded at its first use, which two threads must not do at once. One lock would
# keep the images of a list from being decoded side by side.
_DECODING = [threading.Lock() for _ in range(64)]


def read_any(
    image: ImageLike,
    in_channels: int,
    max_pixels: int,
    value_range: tuple[float, float] | str | None,
) -> Pixels:
    """Reads an image of any kind.

    Args:
        image: path of a file, PIL.Image, or array (H, W, in_channels) as for
            `utils.images.arrays.from_array`.
        in_channels: int.
        max_pixels: int, images of more are refused.
        value_range: as for `utils.images.scaling.to_8_bit`.

    Returns:
        uint8 (H, W, in_channels), which nothing else writes to.

    Raises:
        UserError: for what is no image, can't be read or does not fit the network.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(image, max_pixels, in_channels, value_range)
    pixels = to_pixels(image, in_channels, max_pixels, value_range)
    if isinstance(image, np.ndarray) and np.shares_memory(pixels, image):
        return pixels.copy()  # the caller may use its memory for the next frame
    return pixels


def to_pixels(
    image: Image.Image | npt.NDArray[Any],
    in_channels: int,
    max_pixels: int,
    value_range: tuple[float, float] | str | None,
) -> Pixels:
    """As `read_any`, but for paths; of an array, it may return the very same memory."""
    if isinstance(image, np.ndarray):
        return from_array(image, in_channels, max_pixels, value_range)
    if not isinstance(image, Image.Image):
        raise UserError(
            f"The image is a {type(image).__name__}. Expected a PIL.Image or a NumPy array; of "
            "a file, Image.open(path), or predict(path)."
        )
    with _DECODING[id(image) // 64 % len(_DECODING)]:
        if in_channels not in CONVERTED and channel_count(image) != in_channels:
            raise UserError(
                f"The network takes images with {in_channels} channels, but this one, of mode "
                f"{image.mode}, has {channel_count(image)}. Give the path of a TIFF file, or an "
                f"array (height, width, {in_channels}), to predict."
            )
        return to_array(image, max_pixels, in_channels, value_range)


def pixels_of(image: ImageLike) -> int:
    """How many pixels an image has, before it is read; 0 if that can't be told."""
    if isinstance(image, np.ndarray):
        return math.prod(image.shape[:2])
    if isinstance(image, Image.Image):
        return image.width * image.height
    try:
        return math.prod(image_size(image))
    except UserError:  # reading it tells
        return 0

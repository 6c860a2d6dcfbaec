"""The numbers in an image file as they are stored, and how they become pixels."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from utils.images.channels import CONVERTED, check_channels
from utils.images.scaling import to_8_bit


class Numbers(NamedTuple):
    """An image before it is scaled to 8 bits.

    Attributes:
        values: array (H, W, channels) of any kind of numbers, upright.
        colors: int, how many of its channels are colours; what follows is transparency.
        is_inverted: bool, whether 0 is white.
        is_cmyk: bool, whether its four channels are colours of print.
        was_ignored: bool, whether weights files that say nothing of a range were trained without
            that inversion.
    """

    values: np.ndarray
    colors: int
    is_inverted: bool = False
    is_cmyk: bool = False
    was_ignored: bool = False


def to_pixels(numbers, in_channels, path, value_range=None):
    """Makes an image of numbers, as `utils.images.reading.read_image` does.

    Args:
        numbers: Numbers.
        in_channels: int. As many as there are; or 3 or 1 of colours or grey.
        path: of the image.
        value_range: as for `utils.images.scaling.to_8_bit`.

    Returns:
        uint8 (H, W, in_channels).

    Raises:
        UserError: if it has other channels.
    """
    pixels = to_8_bit(numbers.values, value_range)
    if numbers.is_inverted and not (numbers.was_ignored and value_range is None):
        pixels = 255 - pixels
    found = pixels.shape[2]
    if found == in_channels:
        return np.ascontiguousarray(pixels)
    if in_channels in CONVERTED and numbers.is_cmyk:
        pixels = np.array(Image.fromarray(np.ascontiguousarray(pixels), "CMYK").convert("RGB"))
    else:
        pixels = pixels[..., : numbers.colors]
    if in_channels not in CONVERTED or pixels.shape[2] not in CONVERTED:
        check_channels(found, in_channels, path)
    if pixels.shape[2] > in_channels:
        luma = Image.fromarray(np.ascontiguousarray(pixels)).convert("L")
        return np.array(luma)[..., None]
    if pixels.shape[2] < in_channels:
        return pixels.repeat(in_channels, axis=2)
    return np.ascontiguousarray(pixels)

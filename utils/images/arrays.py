"""Arrays that callers hand over as images: checked, and made uint8 by the rule for files."""

import numpy as np

from errors import UserError
from utils.images.channels import check_pixels
from utils.images.scaling import to_8_bit

_KINDS = "buif"  # of NumPy's numbers: bool, unsigned, signed, float


def from_array(values, in_channels, max_pixels, value_range=None):
    """Makes an image for a network of an array.

    Args:
        values: array (H, W, in_channels); for one channel (H, W) too. uint8 is taken as it is,
            other numbers as `utils.images.scaling.to_8_bit` says.
        in_channels: int.
        max_pixels: int, more are refused.
        value_range: as for `to_8_bit`.

    Returns:
        uint8 (H, W, in_channels), C-contiguous; the caller's own memory where it is so already, so
        it must not be written to.

    Raises:
        UserError: for another shape, no pixels, too many, or numbers that can't be brightness.
    """
    if values.ndim == 2 and in_channels == 1:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] != in_channels:
        raise UserError(
            f"The network takes arrays (height, width, {in_channels}); got {values.shape}."
        )
    if not values.size:
        raise UserError(f"The image has no pixels: its array has the shape {values.shape}.")
    check_pixels(values.shape[1], values.shape[0], "given as an array", max_pixels)
    if values.dtype.kind not in _KINDS:
        raise UserError(
            f"The image is an array of {values.dtype}. Give uint8, 0 to 255, or other numbers from "
            "0 on."
        )
    if value_range is None and values.dtype.kind in "if" and values.min() < 0:
        raise UserError(
            f"The image is an array of {values.dtype} with numbers from {values.min():g} to "
            f"{values.max():g}. Expected none below 0: uint8, 0 to 255, or floats, 0 to 1. The "
            "network maps them to -1 to 1 by itself."
        )
    return np.ascontiguousarray(to_8_bit(values, value_range))

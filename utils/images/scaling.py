"""Numbers of any kind as 8 bits: one scale for all images of a set, or each image by its own.

A `value_range` says how numbers that are not uint8 become brightness 0..255:

    (low, high)    low is black, high is white, what lies beyond is as black or white
    "percentiles"  the same between the 0.5th and the 99.5th percentile of each image
    None           by each image's own kind and largest number, as weights files expect
                   that say nothing of a range

uint8 stays as it is and bool becomes 0 and 255, whatever the range.
"""

import math

import numpy as np

from errors import UserError

PERCENTILES = "percentiles"
_QUANTILES = (0.005, 0.995)
_STRIP = 64  # rows scaled at a time: float64 takes eight times their memory
_MOST = 4_000_000  # numbers of which percentiles are taken, evenly spaced ones of a larger image
_FROM_16_BIT = np.rint(np.arange(65536) / 257).astype(np.uint8)


def check_value_range(value_range):
    """Raises UserError unless it is what a user may set: nothing, "percentiles", or two numbers."""
    if value_range in ("", (), None, PERCENTILES):
        return
    ends = () if isinstance(value_range, str) else tuple(value_range)
    if len(ends) != 2 or not all(map(math.isfinite, ends)) or not ends[0] < ends[1]:
        raise UserError(
            "value_range must be the numbers that are black and white, such as 0,4095; or "
            f"percentiles; or empty, to have it found; got {value_range!r}."
        )


def to_8_bit(values, value_range=None):
    """Scales numbers to uint8.

    Args:
        values: array (H, W) or (H, W, channels). The channels of an image share one scale. What
            is not a number or infinite is 0.
        value_range: (low, high), "percentiles" or None, see above. None: uint16 is scaled from
            0..65535; other integers too if any exceeds 255; floats from 0..1, or from 0..maximum
            above 255.

    Returns:
        uint8 of the same shape.
    """
    kind, bits = values.dtype.kind, 8 * values.dtype.itemsize
    if values.dtype == np.uint8:
        return values
    if kind == "b":
        return values.astype(np.uint8) * 255
    if value_range is None:
        if kind == "u" and bits == 16:
            return _look_up(values, _FROM_16_BIT)
        return _scale(values, 0, *_own_scale(values))
    low, high = percentiles(values) if value_range == PERCENTILES else value_range
    scale = 255, high - low
    if bits == 16 and kind in "iu":
        # Each of the numbers that there are, in the order of their bits as unsigned ones.
        numbers = np.arange(65536, dtype=np.uint16).view(f"{kind}2")
        return _look_up(values, _scale(numbers[None], low, *scale)[0])
    return _scale(values, low, *scale)


def percentiles(values):
    """(low, high): the 0.5th and 99.5th percentile of the finite numbers of an image."""
    values = values.ravel()[:: max(values.size // _MOST, 1)]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.quantile(values.astype(np.float64), _QUANTILES).tolist()
    return (low, high) if low < high else (low, low + 1)


def _own_scale(values):
    """(factor, divisor) of an image without a range, by the kind and largest of its numbers."""
    largest = max((_finite(rows).max(initial=0) for rows in _strips(values)), default=0)
    if values.dtype.kind == "f":
        return 255 if largest <= 1 else min(255 / largest, 1), 1
    return 1, 257 if largest > 255 else 1


def _scale(values, low, factor, divisor):
    scaled = np.empty(values.shape, np.uint8)
    for place, rows in zip(_strips(scaled), _strips(values), strict=True):
        numbers = _finite(rows, low) - low
        numbers *= factor
        numbers /= divisor
        np.clip(np.rint(numbers, out=numbers), 0, 255, out=numbers)
        place[...] = numbers
    return scaled


def _strips(values):
    return (values[top : top + _STRIP] for top in range(0, len(values), _STRIP))


def _look_up(values, table):
    """Entries of a table for 16-bit numbers, by their bits."""
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return table[native.view(np.uint16)]


def _finite(values, instead=0.0):
    numbers = values.astype(np.float64)
    return np.nan_to_num(numbers, copy=False, nan=instead, posinf=instead, neginf=instead)

"""Label Studio's regions as pixels: percentages of the image's sides, and brushed masks.

Source: labelstud.io/tags (polygonlabels, rectanglelabels, ellipselabels, brushlabels);
label-studio-sdk (converter/brush.py), thi.ng/rle-pack.
"""

from functools import partial

import numpy as np

from errors import UserError
from utils.convert.annotations import check_points, shown
from utils.convert.rasterize import box_corners, fill_ellipse, fill_polygon
from utils.convert.regions import Region

_OPAQUE = 128  # alpha from which a brushed pixel belongs to the region
_BROKEN = "has a broken brush mask: {}. Export it again, or draw it anew."


def read_region(result, kind, label, origin):
    """One region.

    Args:
        result: dict with a dict "value".
        kind: str, a key of `DRAWN`.
        label: str.
        origin: str, for messages.

    Returns:
        Region.

    Raises:
        UserError: if it can't be drawn.
    """
    return Region(label, DRAWN[kind](result, origin), origin)


def _polygon(result, origin):
    points = check_points(result["value"].get("points"), origin)
    if len(points) < 3:
        raise UserError(
            f"{origin} is a polygon of {len(points)} points. Expected at least 3. Delete it."
        )
    return partial(_draw_polygon, points)


def _draw_polygon(points, size):
    return fill_polygon([(x / 100 * size[1], y / 100 * size[0]) for x, y in points], size)


def _rectangle(result, origin):
    (corner, extent), degrees = _numbers(result, ("x", "y", "width", "height"), origin)
    return partial(_draw_rectangle, corner, extent, degrees)


def _draw_rectangle(corner, extent, degrees, size):
    """It is turned about its upper left corner, in pixels, not in percentages."""
    (left, top), (width, height) = (_to_pixels(pair, size) for pair in (corner, extent))
    corners = box_corners(left, top, left + width, top + height, degrees, (left, top))
    return fill_polygon(corners, size)


def _ellipse(result, origin):
    (center, radii), degrees = _numbers(result, ("x", "y", "radiusX", "radiusY"), origin)
    if min(radii) < 0:
        raise UserError(f"{origin} has the radius {min(radii)}. Expected none below 0. Delete it.")
    return partial(_draw_ellipse, center, radii, degrees)


def _draw_ellipse(center, radii, degrees, size):
    return fill_ellipse(_to_pixels(center, size), _to_pixels(radii, size), size, degrees)


def _to_pixels(pair, size):
    return pair[0] / 100 * size[1], pair[1] / 100 * size[0]


def _numbers(result, names, origin):
    """([(first, second), (third, fourth)], rotation in degrees)."""
    value = result["value"]
    pairs = [[value.get(name) for name in names[:2]], [value.get(name) for name in names[2:]]]
    ((degrees, _),) = check_points([[value.get("rotation") or 0, 0]], f"{origin}, rotation,")
    return check_points(pairs, origin), degrees


def _brush(result, origin):
    numbers = result["value"].get("rle")
    if not isinstance(numbers, list) or not all(
        type(number) is int and 0 <= number < 256 for number in numbers
    ):
        raise UserError(f"{origin} " + _BROKEN.format(f"rle is {shown(numbers)}, no list of bytes"))
    return partial(_draw_brush, bytes(numbers), origin)


def _draw_brush(data, origin, size):
    count, expected = int.from_bytes(data[:4], "big"), 4 * size[0] * size[1]
    try:
        if count != expected:
            raise ValueError(
                f"it has {count} values, not the {expected} of the red, green, blue and alpha of "
                f"{size[1]}x{size[0]} pixels"
            )
        return unpack_rle(data).reshape(*size, 4)[..., 3] >= _OPAQUE
    except ValueError as error:
        raise UserError(f"{origin} " + _BROKEN.format(error)) from error


def unpack_rle(data):
    """Decodes thi.ng's rle-pack, the bits of which are read one after the other.

    32 bits: how many values; 5: bits of a value, less 1; four times 4: bits of a length, less
    1. Then blocks: 1 bit, whether one value repeats; 2, which of the four; the length, less 1;
    the value, or as many values.

    Args:
        data: bytes.

    Returns:
        uint8 (values,).

    Raises:
        ValueError: if the bits end early, or the values are too large or too many.
    """
    bits = _Bits(data)
    values = np.empty(bits.read(32), np.uint8)
    width = bits.read(5) + 1
    if width > 8:
        raise ValueError(f"its values have {width} bits")
    lengths = [bits.read(4) + 1 for _ in range(4)]
    start = 0
    while start < len(values):
        repeats = bits.read(1)
        end = start + bits.read(lengths[bits.read(2)]) + 1
        if end > len(values):
            raise ValueError("its runs are too long")
        values[start:end] = bits.read(width) if repeats else bits.read_many(width, end - start)
        start = end
    return values


class _Bits:
    """Numbers of any count of bits, the highest bit first."""

    def __init__(self, data):
        self._data, self._at = data, 0

    def read(self, count):
        first, self._at = self._at, self._at + count
        if self._at > 8 * len(self._data):
            raise ValueError("it ends too early")
        last = -(-self._at // 8)
        chunk = int.from_bytes(self._data[first // 8 : last], "big")
        return (chunk >> (8 * last - self._at)) & ((1 << count) - 1)

    def read_many(self, width, count):
        """uint8 (count,): numbers of `width` bits each."""
        first, self._at = self._at, self._at + width * count
        if self._at > 8 * len(self._data):
            raise ValueError("it ends too early")
        last = -(-self._at // 8)
        chunk = np.frombuffer(self._data[first // 8 : last], np.uint8)
        bits = np.unpackbits(chunk)[first % 8 :][: width * count].reshape(count, width)
        return np.packbits(bits, axis=1)[:, 0] >> (8 - width)


DRAWN = {"polygon": _polygon, "rectangle": _rectangle, "ellipse": _ellipse, "brush": _brush}

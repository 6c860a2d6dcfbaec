"""The shapes of CVAT's XML files as pixels.

Coordinates are texts of numbers; rotations are degrees, clockwise about the centre.

Source: docs.cvat.ai, XML annotation format 1.1 and its run-length encoding.
"""

import math
from functools import partial

import numpy as np

from errors import UserError
from utils.convert.annotations import check_points, shown
from utils.convert.rasterize import box_corners, fill_ellipse, fill_polygon, place_crop
from utils.convert.regions import Region
from utils.images.channels import check_pixels


def read_shape(shape, label, origin):
    """One shape.

    Args:
        shape: Element, whose tag is in `DRAWN`.
        label: str.
        origin: str, for messages.

    Returns:
        Region.

    Raises:
        UserError: if it can't be drawn.
    """
    return Region(label, DRAWN[shape.tag](shape, origin), origin)


def _polygon(shape, origin):
    text = shape.get("points") or ""
    pairs = [pair.split(",") for pair in text.split(";")]
    points = [[_number(text, "points", origin) for text in pair] for pair in pairs]
    points = check_points(points, origin)
    if len(points) < 3:
        raise UserError(
            f"{origin} is a polygon of {len(points)} points. Expected at least 3. Delete it."
        )
    return partial(fill_polygon, points)


def _box(shape, origin):
    left, top, right, bottom = _numbers(shape, ("xtl", "ytl", "xbr", "ybr"), origin)
    return partial(fill_polygon, box_corners(left, top, right, bottom, _rotation(shape, origin)))


def _ellipse(shape, origin):
    x, y, *radii = _numbers(shape, ("cx", "cy", "rx", "ry"), origin)
    if min(radii) < 0:
        raise UserError(f"{origin} has the radius {min(radii)}. Expected none below 0. Delete it.")
    return partial(_draw_ellipse, (x, y), radii, _rotation(shape, origin))


def _draw_ellipse(center, radii, degrees, size):
    return fill_ellipse(center, radii, size, degrees)


def _mask(shape, origin):
    """A box of runs along the rows, by turns outside and inside, outside first."""
    left, top, width, height = (
        int(value) for value in _numbers(shape, ("left", "top", "width", "height"), origin)
    )
    texts = [text.strip() for text in (shape.get("rle") or "").split(",")]
    check_pixels(width, height, f"of the mask of {origin}")
    whole = all(text.isdecimal() and len(text) < 12 for text in texts)
    if not whole or min(width, height) < 1 or sum(map(int, texts)) != width * height:
        raise UserError(
            f"{origin} has a broken RLE mask: its runs must be whole numbers and fill its "
            f"{width}x{height} pixels exactly. Export it again."
        )
    runs = np.array([int(text) for text in texts])
    return partial(_draw_runs, runs, (height, width), (left, top))


def _draw_runs(runs, shape, corner, size):
    inside = np.arange(len(runs)) % 2 == 1
    return place_crop(np.repeat(inside, runs).reshape(shape), *corner, size)


def _numbers(shape, names, origin):
    values = [_number(shape.get(name) or "", name, origin) for name in names]
    check_points([values[:2], values[2:]], origin)
    return values


def _rotation(shape, origin):
    value = _number(shape.get("rotation") or "0", "rotation", origin)
    if not math.isfinite(value):
        raise UserError(f"{origin} has the rotation {value}. Expected degrees.")
    return value


def _number(text, name, origin):
    try:
        if "_" in text:  # which Python takes for a part of a number
            raise ValueError
        return float(text)
    except ValueError:
        raise UserError(f"{origin} has {shown(text)} in {name}. Expected numbers.") from None


DRAWN = {"polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask}

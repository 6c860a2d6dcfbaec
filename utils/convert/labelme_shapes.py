"""The shapes of a labelme file as pixels.

A shape covers the very pixels that labelme's own export gives it: the same calls of Pillow
with the same line width and point size. Later shapes paint over earlier ones.

Source: labelme, utils/shape.py of v3.16.7, v4.5.6 and v5.11.4; X-AnyLabeling, which adds
`rotation` and `quadrilateral`, both of four corners.
"""

import io
import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from errors import UserError
from utils.convert.annotations import check_points, class_id, clean_label, shown
from utils.convert.encoded import decode_base64, image_reason
from utils.convert.rasterize import place_crop
from utils.images.channels import check_pixels

_LINE_WIDTH = 10
_POINT_RADIUS = 5
# How many points a shape may have. Some editors that write labelme's format give a
# rectangle its four corners, and an oriented one always has them.
_POINTS = {
    "polygon": range(3, 10**9),
    "rectangle": (2, 4),
    "oriented_rectangle": (4,),
    "rotation": (4,),
    "quadrilateral": (4,),
    "circle": (2,),
    "line": (2,),
    "linestrip": range(2, 10**9),
    "point": (1,),
    "mask": (2,),
}


class Shape(NamedTuple):
    """One shape of a labelme file.

    Attributes:
        label: str.
        kind: str, a key of `_POINTS`.
        points: list of (x, y) in pixels.
        crop: bool (h, w) of a mask shape, whose first point is its upper left; else None.
        origin: str, for messages.
    """

    label: str
    kind: str
    points: list
    crop: np.ndarray | None
    origin: str


def read_shapes(data, path):
    """The shapes of a labelme file, in its order.

    Args:
        data: content of the file, for which `is_labelme` holds.
        path: for messages.

    Returns:
        list of Shape.

    Raises:
        UserError: for a shape that can't be drawn.
    """
    return [
        _read_shape(shape, f"{path}, shape {number}")
        for number, shape in enumerate(data["shapes"], 1)
    ]


def _read_shape(shape, origin):
    if not isinstance(shape, dict):
        raise UserError(f"{origin} is {shown(shape)}. Expected label and points in braces.")
    label = clean_label(shape.get("label"), origin)
    origin = f"{origin} ({label})"
    kind = shape.get("shape_type") or "polygon"  # the only one until version 3.5
    if not isinstance(kind, str) or kind not in _POINTS:
        raise UserError(
            f"{origin} has the shape_type {shown(kind)}. Known are {', '.join(_POINTS)}. Draw it "
            "as one of these."
        )
    points = check_points(shape.get("points"), origin)
    if len(points) not in _POINTS[kind]:
        least = _POINTS[kind][0]
        expected = f"at least {least}" if isinstance(_POINTS[kind], range) else least
        raise UserError(
            f"{origin} is a {kind} of {len(points)} points. Expected {expected}. Draw it anew, "
            "or delete it."
        )
    crop = _read_crop(shape.get("mask"), points, origin) if kind == "mask" else None
    return Shape(label, kind, points, crop, origin)


def _read_crop(content, points, origin):
    """Decodes what a mask shape has in its box: bool (h, w), from a PNG or from lists."""
    if isinstance(content, list):
        crop = _crop_of_lists(content, origin)
    else:
        crop = _crop_of_png(content, origin)
    (left, top), (right, bottom) = points
    box = (bottom - top + 1, right - left + 1)  # the second point is inside
    # A mask that was moved by a fraction of a pixel keeps its size.
    if crop.ndim != 2 or any(abs(a - b) >= 1 for a, b in zip(crop.shape, box, strict=True)):
        raise UserError(
            f"The mask of {origin} has the shape {crop.shape}, but its points make a box of "
            f"{box} (height, width). Draw it anew."
        )
    return crop


def _crop_of_png(text, origin):
    try:
        with Image.open(io.BytesIO(decode_base64(text, f"The mask of {origin}"))) as image:
            check_pixels(*image.size, f"of the mask of {origin}")
            return np.array(image).astype(bool)
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        reason = image_reason(error)
        raise UserError(f"The mask of {origin} can't be read: {reason}") from error


def _crop_of_lists(rows, origin):
    are_rows = all(isinstance(row, list) and row for row in rows) and rows
    if not are_rows or len({len(row) for row in rows}) > 1:
        raise UserError(
            f"The mask of {origin} is {shown(rows)}. Expected rows of one length, lists of 0 "
            "and 1. Draw it anew."
        )
    values = {(type(value), value) for row in rows for value in row if not _is_nested(value)}
    wrong = [value for kind, value in values if kind not in (bool, int) or value not in (0, 1, 255)]
    nested = [value for row in rows for value in row if _is_nested(value)]
    if wrong or nested:
        raise UserError(
            f"The mask of {origin} holds the value {shown((nested or wrong)[0])}. Expected 0 "
            "outside, and 1, 255 or true inside. Draw it anew."
        )
    return np.array(rows).astype(bool)


def _is_nested(value):
    return isinstance(value, (list, dict))


def paint_shapes(shapes, size, classes):
    """Paints shapes one over the other.

    Args:
        shapes: list of Shape.
        size: (height, width).
        classes: tuple of str, the background first.

    Returns:
        uint8 (height, width): class ids, 0 where no shape is, 255 for `__ignore__`.

    Raises:
        UserError: for a label that is not in the list.
    """
    mask = np.zeros(size, np.uint8)
    for shape in shapes:
        mask[draw_shape(shape, size)] = class_id(shape.label, classes, shape.origin)
    return mask


def draw_shape(shape, size):
    """The pixels of a shape, as labelme exports them: bool (height, width)."""
    if shape.kind == "mask":
        left, top = np.rint(shape.points[0]).astype(int)
        return place_crop(shape.crop, left, top, size)
    canvas = Image.new("L", size[::-1])
    draw, points = ImageDraw.Draw(canvas), shape.points
    if shape.kind in ("circle", "point"):
        (x, y), (rim_x, rim_y) = points[0], points[-1]
        # Not math.dist: its last digit may differ from labelme's.
        distance = math.sqrt((x - rim_x) ** 2 + (y - rim_y) ** 2)
        radius = distance if shape.kind == "circle" else _POINT_RADIUS
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=1, fill=1)
    elif shape.kind == "rectangle" and len(points) == 2:
        (x0, x1), (y0, y1) = map(sorted, zip(*points, strict=True))
        draw.rectangle([x0, y0, x1, y1], outline=1, fill=1)
    elif shape.kind in ("line", "linestrip"):
        draw.line(points, fill=1, width=_LINE_WIDTH)
    else:
        draw.polygon(points, outline=1, fill=1)
    return np.array(canvas).astype(bool)

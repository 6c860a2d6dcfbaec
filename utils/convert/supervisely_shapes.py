"""Supervisely's objects as pixels.

Points are the indices of pixels, so that outlines belong to the objects, as in
Supervisely's own drawing.

Source: supervisely, geometry/polygon.py, rectangle.py and bitmap.py.
"""

import io
import zlib
from functools import partial

import cv2
import numpy as np
from PIL import Image

from errors import UserError
from utils.convert.annotations import check_points, shown
from utils.convert.encoded import decode_base64, image_reason
from utils.convert.rasterize import place_crop
from utils.convert.regions import Region
from utils.images.channels import check_pixels

_MOST_BYTES = 2**28  # of a bitmap's PNG: more than any mask takes


def read_object(one, kind, label, origin):
    """One object.

    Args:
        one: dict.
        kind: str, a key of `DRAWN`.
        label: str.
        origin: str, for messages.

    Returns:
        Region.

    Raises:
        UserError: if it can't be drawn.
    """
    return Region(label, DRAWN[kind](one, origin), origin)


def _polygon(one, origin):
    exterior, interior = _points(one, origin)
    for points in (exterior, *interior):
        if len(points) < 3:
            raise UserError(
                f"{origin} has an outline of {len(points)} points. Expected at least 3. Delete it."
            )
    return partial(_draw_polygon, exterior, interior)


def _draw_polygon(exterior, interior, size):
    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [np.rint(exterior).astype(np.int32)], 1)
    for points in interior:
        cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 0)
    return canvas.astype(bool)


def _rectangle(one, origin):
    points, _ = _points(one, origin)
    if len(points) != 2:
        raise UserError(f"{origin} is a rectangle of {len(points)} points. Expected 2.")
    return partial(_draw_rectangle, points)


def _draw_rectangle(points, size):
    canvas = np.zeros(size, bool)
    (left, right), (top, bottom) = np.sort(np.rint(points).astype(int).T)
    canvas[max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)] = True
    return canvas


def _points(one, origin):
    """(exterior, list of interiors), each a list of (x, y)."""
    points = one.get("points")
    if not isinstance(points, dict):
        raise UserError(f"{origin} has the points {shown(points)}. Expected exterior and interior.")
    holes = points.get("interior") or []
    if not isinstance(holes, list):
        raise UserError(f"{origin} has the interior {shown(holes)}. Expected a list of outlines.")
    exterior = check_points(points.get("exterior"), origin)
    return exterior, [check_points(hole, origin) for hole in holes]


def _bitmap(one, origin):
    bitmap = one.get("bitmap")
    if not isinstance(bitmap, dict):
        raise UserError(f"{origin} has the bitmap {shown(bitmap)}. Expected data and origin.")
    ((left, top),) = check_points([bitmap.get("origin")], f"{origin}, origin,")
    name = f"The bitmap of {origin}"
    data = decode_base64(bitmap.get("data"), name)
    return partial(_draw_bitmap, data, (round(left), round(top)), origin)


def _draw_bitmap(data, corner, origin, size):
    return place_crop(_decode_bitmap(data, origin), *corner, size)


def _decode_bitmap(data, origin):
    """bool (h, w) from a PNG, which may be compressed once more: what is not transparent."""
    try:
        if not data.startswith(b"\x89PNG"):
            data = zlib.decompressobj().decompress(data, _MOST_BYTES)
        with Image.open(io.BytesIO(data)) as image:
            check_pixels(*image.size, f"of the bitmap of {origin}")
            has_alpha = image.mode in ("LA", "RGBA") or "transparency" in image.info
            crop = np.array(image.convert("RGBA"))[..., 3] if has_alpha else np.array(image)
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        reason = image_reason(error)
        raise UserError(f"The bitmap of {origin} can't be read: {reason}") from error
    if crop.ndim != 2:
        raise UserError(
            f"The bitmap of {origin} has {crop.shape[2]} channels and none of them is alpha. "
            "Expected one channel, or transparency. Draw it anew."
        )
    return crop.astype(bool)


DRAWN = {"polygon": _polygon, "rectangle": _rectangle, "bitmap": _bitmap}

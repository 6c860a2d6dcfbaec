"""VIA's regions as pixels.

Source: robots.ox.ac.uk/~vgg/software/via (via.js of version 2).
"""

import math
from functools import partial

from errors import UserError
from utils.convert.annotations import check_points, shown
from utils.convert.rasterize import box_corners, fill_ellipse, fill_polygon
from utils.convert.regions import Region


def read_shape(shape, label_of, origin):
    """One region.

    Args:
        shape: dict, its shape_attributes.
        label_of: function(origin) -> str.
        origin: str, for messages.

    Returns:
        Region; None for points and open lines, which cover no area.

    Raises:
        UserError: if it can't be drawn.
    """
    kind = shape.get("name")
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(kind for kind in _KINDS if kind != "point")
        raise UserError(f"{origin} has the shape {shown(kind)}. Known are {known}.")
    draw = _KINDS[kind](shape, origin)
    return None if draw is None else Region(label_of(origin), draw, origin)


def _polygon(shape, origin):
    points = _points(shape, origin)
    if len(points) < 3:
        raise UserError(
            f"{origin} is a polygon of {len(points)} points. Expected at least 3. Delete it."
        )
    return partial(fill_polygon, points)


def _polyline(shape, origin):
    """A line that ends where it began is an outline."""
    points = _points(shape, origin)
    return partial(fill_polygon, points) if len(points) > 3 and points[0] == points[-1] else None


def _points(shape, origin):
    columns, rows = shape.get("all_points_x"), shape.get("all_points_y")
    are_lists = isinstance(columns, list) and isinstance(rows, list)
    if not are_lists or len(columns) != len(rows):
        raise UserError(
            f"{origin} has the points {shown(columns)} and {shown(rows)}. Expected two lists "
            "of one length, all_points_x and all_points_y."
        )
    return check_points([list(pair) for pair in zip(columns, rows, strict=True)], origin)


def _rectangle(shape, origin):
    (left, top), (width, height) = _pairs(shape, ("x", "y", "width", "height"), origin)
    return partial(fill_polygon, box_corners(left, top, left + width, top + height))


def _circle(shape, origin):
    center, (radius, _) = _pairs(shape, ("cx", "cy", "r", "r"), origin)
    return _round(center, (radius, radius), 0, origin)


def _ellipse(shape, origin):
    center, radii = _pairs(shape, ("cx", "cy", "rx", "ry"), origin)
    ((radians, _),) = check_points([[shape.get("theta") or 0, 0]], f"{origin}, theta,")
    return _round(center, radii, math.degrees(radians), origin)


def _round(center, radii, degrees, origin):
    if min(radii) < 0:
        raise UserError(f"{origin} has the radius {min(radii)}. Expected none below 0. Delete it.")
    return partial(_draw_ellipse, center, radii, degrees)


def _draw_ellipse(center, radii, degrees, size):
    return fill_ellipse(center, radii, size, degrees)


def _pairs(shape, names, origin):
    values = [shape.get(name) for name in names]
    return check_points([values[:2], values[2:]], origin)


_KINDS = {
    "polygon": _polygon,
    "rect": _rectangle,
    "circle": _circle,
    "ellipse": _ellipse,
    "polyline": _polyline,
    "point": lambda shape, origin: None,
}

"""Whether rings of points are a polygon: nothing crosses, holes lie inside."""

from typing import NamedTuple

import numpy as np

from utils.prediction.outlines import doubled_area


class _Edges(NamedTuple):
    """Edges of rings, sorted by their least x.

    Attributes:
        start, end: int64 (n, 2), x and y.
        ring, index, count: int64 (n,): which ring, which edge of it, and how many it has.
    """

    start: np.ndarray
    end: np.ndarray
    ring: np.ndarray
    index: np.ndarray
    count: np.ndarray


def is_valid(polygon):
    """Whether rings are a polygon as the simple features of the OGC have it, and turned right.

    No ring meets itself or another, and holes lie inside of the outer ring and outside of each
    other. The OGC lets holes touch in points; here that is not valid.

    Args:
        polygon: list of int (n, 2), x and y, none of them the one before again: the outer ring,
            which encloses a positive area (`utils.prediction.outlines.doubled_area`), then the
            holes, which run the other way.
    """
    if any(len(points) < 3 for points in polygon):
        return False
    areas = [doubled_area(points) for points in polygon]
    if areas[0] <= 0 or any(area >= 0 for area in areas[1:]):
        return False
    edges = _sort_edges(polygon)
    if _has_crossing(edges):
        return False
    # Once around by the outer ring, and not at all by other holes.
    return all(
        _turns_around(edges, polygon[ring][0], edges.ring != ring) == 1
        for ring in range(1, len(polygon))
    )


def _sort_edges(polygon):
    start = np.concatenate(polygon)
    end = np.concatenate([np.roll(points, -1, axis=0) for points in polygon])
    counts = [len(points) for points in polygon]
    edges = _Edges(
        start,
        end,
        np.repeat(np.arange(len(polygon)), counts),
        np.concatenate([np.arange(count) for count in counts]),
        np.repeat(counts, counts),
    )
    order = np.argsort(np.minimum(start[:, 0], end[:, 0]), kind="stable")
    return _Edges(*(values[order] for values in edges))


def _has_crossing(edges):
    """Whether two edges have a point in common, but for the one where neighbours join."""
    left = np.minimum(edges.start[:, 0], edges.end[:, 0])
    right = np.maximum(edges.start[:, 0], edges.end[:, 0])
    # Only edges whose ranges of x overlap can meet.
    last = np.searchsorted(left, right, side="right")
    return any(
        _meets(edges, one, slice(one + 1, last[one]))
        for one in range(len(left))
        if one + 1 < last[one]
    )


def _meets(edges, one, others):
    a, b = edges.start[one], edges.end[one]
    c, d = edges.start[others], edges.end[others]
    step = (edges.index[others] - edges.index[one]) % edges.count[one]
    is_next = (step == 1) | (step == edges.count[one] - 1)
    joined = (edges.ring[others] == edges.ring[one]) & is_next
    # Neighbours meet beyond their common point only where one turns back along the other.
    turns_back = (_cross(b - a, d - c) == 0) & (((b - a) * (d - c)).sum(axis=1) < 0)
    return bool(np.where(joined, turns_back, _intersects(a, b, c, d)).any())


def _intersects(a, b, c, d):
    """Whether the segment a, b and each of the segments c, d (n, 2) have a point in common."""
    along = np.sign(_cross(b - a, c - a)) * np.sign(_cross(b - a, d - a))
    across = np.sign(_cross(d - c, a - c)) * np.sign(_cross(d - c, b - c))
    least, most = np.minimum(c, d), np.maximum(c, d)
    boxes = (least <= np.maximum(a, b)).all(axis=1) & (most >= np.minimum(a, b)).all(axis=1)
    return boxes & (along <= 0) & (across <= 0)


def _cross(one, other):
    return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]


def _turns_around(edges, point, chosen):
    """How many times the chosen edges (bool, n) wind around a point that is on none of them."""
    start, end = edges.start[chosen], edges.end[chosen]
    low, high = start[:, 1] <= point[1], end[:, 1] <= point[1]
    side = _cross(end - start, point - start)
    up, down = low & ~high & (side > 0), ~low & high & (side < 0)
    return np.count_nonzero(up) - np.count_nonzero(down)

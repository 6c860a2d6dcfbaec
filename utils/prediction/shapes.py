"""The regions of a mask as the shapes that COCO and CVAT know: polygons, and masks.

A polygon has no holes there, so a region with holes becomes a mask: its pixels themselves,
to be corrected with brush and eraser. These stay exact, except along an outline that they
share with a polygon: what that gives up or takes in there, they take in or give up, so that
there are no gaps.
"""

from typing import NamedTuple

import numpy as np

from utils.prediction.outlines import doubled_area, find_outlines
from utils.prediction.simplify import bounds_of, fill_rings, rings_of, simplify_regions


class Shape(NamedTuple):
    """One region, as a polygon or as a mask.

    Attributes:
        class_id: int, at least 1.
        left, top: int, its first column and row.
        width, height: int, the columns and rows that it spans.
        points: int64 (n, 2), x and y along the edges between pixels; None for a mask.
        crop: bool (height, width), the pixels of a mask; None for a polygon.
    """

    class_id: int
    left: int
    top: int
    width: int
    height: int
    points: np.ndarray | None
    crop: np.ndarray | None

    @property
    def area(self):
        """Pixels that it covers; of a polygon, those that its outline encloses."""
        if self.points is None:
            return int(np.count_nonzero(self.crop))
        return abs(doubled_area(self.points)) / 2


def find_shapes(mask, tolerance):
    """The shapes of all regions but the background's.

    Args:
        mask: uint8 (H, W), class ids.
        tolerance: float, pixels by which outlines may be simplified.

    Returns:
        list of Shape: masks first, then polygons, each from large to small; painted in this
        order they give the mask, but for the tolerance.
    """
    regions, numbers = find_outlines(mask)
    simple = simplify_regions(regions, numbers, tolerance)
    pairs = [(a, b) for a, b in zip(regions, simple, strict=True) if a.class_id]
    polygons = [pair for pair in pairs if not pair[0].holes]
    masks = [pair for pair in pairs if pair[0].holes]
    shapes = []
    if masks:
        covered, given = np.zeros((2, *mask.shape), bool)
        for region, reduced in polygons if tolerance else ():
            rows, columns = bounds_of(region)
            covered[rows, columns] |= fill_rings([reduced.outer], rows, columns)
            given[rows, columns] |= numbers[rows, columns] == region.number
        given &= ~covered
        shapes = [_make_mask(*pair, numbers, covered, given) for pair in masks]
    shapes.sort(key=lambda shape: -shape.area)
    return shapes + sorted(map(_make_polygon, polygons), key=lambda shape: -shape.area)


def _make_mask(region, simple, numbers, covered, given):
    """The Shape of a region with holes.

    Args:
        region: Region, as it is.
        simple: Region, simplified.
        numbers: int32 (H, W), of the regions.
        covered: bool (H, W), what polygons cover.
        given: bool (H, W), what polygons gave up.
    """
    rows, columns = bounds_of(region)
    crop = (numbers[rows, columns] == region.number) & ~covered[rows, columns]
    if given[rows, columns].any():
        crop |= given[rows, columns] & fill_rings(rings_of(simple), rows, columns)
    # Its edge may have moved. Something is left: no polygon reaches as far as what encloses it.
    filled_rows, filled_columns = np.flatnonzero(crop.any(axis=1)), np.flatnonzero(crop.any(axis=0))
    top, left = int(filled_rows[0]), int(filled_columns[0])
    crop = crop[top : filled_rows[-1] + 1, left : filled_columns[-1] + 1]
    left, top = columns.start + left, rows.start + top
    return Shape(region.class_id, left, top, *crop.shape[::-1], None, crop)


def _make_polygon(pair):
    """The Shape of a region without holes: a pair of it and its simplified form."""
    points = pair[1].outer.points
    # Where a region touches itself, one of the two.
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Shape(pair[0].class_id, left, top, right - left, bottom - top, points, None)

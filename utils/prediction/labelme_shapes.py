"""The regions of a mask as labelme's shapes, to be corrected by hand.

labelme's polygons have no holes, and later shapes paint over earlier ones. So each region is
the polygon of its outer outline, holes and all, and what lies in the holes follows as shapes
of their own: other classes, or labelme's `_background_`. In the program a person then drags
outlines only; nothing has to be painted, and the small shapes lie above the large ones.

labelme turns a polygon into pixels by Pillow, which rounds its points down to pixels and
paints those on its outline too. Therefore the points lie a hundredth of a pixel inside of the
region. Then that rule gives the region, and so does the one of COCO's tools, by which a pixel
belongs where its centre is. Where a neighbour is painted later, they lie as far outside: it
covers what is too much, and slanted outlines leave no gap between the two (but for a pixel
here and there, where three regions meet).

With a tolerance, a pixel that changes has its centre within the tolerance and 1.25 pixels of
the outline that its region had: the rounding takes up to 0.71, the outline 0.5.
"""

import numpy as np
from PIL import Image, ImageDraw

from utils.prediction.outlines import doubled_area, find_outlines
from utils.prediction.simplify import bounds_of, fill_rings, grow, reach_of, simplify_regions

_INSET = 0.01


def find_labelme_shapes(mask, tolerance):
    """The shapes of all regions, and of the background where a shape would cover it.

    Args:
        mask: uint8 (H, W), class ids.
        tolerance: float, pixels by which outlines may be simplified.

    Returns:
        list of (class id, float64 (n, 2) x and y of a polygon, or else (left, top, bool
        (h, w)) of a mask), in the order in which they are painted. 0 is the background.
    """
    regions, numbers = find_outlines(mask)
    simple = {region.number: region for region in simplify_regions(regions, numbers, tolerance)}
    enclosed = _find_enclosed(regions)
    painted = [region for region in regions if region.class_id or region.number in enclosed]
    painted.sort(key=lambda region: -doubled_area(region.outer.points))
    rank = np.full(len(regions) + 1, -1)
    rank[[region.number for region in painted]] = np.arange(len(painted))
    around, shapes = np.pad(numbers, 1), []
    for region in painted:
        rows, columns = bounds_of(region)
        filled = fill_rings([region.outer], rows, columns)
        points = _place_points(simple[region.number].outer, rank, rank[region.number], tolerance)
        covered = _paint(points - (columns.start - 1, rows.start - 1), np.add(filled.shape, 2))
        # Of an area, and of a margin of one pixel around it, as of what is covered.
        nearby = around[rows.start : rows.stop + 2, columns.start : columns.stop + 2]
        later = rank[nearby] > rank[region.number]
        if not _is_faithful(covered, np.pad(filled, 1), later, tolerance):
            points = (columns.start, rows.start, filled)
        shapes.append((region.class_id, points))
    return shapes


def _find_enclosed(regions):
    """The numbers of the background's regions that lie in a hole of another region."""
    sides = [
        np.concatenate([ring.points, np.roll(ring.points, -1, axis=0)], axis=1)
        for ring in (region.outer for region in regions if region.class_id and region.holes)
    ]
    if not sides:
        return set()
    owners = np.repeat(np.arange(len(sides)), [len(part) for part in sides])
    x, y0, _, y1 = np.concatenate(sides).T
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)  # equal where a side is level
    enclosed = set()
    for region in regions:
        if region.class_id == 0:
            column, row = region.outer.points[0] + (region.outer.inward[0] - 1) // 2
            # Inside of an outline, an odd number of its sides is to the left.
            passed = owners[(x <= column) & (low <= row) & (row < high)]
            if (np.bincount(passed) % 2).any():
                enclosed.add(region.number)
    return enclosed


def _place_points(ring, rank, own, tolerance):
    """The points of an outline, a bit inside of it, or outside where it is painted over.

    Args:
        ring: Ring.
        rank: int (N,), when each region is painted, by its number; -1 if it isn't.
        own: int, when this region is.
        tolerance: float, as for `find_labelme_shapes`.

    Returns:
        float64 (n, 2).
    """
    leaves_later = rank[ring.beyond] > own
    side = np.where((leaves_later & ~ring.fixed)[:, None], -ring.inward, ring.inward)
    if tolerance:
        # Where the neighbour changes, a point outside may take pixels of the one that is
        # painted before. Inside, slanted outlines would leave gaps.
        arrives_later = np.roll(leaves_later, 1)
        side = np.where((ring.fixed & arrives_later)[:, None], ring.arriving, side)
        side = np.where((ring.fixed & leaves_later)[:, None], ring.leaving, side)
    return np.round(ring.points + _INSET * side, 2)


def _paint(points, size):
    """The pixels that labelme gives to a polygon: bool (height, width)."""
    canvas = Image.new("L", tuple(map(int, size[::-1])))
    ImageDraw.Draw(canvas).polygon(list(map(tuple, points.tolist())), outline=1, fill=1)
    return np.array(canvas).astype(bool)


def _is_faithful(covered, filled, later, tolerance):
    """Whether a polygon covers its region, and what is too much is painted over."""
    if tolerance == 0:
        return not (filled & ~covered).any() and not (covered & ~filled & ~later).any()
    reach = reach_of(tolerance)
    lost, added = filled & ~grow(covered, reach), covered & ~grow(filled, reach + 1)
    return not lost.any() and not added.any()

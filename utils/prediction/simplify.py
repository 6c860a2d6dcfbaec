"""Outlines with fewer points: each stretch that two regions share is simplified once.

So neighbours keep fitting each other: no gap and no overlap appears between them. Of each
stretch those points stay that Douglas and Peucker's method keeps. Therefore, with pixels
counted by their centres, every pixel that changes its region lies, with its centre, within
the tolerance of the outline that the region had.

What is thin would be lost by that, up to whole regions. So all points stay near a pixel that
would end up more than the tolerance (and a pixel) away from what is left of its region, and
where a region would fall apart.

Source: Douglas and Peucker, Algorithms for the reduction of the number of points required to
represent a digitized line or its caricature, Cartographica 10 (1973).
"""

import cv2
import numpy as np

_TRIALS = 4  # before a region that still isn't whole keeps all its points


def simplify_regions(regions, numbers, tolerance):
    """Simplifies the outlines of all regions of an image together.

    Args:
        regions, numbers: as from `utils.prediction.outlines.find_outlines`.
        tolerance: float, pixels; 0 changes nothing.

    Returns:
        list of Region, in the same order, with fewer points in their rings. A ring of a
        hole may be left with fewer than three: then it encloses nothing.
    """
    if tolerance == 0:
        return regions
    pinned = np.zeros(np.add(numbers.shape, 1), bool)
    simple, waiting, trial = {}, regions, 0
    while waiting:
        before, trial = pinned.copy(), trial + 1
        for region in waiting:
            rings = [_simplify_ring(ring, pinned, tolerance) for ring in rings_of(region)]
            simple[region.number] = region._replace(outer=rings[0], holes=rings[1:])
            lost = _find_lost(region, rings, numbers, tolerance)
            if lost is not None:
                _pin(region, lost, pinned, tolerance, everything=trial > _TRIALS)
        fresh = pinned & ~before
        waiting = [region for region in regions if _touches(region, fresh)]
    return [simple[region.number] for region in regions]


def rings_of(region):
    """All Rings of a Region, the outer one first."""
    return [region.outer, *region.holes]


def bounds_of(region):
    """(slice of rows, slice of columns) that a Region spans."""
    left, top = region.outer.points.min(axis=0).tolist()
    right, bottom = region.outer.points.max(axis=0).tolist()
    return slice(top, bottom), slice(left, right)


def fill_rings(rings, rows, columns):
    """The pixels whose centres are inside of rings, by the even-odd rule.

    As `utils.convert.rasterize.fill_polygon` fills them, for any number of rings at once.

    Args:
        rings: list of Ring, none of which reaches beyond the rows and columns.
        rows, columns: slices with a start and a stop.

    Returns:
        bool (rows, columns).
    """
    starts = np.concatenate([ring.points for ring in rings])
    ends = np.concatenate([np.roll(ring.points, -1, axis=0) for ring in rings])
    downwards = (starts[:, 1] < ends[:, 1])[:, None]
    (x0, y0), (x1, y1) = np.where(downwards, starts, ends).T, np.where(downwards, ends, starts).T
    # An edge crosses the centre lines of the rows between its ends, y0 to y1 - 1.
    counts = y1 - y0
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts - y0, counts)
    slopes = (x1 - x0) / np.maximum(counts, 1)
    crossings = x0[edge] + (row + 0.5 - y0[edge]) * slopes[edge]
    column = np.ceil(crossings - 0.5).astype(np.int64)
    # There, inside and outside change places.
    changes = np.zeros((rows.stop - rows.start, columns.stop - columns.start + 1), bool)
    np.logical_xor.at(changes, (row - rows.start, column - columns.start), True)
    return np.logical_xor.accumulate(changes[:, :-1], axis=1)


def _find_lost(region, rings, numbers, tolerance):
    """The pixels that show that a region is not whole in these rings; None if it is.

    Returns:
        bool (rows, columns) of the region's bounds, or None.
    """
    rows, columns = bounds_of(region)
    exact = numbers[rows, columns] == region.number
    kept = fill_rings(rings, rows, columns)
    lost = exact & ~grow(kept, reach_of(tolerance))
    if lost.any():
        return lost
    if cv2.connectedComponents(kept.view(np.uint8), connectivity=8)[0] > 2:
        return exact & ~kept
    return None


def reach_of(tolerance):
    """How many king's moves a pixel may be from what is left of its region."""
    return max(1, int(tolerance))


def grow(inside, moves):
    """bool (H, W): `inside`, and what is up to so many king's moves from it."""
    side = 2 * moves + 1
    return cv2.dilate(inside.view(np.uint8), np.ones((side, side), np.uint8)).astype(bool)


def _pin(region, lost, pinned, tolerance, everything):
    """Marks the points of a region near lost pixels; all if these were marked already."""
    rows, columns = bounds_of(region)
    near = grow(lost, reach_of(tolerance) + 1)
    before = np.count_nonzero(pinned[rows.start : rows.stop + 1, columns.start : columns.stop + 1])
    for ring in rings_of(region):
        x, y = (ring.points + (ring.inward - 1) // 2 - (columns.start, rows.start)).T
        chosen = ring.points[near[y, x]]
        pinned[chosen[:, 1], chosen[:, 0]] = True
    after = np.count_nonzero(pinned[rows.start : rows.stop + 1, columns.start : columns.stop + 1])
    if everything or before == after:
        for ring in rings_of(region):
            pinned[ring.points[:, 1], ring.points[:, 0]] = True


def _touches(region, marked):
    return any(marked[ring.points[:, 1], ring.points[:, 0]].any() for ring in rings_of(region))


def _simplify_ring(ring, pinned, tolerance):
    """The Ring with those of its points that must stay."""
    x, y = ring.points.T
    stays = ring.fixed | pinned[y, x]
    if not stays.any():
        # Alone, the same loop around a region and in what surrounds it starts at one point.
        stays[np.lexsort((x, y))[0]] = True
    starts = np.flatnonzero(stays)
    ends = np.append(starts[1:], starts[0] + len(stays))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - start > 1:
            indices = np.arange(start, end + 1) % len(stays)
            stays[indices[_reduce(ring.points[indices], tolerance)]] = True
    return type(ring)(*(values[stays] for values in ring))


def _reduce(points, tolerance):
    """Douglas and Peucker's method: the indices of the points of a line that stay."""
    # Either way along the line gives the same points, where distances are equal too.
    if (*points[0], *points[1]) > (*points[-1], *points[-2]):
        return len(points) - 1 - _reduce(points[::-1], tolerance)
    kept, open_parts = [0, len(points) - 1], [(0, len(points) - 1)]
    while open_parts:
        first, last = open_parts.pop()
        if last - first < 2:
            continue
        distances = _distances(points[first + 1 : last], points[first], points[last])
        farthest = int(distances.argmax())
        if distances[farthest] > tolerance**2:
            middle = first + 1 + farthest
            kept.append(middle)
            open_parts += [(first, middle), (middle, last)]
    return np.array(kept)


def _distances(points, start, end):
    """The squared distance of each point (n, 2) from the straight line between two others."""
    along, away = end - start, points - start
    length = max(1, int(along @ along))
    share = np.clip(away @ along / length, 0, 1)
    return ((away - share[:, None] * along) ** 2).sum(axis=1)

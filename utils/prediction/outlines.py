"""The outlines of a mask's regions: closed ways along the edges between pixels.

The pixel in row r and column c covers [c, c + 1) by [r, r + 1). An outline runs clockwise
around a region and counter-clockwise around each of its holes, the region to its right:

    (1, 1) > > (3, 1)      the outline of two pixels, (row 1, column 1) and (1, 2)
      ^          v
    (1, 2) < < (3, 2)

Pixels of one class that touch by an edge belong to one region, and those that touch by a
corner alone too, unless the two pixels across have a larger class in common: then these are
one region there. So thin slanted lines stay whole, and no two regions cross.
"""

from typing import NamedTuple

import cv2
import numpy as np

from utils.prediction.draw import pixels_of_values
from utils.prediction.sides import find_sides

_OUTSIDE = -1  # the class of what is beyond the image


class Ring(NamedTuple):
    """One closed outline.

    Attributes:
        points: int64 (n, 2), x and y of its corners, and of the points where three regions
            meet or two touch; one where the region touches itself stands twice.
        inward: int64 (n, 2), -1 or 1: on which side of a point, in x and y, a pixel of the
            region lies.
        fixed: bool (n,), points where more than two regions or the image's edges meet.
        beyond: int32 (n,), the region on the other side of the way that leaves a point; 0:
            beyond the image.
        leaving, arriving: int64 (n, 2), as `inward`, for the pixel on the other side of the
            way that leaves a point, and of the way that arrives there.
    """

    points: np.ndarray
    inward: np.ndarray
    fixed: np.ndarray
    beyond: np.ndarray
    leaving: np.ndarray
    arriving: np.ndarray


class Region(NamedTuple):
    """Pixels of one class that hang together.

    Attributes:
        class_id: int; 0 is the background.
        number: int from 1 on, its value in the map of regions.
        outer: Ring around it.
        holes: list of Ring.
    """

    class_id: int
    number: int
    outer: Ring
    holes: list


def find_outlines(mask):
    """Finds all regions of a mask, the background's too, and their outlines.

    Args:
        mask: uint8 (H, W), class ids.

    Returns:
        (list of Region by number, int32 (H, W) number of each pixel's region).
    """
    padded = np.pad(mask.astype(np.int16), 1, constant_values=_OUTSIDE)
    numbers = _number_regions(mask)
    sides = find_sides(padded, np.pad(numbers, 1))
    outer, holes = {}, {}
    for cycle in _find_cycles(sides.following):
        ring, number = _make_ring(sides, np.array(cycle))
        if doubled_area(ring.points) > 0:
            outer[number] = ring
        else:
            holes.setdefault(number, []).append(ring)
    first = np.zeros(len(outer) + 1, np.int16)
    first[numbers] = mask
    regions = [
        Region(int(first[number]), number, outer[number], holes.get(number, []))
        for number in sorted(outer)
    ]
    return regions, numbers


def doubled_area(points):
    """Twice the area that points (n, 2) enclose; negative if they run counter-clockwise."""
    after = np.roll(points, -1, axis=0)
    return int((points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]).sum())


def _number_regions(mask):
    """int32 (H, W): a number from 1 on for each region."""
    numbers, count = np.zeros(mask.shape, np.int32), 0
    for value in np.flatnonzero(pixels_of_values(mask)):
        found, labels = cv2.connectedComponents((mask == value).view(np.uint8), connectivity=4)
        labels[labels > 0] += count
        numbers += labels
        count += found - 1
    parent = np.arange(count + 1)

    def root(number):
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for one, other in _corner_links(mask, numbers):
        parent[root(one)] = root(other)
    roots = np.array([root(number) for number in range(count + 1)])
    return np.unique(roots, return_inverse=True)[1].astype(np.int32)[numbers]


def _corner_links(ids, numbers):
    """Pairs of numbers whose pixels touch by a corner and are one region there."""
    a, b, c, d = ids[:-1, :-1], ids[:-1, 1:], ids[1:, :-1], ids[1:, 1:]
    apart = (a != b) & (a != c) & (d != b) & (d != c)
    falling = apart & (a == d) & ((b != c) | (a > b))
    rising = apart & (b == c) & ((a != d) | (b > a))
    pairs = [
        np.stack([numbers[:-1, :-1][falling], numbers[1:, 1:][falling]], axis=1),
        np.stack([numbers[:-1, 1:][rising], numbers[1:, :-1][rising]], axis=1),
    ]
    return np.unique(np.concatenate(pairs), axis=0).tolist()


def _find_cycles(following):
    """Yields the cycles of a permutation, each a list of indices."""
    following = following.tolist()
    seen = bytearray(len(following))
    for start in range(len(following)):
        if seen[start]:
            continue
        cycle, index = [], start
        while not seen[index]:
            seen[index] = 1
            cycle.append(index)
            index = following[index]
        yield cycle


def _make_ring(sides, cycle):
    """The Ring of a cycle of sides, and the number of its region."""
    kept = cycle[sides.kept[cycle]]
    # Where the region touches itself by a corner, the way leads through both of its pixels.
    order = np.repeat(kept, 1 + sides.twice[kept])
    inward = sides.inward[order]
    first = np.flatnonzero(order[:-1] == order[1:])
    inward[first] = sides.inward_before[order[first]]
    ring = Ring(
        sides.points[order],
        inward,
        sides.fixed[order],
        sides.beyond[order],
        sides.leaving[order],
        sides.arriving[order],
    )
    return ring, int(sides.own[cycle[0]])

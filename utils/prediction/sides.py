"""The sides of pixels at which classes change, and which of them follow each other.

Together they are the outlines of `utils.prediction.outlines`, where the rules stand.
"""

from typing import NamedTuple

import numpy as np

_STEPS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])  # (row, column): right, down, left, up


class Sides(NamedTuple):
    """The sides of pixels at which classes change, each with the pixel's region to its right.

    Attributes:
        following: int64 (n,), index of the side that comes next on the outline.
        points: int64 (n, 2), x and y of where it starts.
        inward, inward_before: int64 (n, 2), see `Ring`; the second where `twice`.
        fixed, kept, twice: bool (n,): how often, and how, its start stands in the Ring.
        own, beyond: int32 (n,), the regions to its right and to its left.
        leaving, arriving: int64 (n, 2), see `Ring`.
    """

    following: np.ndarray
    points: np.ndarray
    inward: np.ndarray
    inward_before: np.ndarray
    fixed: np.ndarray
    kept: np.ndarray
    twice: np.ndarray
    own: np.ndarray
    beyond: np.ndarray
    leaving: np.ndarray
    arriving: np.ndarray


def find_sides(padded, numbers):
    """The Sides of class ids, and of the numbers of regions, with a margin of one pixel."""
    width = padded.shape[1]
    ids, steps = padded.ravel(), _STEPS @ (width, 1)
    pixels, directions = _list_sides(padded)
    to_left = (directions - 1) % 4
    beside, ahead = pixels + steps[to_left], pixels + steps[directions]
    across = ahead + steps[to_left]
    own, is_ahead = ids[pixels], ids[ahead] == ids[pixels]
    is_linked = is_ahead | (ids[ahead] != ids[beside]) | (own > ids[beside])
    left = (ids[across] == own) & is_linked
    straight = is_ahead & ~left
    turn = np.where(left, -1, np.where(straight, 0, 1))
    code = 4 * np.where(left, across, np.where(straight, ahead, pixels)) + (directions + turn) % 4
    following = np.searchsorted(4 * pixels + directions, code)
    # From here on of the way on which a side is reached.
    before = np.argsort(following)
    turn, straight_on, pixel_before = turn[before], ahead[before], pixels[before]
    twice = (turn == -1) & ~is_ahead[before]
    points, is_corner = _starts(pixels, directions, padded.shape)
    fixed = is_corner | (_count_changes(padded, points) > 2)
    inner = np.where((turn == -1) & ~twice, straight_on, pixels)
    return Sides(
        following,
        points,
        _side_of(inner, points, width),
        _side_of(pixel_before, points, width),
        fixed,
        fixed | (turn != 0),
        twice,
        numbers.ravel()[pixels],
        numbers.ravel()[beside],
        _side_of(beside, points, width),
        _side_of(beside[before], points, width),
    )


def _list_sides(padded):
    """(flat indices of pixels, directions) of all sides at which classes change, sorted."""
    height, width = padded.shape
    inner, codes = padded[1:-1, 1:-1], []
    for direction in range(4):
        row, column = _STEPS[(direction - 1) % 4]
        beside = padded[1 + row : height - 1 + row, 1 + column : width - 1 + column]
        rows, columns = np.nonzero(inner != beside)
        codes.append(((rows + 1) * width + columns + 1) * 4 + direction)
    codes = np.sort(np.concatenate(codes))
    return codes // 4, codes % 4


def _starts(pixels, directions, shape):
    """Where sides start, x and y in the image, and whether at one of its corners."""
    # At the upper left of its pixel when a side moves right, then around the pixel.
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    height, width = np.subtract(shape, 2)
    points = np.stack([pixels % shape[1], pixels // shape[1]], axis=1) + corners[directions] - 1
    return points, np.isin(points[:, 0], (0, width)) & np.isin(points[:, 1], (0, height))


def _count_changes(padded, points):
    """How many of the four sides that meet at points lie between classes."""
    x, y = points.T
    around = [padded[y, x], padded[y, x + 1], padded[y + 1, x + 1], padded[y + 1, x]]
    return sum((around[i] != around[i - 1]).astype(np.int64) for i in range(4))


def _side_of(pixels, points, width):
    """On which side of points pixels lie: -1 or 1 in x and y."""
    return 2 * (np.stack([pixels % width, pixels // width], axis=1) - 1 - points) + 1

"""What is measured of regions, all of an image at once, a strip of rows at a time."""

import math

import numpy as np

_STRIP = 2**20  # pixels


def perimeters(numbers, count):
    """The perimeter of each of `count` regions, as `Region` defines it: list of float."""
    height, width = numbers.shape
    crossings = np.zeros((2, count + 1), np.int64)  # along rows and columns; along diagonals
    step = max(1, _STRIP // width)
    # Rows from the one above the image on: beyond its edges there is no region.
    for top in range(-1, height, step):
        rows = numbers[max(top, 0) : min(top + step + 1, height)]
        above, below = int(top < 0), int(top + step + 1 > height)
        block = np.pad(rows, ((above, below), (1, 1)))
        upper, lower = block[:-1], block[1:]
        for kind, one, other in (
            (0, upper[:, :-1], upper[:, 1:]),
            (0, upper, lower),
            (1, upper[:, :-1], lower[:, 1:]),
            (1, upper[:, 1:], lower[:, :-1]),
        ):
            differs = one != other
            for side in (one, other):
                crossings[kind] += np.bincount(side[differs], minlength=count + 1)
    return (math.pi / 8 * (crossings[0] + crossings[1] / math.sqrt(2)))[1:].tolist()


def means(numbers, image, areas):
    """The mean of an image in each region: list of float."""
    sums = np.zeros(len(areas) + 1)
    step = max(1, _STRIP // numbers.shape[1])
    for top in range(0, len(numbers), step):
        part = image[top : top + step]
        values = part.reshape(*part.shape[:2], -1).mean(axis=2, dtype=np.float64)
        rows = numbers[top : top + step]
        sums += np.bincount(rows.ravel(), values.ravel(), minlength=len(sums))
    return (sums[1:] / areas).tolist()

"""Shapes drawn pixel by pixel from their definitions: what fast drawing is compared with."""

import math

import numpy as np


def draw_where(holds, size):
    """bool (H, W): the pixels for whose centre (x, y) `holds` is true."""
    return np.array(
        [[holds(column + 0.5, row + 0.5) for column in range(size[1])] for row in range(size[0])]
    )


def in_polygon(points, x, y):
    """Whether a ray from (x, y) to the right crosses the outline an odd number of times."""
    inside = False
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
    return inside


def turned_back(x, y, pivot, degrees):
    """(x, y) relative to `pivot`, turned counter-clockwise on a screen, where y points down."""
    angle = math.radians(-degrees)
    x, y = x - pivot[0], y - pivot[1]
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


def polygon(points, size):
    return draw_where(lambda x, y: in_polygon(points, x, y), size)


def box(left, top, right, bottom, size, degrees=0, pivot=None):
    pivot = pivot or ((left + right) / 2, (top + bottom) / 2)

    def holds(x, y):
        x, y = turned_back(x, y, pivot, degrees)
        return left <= x + pivot[0] < right and top <= y + pivot[1] < bottom

    return draw_where(holds, size)


def ellipse(center, radii, size, degrees=0):
    def holds(x, y):
        x, y = turned_back(x, y, center, degrees)
        return (x / radii[0]) ** 2 + (y / radii[1]) ** 2 <= 1

    return draw_where(holds, size)

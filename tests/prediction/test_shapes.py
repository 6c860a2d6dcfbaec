"""Polygons for regions without holes, masks for those with."""

import numpy as np
import pytest

from utils.convert.rasterize import fill_polygon
from utils.prediction.shapes import find_shapes


def disc(size, center, radius):
    y, x = np.indices(size)
    return np.hypot(y - center[0], x - center[1]) < radius


def draw(shapes, size):
    """The shapes painted one after the other, and how many cover each pixel."""
    ids, times = np.zeros(size, np.uint8), np.zeros(size, int)
    for shape in shapes:
        inside = np.zeros(size, bool)
        if shape.points is None:
            rows = slice(shape.top, shape.top + shape.height)
            inside[rows, shape.left : shape.left + shape.width] = shape.crop
        else:
            inside = fill_polygon(list(map(tuple, shape.points.tolist())), size)
        ids[inside] = shape.class_id
        times += inside
    return ids, times


def test_a_polygon_and_its_measures():
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 2:7] = mask[3, 2] = 4
    [shape] = find_shapes(mask, 0)
    assert (shape.class_id, shape.area, shape.crop) == (4, 11, None)
    assert (shape.left, shape.top, shape.width, shape.height) == (2, 1, 5, 3)
    assert shape.points.tolist() == [[2, 1], [7, 1], [7, 3], [3, 3], [3, 4], [2, 4]]


def test_the_background_has_no_shape():
    assert find_shapes(np.zeros((3, 4), np.uint8), 1) == []


def test_a_region_with_a_hole_is_a_mask():
    mask = np.zeros((6, 8), np.uint8)
    mask[1:5, 2:7] = 4
    mask[2, 3] = 0
    [shape] = find_shapes(mask, 0)
    assert (shape.points, shape.area) == (None, 19)
    assert (shape.left, shape.top, shape.width, shape.height) == (2, 1, 5, 4)
    np.testing.assert_array_equal(shape.crop, mask[1:5, 2:7] == 4)


@pytest.mark.parametrize("tolerance", [0, 1, 5])
def test_on_the_background_a_mask_is_exact(tolerance):
    size = (60, 70)
    ring = disc(size, (30, 35), 25) & ~disc(size, (28, 33), 12)
    [shape] = find_shapes(ring.astype(np.uint8), tolerance)
    np.testing.assert_array_equal(draw([shape], size)[0], ring)


@pytest.mark.parametrize("tolerance", [1, 3])
def test_a_mask_fits_the_polygons_beside_it(tolerance):
    size = (60, 70)
    mask = np.full(size, 2, np.uint8)  # with holes
    mask[disc(size, (20, 20), 12)] = 1
    mask[disc(size, (40, 40), 14)] = 3
    mask[disc(size, (8, 60), 5)] = 0
    mask[:, 66:] = 4
    shapes = find_shapes(mask, tolerance)
    assert [shape.points is None for shape in shapes] == [True, False, False, False]
    ids, times = draw(shapes, size)
    assert np.count_nonzero(ids != mask) > 0
    # One shape a pixel, and none in the hole that nothing fills.
    np.testing.assert_array_equal(times, mask != 0)


def test_large_shapes_come_first():
    mask = np.zeros((20, 20), np.uint8)
    mask[1, 1], mask[5:9, 5:9], mask[12:14, 3:9] = 1, 2, 3
    assert [shape.class_id for shape in find_shapes(mask, 0)] == [2, 3, 1]


def test_a_mask_that_gives_up_its_edge_keeps_a_tight_box():
    # Polygons on all sides of a ring, whose simplified outlines take what stands out.
    size = (40, 40)
    mask = np.where(disc(size, (20, 20), 17), 1, 2).astype(np.uint8)
    mask[disc(size, (20, 20), 6)] = 3
    mask[:, 20][mask[:, 20] == 2] = 3
    mask[20][mask[20] == 2] = 3
    [ring] = [shape for shape in find_shapes(mask, 3) if shape.class_id == 1]
    assert ring.crop.shape == (ring.height, ring.width)
    for edge in (ring.crop[0], ring.crop[-1], ring.crop[:, 0], ring.crop[:, -1]):
        assert edge.any()

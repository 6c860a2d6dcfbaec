"""Simplified outlines: how far they may stray, and that nothing is lost."""

import cv2
import numpy as np
import pytest
from random_masks import distance_from_outlines, random_mask

from utils.convert.rasterize import fill_polygon
from utils.prediction.outlines import find_outlines
from utils.prediction.simplify import bounds_of, fill_rings, rings_of, simplify_regions

TOLERANCES = (0.5, 1, 1, 2, 3.7)


def test_the_distance_from_outlines():
    mask = np.zeros((5, 5), np.uint8)
    mask[1:4, 1:4] = 1
    distance = distance_from_outlines(mask)
    assert (distance[2, 2], distance[1, 2], distance[0, 2]) == (1.5, 0.5, 0.5)
    assert distance[0, 0] == 0.5  # from the image's edge
    mask = np.zeros((9, 9), np.uint8)
    mask[:4, :4] = 1
    assert distance_from_outlines(mask)[4, 4] == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("number", range(20))
def test_rings_are_filled_as_polygons_are(number):
    mask = random_mask(number)
    regions, numbers = find_outlines(mask)
    for region in simplify_regions(regions, numbers, number % 4):
        rings, (rows, columns) = rings_of(region), bounds_of(region)
        expected = np.zeros(mask.shape, bool)
        for ring in rings:
            expected ^= fill_polygon(list(map(tuple, ring.points.tolist())), mask.shape)
        np.testing.assert_array_equal(fill_rings(rings, rows, columns), expected[rows, columns])


@pytest.mark.parametrize("number", range(60))
def test_little_changes_and_nothing_is_lost(number):
    mask, tolerance = random_mask(number, most=30), TOLERANCES[number % len(TOLERANCES)]
    regions, numbers = find_outlines(mask)
    simple = simplify_regions(regions, numbers, tolerance)
    assert [one.number for one in simple] == [one.number for one in regions]
    unchanged = distance_from_outlines(mask) > tolerance + 1e-4
    times = np.zeros(mask.shape, int)
    side = 2 * max(1, int(tolerance)) + 1
    for region in simple:
        found = fill_rings(rings_of(region), *map(slice, (0, 0), mask.shape))
        exact = numbers == region.number
        np.testing.assert_array_equal(found[unchanged], exact[unchanged])
        times += found
        # In one piece, besides what is outside, and near all of its pixels.
        assert cv2.connectedComponents(found.astype(np.uint8), connectivity=8)[0] == 2
        assert cv2.dilate(found.astype(np.uint8), np.ones((side, side)))[exact].all()
    # Neighbours share what was simplified: nowhere a gap.
    assert times.min() == 1


@pytest.mark.parametrize("tolerance", [1, 3, 100])
def test_thin_and_small_ones_stay(tolerance):
    mask = np.zeros((60, 60), np.uint8)
    mask[3, 3] = 1
    mask[10, 5:50] = 2
    mask[20:22, 40:55] = 3
    regions, numbers = find_outlines(mask)
    for region in simplify_regions(regions, numbers, tolerance):
        rows, columns = bounds_of(region)
        found = fill_rings(rings_of(region), rows, columns)
        np.testing.assert_array_equal(found, numbers[rows, columns] == region.number)


def test_a_pole_stays_on_its_block():
    mask = np.zeros((40, 40), np.uint8)
    mask[20:, :15], mask[30, 15:35] = 1, 1
    regions, numbers = find_outlines(mask)
    _, simple = simplify_regions(regions, numbers, 1)
    found = fill_rings(rings_of(simple), *map(slice, (0, 0), mask.shape))
    assert np.count_nonzero(found[30, 15:35]) >= 19


def test_a_stair_becomes_a_slope():
    # Twenty steps, whose inner corners lie half a diagonal, 0.7071, from the outer ones' line.
    regions, numbers = find_outlines(np.tril(np.ones((20, 20), np.uint8)))
    slope = [[0, 0], [1, 0], [20, 19], [20, 20], [0, 20]]
    for tolerance, is_slope in ((0.7, False), (0.7072, True), (5, True)):
        _, below = simplify_regions(regions, numbers, tolerance)
        assert (below.outer.points.tolist() == slope) == is_slope


def test_a_tolerance_of_0_keeps_all():
    regions, numbers = find_outlines(random_mask(3))
    assert simplify_regions(regions, numbers, 0) is regions


def test_smooth_outlines_lose_most_of_their_points():
    y, x = np.indices((200, 200))
    mask = (np.hypot(y - 100, x - 100) < 80).astype(np.uint8)
    regions, numbers = find_outlines(mask)
    _, exact = regions
    _, simple = simplify_regions(regions, numbers, 1)
    assert len(simple.outer.points) < 0.2 * len(exact.outer.points)
    # A chord strays from a circle by its sagitta, r - sqrt(r^2 - c^2 / 4), so chords of a
    # radius of 80 and a tolerance of 1 are about 25 long, and there are about 20.
    assert len(simple.outer.points) >= 15

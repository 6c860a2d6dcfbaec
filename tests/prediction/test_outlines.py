"""Outlines: where they run, and that their insides are the regions."""

import numpy as np
import pytest
from random_masks import random_mask

from utils.prediction.outlines import doubled_area, find_outlines


def winding_numbers(rings, size):
    """How often rings run clockwise around each pixel's centre: int (H, W)."""
    y, x = np.indices(size) + 0.5
    count = np.zeros(size, int)
    for ring in rings:
        ends = np.roll(ring.points, -1, axis=0)
        for (x0, y0), (x1, y1) in zip(ring.points, ends, strict=True):
            assert x0 == x1 or y0 == y1  # along the edges of pixels
            if x0 == x1:
                # A side upwards to the left of a pixel is one turn around it, clockwise.
                passed = (x0 < x) & (min(y0, y1) < y) & (y < max(y0, y1))
                count += np.where(passed, 1 if y1 < y0 else -1, 0)
    return count


def test_two_pixels():
    regions, numbers = find_outlines(np.array([[0, 0, 0, 0], [0, 7, 7, 0]], np.uint8))
    np.testing.assert_array_equal(numbers, [[1, 1, 1, 1], [1, 2, 2, 1]])
    background, pair = regions
    assert (background.class_id, pair.class_id, pair.number) == (0, 7, 2)
    assert pair.outer.points.tolist() == [[1, 1], [3, 1], [3, 2], [1, 2]]
    assert pair.outer.inward.tolist() == [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    # At the image's lower edge, three meet: two regions and what is beyond the image.
    assert pair.outer.fixed.tolist() == [False, False, True, True]
    assert pair.outer.beyond.tolist() == [1, 1, 0, 1]
    assert (pair.holes, background.holes) == ([], [])


def test_the_pixels_on_the_other_side_of_the_way():
    regions, _ = find_outlines(np.array([[1, 2], [3, 3]], np.uint8))
    ring = regions[2].outer  # two pixels below
    assert ring.points.tolist() == [[0, 1], [1, 1], [2, 1], [2, 2], [0, 2]]
    assert ring.fixed.tolist() == [True] * 5
    assert ring.beyond.tolist() == [1, 2, 0, 0, 0]
    # Towards the middle of the upper side, from its left and from its right.
    assert (ring.leaving[1].tolist(), ring.arriving[1].tolist()) == ([1, -1], [-1, -1])


def test_a_hole_runs_the_other_way():
    mask = np.ones((5, 6), np.uint8)
    mask[1:3, 2:5] = 0
    _, ring = find_outlines(mask)[0]
    [hole] = ring.holes
    assert doubled_area(ring.outer.points) == 2 * 30
    assert doubled_area(hole.points) == -2 * 6
    assert sorted(hole.points.tolist()) == [[2, 1], [2, 3], [5, 1], [5, 3]]


def test_corners_link_pixels_of_one_class():
    slant = np.eye(4, dtype=np.uint8)
    regions, numbers = find_outlines(slant)
    assert np.unique(numbers[slant == 1]).size == 1
    # The background falls apart: it has the smaller class.
    assert [region.class_id for region in regions].count(0) == 2
    assert np.unique(numbers).size == 3


def test_where_two_classes_cross_the_larger_one_stays_whole():
    regions, numbers = find_outlines(np.array([[5, 3], [3, 5]], np.uint8))
    assert numbers[0, 0] == numbers[1, 1]
    assert numbers[0, 1] != numbers[1, 0]
    [five] = [region for region in regions if region.class_id == 5]
    # Around both, through the point where they touch twice on each of its two ways.
    assert five.outer.points.tolist().count([1, 1]) == 4
    assert doubled_area(five.outer.points) == 4


@pytest.mark.parametrize("mask", [np.zeros((1, 1)), np.full((3, 1), 4), np.ones((2, 5))])
def test_one_region_fills_the_image(mask):
    [region], numbers = find_outlines(mask.astype(np.uint8))
    height, width = mask.shape
    corners = [[0, 0], [width, 0], [width, height], [0, height]]
    assert region.outer.points.tolist() == corners
    assert np.all(numbers == 1)


@pytest.mark.parametrize("number", range(60))
def test_the_inside_of_the_outlines_is_the_region(number):
    mask = random_mask(number, most=24)
    regions, numbers = find_outlines(mask)
    assert [region.number for region in regions] == list(range(1, numbers.max() + 1))
    for region in regions:
        inside = winding_numbers([region.outer, *region.holes], mask.shape)
        np.testing.assert_array_equal(inside, numbers == region.number)
        assert np.all(mask[numbers == region.number] == region.class_id)


@pytest.mark.parametrize("number", range(20))
def test_what_is_said_of_points_is_so(number):
    mask = random_mask(number)
    regions, numbers = find_outlines(mask)
    around = np.pad(numbers, 1)
    for region in regions:
        for ring in (region.outer, *region.holes):
            inner, leaving = (
                around[tuple((ring.points + (side + 1) // 2)[:, ::-1].T)]
                for side in (ring.inward, ring.leaving)
            )
            assert np.all(inner == region.number)
            np.testing.assert_array_equal(leaving, ring.beyond)
            # Only at fixed points does the neighbour change.
            arriving = np.roll(ring.beyond, 1)
            assert np.all((arriving == ring.beyond) | ring.fixed)


@pytest.mark.parametrize("number", range(20))
def test_neighbours_have_the_same_points_in_common(number):
    regions, _ = find_outlines(random_mask(number))
    sides = set()
    for region in regions:
        for ring in (region.outer, *region.holes):
            points = list(map(tuple, ring.points.tolist()))
            ways = zip(points, [*points[1:], points[0]], ring.beyond.tolist(), strict=True)
            sides |= {(region.number, beyond, a, b) for a, b, beyond in ways if beyond and a != b}
    assert sides == {(beyond, own, b, a) for own, beyond, a, b in sides}

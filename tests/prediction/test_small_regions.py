"""Small regions give way, one after the other, as the rule says."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from random_masks import random_mask

from utils.prediction import small_regions
from utils.prediction.regions import number_regions
from utils.prediction.small_regions import drop_small_regions

SIDES, CORNERS = ((0, 1), (1, 0), (0, -1), (-1, 0)), ((1, 1), (1, -1), (-1, 1), (-1, -1))


def flood(mask, start):
    """The pixels of one region, a set of (row, column)."""
    region, queue = {start}, [start]
    while queue:
        row, column = queue.pop()
        for y, x in SIDES + CORNERS:
            place = row + y, column + x
            if place not in region and is_inside(mask, place) and mask[place] == mask[start]:
                region.add(place)
                queue.append(place)
    return region


def is_inside(mask, place):
    return 0 <= place[0] < mask.shape[0] and 0 <= place[1] < mask.shape[1]


def drop_by_hand(mask, least):
    """The rule, word for word: all regions are looked for anew after each change."""
    mask = mask.copy()
    while True:
        regions, seen = [], set()
        for start in np.ndindex(mask.shape):
            if start not in seen:
                regions.append(flood(mask, start))
                seen |= regions[-1]
        small = [region for region in regions if len(region) < least]
        if not small or len(regions) == 1:
            return mask
        region = min(small, key=lambda one: (len(one), min(one)))
        sides = {}
        for row, column in region:
            for y, x in SIDES:
                place = row + y, column + x
                if place not in region and is_inside(mask, place):
                    sides[mask[place]] = sides.get(mask[place], 0) + 1
        taken = min(sides, key=lambda class_id: (-sides[class_id], class_id))
        for place in region:
            mask[place] = taken


@given(seed=st.integers(0, 10**6), height=st.integers(1, 9), width=st.integers(1, 9),
       classes=st.integers(1, 4), least=st.integers(0, 30))  # fmt: skip
@example(0, 1, 1, 2, 5)
def test_it_is_the_rule(seed, height, width, classes, least):
    mask = np.random.default_rng(seed).integers(0, classes, (height, width)).astype(np.uint8)
    before = mask.copy()
    np.testing.assert_array_equal(drop_small_regions(mask, least), drop_by_hand(mask, least))
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("number", range(15))
def test_nothing_small_is_left(number):
    mask = random_mask(number, 30, 60)
    for least in (2, 7, 40):
        found = drop_small_regions(mask, least)
        _, parts = number_regions(found, 256)
        assert len(parts) == 1 or min(part.area for part in parts) >= least
        _, before = number_regions(mask, 256)
        if min(part.area for part in before) >= least:
            assert found is mask


def test_by_hand():
    mask = np.zeros((6, 8), np.uint8)
    mask[1:5, 1:5] = 1
    mask[2, 2] = 0  # a hole of the background is a region too
    mask[2, 7] = 2  # shares three sides with the background
    mask[4, 5] = 3  # one with class 1, three with the background
    found = drop_small_regions(mask, 3)
    expected = np.zeros((6, 8), np.uint8)
    expected[1:5, 1:5] = 1
    np.testing.assert_array_equal(found, expected)


def test_of_equal_sides_the_lowest_class():
    mask = np.array([[2, 2, 3, 1, 1], [2, 2, 3, 1, 1]], np.uint8)
    np.testing.assert_array_equal(drop_small_regions(mask, 3)[0], [2, 2, 1, 1, 1])


def test_the_smallest_goes_first():
    # The single pixel goes to its neighbour, which is large enough then, and stays.
    mask = np.array([[0, 0, 0, 0, 1, 1, 2]], np.uint8)
    np.testing.assert_array_equal(drop_small_regions(mask, 3)[0], [0, 0, 0, 0, 1, 1, 1])


def test_an_image_that_is_too_small_becomes_one_region():
    mask = np.array([[1, 2], [2, 2]], np.uint8)
    np.testing.assert_array_equal(drop_small_regions(mask, 100), np.full((2, 2), 2))


@pytest.mark.parametrize("strip", [1, 9, 25])
def test_strips_do_not_matter(rng, monkeypatch, strip):
    mask = rng.integers(0, 3, (20, 9)).astype(np.uint8)
    expected = drop_small_regions(mask, 6)
    monkeypatch.setattr(small_regions, "_STRIP", strip)
    np.testing.assert_array_equal(drop_small_regions(mask, 6), expected)

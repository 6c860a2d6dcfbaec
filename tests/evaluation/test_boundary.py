"""Boundary IoU against the authors' way: each class' mask, eroded as often as the band is wide."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from utils.evaluation.boundary import boundary_counts, boundary_distance, boundary_region
from utils.labels import VOID


def eroded(mask):
    """One erosion of a bool mask by 3x3; what is beyond the image is no part of it."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    parts = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.logical_and.reduce(parts)


def band(mask, distance):
    """The pixels of a bool mask that `distance` erosions take away."""
    inside = mask
    for _ in range(distance):
        inside = eroded(inside)
    return mask & ~inside


def counted(true, predicted, num_classes, distance):
    """[intersections, unions] by the definition, class after class."""
    valid = true < num_classes
    bands = [
        (band((true == c) & valid, distance), band((predicted == c) & valid, distance))
        for c in range(num_classes)
    ]
    return [[int((g & p).sum()) for g, p in bands], [int((g | p).sum()) for g, p in bands]]


@pytest.mark.parametrize(
    ("size", "distance"),
    # The diagonals are 600, 500, 10 and 75.01, of which 2% are 12, 10, 0.2 and 1.5002.
    [((360, 480), 12), ((400, 300), 10), ((6, 8), 1), ((75, 1), 2)],
)
def test_the_band_is_two_percent_of_the_diagonal_wide(size, distance):
    assert boundary_distance(size) == distance


@given(st.data())
def test_any_masks_against_repeated_erosion(data):
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    ids = st.sampled_from([0, 0, 0, 1, 2, VOID])
    true = data.draw(arrays(np.uint8, shape, elements=ids))
    predicted = data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 2])))
    share = data.draw(st.sampled_from([0.02, 0.1, 0.2, 0.3]))
    expected = counted(true, predicted, 3, boundary_distance(shape, share))
    found = boundary_counts(true, predicted, 3, share)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize("distance", [1, 2, 3, 10, 60])
def test_a_region_is_what_the_authors_code_takes_away(rng, distance):
    """`mask_to_boundary` of the reference: pad by one, erode `distance` times, subtract."""
    noise = cv2.GaussianBlur(rng.standard_normal((150, 230)), (0, 0), 9)
    ids = np.digitize(noise, np.quantile(noise, [0.3, 0.7])).astype(np.uint8)
    expected = np.zeros(ids.shape, bool)
    for index in range(3):
        mask = (ids == index).astype(np.uint8)
        padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
        expected |= (mask - inner).astype(bool)
    found = boundary_region(ids, distance)
    np.testing.assert_array_equal(found, expected)
    assert found.any()
    assert found.all() == (distance == 60)


def test_the_image_s_border_is_a_boundary():
    # The outermost ring of 10x10.
    assert boundary_region(np.zeros((10, 10), np.uint8), 1).sum() == 36


def test_by_hand():
    # Columns 0-4 and 5-9 of 10x10, 1 pixel wide; the prediction's edge lies a column further.
    true = np.repeat([[0] * 5 + [1] * 5], 10, axis=0).astype(np.uint8)
    predicted = np.repeat([[0] * 6 + [1] * 4], 10, axis=0).astype(np.uint8)
    # Class 0: bands around 10x5 and 10x6, of 26 and 28 pixels. Both hold the left column
    # (10), and of columns 1 to 3 the top and bottom pixels (6); of column 4, all of which is
    # in the true band, the prediction's band has the top and bottom ones (2).
    # Class 1: 26 and 24; the right column (10), columns 7 and 8 (4), and the ends of column 6.
    assert boundary_counts(true, predicted, 3).tolist() == [
        [18, 16, 0],
        [26 + 28 - 18, 26 + 24 - 16, 0],
    ]


def test_a_right_prediction_is_right_along_void_too(rng):
    true = rng.choice([0, 1], (20, 20)).astype(np.uint8)
    predicted = true.copy()
    true[5:15, 5:15] = VOID
    both, either = boundary_counts(true, predicted, 2)
    np.testing.assert_array_equal(both, either)
    assert (both > 0).all()


def test_the_prediction_at_void_pixels_does_not_count(rng):
    true = rng.choice([0, 1, VOID], (12, 15)).astype(np.uint8)
    first, second = rng.integers(0, 2, (2, 12, 15)).astype(np.uint8)
    second = np.where(true == VOID, second, first)
    np.testing.assert_array_equal(boundary_counts(true, first, 2), boundary_counts(true, second, 2))
    void = np.full((4, 4), VOID, np.uint8)
    assert boundary_counts(void, np.zeros((4, 4), np.uint8), 2).tolist() == [[0, 0], [0, 0]]

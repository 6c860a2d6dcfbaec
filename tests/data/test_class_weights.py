"""Class weights by median-frequency balancing, against a table made by hand."""

import numpy as np
import pytest

from errors import UserError
from utils.data.class_weights import balanced_weights
from utils.data.voc import Sample


@pytest.fixture
def samples(tmp_path, write_mask):
    """make(*rows): a sample a mask, of one row each."""

    def make(*rows):
        paths = [
            write_mask(tmp_path / f"{index}.png", np.array([row], np.uint8))
            for index, row in enumerate(rows)
        ]
        return [Sample(path.stem, path, path) for path in paths]

    return make


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_by_hand(samples, workers):
    # frequencies: 0: 8 of 12 pixels; 1: 2 of the first image's 8; 2: 2 of the second's 4
    # median of 2/3, 1/4, 1/2: 1/2
    rows = (0, 0, 0, 0, 0, 0, 1, 1, 255), (0, 255, 255, 2, 2, 0)
    weights, note = balanced_weights(samples(*rows), 3, workers=workers)
    assert weights == pytest.approx((3 / 4, 2, 1))
    assert [type(weight) for weight in weights] == [float] * 3
    assert note == "Balanced class weights: 0.75, 2, 1."


def test_the_median_of_an_even_number_of_classes(samples):
    # frequencies 3/4 and 1/4, median 1/2
    assert balanced_weights(samples((0, 0, 0, 1)), 2)[0] == pytest.approx((2 / 3, 2))


def test_equal_shares_weigh_one(samples):
    assert balanced_weights(samples((0, 1, 2), (2, 1, 0)), 3)[0] == (1, 1, 1)


def test_classes_that_never_occur_are_named_and_weigh_one(samples):
    weights, note = balanced_weights(samples((0, 0, 0, 2)), 5)
    assert weights == pytest.approx((2 / 3, 1, 2, 1, 1))
    assert note == (
        "Balanced class weights: 0.667, 1, 2, 1, 1. No mask holds class 1, 3, 4, which gets "
        "weight 1."
    )


def test_ignored_labels_count_nowhere(samples):
    rows = (0, 0, 0, 2, 9, 9, 1), (1, 1, 255)
    weights, note = balanced_weights(samples(*rows), 3, ignore_labels=(1, 9, 255))
    assert weights == pytest.approx((2 / 3, 1, 2))
    assert "class 1," in note


def test_nothing_but_void(samples):
    weights, note = balanced_weights(samples((255, 255)), 2)
    assert weights == (1, 1)
    assert "No mask holds class 0, 1," in note


def test_a_mask_that_can_not_be_used_is_named(samples):
    with pytest.raises(UserError, match=r"0\.png holds the value 7"):
        balanced_weights(samples((0, 7)), 2)

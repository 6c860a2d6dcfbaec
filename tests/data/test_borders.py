"""Borders between objects, against drawings and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from utils.data.borders import separate_instances


def drawing(*rows):
    """ids of digits; "." is 0."""
    return np.array([[int(digit) for digit in row.replace(".", "0")] for row in rows], np.int32)


def without_borders(ids):
    return np.where(separate_instances(ids), 0, ids)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["1122"], ["11.2"]),
        (["2211"], ["2.11"]),
        (["11.22"], ["11.22"]),
        (["11..", "11..", "..22", "..22"], ["11..", "11..", "...2", "..22"]),  # at a corner
        (["111", "222", "222"], ["111", "...", "222"]),
        (["112233"], ["11.2.3"]),
        # What fills a hole gives all around.
        (
            ["11111", "12221", "12221", "12221", "11111"],
            ["11111", "1...1", "1.2.1", "1...1", "11111"],
        ),
    ],
)
def test_the_larger_id_gives_one_pixel(before, after):
    np.testing.assert_array_equal(without_borders(drawing(*before)), drawing(*after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["1112"], ["11.2"]),
        (["111", "222"], ["111", "222"]),  # both would vanish
        (["111", "111", "222"], ["111", "...", "222"]),
        (["1123"], ["1.23"]),  # neither 2 nor 3 has a pixel to spare
        (["11111", "11211", "11111"], ["1...1", "1.2.1", "1...1"]),
        (["11233"], ["1.2.3"]),  # from both sides
    ],
)
def test_a_thin_instance_is_kept(before, after):
    np.testing.assert_array_equal(without_borders(drawing(*before)), drawing(*after))


def test_parts_of_one_instance_touch_nothing():
    ids = drawing("1.1", "111", "1.1")
    assert not separate_instances(ids).any()


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("uint8", 3, 255),
        ("int16", 3, 32767),
        ("uint32", 7, 2**32 - 1),
        ("int64", 26_001, 2**40),
        ("uint64", 1, 2**64 - 1),
    ],
)
def test_ids_of_any_integer_dtype(dtype, low, high):
    ids = np.array([[0, low, low, high, high]], dtype)
    np.testing.assert_array_equal(separate_instances(ids), [[0, 0, 0, 1, 0]])


def test_ids_below_one_are_no_instances():
    ids = np.array([[-1, 1, 1, -2, 2, 2, 0]])
    assert not separate_instances(ids).any()


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (3, 0)])
def test_small_and_empty_masks(shape):
    border = separate_instances(np.ones(shape, np.uint8))
    assert border.shape == shape
    assert border.dtype == bool
    assert not border.any()


@pytest.mark.parametrize(
    "ids", [np.ones((2, 2), np.float32), np.ones((2, 2), bool), np.ones((2, 2, 1), np.uint8)]
)
def test_other_arrays_are_refused(ids):
    with pytest.raises(ValueError, match=r"ids must be integer \(H, W\); got "):
        separate_instances(ids)


def neighbours(ids):
    """{(row, column): ids of other instances around}, by looking at each pixel."""
    found = {}
    for row, column in np.argwhere(ids > 0):
        window = ids[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        others = set(window[window > 0].tolist()) - {int(ids[row, column])}
        found[int(row), int(column)] = others
    return found


@settings(max_examples=200, deadline=None)
@given(
    ids=hnp.arrays(
        np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 4)
    ),
    repeats=st.integers(1, 3),
)
def test_any_instances_come_apart_and_none_vanishes(ids, repeats):
    ids = ids.repeat(repeats, 0).repeat(repeats, 1)
    border = separate_instances(ids)
    after = np.where(border, 0, ids)
    assert set(after[after > 0].tolist()) == set(ids[ids > 0].tolist())
    around = neighbours(ids)
    given_up = {(row, column) for row, column in np.argwhere(border).tolist()}
    assert all(around[place] for place in given_up)
    # Where an instance can give all its pixels along smaller ids, that is what happens.
    expected = {place for place, others in around.items() if min(others, default=9) < ids[place]}
    left = {int(ids[place]) for place in around if place not in expected}
    if left == set(ids[ids > 0].tolist()):
        assert given_up == expected
    # Only instances that lost nothing may still touch each other.
    for place, others in neighbours(after).items():
        for other in others:
            assert not border[ids == ids[place]].any()
            assert not border[ids == other].any()

"""Borders between objects, against drawings and brute force."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from errors import UserError
from utils.data.borders import BorderWeights, find_objects, separate_instances

# Weights


def objects_of(mask):
    """The objects of a mask as a list of lists of pixels, by walking from pixel to pixel."""
    left = {place: int(mask[place]) for place in np.ndindex(mask.shape) if mask[place] % 255}
    objects = []
    while left:
        start = next(iter(left))
        value, waiting, pixels = left.pop(start), [start], []
        while waiting:
            row, column = waiting.pop()
            pixels.append((row, column))
            for place in [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if left.get(place) == value:
                    del left[place]
                    waiting.append(place)
        objects.append(pixels)
    return objects


def oracle(mask, weight, sigma):
    """Equation 2 in float64, by the distance of each pixel to each pixel of each object."""
    objects = objects_of(mask)
    weights = np.zeros(mask.shape)
    if len(objects) < 2:
        return weights
    for row, column in np.argwhere(mask == 0).tolist():
        nearest = [min(math.hypot(row - i, column - j) for i, j in pixels) for pixels in objects]
        d1, d2 = sorted(nearest)[:2]
        weights[row, column] = weight * math.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return weights


def check(mask, weight=10.0, sigma=5.0):
    weights = BorderWeights(weight, sigma)(mask)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, oracle(mask, weight, sigma), rtol=1e-5, atol=1.1e-6)
    return weights


@settings(max_examples=100, deadline=None)
@given(
    mask=hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.sampled_from([0, 0, 0, 0, 1, 2, 255]),
    ),
    weight=st.sampled_from([0.5, 10.0, 1e-7]),
    sigma=st.sampled_from([0.3, 1.0, 5.0]),
)
def test_weights_of_any_mask(mask, weight, sigma):
    check(mask, weight, sigma)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 5.0, 30.0])  # few groups of objects, and many
def test_weights_of_many_objects(rng, sigma):
    mask = np.zeros((40, 60), np.uint8)
    for row in range(0, 40, 5):
        for column in range(0, 60, 6):
            height, width = rng.integers(1, 5, 2)
            mask[row : row + height, column : column + width] = rng.integers(1, 4)
    mask[10:20, 20:30] = 0
    mask[30:33, 20:40] = 255
    assert len(objects_of(mask)) > 60
    check(mask, sigma=sigma)


def test_weights_of_very_many_objects(monkeypatch, rng):
    """Whose distances from each other are not looked at: 20 stand for 1,001."""
    monkeypatch.setattr("utils.data.borders._MOST_COMPARED", 20)
    mask = np.where(rng.random((24, 24)) < 0.1, 1, 0).astype(np.uint8)
    assert len(objects_of(mask)) > 20
    check(mask)


def test_weights_by_hand():
    """d1 + d2 is 1 + 3, 2 + 2, 3 + 1 between two pixels with three in between."""
    weights = BorderWeights(10.0, 5.0)(drawing("1...1").astype(np.uint8))
    expected = 10 * math.exp(-16 / 50)
    np.testing.assert_allclose(weights, [[0, expected, expected, expected, 0]], rtol=1e-6)


def test_what_touches_at_a_corner_is_one_object_of_its_class():
    assert not BorderWeights()(drawing("1..", ".1.", "..1").astype(np.uint8)).any()
    weights = BorderWeights()(drawing("1..", ".2.", "...").astype(np.uint8))
    # Of two classes, two objects: all around weighs more.
    assert weights[0, 1] == pytest.approx(10 * math.exp(-4 / 50), rel=1e-6)
    assert weights[0, 0] == weights[1, 1] == 0


def test_separated_instances_have_a_weighty_border():
    ids = np.repeat([[1, 1, 1, 2, 2, 2]], 3, axis=0)
    border = separate_instances(ids)
    mask = np.where(border, 0, 1).astype(np.uint8)
    weights = BorderWeights()(mask)
    assert weights[border] == pytest.approx(np.full(3, 10 * math.exp(-4 / 50)))
    assert not weights[~border].any()


@pytest.mark.parametrize("value", [0, 1, 255])
def test_without_two_objects_nothing_weighs_more(value):
    mask = np.full((5, 7), value, np.uint8)
    mask[:, 3] = 0
    mask[:, 4:] = 0
    assert not BorderWeights()(mask).any()


def test_objects_that_are_far_apart_get_no_weight():
    mask = np.zeros((3, 200), np.uint8)
    mask[:, 0] = mask[:, -1] = 1
    assert not check(mask).any()
    assert BorderWeights().reach == pytest.approx(5 * math.sqrt(2 * math.log(1e7)))


def test_objects_and_their_boxes():
    labels, boxes = find_objects(drawing("11.2", "...2", "1.22").astype(np.uint8))
    np.testing.assert_array_equal(labels, [[1, 1, 0, 3], [0, 0, 0, 3], [2, 0, 3, 3]])
    np.testing.assert_array_equal(boxes, [[0, 0, 0, 1], [2, 2, 0, 0], [0, 2, 2, 3]])


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(UserError, match=r"border_weight must be at least 0; got (-1|inf|nan)"):
        BorderWeights(weight)


@pytest.mark.parametrize("sigma", [0.0, -5.0, math.inf, math.nan])
def test_a_sigma_that_is_none_is_refused(sigma):
    with pytest.raises(UserError, match="border_sigma is a distance in pixels and must be above 0"):
        BorderWeights(10.0, sigma)


# Instances that touch


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

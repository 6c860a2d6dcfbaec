"""Numbers of any kind as 8 bits, by a range and without one."""

import numpy as np
import pytest

from errors import UserError
from utils.images.scaling import PERCENTILES, check_value_range, percentiles, to_8_bit


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("uint8", [0, 7, 255], [0, 7, 255]),
        ("bool", [False, True], [0, 255]),
        ("bool", [False, False], [0, 0]),
        ("uint16", [0, 128, 129, 257, 65535], [0, 0, 1, 1, 255]),
        (">u2", [0, 129, 65535], [0, 1, 255]),
        ("int16", [-5, 0, 255], [0, 0, 255]),
        ("int16", [-5, 257, 514], [0, 1, 2]),
        ("uint32", [0, 257, 10**6], [0, 1, 255]),
        ("float32", [-1, 0.5, 1, np.nan], [0, 128, 255, 0]),
        ("float64", [0.5, 200.4], [0, 200]),
        ("float16", [0, 250, 1000, np.inf], [0, 64, 255, 0]),
    ],
)
def test_numbers_become_8_bits(dtype, values, expected):
    values = np.array(values, dtype)
    assert to_8_bit(values[None]).tolist() == [expected]
    # The same in each strip of an image of many rows.
    tall = to_8_bit(np.tile(values[:, None, None], (200, 1, 3)))
    assert tall.dtype == np.uint8
    assert tall[..., 2].ravel().tolist() == expected * 200


def test_channels_share_one_scale():
    assert to_8_bit(np.array([[[0.0, 250.0], [500.0, 1000.0]]])).tolist() == [[[0, 64], [128, 255]]]


@pytest.mark.parametrize(
    ("dtype", "values", "value_range", "expected"),
    [
        ("uint16", [0, 8, 9, 2048, 4095, 65535], (0, 4095), [0, 0, 1, 128, 255, 255]),
        (">u2", [0, 2048, 4095], (0, 4095), [0, 128, 255]),
        ("uint16", [0, 128, 129, 65535], (0, 65535), [0, 0, 1, 255]),
        ("int16", [-2000, -1024, 1024, 3071, 32767], (-1024, 3071), [0, 0, 128, 255, 255]),
        (">i2", [-1024, 3071], (-1024, 3071), [0, 255]),
        ("int32", [-1, 0, 50, 100, 10**9], (0, 100), [0, 0, 128, 255, 255]),
        ("int8", [-128, 0, 127], (-128, 127), [0, 128, 255]),
        ("float32", [0, 0.46, 1, 1.02], (0, 1), [0, 117, 255, 255]),
        ("float64", [-2.5, 0, 2.5], (-2.5, 2.5), [0, 128, 255]),
        ("float16", [np.nan, np.inf, -np.inf, 1], (0.5, 1), [0, 0, 0, 255]),
        ("uint8", [0, 7, 255], (0, 4095), [0, 7, 255]),
        ("bool", [False, True], (0, 4095), [0, 255]),
        ("uint8", [0, 7, 9], PERCENTILES, [0, 7, 9]),
    ],
)
def test_numbers_in_a_range_become_8_bits(dtype, values, value_range, expected):
    values = np.array(values, dtype)
    assert to_8_bit(values[None], value_range).tolist() == [expected]
    tall = to_8_bit(np.tile(values[:, None, None], (200, 1, 3)), value_range)
    assert tall[..., 2].ravel().tolist() == expected * 200


def test_one_pixel_does_not_change_the_others(rng):
    for dtype, top, odd in (("float32", 1, 1.02), ("int16", 255, 256), ("uint16", 4095, 65535)):
        values = (rng.random((30, 40)) * top).astype(dtype)
        other = values.copy()
        other[3, 3] = odd
        same = to_8_bit(values, (0, top)) == to_8_bit(other, (0, top))
        assert np.count_nonzero(~same) <= 1


def test_percentiles_are_those_of_each_image():
    values = np.arange(1001, dtype=np.uint16)[None] * 10
    assert percentiles(values) == (50, 9950)
    scaled = to_8_bit(values, PERCENTILES)[0]
    assert scaled[[0, 5, 500, 995, 1000]].tolist() == [0, 0, 128, 255, 255]
    np.testing.assert_array_equal(to_8_bit(values + 3, PERCENTILES)[0], scaled)
    floats = np.r_[values[0].astype(np.float32), [np.nan] * 500][None]
    np.testing.assert_array_equal(to_8_bit(floats, PERCENTILES)[0, :1001], scaled)
    for flat in (np.full((4, 4), 7.0), np.full((4, 4), np.nan), np.empty((0, 4))):
        assert to_8_bit(flat, PERCENTILES).tolist() == np.zeros(flat.shape).tolist()


@pytest.mark.parametrize("value_range", [None, "", (), PERCENTILES, (0, 1), (-5.0, 3), [0, 4095]])
def test_what_a_range_may_be(value_range):
    check_value_range(value_range)


@pytest.mark.parametrize(
    "value_range",
    ["brightest", (1,), (1, 1), (2, 1), (0, 1, 2), (0, float("nan")), (0, float("inf"))],
)
def test_what_it_may_not_be(value_range):
    with pytest.raises(
        UserError, match="such as 0,4095; or percentiles; or empty, to have it"
    ) as e:
        check_value_range(value_range)
    assert f"got {value_range!r}." in str(e.value)

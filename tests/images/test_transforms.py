"""Resizing, the letterbox and its inverse, normalizing."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from utils.images.transforms import (
    Box,
    letterbox_box,
    letterbox_image,
    letterbox_mask,
    normalize,
    over_channels,
    paste,
    resize_image,
    resize_mask,
)

sides = st.integers(1, 120)
sizes = st.tuples(sides, sides)


@given(sizes, sizes, st.integers(0, 255))
@example((1, 3000), (64, 7), 200)
@example((3000, 1), (2, 96), 200)
def test_a_uniform_image_stays_uniform(before, after, value):
    resized = resize_image(np.full((*before, 3), value, np.uint8), after)
    assert (resized.shape, resized.dtype) == ((*after, 3), np.uint8)
    assert np.all(resized == value)


@pytest.mark.parametrize("size", [(16, 12), (64, 12), (16, 48), (16, 200), (200, 12)])
def test_shrinking_averages(rng, size):
    # Noise along the axes that shrink, by 4. Plain bilinear resizing would average only
    # the middle two of each four pixels.
    rows, columns = 64 if size[0] == 16 else 1, 48 if size[1] == 12 else 1
    noise = rng.integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    means = noise.reshape(-1, 4, columns, 3).mean(axis=1) if rows > 1 else noise
    means = means.reshape(len(means), -1, 4, 3).mean(axis=2) if columns > 1 else means
    resized = resize_image(np.broadcast_to(noise, (64, 48, 3)).copy(), size)
    assert resized.shape == (*size, 3)
    assert np.abs(resized - np.broadcast_to(means, resized.shape)).max() <= 1


def test_a_fine_checkerboard_becomes_grey():
    checkerboard = (np.indices((90, 90)).sum(axis=0) % 2 * 255).astype(np.uint8)
    resized = resize_image(np.stack([checkerboard] * 3, axis=-1), (10, 10)).astype(int)
    assert np.abs(resized - 127.5).max() < 2  # of 81 pixels, 40 or 41 are white


def test_enlarging_is_linear():
    # Pixel centres 0.25, 0.75, 1.25, 1.75 between the old ones at 0.5 and 1.5.
    resized = resize_image(np.array([[0, 255]], np.uint8), (1, 4))
    assert resized.tolist() == [[0, 64, 191, 255]]


def test_the_same_size_changes_nothing(rng):
    image = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    np.testing.assert_array_equal(resize_image(image, (5, 7)), image)
    np.testing.assert_array_equal(resize_mask(image[..., 0], (5, 7)), image[..., 0])


def test_masks_take_the_nearest_pixel_s_centre():
    mask = np.array([[10, 20, 30, 40, 50, 60]], np.uint8)
    assert resize_mask(mask, (1, 2)).tolist() == [[20, 50]]
    assert resize_mask(mask[:, :2], (2, 6)).tolist() == [[10] * 3 + [20] * 3] * 2
    assert resize_mask(mask.T, (2, 1)).tolist() == [[20], [50]]


@given(sizes, sizes)
def test_resizing_a_mask_adds_no_ids(before, after):
    mask = np.random.default_rng(0).choice([0, 1, 2, 20, 255], before).astype(np.uint8)
    resized = resize_mask(mask, after)
    assert (resized.shape, resized.dtype) == (after, np.uint8)
    assert set(np.unique(resized)) <= set(np.unique(mask))


@given(sizes, sizes)
def test_image_and_mask_are_resized_alike(before, after):
    # Two halves: where they meet may be rounded differently, by a column in all.
    mask = np.zeros(before, np.uint8)
    mask[:, before[1] // 2 :] = 200
    image, ids = resize_image(mask, after), resize_mask(mask, after)
    assert abs((image > 100).mean() - (ids > 100).mean()) * after[1] <= 1 + 1e-6


def test_sizes_are_rounded():
    assert letterbox_box((3, 2), (10, 10)) == Box(0, 1, 10, 7)  # 6.67 columns
    assert letterbox_box((7, 10), (9, 9)) == Box(1, 0, 6, 9)  # 6.3 rows
    # In floats, 49 * (512 / 49) is below 512, and truncating would lose a column.
    assert int(49 * (512 / 49)) == 511
    assert all(letterbox_box((1, side), (512, 512)).width == 512 for side in range(1, 3000))


@given(
    st.tuples(st.integers(1, 50_000), st.integers(1, 50_000)),
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
)
@example((1, 30_000), (512, 512))
@example((30_000, 1), (256, 512))
def test_the_box_fits_is_centred_and_keeps_the_aspect(size, target):
    box = letterbox_box(size, target)
    below, right = target[0] - box.top - box.height, target[1] - box.left - box.width
    assert 0 <= below - box.top <= 1
    assert 0 <= right - box.left <= 1
    assert min(box.height, box.width) >= 1
    assert box.height == target[0] or box.width == target[1]
    scale = min(target[0] / size[0], target[1] / size[1])
    assert abs(box.height - max(size[0] * scale, 1)) <= 0.5 + 1e-6
    assert abs(box.width - max(size[1] * scale, 1)) <= 0.5 + 1e-6


@given(sizes, sizes, st.integers(0, 255))
@example((1, 30_000), (64, 96), 7)
@example((30_000, 1), (64, 96), 7)
@example((64, 96), (64, 96), 7)
def test_letterbox_and_its_inverse_return_the_size(size, target, value):
    canvas, box = letterbox_image(np.full((*size, 3), value, np.uint8), target)
    mask = letterbox_mask(np.full(size, 9, np.uint8), target, 255)
    assert (canvas.shape, canvas.dtype, mask.shape) == ((*target, 3), np.uint8, target)
    inside = np.zeros(target, bool)
    inside[box.slices] = True
    assert np.all(canvas[inside] == value)
    assert np.all(canvas[~inside] == 128)
    assert np.all(mask[inside] == 9)
    assert np.all(mask[~inside] == 255)
    back = resize_image(canvas[box.slices], size)
    assert back.shape == (*size, 3)
    assert np.all(back == value)


def test_letterbox_keeps_what_is_where(rng):
    image = np.repeat(np.repeat(rng.integers(0, 256, (4, 8, 3)), 8, 0), 8, 1).astype(np.uint8)
    canvas, box = letterbox_image(image, (64, 64))
    assert box == Box(16, 0, 32, 64)
    np.testing.assert_array_equal(canvas[16:48], image)
    back = resize_image(letterbox_image(image, (128, 128))[0][32:96], (32, 64))
    np.testing.assert_array_equal(back[4::8, 4::8], image[4::8, 4::8])


def test_box_slices():
    array = np.arange(30).reshape(5, 6)
    assert array[Box(1, 2, 3, 2).slices].tolist() == [[8, 9], [14, 15], [20, 21]]


def test_paste():
    canvas = paste(np.full((1, 2), 7, np.uint8), Box(1, 1, 1, 2), (3, 4), 255)
    assert canvas.tolist() == [[255] * 4, [255, 7, 7, 255], [255] * 4]


def test_normalize_maps_0_to_minus_1_and_255_to_1(rng):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    normalized = normalize(np.stack([values, values.T, values[::-1]], axis=-1))
    assert (normalized.shape, normalized.dtype) == ((16, 16, 3), np.float32)
    oracle = values.astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(normalized[..., 0], oracle, atol=1e-7)
    np.testing.assert_allclose(normalized[..., 1], oracle.T, atol=1e-7)
    np.testing.assert_allclose(normalized[..., 2], oracle[::-1], atol=1e-7)
    assert (normalized.min(), normalized.max()) == (-1, 1)
    assert normalize(np.zeros((5, 1, 3), np.uint8)).shape == (5, 1, 3)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 130])
@pytest.mark.parametrize("size", [(11, 13), (40, 30), (11, 30)])
def test_any_number_of_channels_is_resized_as_each_alone(rng, count, size):
    image = rng.integers(0, 256, (23, 17, count)).astype(np.uint8)
    resized = resize_image(image, size)
    assert resized.shape == (*size, count)
    for channel in range(count):
        alone = resize_image(np.ascontiguousarray(image[..., channel]), size).astype(int)
        assert (
            np.abs(resized[..., channel] - alone).max() <= 1
        )  # OpenCV rounds more channels otherwise


@pytest.mark.parametrize("count", [1, 5, 130])
def test_the_padding_of_any_number_of_channels_is_grey(rng, count):
    image = rng.integers(0, 100, (20, 40, count)).astype(np.uint8)
    canvas, box = letterbox_image(image, (40, 40))
    assert canvas.shape == (40, 40, count)
    np.testing.assert_array_equal(canvas[box.slices], image)
    assert np.all(canvas[:10] == 128)
    assert np.all(canvas[30:] == 128)
    normalized = normalize(canvas)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized, canvas / 127.5 - 1, atol=1e-7)


def test_channels_go_to_a_function_in_groups(rng):
    image = rng.integers(0, 256, (3, 4, 257)).astype(np.uint8)
    seen = []

    def halves(part):
        seen.append(part.shape[2])
        assert part.flags["C_CONTIGUOUS"]
        return (part[:2] if part.shape[2] > 1 else part[:2, :, 0]) // 2

    np.testing.assert_array_equal(over_channels(halves, image), image[:2] // 2)
    assert seen == [128, 128, 1]

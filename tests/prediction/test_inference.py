"""From an image to a mask of the image's own size."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stand_ins import ColorNet, blocks

from errors import UserError
from utils.prediction.inference import check_tta, is_tiled, most_probable, predict_mask, with_flips


@pytest.mark.parametrize("input_shape", [(64, 64), (96, 48), (48, 96)])
@pytest.mark.parametrize("size", [(64, 64), (120, 80), (70, 200), (200, 70), (31, 33), (10, 300)])
def test_the_mask_lies_on_the_image(size, input_shape):
    image, mask = blocks(*size, side=max(size) // 4)
    predicted = predict_mask(ColorNet(), image, input_shape)
    assert (predicted.shape, predicted.dtype) == (size, np.uint8)
    # Two pixels of the network's canvas around an edge may belong to either side.
    reach = 2 * int(np.ceil(max(size[0] / input_shape[0], size[1] / input_shape[1]))) + 1
    kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
    inner = cv2.erode(mask, kernel) == cv2.dilate(mask, kernel)
    assert inner.mean() > 0.2
    np.testing.assert_array_equal(predicted[inner], mask[inner])


def test_an_image_of_the_network_s_size_is_exact():
    image, mask = blocks(48, 64, side=1)
    np.testing.assert_array_equal(predict_mask(ColorNet(), image, (48, 64)), mask)


def test_the_network_sees_a_normalized_letterbox():
    network = ColorNet()
    predict_mask(network, np.full((20, 40, 3), (0, 255, 51), np.uint8), (64, 64))
    assert (network.images.shape, network.images.dtype) == ((1, 64, 64, 3), np.float32)
    inside, padding = network.images[0, 16:48], network.images[0, [0, 15, 48, 63]]
    np.testing.assert_allclose(inside, np.broadcast_to((-1, 1, -0.6), inside.shape), atol=1e-6)
    np.testing.assert_allclose(padding, 128 / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1), (3, 5000), (5000, 3)])
@pytest.mark.parametrize("input_shape", [(32, 32), (32, 96)])
def test_extreme_shapes(size, input_shape):
    image = np.full((*size, 3), (0, 0, 255), np.uint8)
    assert np.all(predict_mask(ColorNet(), image, input_shape) == 2)
    assert predict_mask(ColorNet(), image, input_shape).shape == size


def noisy(rng, height, width, channels):
    """Probabilities that differ from pixel to pixel; float32."""
    probabilities = np.exp(rng.normal(0, 3, (height, width, channels)).astype(np.float32))
    return probabilities / probabilities.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    "size", [(50, 70), (97, 61), (13, 200), (200, 13), (20, 30), (41, 30), (20, 59)]
)
@pytest.mark.parametrize("channels", [2, 3, 21])
def test_most_probable_is_the_class_of_the_bilinear_resize(rng, size, channels):
    probabilities = noisy(rng, 20, 30, channels)
    oracle = cv2.resize(probabilities, size[::-1], interpolation=cv2.INTER_LINEAR).argmax(axis=-1)
    mask = most_probable(probabilities, size)
    assert (mask.shape, mask.dtype) == (size, np.uint8)
    assert np.mean(mask != oracle) <= 0.001  # ties fall either way
    assert len(np.unique(mask)) > 1


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 500, 3000]))
@example(1, 60, 1)
@example(60, 1, 1)
def test_strips_do_not_matter(height, width, strip):
    probabilities = noisy(np.random.default_rng(1), 17, 23, 5)
    whole = most_probable(probabilities, (height, width), strip=2**40)
    np.testing.assert_array_equal(most_probable(probabilities, (height, width), strip), whole)


def test_strips_bound_the_memory(rng, monkeypatch):
    probabilities = noisy(rng, 10, 10, 3)
    rows = []
    resize = cv2.resize

    def watch(array, size, **options):
        rows.append(size[1])
        return resize(array, size, **options)

    monkeypatch.setattr(cv2, "resize", watch)
    most_probable(probabilities, (40, 50), strip=50 * 3 * 7)
    assert rows == [7, 7, 7, 7, 7, 5]


@pytest.mark.parametrize(
    "classes",
    [
        1,
        2,
        5,
        100,
        200,
    ],
)
def test_any_number_of_classes(classes):
    probabilities = np.zeros((4, 6, classes), np.float32)
    probabilities[:, :3, 0] = probabilities[:, 3:, classes - 1] = 1
    expected = np.repeat([[0, classes - 1]], 6, axis=1).reshape(1, 12).repeat(8, axis=0)
    np.testing.assert_array_equal(most_probable(probabilities, (8, 12)), expected)


def test_the_same_size_needs_no_resize(rng):
    probabilities = rng.random((6, 7, 4)).astype(np.float32)
    mask = most_probable(probabilities, (6, 7))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, probabilities.argmax(axis=-1))


# Flips


@pytest.mark.parametrize(("tta", "calls"), [("none", 1), ("h", 2), ("hv", 4)])
def test_flips_are_averaged_in_place(rng, tta, calls):
    seen = []

    def model(batch):
        seen.append(np.array(batch))
        # Depends on the place, so that a flip that is not undone shows.
        ramp = np.linspace(0, 1, batch.shape[1] * batch.shape[2]).reshape(batch.shape[1:3])
        share = 0.5 * ramp[None] + 0.25 * (batch[..., 0] + 1)
        return np.stack([share, 1 - share], axis=-1).astype(np.float32)

    batch = rng.uniform(-1, 1, (2, 4, 6, 3)).astype(np.float32)
    found = with_flips(model, tta)(batch)
    assert len(seen) == calls
    axes = {"none": [()], "h": [(), 2], "hv": [(), 2, 1, (1, 2)]}[tta]
    expected = np.mean([np.flip(model(np.flip(batch, a)), a) for a in axes], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_flips_of_a_symmetric_network_change_nothing():
    image, mask = blocks(48, 64, side=8)
    np.testing.assert_array_equal(predict_mask(with_flips(ColorNet(), "hv"), image, (48, 64)), mask)


def test_an_unknown_tta_is_refused():
    with pytest.raises(UserError, match=r"tta must be none, h .* got 'v'"):
        check_tta("v")


# Tiles or not


@pytest.mark.parametrize(
    ("size", "tile", "expected"),
    [
        ((64, 64), True, False),
        ((30, 64), True, False),
        ((65, 10), True, True),
        ((10, 65), True, True),
        ((65, 65), False, False),
        ((65, 65), None, False),
        ((5000, 10_001), None, True),
        ((5000, 10_000), None, False),
        ((50_000, 50_000), False, False),
    ],
)
def test_which_images_are_tiled(size, tile, expected):
    assert is_tiled(size, (64, 64), tile) is expected

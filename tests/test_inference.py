"""From a picture to a mask of the picture's own size."""

import threading

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from errors import UserError
from utils.inference import (
    check_tta,
    is_tiled,
    most_probable,
    predict_all,
    predict_mask,
    with_flips,
)
from utils.tiles import predict_tiles

COLORS = np.eye(3, dtype=np.uint8) * 255  # class 0 is red, 1 green, 2 blue


class ColorNet:
    """A network that knows the class from the colour; it keeps what it was given."""

    def __call__(self, images):
        self.images = images
        probabilities = np.exp(3 * images)
        return probabilities / probabilities.sum(axis=-1, keepdims=True)


class CountingNet(ColorNet):
    """Also keeps the shapes of all its calls."""

    def __init__(self):
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        return super().__call__(images)


def blocks(height, width, side):
    """(picture, mask) of random square blocks of the three classes."""
    rng = np.random.default_rng(5)
    ids = rng.integers(0, 3, (height // side + 1, width // side + 1)).astype(np.uint8)
    mask = np.kron(ids, np.ones((side, side), np.uint8))[:height, :width]
    return COLORS[mask], mask


@pytest.mark.parametrize("input_shape", [(64, 64), (96, 48), (48, 96)])
@pytest.mark.parametrize("size", [(64, 64), (120, 80), (70, 200), (200, 70), (31, 33), (10, 300)])
def test_the_mask_lies_on_the_picture(size, input_shape):
    image, mask = blocks(*size, side=max(size) // 4)
    predicted = predict_mask(ColorNet(), image, input_shape)
    assert (predicted.shape, predicted.dtype) == (size, np.uint8)
    # Two pixels of the network's canvas around an edge may belong to either side.
    reach = 2 * int(np.ceil(max(size[0] / input_shape[0], size[1] / input_shape[1]))) + 1
    kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
    inner = cv2.erode(mask, kernel) == cv2.dilate(mask, kernel)
    assert inner.mean() > 0.2
    np.testing.assert_array_equal(predicted[inner], mask[inner])


def test_a_picture_of_the_network_s_size_is_exact():
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
    image = np.full((*size, 3), COLORS[2])
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
def test_which_pictures_are_tiled(size, tile, expected):
    assert is_tiled(size, (64, 64), tile) is expected


# Many pictures


def named_pictures(count):
    """{name: (picture, mask)} of several sizes, some larger than the network's input."""
    return {
        f"p{index}": blocks(20 + 7 * index, 90 - 5 * index, side=6 + index)
        for index in range(count)
    }


@pytest.mark.parametrize("batch_size", [1, 3, 50])
@pytest.mark.parametrize("tile", [None, True])
def test_many_pictures_come_in_order_as_each_alone(batch_size, tile):
    pictures, network = named_pictures(10), CountingNet()
    outcomes = list(
        predict_all(
            network,
            list(pictures),
            (64, 64),
            read=lambda name: pictures[name][0],
            finish=lambda name, pixels, mask: (name, pixels.shape, mask),
            batch_size=batch_size,
            tile=tile,
        )
    )
    assert [outcome.item for outcome in outcomes] == list(pictures)
    for outcome in outcomes:
        image, _ = pictures[outcome.item]
        name, shape, mask = outcome.value
        assert (name, shape, outcome.error) == (outcome.item, image.shape, None)
        if is_tiled(image.shape[:2], (64, 64), tile):
            expected = predict_tiles(ColorNet(), image, (64, 64))
        else:
            expected = predict_mask(ColorNet(), image, (64, 64))
        np.testing.assert_array_equal(mask, expected)
    assert set(network.shapes) == {(min(batch_size, 10), 64, 64, 3)}


def test_a_picture_that_fails_does_not_stop_the_others():
    pictures = named_pictures(5)

    def read(name):
        if name == "p1":
            raise UserError("p1 is broken")
        return pictures[name][0]

    def finish(name, _pixels, _mask):
        if name == "p3":
            raise UserError("p3 has no result")
        return name

    outcomes = list(
        predict_all(ColorNet(), list(pictures), (64, 64), read=read, finish=finish, batch_size=2)
    )
    assert [outcome.value for outcome in outcomes] == ["p0", None, "p2", None, "p4"]
    assert [str(o.error) for o in outcomes if o.error] == ["p1 is broken", "p3 has no result"]


@pytest.mark.parametrize("where", ["read", "network", "finish"])
def test_other_errors_stop_it_and_leave_no_thread(where):
    def failing(*_):
        raise OSError("no space left")

    before = threading.active_count()
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(OSError, match="no space left"):
        list(
            predict_all(
                failing if where == "network" else ColorNet(),
                range(20),
                (64, 64),
                read=failing if where == "read" else lambda _: image,
                finish=failing if where == "finish" else lambda *_: None,
            )
        )
    assert threading.active_count() == before


def test_only_a_few_pictures_are_read_ahead():
    read, yielded = [], 0
    image = np.zeros((64, 64, 3), np.uint8)
    for _ in predict_all(
        ColorNet(),
        range(40),
        (64, 64),
        read=lambda item: read.append(item) or image,
        finish=lambda *_: None,
        batch_size=2,
    ):
        yielded += 1
        # A batch under way, two batches ahead, two and a bit that are being finished.
        assert len(read) <= yielded + 12
    assert (yielded, len(read)) == (40, 40)


def test_nothing_to_do():
    assert list(predict_all(ColorNet(), [], (64, 64), read=None, finish=None)) == []

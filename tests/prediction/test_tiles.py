"""Tiles: where they lie, that no seam shows, and what they need."""

import tracemalloc
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.images.transforms import GREY, normalize
from utils.prediction.tiles import plan_spans, predict_tiles


class LocalNet:
    """A network that looks `reach` pixels far; it keeps the shapes that it was given."""

    def __init__(self, reach, num_classes=5):
        self.reach = reach
        rng = np.random.default_rng(3)
        self.colors = rng.normal(size=(3, num_classes)).astype(np.float32)
        self.shapes = []

    def __call__(self, batch):
        self.shapes.append(batch.shape)
        side = 2 * self.reach + 1
        # Zero padding at the edges of what it sees, as convolutions have.
        seen = [
            cv2.blur(one, (side, side), borderType=cv2.BORDER_CONSTANT) @ self.colors
            for one in batch
        ]
        exponents = np.exp(6 * np.stack(seen))
        return exponents / exponents.sum(axis=-1, keepdims=True)


def smooth_image(height, width):
    noise = np.random.default_rng(7).standard_normal((height, width, 3)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.clip(128 + 90 * noise / noise.std(), 0, 255).astype(np.uint8)


@given(st.integers(1, 700), st.integers(1, 40).map(lambda count: 16 * count))
def test_the_shares_of_each_pixel_sum_to_one(length, tile):
    spans = plan_spans(length, tile)
    total = np.zeros(length)
    for span in spans:
        assert span.start <= span.first < span.last <= min(span.start + tile, length)
        assert len(span.weights) == span.last - span.first
        total[span.first : span.last] += span.weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(st.integers(1, 2000), st.integers(1, 40).map(lambda count: 16 * count))
def test_a_tile_s_edge_counts_nothing_and_only_neighbours_share(length, tile):
    spans = plan_spans(length, tile)
    assert (spans[0].first, spans[-1].last, spans[-1].done) == (0, length, length)
    for before, after in pairwise(spans):
        assert after.first - after.start >= tile // 16
        assert before.start + tile - before.last >= tile // 16
        assert before.done == after.first < before.last <= after.done


def test_a_short_side_is_one_tile():
    (span,) = plan_spans(30, 64)
    assert (span.start, span.first, span.last) == (0, 0, 30)
    assert np.all(span.weights == 1)


@pytest.mark.parametrize("tile", [(64, 64), (64, 96)])
@pytest.mark.parametrize("size", [(300, 260), (65, 200), (64, 64), (130, 97), (500, 96)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_no_seam_shows_where_the_network_looks_as_far_as_the_margin(size, tile, batch_size):
    image, network = smooth_image(*size), LocalNet(reach=4)
    whole = network(normalize(image)[None])[0]
    ordered = np.sort(whole, axis=-1)
    clear = ordered[..., -1] - ordered[..., -2] > 1e-6  # no tie that rounding could turn
    tiled = predict_tiles(network, image, tile, batch_size)
    assert clear.mean() > 0.999
    np.testing.assert_array_equal(tiled[clear], whole.argmax(axis=-1)[clear])


def test_a_network_that_looks_further_is_blended_smoothly():
    # Between tiles that disagree the weight passes from one to the other: with logits that
    # depend on the tile alone, class 1 wins only in the second half of the ramp.
    def model(batch):
        share = np.float32(0.2 if model.calls % 2 == 0 else 0.8)
        model.calls += 1
        return np.broadcast_to((1 - share, share), (*batch.shape[:3], 2))

    model.calls = 0
    mask = predict_tiles(model, np.zeros((64, 112, 3), np.uint8), (64, 64))
    edge = (48 + 64) // 2  # the middle of the overlap
    assert np.all(mask[:, :edge] == 0) and np.all(mask[:, edge:] == 1)


def test_batches_have_one_shape_and_short_sides_are_grey():
    network = LocalNet(reach=1)
    predict_tiles(network, smooth_image(100, 150), (64, 64), batch_size=4)
    assert set(network.shapes) == {(4, 64, 64, 3)}
    seen = []
    predict_tiles(
        lambda batch: seen.append(batch.copy()) or network(batch), smooth_image(20, 80), (64, 64)
    )
    grey = GREY / 127.5 - 1
    np.testing.assert_allclose(seen[0][0, 20:], grey, atol=1e-6)


def test_memory_grows_with_the_width_not_with_the_image():
    classes, width = 20, 2000

    def model(batch):
        return np.broadcast_to(np.float32(1 / classes), (*batch.shape[:3], classes))

    peaks = []
    for height in (400, 2000):
        image = np.zeros((height, width, 3), np.uint8)
        tracemalloc.start()
        predict_tiles(model, image, (128, 128))
        peaks.append(tracemalloc.get_traced_memory()[1] - height * width)
        tracemalloc.stop()
    ramps = 16 * width * classes * 4
    assert peaks[1] < 1.1 * peaks[0] + 2**20
    assert peaks[1] < 4 * ramps < 2000 * width * classes * 4 / 20


@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_channels(rng, count):
    image = rng.integers(0, 256, (50, 90, count)).astype(np.uint8)

    def network(batch):  # the class says which channel is the brightest, if any is bright at all
        return np.concatenate([np.zeros_like(batch[..., :1]), batch], axis=-1)

    expected = np.where(image.max(axis=-1) > 127, 1 + image.argmax(axis=-1), 0)
    np.testing.assert_array_equal(predict_tiles(network, image, (32, 48)), expected)

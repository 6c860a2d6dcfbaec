"""Many images: in order, in batches of one shape, whatever fails."""

import threading

import numpy as np
import pytest
import tifffile
from PIL import Image
from stand_ins import ColorNet, blocks

from errors import UserError
from utils.images.reading import read_image
from utils.prediction import stream
from utils.prediction.inference import is_tiled, predict_mask
from utils.prediction.stream import predict_all, predict_masks
from utils.prediction.tiles import predict_tiles


class CountingNet(ColorNet):
    """Also keeps the shapes of all its calls."""

    def __init__(self):
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        return super().__call__(images)


def named_images(count):
    """{name: (image, mask)} of several sizes, some larger than the network's input."""
    return {
        f"p{index}": blocks(20 + 7 * index, 90 - 5 * index, side=6 + index)
        for index in range(count)
    }


@pytest.mark.parametrize("batch_size", [1, 3, 50])
@pytest.mark.parametrize("tile", [None, True])
def test_many_images_come_in_order_as_each_alone(batch_size, tile):
    images, network = named_images(10), CountingNet()
    outcomes = list(
        predict_all(
            network,
            list(images),
            (64, 64),
            read=lambda name: images[name][0],
            finish=lambda name, pixels, mask: (name, pixels.shape, mask),
            batch_size=batch_size,
            tile=tile,
        )
    )
    assert [outcome.item for outcome in outcomes] == list(images)
    for outcome in outcomes:
        image, _ = images[outcome.item]
        name, shape, mask = outcome.value
        assert (name, shape, outcome.error) == (outcome.item, image.shape, None)
        if is_tiled(image.shape[:2], (64, 64), tile):
            expected = predict_tiles(ColorNet(), image, (64, 64))
        else:
            expected = predict_mask(ColorNet(), image, (64, 64))
        np.testing.assert_array_equal(mask, expected)
    assert set(network.shapes) == {(min(batch_size, 10), 64, 64, 3)}


def test_an_image_that_fails_does_not_stop_the_others():
    images = named_images(5)

    def read(name):
        if name == "p1":
            raise UserError("p1 is broken")
        return images[name][0]

    def finish(name, _pixels, _mask):
        if name == "p3":
            raise UserError("p3 has no result")
        return name

    outcomes = list(
        predict_all(ColorNet(), list(images), (64, 64), read=read, finish=finish, batch_size=2)
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
                [f"{number}.png" for number in range(20)],
                (64, 64),
                read=failing if where == "read" else lambda _: image,
                finish=failing if where == "finish" else lambda *_: None,
            )
        )
    assert threading.active_count() == before


def test_only_a_few_images_are_read_ahead():
    read, yielded = [], 0
    image = np.zeros((64, 64, 3), np.uint8)
    for _ in predict_all(
        ColorNet(),
        [f"{number}.png" for number in range(40)],
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


def test_large_images_are_in_memory_one_at_a_time(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(stream, "_HELD", 100 * 80 * 3)
    paths = []
    for index, (height, width) in enumerate([(100, 80)] * 6 + [(200, 200)] * 2 + [(10, 12)] * 5):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(paths[-1])
    held, most, lock = [0], [], threading.Lock()

    def read(path):
        pixels = read_image(path)
        with lock:
            held[0] += pixels.size // 3
            most.append(held[0])
        return pixels

    def finish(path, pixels, mask):
        with lock:
            held[0] -= mask.size
        return path

    outcomes = predict_all(
        ColorNet(), paths, (64, 64), read=read, finish=finish, batch_size=4, tile=True
    )
    assert [outcome.value for outcome in outcomes] == paths
    assert max(most) == 200 * 200
    assert max(most[:6]) == 100 * 80 * 3


def test_masks_alone_and_the_first_error(tmp_path, write_image):
    image, mask = blocks(48, 64, side=8)
    path = write_image(tmp_path / "a.png", image)
    masks = predict_masks(ColorNet(), [path, path, tmp_path / "none.png", path], (48, 64), 2)
    np.testing.assert_array_equal(next(masks), mask)
    np.testing.assert_array_equal(next(masks), mask)
    with pytest.raises(UserError, match=r"There is no file .*none\.png"):
        next(masks)


def test_images_of_five_channels(tmp_path, rng):
    path = tmp_path / "a.tif"
    pixels = rng.integers(0, 256, (30, 40, 5)).astype(np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
    network = CountingNet()  # whose classes are the channels
    (mask,) = predict_masks(network, [path], (30, 40), 2, in_channels=5)
    assert network.shapes == [(1, 30, 40, 5)]
    np.testing.assert_array_equal(mask, pixels.argmax(axis=-1))
    outcome = next(predict_all(network, [path], (30, 40), finish=lambda *_: None))
    assert "has 5 channels, but in_channels is 3" in str(outcome.error)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_in_windows_at_the_scale_of_training(batch_size):
    """Letterboxed into the large size, cut into windows, and back to the image's own size."""
    images, network = named_images(6), CountingNet()
    outcomes = list(
        predict_all(
            network,
            list(images),
            (128, 160),
            read=lambda name: images[name][0],
            finish=lambda name, pixels, mask: mask,
            batch_size=batch_size,
            window=(64, 64),
        )
    )
    assert set(network.shapes) == {(batch_size, 64, 64, 3)}
    for outcome, (image, truth) in zip(outcomes, images.values(), strict=True):
        assert outcome.value.shape == truth.shape
        whole = predict_mask(ColorNet(), image, (128, 160))
        assert (
            outcome.value == whole
        ).mean() > 0.97  # at edges, masks or probabilities are resized
        assert (outcome.value == truth).mean() > 0.9

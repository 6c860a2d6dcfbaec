"""What a set is like: figures that can be counted by hand."""

import dataclasses

import cv2
import numpy as np
import pytest

from errors import UserError
from utils.data.fingerprint import structure_widths, take_fingerprint
from utils.data.voc import Sample


@pytest.fixture
def make_samples(tmp_path, write_image, write_mask):
    """make_samples(masks): samples whose images are the masks, 100 times as bright."""

    def make(masks):
        samples = []
        for index, mask in enumerate(masks):
            image = np.repeat((100 * (mask % 3))[..., None], 3, axis=2).astype(np.uint8)
            name = f"s{index}"
            image_path = write_image(tmp_path / "images" / f"{name}.png", image)
            samples.append(Sample(name, image_path, write_mask(tmp_path / f"{name}.png", mask)))
        return samples

    return make


@pytest.mark.parametrize("width", [1, 3, 5, 9])
@pytest.mark.parametrize("upright", [False, True])
def test_the_width_of_a_bar(width, upright):
    inside = np.zeros((64, 80), bool)
    inside[20 : 20 + width] = True
    found = structure_widths(inside.T if upright else inside)
    assert np.median(found) == pytest.approx(width, abs=0.2)


def test_a_class_everywhere_or_nowhere_has_no_width():
    assert len(structure_widths(np.zeros((9, 9), bool))) == 0
    assert len(structure_widths(np.ones((9, 9), bool))) == 0


def test_shares_sizes_and_widths(make_samples):
    masks = []
    for height, width in ((40, 60), (60, 40), (50, 50)):
        mask = np.zeros((height, width), np.uint8)
        mask[10:13] = 1  # a bar 3 pixels wide
        mask[-10:] = 255
        masks.append(mask)
    found = take_fingerprint(make_samples(masks), 3)
    bars, valid = 3 * (60 + 40 + 50), 30 * 60 + 50 * 40 + 40 * 50
    assert found.shares == pytest.approx((1 - bars / valid, bars / valid, 0))
    assert found.widths[1] == pytest.approx(3, abs=0.2)
    assert np.isnan(found.widths[2])
    assert (found.count, found.size, found.largest) == (3, (50, 50), (60, 60))


def likenesses(samples):
    found = take_fingerprint(samples, 2)
    return found.mirrored, found.upside_down, found.turned


def test_blobs_anywhere_look_alike_however_they_are_turned(make_samples, rng):
    masks = []
    for _ in range(40):
        rows, columns = np.indices((64, 64))
        row, column = rng.uniform(0, 64, 2)
        masks.append((np.hypot(rows - row, columns - column) < 12).astype(np.uint8))
    assert min(likenesses(make_samples(masks))) > 0.85


def test_ground_below_sky_is_no_sky_below_ground(make_samples, rng):
    masks = []
    for _ in range(40):
        mask = np.zeros((64, 64), np.uint8)
        mask[rng.integers(24, 40) :] = 1
        masks.append(mask)
    mirrored, upside_down, turned = likenesses(make_samples(masks))
    assert mirrored > 0.95
    assert upside_down < 0.5
    assert turned < 0.85


def test_stripes_are_seen_in_the_images_too(make_samples, rng):
    # Everywhere as much of each class, but all edges go one way.
    masks = [np.zeros((64, 64), np.uint8) for _ in range(20)]
    for mask in masks:
        mask[rng.integers(0, 8) :: 8] = 1
    mirrored, upside_down, turned = likenesses(make_samples(masks))
    assert min(mirrored, upside_down) > 0.85
    assert turned < 0.3


@pytest.fixture
def make_moved(make_samples, rng, write_mask):
    """make_moved(moves): samples whose masks are moved by (down, right) pixels off the images."""

    def make(moves):
        masks = []
        for _ in moves:
            noise = cv2.GaussianBlur(rng.normal(size=(96, 96)).astype(np.float32), (0, 0), 6)
            masks.append((noise > 0).astype(np.uint8))
        samples = make_samples(masks)
        for sample, mask, move in zip(samples, masks, moves, strict=True):
            write_mask(sample.mask_path, np.roll(mask, move, (0, 1)))
        return samples

    return make


@pytest.mark.parametrize("move", [(0, 0), (-1, 0), (0, 2), (2, -1)])
def test_how_masks_lie_beside_what_images_show(make_moved, move):
    found = take_fingerprint(make_moved([move] * 8), 2).offset
    assert found == pytest.approx((-move[0], -move[1]), abs=0.05)


def test_masks_may_lie_half_a_pixel_beside(make_moved):
    found = take_fingerprint(make_moved([(0, 0), (0, 0), (-1, 0), (-1, 0)] * 4), 2).offset
    assert found == pytest.approx((0.5, 0), abs=0.15)


@pytest.mark.parametrize(
    "moves",
    [[(0, 0), (2, 0)] * 6, [(0, 0)], [(5, 5)] * 8],
    ids=["halves differ", "one image", "too far"],
)
def test_where_masks_lie_is_not_always_to_be_told(make_moved, moves):
    assert take_fingerprint(make_moved(moves), 2).offset == (0, 0)


def test_images_without_edges_tell_nothing_of_masks(make_samples):
    assert take_fingerprint(make_samples([np.ones((32, 32), np.uint8)] * 4), 2).offset == (0, 0)
    small = np.array([[0, 1], [1, 0]], np.uint8)
    assert take_fingerprint(make_samples([small] * 4), 2).offset == (0, 0)


def test_of_many_images_some_are_looked_at(make_samples, monkeypatch):
    samples = make_samples([np.ones((8, 8), np.uint8)] * 3)
    seen = []
    monkeypatch.setattr(
        "utils.data.fingerprint.read_image",
        lambda path, **_: seen.append(path) or np.zeros((8, 8, 3), np.uint8),
    )
    found = take_fingerprint(samples * 100, 3, workers=1)
    assert (found.count, len(seen)) == (300, 60)


def test_of_large_images_fewer_are_looked_at(make_samples, monkeypatch):
    samples = make_samples([np.ones((8, 8), np.uint8)] * 3)
    seen = []
    monkeypatch.setattr("utils.data.fingerprint.image_size", lambda path: (4000, 5000))
    monkeypatch.setattr(
        "utils.data.fingerprint.read_image",
        lambda path, **_: seen.append(path) or np.zeros((8, 8, 3), np.uint8),
    )
    take_fingerprint(samples * 100, 3, workers=1)
    assert len(seen) == 12


def test_void_alone_is_refused(make_samples):
    samples = make_samples([np.full((8, 8), 255, np.uint8)] * 2)
    with pytest.raises(UserError, match=r"all pixels of the 2 masks are void \(ignore_labels is"):
        take_fingerprint(samples, 3)


def test_the_same_whatever_the_number_of_workers(make_samples, rng):
    samples = make_samples(rng.integers(0, 2, (9, 30, 20)).astype(np.uint8))
    one, four = (take_fingerprint(samples, 2, workers=workers) for workers in (1, 4))
    assert dataclasses.astuple(one) == dataclasses.astuple(four)

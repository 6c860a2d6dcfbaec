"""What spoils images and not masks."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from utils.data.degrade import (
    add_noise,
    blur,
    change_tones,
    cut_out,
    degrade,
    lower_resolution,
)

OFF = {"gamma": 0.0, "contrast": 0.0, "blur": 0.0, "low_resolution": 0.0, "noise": 0.0}
CHANNELS = [1, 2, 3, 4, 5, 130]


@pytest.fixture(params=CHANNELS)
def image(request, rng):
    return rng.integers(0, 256, (24, 40, request.param), dtype=np.uint8)


@pytest.mark.parametrize("name", OFF)
def test_each_keeps_shape_and_type_and_the_image_that_came(name, image):
    before = image.copy()
    strengths = SimpleNamespace(**(OFF | {name: 3.0 if name == "blur" else 0.9}))
    changed = 0
    for seed in range(12):
        found = degrade(image, strengths, np.random.default_rng(seed))
        assert (found.shape, found.dtype) == (image.shape, np.uint8)
        changed += (found != image).any()
    np.testing.assert_array_equal(image, before)
    assert changed >= 2


def test_what_is_off_draws_nothing(image):
    drawn, untouched = np.random.default_rng(3), np.random.default_rng(3)
    assert degrade(image, SimpleNamespace(**OFF), drawn) is image
    assert drawn.random() == untouched.random()


def test_gamma_by_hand():
    image = np.array([[[0], [64], [128], [255]]], np.uint8)

    class Most:
        def uniform(self, low, high):
            return high

    # (1 + 1)^1 = 2: 255 (64/255)^2 = 16.06, 255 (128/255)^2 = 64.25
    assert change_tones(image, 1.0, 0.0, Most()).ravel().tolist() == [0, 16, 64, 255]


def test_contrast_keeps_the_mean(rng):
    image = rng.integers(80, 170, (40, 40, 3)).astype(np.uint8)
    for seed in range(9):
        found = change_tones(image, 0.0, 0.5, np.random.default_rng(seed))
        assert found.mean() == pytest.approx(image.mean(), abs=0.5)
        assert 0.45 * image.std() < found.std() < 1.55 * image.std()


def test_noise_has_its_standard_deviation_and_mean_0():
    image = np.full((200, 200, 3), 128, np.uint8)
    noise = add_noise(image, 10, np.random.default_rng(0)).astype(float) - 128
    assert noise.mean() == pytest.approx(0, abs=0.1)
    assert noise.std() == pytest.approx(10, rel=0.02)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02


def test_noise_is_clipped():
    for level in (0, 255):
        found = add_noise(np.full((20, 20, 1), level, np.uint8), 50, np.random.default_rng(0))
        assert abs(found.astype(int) - level).max() > 50
        assert found.min() >= 0


def test_blur_equals_opencv_and_almost_none_is_none(rng):
    image = rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(blur(image, 1.5), cv2.GaussianBlur(image, (0, 0), 1.5))
    assert blur(image, 0.05) is image


def test_half_the_resolution_is_squares_of_means():
    image = np.zeros((4, 4, 1), np.uint8)
    image[:2, :2, 0] = [[0, 100], [100, 200]]
    found = lower_resolution(image, 0.5)[..., 0]
    assert found[:2, :2].tolist() == [[100, 100], [100, 100]]
    assert found[2:].max() == 0


def test_a_cut_is_one_grey_rectangle_of_half_of_the_images():
    image = np.zeros((60, 80, 3), np.uint8)
    cuts, sides = 0, []
    for seed in range(200):
        found = cut_out(image, 0.5, np.random.default_rng(seed))
        grey = (found == 128).all(axis=2)
        if grey.any():
            cuts += 1
            rows, columns = grey.any(axis=1).sum(), grey.any(axis=0).sum()
            assert rows * columns == grey.sum()
            sides.append((rows / 60, columns / 80))
    assert 75 < cuts < 125
    assert 0.4 < np.max(sides) <= 0.5
    assert image.max() == 0

"""Colours and outlines over an image, whatever the strips that they are drawn in."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from utils.labels import voc_palette
from utils.prediction import draw
from utils.prediction.draw import (
    MIX_TYPES,
    check_mix_type,
    draw_mask,
    format_count,
    pixels_of_values,
)

COLORS = voc_palette(256)


def make_blocks(rng, size, block=7, num_classes=4):
    """A mask of blocks and of single pixels strewn over them."""
    height, width = size
    ids = rng.integers(0, num_classes, (height // block + 1, width // block + 1))
    mask = ids.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]
    strewn = rng.random(size) < 0.03
    mask[strewn] = rng.integers(0, num_classes, strewn.sum())
    return mask.astype(np.uint8)


def slow_outline(mask, thickness):
    """True where a pixel of another value, or the edge, is within `thickness` king's moves."""
    height, width = mask.shape
    padded = np.pad(mask.astype(int), thickness, constant_values=-1)
    result = np.zeros(mask.shape, bool)
    for row in range(height):
        for column in range(width):
            window = padded[row : row + 2 * thickness + 1, column : column + 2 * thickness + 1]
            result[row, column] = mask[row, column] > 0 and (window != mask[row, column]).any()
    return result


def whole_image(image, mask, mix_type):
    """What mix_type 0, 1 and 2 give, worked out on the image as one."""
    if mix_type == 0:
        blend = np.rint(image * np.float32(0.3) + COLORS[mask] * np.float32(0.7)).astype(np.uint8)
        return blend * (mask > 0)[..., None] + image * (mask == 0)[..., None]
    if mix_type == 1:
        return COLORS[mask]
    return image * (mask > 0)[..., None]


@pytest.mark.parametrize("mix_type", [0, 1, 2])
@pytest.mark.parametrize("strip", [1, 200, 10**6])
def test_colours_do_not_depend_on_the_strips(monkeypatch, rng, mix_type, strip):
    monkeypatch.setattr(draw, "_STRIP", strip)
    image = rng.integers(0, 256, (37, 53, 3)).astype(np.uint8)
    mask = make_blocks(rng, (37, 53))
    expected = whole_image(image, mask, mix_type)
    np.testing.assert_array_equal(draw_mask(image, mask, COLORS, mix_type), expected)


@pytest.mark.parametrize("opacity", [0, 0.25, 1])
def test_opacity_is_the_share_of_the_colours(rng, opacity):
    mask = make_blocks(rng, (40, 50))
    image = rng.integers(0, 256, (*mask.shape, 3), np.uint8)
    blend = image * np.float32(1 - opacity) + COLORS[mask] * np.float32(opacity)
    expected = np.where(mask[..., None] == 0, image, np.rint(blend).astype(np.uint8))
    np.testing.assert_array_equal(draw_mask(image, mask, COLORS, opacity=opacity), expected)


def test_the_background_stays_as_it_is_under_the_colours():
    image = np.full((2, 3, 3), 200, np.uint8)
    mask = np.array([[0, 1, 0], [255, 0, 2]], np.uint8)
    drawn = draw_mask(image, mask, COLORS)
    assert drawn[mask == 0].tolist() == [[200, 200, 200]] * 3
    # 0.3 * 200 + 0.7 * 128 = 149.6; 0.7 * 224 = 156.8 and 0.7 * 192 = 134.4 of void.
    assert drawn[0, 1].tolist() == [150, 60, 60]
    assert drawn[1, 2].tolist() == [60, 150, 60]
    assert drawn[1, 0].tolist() == [217, 217, 194]


@pytest.mark.parametrize("strip", [1, 200, 10**6])
@pytest.mark.parametrize("size", [(37, 53), (1, 30), (30, 1), (1, 1), (3, 4)])
def test_outlines_are_what_a_slow_search_finds(monkeypatch, rng, strip, size):
    monkeypatch.setattr(draw, "_STRIP", strip)
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    mask = make_blocks(rng, size)
    expected = np.where(slow_outline(mask, 2)[..., None], COLORS[mask], image)
    np.testing.assert_array_equal(draw_mask(image, mask, COLORS, 3), expected)


@given(seed=st.integers(0, 10**6), height=st.integers(1, 24), width=st.integers(1, 24))
def test_outlines_of_any_mask(seed, height, width):
    rng = np.random.default_rng(seed)
    mask = rng.choice([0, 1, 2, 255], (height, width), p=[0.3, 0.5, 0.1, 0.1]).astype(np.uint8)
    # In no palette colour, so that the drawn pixels show.
    image = np.full((height, width, 3), 7, np.uint8)
    drawn = (draw_mask(image, mask, COLORS, 3) != image).any(axis=2)
    np.testing.assert_array_equal(drawn, slow_outline(mask, 2))


def test_outlines_grow_with_the_image(rng):
    image = rng.integers(0, 256, (1600, 1600, 3)).astype(np.uint8)
    mask = np.zeros((1600, 1600), np.uint8)
    mask[300:700, 500:1300] = 1
    mask[1500:1503, 20:23] = 2  # thinner than the outline: filled
    expected = image.copy()
    # The square root of 1600 x 1600, by 400, is 4 pixels.
    expected[300:700, 500:1300] = COLORS[1]
    expected[304:696, 504:1296] = image[304:696, 504:1296]
    expected[1500:1503, 20:23] = COLORS[2]
    np.testing.assert_array_equal(draw_mask(image, mask, COLORS, 3), expected)


def test_an_image_of_one_class_gets_a_frame():
    image = np.full((20, 30, 3), 9, np.uint8)
    drawn = draw_mask(image, np.ones((20, 30), np.uint8), COLORS, 3)
    assert (drawn[2:-2, 2:-2] == 9).all()
    drawn[2:-2, 2:-2] = COLORS[1]
    assert (drawn == COLORS[1]).all()


def test_the_background_has_no_outline():
    image = np.full((20, 30, 3), 9, np.uint8)
    np.testing.assert_array_equal(draw_mask(image, np.zeros((20, 30), np.uint8), COLORS, 3), image)


@pytest.mark.parametrize("mix_type", MIX_TYPES)
def test_drawing_in_place(monkeypatch, rng, mix_type):
    monkeypatch.setattr(draw, "_STRIP", 300)
    image = rng.integers(0, 256, (61, 53, 3)).astype(np.uint8)
    mask = make_blocks(rng, (61, 53))
    before = image.copy(), mask.copy()
    expected = draw_mask(image, mask, COLORS, mix_type)
    np.testing.assert_array_equal(image, before[0])
    other = np.zeros_like(image)
    assert draw_mask(image, mask, COLORS, mix_type, out=other) is other
    np.testing.assert_array_equal(other, expected)
    assert draw_mask(image, mask, COLORS, mix_type, out=image) is image
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("mix_type", MIX_TYPES)
def test_large_images_are_not_copied(mix_type):
    image, mask = np.ones((4000, 3000, 3), np.uint8), np.ones((4000, 3000), np.uint8)
    tracemalloc.start()
    draw_mask(image, mask, COLORS, mix_type, out=image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6  # the image has 36 MB


def test_mix_types_are_checked():
    for mix_type in MIX_TYPES:
        check_mix_type(mix_type)
    with pytest.raises(UserError, match=r"mix_type must be one of 0, 1, 2, 3; got 4\."):
        check_mix_type(4)


@pytest.mark.parametrize("strip", [1, 100, 10**6])
def test_pixels_are_counted(monkeypatch, strip):
    monkeypatch.setattr(draw, "_STRIP", strip)
    mask = np.zeros((30, 20), np.uint8)
    mask[3:5, :7] = 2
    mask[29, 19] = 4
    assert pixels_of_values(mask).tolist() == [585, 0, 14, 0, 1]
    assert pixels_of_values(mask, minlength=7).tolist() == [585, 0, 14, 0, 1, 0, 0]
    assert pixels_of_values(mask[:3], minlength=1).tolist() == [60]
    assert format_count(mask, "abcdef").splitlines() == [
        "class        pixels   share",
        "a               585  97.50%",
        "c                14   2.33%",
        "e                 1   0.17%",
    ]

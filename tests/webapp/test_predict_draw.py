"""How predictions are drawn on the page."""

import numpy as np
import pytest

pytest.importorskip("gradio", reason="Gradio is not installed")

from errors import UserError
from utils.labels import voc_palette
from utils.prediction.draw import draw_mask
from webapp.predict_draw import (
    CONFIDENCE,
    Look,
    draw,
    format_color,
    parse_color,
    reduced,
)
from webapp.predict_run import Layers

COLORS = voc_palette(256)


@pytest.fixture
def layers(rng):
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 10:40] = 1
    mask[30:50, 20:60] = 2
    image = rng.integers(0, 256, (60, 80, 3), np.uint8)
    return Layers(image, mask, rng.integers(80, 256, (60, 80), np.uint8))


def test_the_usual_look_is_that_of_predict_py(layers):
    expected = draw_mask(layers.image, layers.mask, COLORS)
    np.testing.assert_array_equal(draw(layers, COLORS, Look()), expected)


def test_outlines_alone_are_those_of_predict_py(layers):
    expected = draw_mask(layers.image, layers.mask, COLORS, mix_type=3)
    drawn = draw(layers, COLORS, Look(opacity=0, outlines=True))
    np.testing.assert_array_equal(drawn, expected)


def test_opacity_is_the_share_of_the_colours(layers):
    np.testing.assert_array_equal(draw(layers, COLORS, Look(opacity=0)), layers.image)
    opaque = draw(layers, COLORS, Look(opacity=1))
    np.testing.assert_array_equal(opaque[layers.mask == 1], np.tile(COLORS[1], (300 * 2, 1)))
    np.testing.assert_array_equal(opaque[layers.mask == 0], layers.image[layers.mask == 0])


def test_a_class_that_is_switched_off_is_neither_painted_nor_outlined(layers):
    drawn = draw(layers, COLORS, Look(opacity=1, outlines=True, classes=[2]))
    np.testing.assert_array_equal(drawn[layers.mask == 1], layers.image[layers.mask == 1])
    assert (drawn[layers.mask == 2] == COLORS[2]).all()
    nothing = draw(layers, COLORS, Look(opacity=1, outlines=True, classes=[]))
    np.testing.assert_array_equal(nothing, layers.image)


def test_confidence_goes_from_dark_to_bright(layers):
    layers = layers._replace(confidence=np.repeat([[90], [250]], 30, 0).repeat(80, 1).astype("u1"))
    drawn = draw(layers, COLORS, Look(CONFIDENCE, opacity=1))
    assert drawn[:30].mean() + 40 < drawn[30:].mean()
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 2
    unseen = draw(layers, COLORS, Look(CONFIDENCE, opacity=0))
    np.testing.assert_array_equal(unseen, layers.image)


def test_the_layers_stay_as_they_are(layers):
    before = [layer.copy() for layer in layers]
    for layer in ("Classes", CONFIDENCE):
        draw(layers, COLORS, Look(layer, 0.5, True, [1]))
    for old, new in zip(before, layers, strict=True):
        np.testing.assert_array_equal(old, new)


def test_large_images_are_reduced_and_classes_not_mixed(rng):
    mask = np.zeros((1000, 4000), np.uint8)
    mask[:, 2000:] = 5
    large = Layers(np.full((1000, 4000, 3), 7, np.uint8), mask, mask)
    small = reduced(large)
    assert small.mask.shape == (400, 1600)
    assert small.image.shape == (400, 1600, 3)
    assert set(np.unique(small.mask)) == {0, 5}
    assert reduced(small) is small


@pytest.mark.parametrize(
    "text", ["#ff8000", "#FF8000", "rgb(255, 128, 0)", "rgba(254.7,128.2,0.0,1)"]
)
def test_colours_are_read_as_pickers_write_them(text):
    assert parse_color(text) == (255, 128, 0)
    assert format_color(parse_color(text)) == "#ff8000"


@pytest.mark.parametrize("text", [None, "", "red", "#ff80", "rgb(256,0,0)", "#ff8000;}", "url(x)"])
def test_what_is_no_colour_is_refused(text):
    with pytest.raises(UserError, match=r"is no colour\. Expected one such as #ff8000"):
        parse_color(text)

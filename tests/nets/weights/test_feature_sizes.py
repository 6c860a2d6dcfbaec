"""Features of unit size: the same features but for a factor each."""

import keras
import numpy as np
import pytest

from nets.encoders.vgg16 import VGG16
from nets.weights.feature_sizes import (
    _STREETS,
    draw_dead_leaves,
    find_unit_factor,
    scale_vgg16,
)


@pytest.fixture
def encoder():
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, VGG16(inputs, 8))


@pytest.fixture
def layers(encoder, rng):
    """Weights whose features have sizes of hundreds, as those of ImageNet."""
    found = {}
    for layer in encoder.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            size = (2 / np.prod(kernel.shape[:3])) ** 0.5 * rng.uniform(0.5, 4)
            kernel = rng.normal(0, size, kernel.shape).astype(np.float32)
            found[layer.name] = [kernel, rng.normal(0, 9, bias.shape).astype(np.float32)]
    return found


def features(encoder, layers, image):
    for name, arrays in layers.items():
        encoder.get_layer(name).set_weights(arrays)
    model = keras.Model(encoder.inputs, [encoder.get_layer(name).output for name in layers])
    return dict(zip(layers, model.predict_on_batch(image), strict=True))


def test_features_change_by_the_factors_and_nothing_else(encoder, layers, rng):
    image = rng.uniform(-1, 1, (2, 64, 48, 3)).astype(np.float32)
    before = features(encoder, layers, image)
    factors = scale_vgg16(layers)
    after = features(encoder, layers, image)
    assert list(factors) == list(layers)
    for name, factor in factors.items():
        error = np.abs(after[name] - factor * before[name]).max()
        assert error <= 1e-5 * np.abs(after[name]).max(), name
        assert not 0.5 < factor < 2, name  # there was something to do


def test_on_the_drawn_image_they_have_the_size_that_makes_it_1_on_streets(encoder, layers):
    """To the two digits that the factors have."""
    scale_vgg16(layers)
    found = features(encoder, layers, draw_dead_leaves()[None])
    sizes = [np.sqrt(np.square(values).mean()) for values in found.values()]
    assert sizes == pytest.approx(1 / np.array(_STREETS), rel=0.06)


def test_the_drawn_image_is_like_a_photograph():
    image = draw_dead_leaves()
    assert image.shape == (128, 128, 3) and image.dtype == np.float32
    assert np.abs(image).max() <= 1
    np.testing.assert_array_equal(image, draw_dead_leaves())
    assert image.std() == pytest.approx(0.3, rel=0.1)
    # Of photographs, amplitudes fall about with 1 / frequency: of four times it a fourth.
    amplitudes = np.abs(np.fft.fft2(image.mean(axis=-1)))
    rings = np.hypot(*np.meshgrid(*[128 * np.fft.fftfreq(128)] * 2))
    low, high = (amplitudes[(rings > at) & (rings < 1.5 * at)].mean() for at in (4, 16))
    assert 3 < low / high < 6
    red, green = image[..., 0].ravel(), image[..., 1].ravel()
    assert 0.7 < np.corrcoef(red, green)[0, 1] < 0.98


def test_a_dead_layer_stays_dead(layers):
    layers["block3_conv2"] = [np.zeros_like(layers["block3_conv2"][0]), np.zeros(32, np.float32)]
    assert scale_vgg16(layers)["block3_conv2"] == 1
    assert all(np.isfinite(array).all() for arrays in layers.values() for array in arrays)


def test_a_first_convolution_alone(rng):
    """As ResNetV2 has it: seven by seven with a stride of 2, behind three pixels of padding."""
    layer = keras.layers.Conv2D(8, 7, strides=2)
    image = np.pad(draw_dead_leaves(), ((3, 3), (3, 3), (0, 0)))[None]
    layer.build(image.shape)
    kernel, bias = rng.normal(0, 3, (7, 7, 3, 8)), rng.normal(0, 20, 8)
    layer.set_weights([kernel, bias])
    features = keras.ops.convert_to_numpy(layer(image))
    factor = find_unit_factor(kernel, bias, strides=2)
    assert factor < 0.1
    assert factor * np.sqrt(np.square(features).mean()) == pytest.approx(1, rel=0.06)
    assert find_unit_factor(0 * kernel, 0 * bias, strides=2) == 1

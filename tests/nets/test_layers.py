"""Upsampling in the decoder against its parts, one after the other."""

import keras
import numpy as np
import pytest

from nets.layers import AlignedUpSampling2D, ExcludeClasses, UpsampledConv2D, sum_neighbours
from nets.precision import dtype_policy


def in_parts(x, skip, kernel, bias):
    """Nearest upsampling, concatenation, 3x3 convolution and ReLU in float64."""
    x = np.repeat(np.repeat(x.astype(np.float64), 2, axis=1), 2, axis=2)
    x = x if skip is None else np.concatenate([skip.astype(np.float64), x], axis=3)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    total = np.zeros((*x.shape[:3], kernel.shape[3])) + bias
    for row in range(3):
        for column in range(3):
            part = padded[:, row : row + height, column : column + width]
            total += part @ kernel[row, column].astype(np.float64)
    return np.maximum(total, 0)


def call(layer, inputs):
    return np.array(keras.ops.convert_to_numpy(keras.ops.cast(layer(inputs), "float32")))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1), (1, 7)])
@pytest.mark.parametrize("has_skip", [True, False])
def test_one_layer_is_its_parts(size, has_skip, fused, rng):
    height, width = size
    x = rng.standard_normal((2, height, width, 5)).astype("float32")
    skip = rng.standard_normal((2, 2 * height, 2 * width, 3)).astype("float32")
    skip = skip if has_skip else None
    layer = UpsampledConv2D(4, fused=fused)
    layer.build([skip.shape, x.shape] if has_skip else x.shape)
    kernel, bias = (rng.standard_normal(w.shape).astype("float32") for w in layer.weights)
    layer.set_weights([kernel, bias])
    assert kernel.shape == (3, 3, 8 if has_skip else 5, 4)
    inputs = [skip, x] if has_skip else x
    found, expected = call(layer, inputs), in_parts(x, skip, kernel, bias)
    assert found.shape == (2, 2 * height, 2 * width, 4)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert expected.max() > 1


@pytest.mark.parametrize("fused", [True, False])
def test_gradients_are_those_of_the_parts(fused, rng):
    x = rng.standard_normal((2, 4, 6, 5)).astype("float32")
    skip = rng.standard_normal((2, 8, 12, 3)).astype("float32")
    target = rng.standard_normal((2, 8, 12, 4)).astype("float32")

    def change(decode):
        """What a step of plain SGD takes from the weights."""
        inputs = [keras.Input(skip.shape[1:]), keras.Input(x.shape[1:])]
        model = keras.Model(inputs, decode(inputs))
        start = np.random.default_rng(1)
        before = [start.standard_normal(w.shape).astype("float32") for w in model.weights]
        model.set_weights(before)
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch([skip, x], target)
        return [old - new for old, new in zip(before, model.get_weights(), strict=True)]

    def parts(inputs):
        upsampled = keras.layers.UpSampling2D()(inputs[1])
        joined = keras.layers.Concatenate()([inputs[0], upsampled])
        return keras.layers.Conv2D(4, 3, padding="same", activation="relu")(joined)

    for found, expected in zip(change(UpsampledConv2D(4, fused=fused)), change(parts), strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_start_weights_are_those_of_a_convolution():
    keras.utils.set_random_seed(3)
    layer = UpsampledConv2D(4, kernel_initializer="he_normal")
    layer.build([(None, 8, 8, 3), (None, 4, 4, 5)])
    keras.utils.set_random_seed(3)
    convolution = keras.layers.Conv2D(4, 3, kernel_initializer="he_normal")
    convolution.build((None, 8, 8, 8))
    for one, other in zip(layer.get_weights(), convolution.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_kernels_are_summed_in_float32():
    """1 + 2^-8 is 1 in bfloat16, so that a sum of such numbers with -1 would be 0."""
    x = np.ones((1, 2, 2, 1), "float32")
    kernel = np.zeros((3, 3, 1, 1), "float32")
    kernel[0, :2, 0, 0] = 1 + 2**-8, -1
    with dtype_policy("mixed_bfloat16"):
        layer = UpsampledConv2D(1)
        layer.build(x.shape)
        layer.set_weights([kernel, np.zeros(1, "float32")])
        assert layer(x).dtype == "bfloat16"
    # In the second row, last column both fall on one pixel.
    assert call(layer, x)[0, 1, 3, 0] == in_parts(x, None, kernel, 0)[0, 1, 3, 0] == 2**-8


def test_it_is_rebuilt_from_its_config():
    layer = UpsampledConv2D(6, kernel_initializer="he_normal", name="a")
    again = UpsampledConv2D.from_config(layer.get_config())
    assert (again.filters, again.name, again.fused) == (6, "a", True)
    assert isinstance(again.kernel_initializer, keras.initializers.HeNormal)
    assert not UpsampledConv2D.from_config(UpsampledConv2D(6, fused=False).get_config()).fused


def test_the_parts_keep_the_concatenation():
    skip, x = (2, 8, 12, 3), (2, 4, 6, 5)
    assert UpsampledConv2D(4).inner_shape([skip, x]) is None
    layer = UpsampledConv2D(4, fused=False)
    assert layer.inner_shape([skip, x]) == (2, 8, 12, 8)
    assert layer.inner_shape(x) == (2, 8, 12, 5)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_aligned_upsampling_by_hand(length):
    """Linear between the corners: row i of 2n is at i (n - 1) / (2n - 1)."""
    x = np.arange(length, dtype="float32")[None, :, None, None] + np.zeros((1, 1, 3, 2))
    found = call(AlignedUpSampling2D(), x.astype("float32"))
    assert found.shape == (1, 2 * length, 6, 2)
    expected = np.linspace(0, length - 1, 2 * length)
    np.testing.assert_allclose(found[0, :, 4, 1], expected, atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_excluded_classes_have_probability_0_and_the_others_theirs(rng, policy):
    logits = rng.normal(0, 5, (2, 3, 4, 4)).astype(np.float32)
    logits[0, 0, 0, 1] = 1e4  # however sure it is
    with dtype_policy(policy):
        layer = ExcludeClasses(4, (1, 3), dtype="float32")
    found = keras.ops.convert_to_numpy(keras.ops.softmax(layer(logits)))
    exact = np.exp(logits[..., [0, 2]].astype(np.float64))
    np.testing.assert_allclose(found[..., [0, 2]], exact / exact.sum(-1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(found[..., [1, 3]], 0)
    assert layer.compute_output_shape((None, 8, 8, 4)) == (None, 8, 8, 4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("skip_channels", [0, 3])
def test_the_convolution_in_parts_is_the_fused_one(rng, skip_channels, training):
    x = rng.standard_normal((2, 3, 5, 4)).astype("float32")
    skip = rng.standard_normal((2, 6, 10, skip_channels)).astype("float32")
    given = [skip, x] if skip_channels else x
    fused, parts = UpsampledConv2D(6), UpsampledConv2D(6, fused=False)
    inputs = [keras.Input((None, None, one.shape[-1])) for one in (skip, x) if one.size]
    any_size = keras.Model(inputs, parts(inputs if skip_channels else inputs[0]))
    fused.build([skip.shape, x.shape] if skip_channels else x.shape)
    parts.set_weights(fused.get_weights())
    whole = np.concatenate([skip, x.repeat(2, axis=1).repeat(2, axis=2)], axis=-1)
    plain = keras.ops.conv(whole, fused.kernel, padding="same")
    for layer in (fused, parts, any_size):
        found = keras.ops.convert_to_numpy(layer(given, training=training))
        np.testing.assert_allclose(found, np.maximum(plain, 0), rtol=1e-4, atol=1e-5)
    assert any_size.output_shape == (None, None, None, 6)


def test_sums_of_kernels_are_the_same_to_the_bit(rng):
    kernel = rng.standard_normal((3, 3, 5, 7)).astype(np.float32)
    padded = np.pad(kernel.transpose(0, 1, 3, 2), ((1, 1), (1, 1), (0, 0), (0, 0)))
    rows = padded[:-1] + padded[1:]
    expected = (rows[:, :-1] + rows[:, 1:])[::-1, ::-1]
    found = keras.ops.convert_to_numpy(sum_neighbours(keras.ops.convert_to_tensor(kernel)))
    np.testing.assert_array_equal(found, expected)

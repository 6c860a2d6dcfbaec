"""Images of sizes that the encoder can't halve: padded within, cut again, and never lost."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nets.checks import fits_stride
from nets.padding import CropLike, PadToStride
from nets.unet import Unet


def random_images(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from((16, 32)))
def test_padded_to_the_next_multiples_and_cut_back(height, width, stride):
    images = random_images(1, height, width, 2)
    layer = PadToStride(stride)
    padded = keras.ops.convert_to_numpy(layer(images))
    sides = padded.shape[1:3]
    for side, given_side in zip(sides, (height, width), strict=True):
        assert side % stride == 0 and 0 <= side - given_side < stride
    assert layer.compute_output_shape((None, height, width, 2)) == (None, *sides, 2)
    np.testing.assert_array_equal(padded[:, :height, :width], images)
    assert np.abs(padded).sum() == pytest.approx(np.abs(images).sum(), rel=1e-5)  # the rest is 0
    cut = CropLike()([padded, images])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(cut), images)


def test_open_sizes_stay_open():
    image = keras.Input((None, 40, 2))
    padded = PadToStride(16)(image)
    assert padded.shape == (None, None, 48, 2)
    assert CropLike()([padded, image]).shape == (None, None, 40, 2)
    assert PadToStride.from_config(PadToStride(8).get_config()).stride == 8


def test_a_padded_network_is_the_network_on_padded_images():
    """By hand: pad with 0, predict, cut."""
    fixed, whole = Unet((40, 21, 3), 3, width=4), Unet((48, 32, 3), 3, width=4)
    assert fixed.output_shape == (None, 40, 21, 3)
    whole.set_weights(fixed.get_weights())
    images = random_images(2, 40, 21, 3)
    padded = np.pad(images, ((0, 0), (0, 8), (0, 11), (0, 0)))
    expected = whole.predict_on_batch(padded)[:, :40, :21]
    np.testing.assert_allclose(fixed.predict_on_batch(images), expected, atol=1e-6)


@pytest.mark.parametrize("backbone", ["vgg", "resnet50", "mobilenetv3small"])
def test_one_network_for_any_size(backbone):
    model = Unet((None, None, 3), 3, backbone, width=4, any_size=True)
    plain = Unet((None, None, 3), 3, backbone, width=4)
    plain.set_weights(model.get_weights())
    for height, width in ((1, 33), (64, 64)):
        images = random_images(1, height, width, 3)
        found = model.predict_on_batch(images)
        assert found.shape == (1, height, width, 3)
        if fits_stride((height, width), backbone):
            np.testing.assert_array_equal(found, plain.predict_on_batch(images))


@pytest.mark.parametrize("size", [(32, 64), (None, None), (None, 96)])
def test_sizes_that_divide_have_no_such_layers(size):
    names = {layer.name for layer in Unet((*size, 3), 3, width=4).layers}
    assert not names & {"image_pad", "decoder_crop"}


@pytest.mark.parametrize(
    ("size", "backbone", "expected"),
    [
        ((48, 64), "vgg", True),
        ((48, 64), "resnet50", False),
        ((48, 64), "vgg19", True),
        ((64, 96, 3), "mobilenet", True),
        ((500, 512), "vgg", False),
    ],
)
def test_which_sizes_divide(size, backbone, expected):
    assert fits_stride(size, backbone) == expected

"""Multiply-adds and parameters, by hand."""

import keras
import pytest

from nets.cost import count_parameters, multiply_adds
from nets.layers import AlignedUpSampling2D
from nets.unet import Unet


def total(model):
    return sum(multiply_adds(layer, layer.output.shape) for layer in model.layers)


def cost_of(layer, *input_shape):
    output = layer(keras.Input(input_shape))
    return multiply_adds(layer, output.shape)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 4 rows, 6 columns, 3 channels in, 5 filters of 3 x 3
        ({"padding": "same"}, 4 * 6 * 5 * 3 * 9),
        ({"padding": "same", "use_bias": False}, 4 * 6 * 5 * 3 * 9),
        ({"padding": "valid"}, 2 * 4 * 5 * 3 * 9),
        ({"padding": "same", "strides": 2}, 2 * 3 * 5 * 3 * 9),
        ({"padding": "same", "kernel_size": (1, 2)}, 4 * 6 * 5 * 3 * 2),
    ],
)
def test_a_convolution(options, expected):
    layer = keras.layers.Conv2D(5, **{"kernel_size": 3, **options})
    assert cost_of(layer, 4, 6, 3) == expected


def test_each_filter_of_a_group_sees_its_channels():
    layer = keras.layers.Conv2D(6, 3, padding="same", groups=2)
    assert cost_of(layer, 4, 6, 8) == 4 * 6 * 6 * (8 // 2) * 9


def test_aligned_upsampling_is_two_matrix_products():
    # 4 x 6 becomes 8 x 12, in each of 3 channels: (8 x 4)(4 x 6), then (8 x 6)(6 x 12).
    assert cost_of(AlignedUpSampling2D(), 4, 6, 3) == 3 * (8 * 4 * 6 + 8 * 6 * 12)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.MaxPooling2D(),
        keras.layers.UpSampling2D(),
        keras.layers.BatchNormalization(),
        keras.layers.Softmax(),
    ],
)
def test_other_layers_count_nothing(layer):
    assert cost_of(layer, 4, 6, 3) == 0


def test_vgg_of_the_article_at_512x512():
    # In units of a 3 x 3 convolution of 64 to 64 channels at 512 x 512. Half the size is a
    # quarter of the work, twice the channels on both sides are four times the work.
    unit = 9 * 64 * 64 * 512 * 512
    encoder = (3 / 64 + 1) + (1 / 2 + 1) + (1 / 2 + 1 + 1) + (1 / 2 + 1 + 1) + 3 / 4
    decoder = (2 + 1) + (3 + 1) + (3 + 1) + (3 + 1)
    head = 21 / (9 * 64)
    assert encoder + decoder + head == pytest.approx(70 / 3)
    assert unit * 70 == 3 * 225_485_783_040  # 451 GFLOP
    assert total(Unet((512, 512, 3))) == 225_485_783_040


def test_resnet50_at_224x224():
    """He et al. name 3.8 G for ResNet50, a classifier of 2 M included."""
    model = Unet((224, 224, 3), backbone="resnet50")
    encoder = [layer for layer in model.layers if layer.name.startswith(("conv1", "res"))]
    # All 1 x 1 and 3 x 3 convolutions of a stage, in units of 56 * 56 * 64 * 64 multiply-adds.
    # Block a of stage 2: 1, 9, 4 and the shortcut's 4; b and c: 4, 9, 4. Later stages' block a
    # reads twice the channels of its own narrow ones: 2, 9, 4 and the shortcut's 8.
    conv1 = 112 * 112 * 49 * 3 * 64
    blocks = 18 + 2 * 17 + (23 + 3 * 17) + (23 + 5 * 17) + (23 + 2 * 17)
    expected = conv1 + blocks * 56 * 56 * 64 * 64
    assert sum(multiply_adds(layer, layer.output.shape) for layer in encoder) == expected
    assert expected == 3_855_925_248


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        # VGG16 without its classifier has 14,714,688 of the 24,892,437.
        ("vgg", (14_714_688, 24_892_437 - 14_714_688, 0)),
        # ResNet50 without its classifier: 23,587,712, of which 53,120 are means and variances.
        ("resnet50", (23_587_712 - 53_120, 44_013_781 - 23_587_712, 53_120)),
    ],
)
def test_parameters(backbone, expected):
    model = Unet((64, 64, 3), backbone=backbone)
    assert count_parameters(model, backbone) == expected
    assert all(layer.trainable for layer in model.layers)

import re

import keras
import numpy as np
import pytest

from errors import UserError
from nets import losses, precision
from nets.checks import check_backbone, check_input_shape, check_num_classes
from nets.encoders.vgg16 import VGG16
from nets.layers import AlignedUpSampling2D
from nets.unet import Unet, build, build_blank, set_encoder_trainable
from nets.weights.description import Description

ENCODER_CONVOLUTIONS = [
    "block1_conv1",
    "block1_conv2",
    "block2_conv1",
    "block2_conv2",
    "block3_conv1",
    "block3_conv2",
    "block3_conv3",
    "block4_conv1",
    "block4_conv2",
    "block4_conv3",
    "block5_conv1",
    "block5_conv2",
    "block5_conv3",
]
POOLS = ["block1_pool", "block2_pool", "block3_pool", "block4_pool"]
DECODER_CONVOLUTIONS = [f"decoder{stage}_conv{i}" for stage in (1, 2, 3, 4) for i in (1, 2)]


def tiny_unet(input_shape=(32, 32, 3), num_classes=3, **options):
    return Unet(input_shape, num_classes, width=8, **options)


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    """Shared by the tests that only look at it."""
    return tiny_unet()


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_blank_network_is_the_same_without_random_numbers(norm):
    described = Description(3, "vgg", (32, 32), ("a", "b", "c"), 8, decoder_norm=norm)
    drawn, blank = build(described, (32, 32)), build_blank(described, (32, 32))
    kernels, random = (
        [one for one in network.get_weights() if one.ndim == 4] for network in (blank, drawn)
    )
    assert len(kernels) == 22 and not any(kernel.any() for kernel in kernels)
    assert all(kernel.std() > 0 for kernel in random)
    assert [one.path for one in blank.weights] == [one.path for one in drawn.weights]
    blank.set_weights(drawn.get_weights())
    images = random_images(1, 32, 32, 3)
    np.testing.assert_array_equal(blank.predict_on_batch(images), drawn.predict_on_batch(images))


# The encoder


def test_vgg16_features_of_the_article():
    features = VGG16(keras.Input((512, 512, 3)))
    assert [tuple(feature.shape) for feature in features] == [
        (None, 512, 512, 64),
        (None, 256, 256, 128),
        (None, 128, 128, 256),
        (None, 64, 64, 512),
        (None, 32, 32, 512),
    ]


def test_vgg16_scales_with_width():
    features = VGG16(keras.Input((32, 64, 3)), width=4)
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (32, 64, 4),
        (16, 32, 8),
        (8, 16, 16),
        (4, 8, 32),
        (2, 4, 32),
    ]


def test_vgg16_takes_the_weights_of_keras_vgg16():
    inputs = keras.Input((32, 32, 3))
    encoder = keras.Model(inputs, VGG16(inputs))
    reference = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    reference_layers = [layer.name for layer in reference.layers[1:]]
    assert [layer.name for layer in encoder.layers[1:]] == [
        name for name in reference_layers if name != "block5_pool"
    ]
    for name in ENCODER_CONVOLUTIONS:
        encoder.get_layer(name).set_weights(reference.get_layer(name).get_weights())
    # Equal outputs: activations, padding and pooling agree too, not only the shapes.
    features = keras.Model(reference.inputs, reference.get_layer("block5_conv3").output)
    images = random_images(1, 32, 32, 3)
    np.testing.assert_allclose(
        encoder.predict(images, verbose=0)[-1], features.predict(images, verbose=0), rtol=1e-5
    )


# The whole network


def test_article_network_has_24_892_437_parameters():
    # encoder                                            14,714,688  (VGG16 without its top)
    # decoder1  9*1024*512+512 + 9*512*512+512            7,078,912
    # decoder2   9*768*256+256 + 9*256*256+256            2,359,808
    # decoder3   9*384*128+128 + 9*128*128+128              590,080
    # decoder4     9*192*64+64 +    9*64*64+64              147,584
    # head                             64*21+21               1,365
    model = Unet()
    assert model.count_params() == 24_892_437
    assert model.input_shape == (None, 256, 256, 3)
    assert model.output_shape == (None, 256, 256, 21)


def test_layer_names(network):
    assert [layer.name for layer in network.layers if layer.weights] == [
        *ENCODER_CONVOLUTIONS,
        *DECODER_CONVOLUTIONS,
        "head_conv",
    ]
    pools = [x.name for x in network.layers if isinstance(x, keras.layers.MaxPooling2D)]
    assert pools == POOLS


def test_decoder_filters(network):
    # width 8 times 8, 4, 2, 1
    filters = [network.get_layer(name).filters for name in DECODER_CONVOLUTIONS]
    assert filters == [64, 64, 32, 32, 16, 16, 8, 8]


def test_convolutions_are_relu_3x3_same(network):
    for layer in convolutions(network)[:-1]:
        assert layer.kernel_size == (3, 3), layer.name
        assert layer.padding == "same", layer.name
        assert layer.activation is keras.activations.relu, layer.name


@pytest.mark.parametrize(
    ("stage", "skip", "below"),
    [
        (1, "block4_conv3", "block5_conv3"),
        (2, "block3_conv3", "decoder1_conv2"),
        (3, "block2_conv2", "decoder2_conv2"),
        (4, "block1_conv2", "decoder3_conv2"),
    ],
)
@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_decoder_joins_skip_and_upsampled(upsampling, stage, skip, below):
    network = Unet((None, None, 3), 3, width=4, upsampling=upsampling)
    below = network.get_layer(below).output
    if upsampling == "bilinear":
        upsample = network.get_layer(f"decoder{stage}_upsample")
        assert isinstance(upsample, AlignedUpSampling2D)
        assert upsample.input is below
        inputs, below = network.get_layer(f"decoder{stage}_concat").input, upsample.output
    else:
        inputs = network.get_layer(f"decoder{stage}_conv1").input
    assert inputs[0] is network.get_layer(skip).output
    assert inputs[1] is below


def test_the_fused_decoder_is_the_plain_one():
    """Upsampling, concatenation and convolution as three steps, with the same weights."""
    fused, plain = (tiny_unet((32, 48, 3), fused=fused) for fused in (True, False))
    decoders = [model.get_layer("decoder1_conv1") for model in (fused, plain)]
    assert [layer.fused for layer in decoders] == [True, False]
    plain.set_weights(fused.get_weights())
    images = random_images(2, 32, 48, 3)
    expected = plain.predict_on_batch(images)
    np.testing.assert_allclose(fused.predict_on_batch(images), expected, rtol=1e-4, atol=1e-6)


def test_default_initializers(network):
    for name in [*ENCODER_CONVOLUTIONS, "head_conv"]:
        initializer = network.get_layer(name).kernel_initializer
        assert isinstance(initializer, keras.initializers.GlorotUniform), name
    for name in DECODER_CONVOLUTIONS:
        initializer = network.get_layer(name).kernel_initializer
        assert isinstance(initializer, keras.initializers.HeNormal), name


def test_encoder_initializer_reaches_the_encoder_only():
    model = tiny_unet(encoder_initializer="he_uniform")
    initialized = [
        layer.name
        for layer in convolutions(model)
        if isinstance(layer.kernel_initializer, keras.initializers.HeUniform)
    ]
    assert initialized == ENCODER_CONVOLUTIONS


def test_layers_of_one_shape_start_differently(network):
    first = network.get_layer("block3_conv2").get_weights()[0]
    second = network.get_layer("block3_conv3").get_weights()[0]
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_output_is_a_softmax(network):
    probabilities = network.predict(random_images(2, 32, 32, 3), verbose=0)
    assert probabilities.shape == (2, 32, 32, 3)
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-6)


def test_output_is_float32_under_mixed_bfloat16():
    with precision.dtype_policy("mixed_bfloat16"):
        model = tiny_unet()
    assert {layer.compute_dtype for layer in convolutions(model)[:-1]} == {"bfloat16"}
    assert model.get_layer("head_conv").compute_dtype == "float32"
    probabilities = keras.ops.convert_to_numpy(model(random_images(1, 32, 32, 3)))
    assert probabilities.dtype == np.float32
    # A softmax in bfloat16, with its 8 bits, misses 1 by up to 1/256.
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-6)


def test_open_sizes_give_the_results_of_fixed_sizes():
    model = tiny_unet((None, None, 3))
    assert model.output_shape == (None, None, None, 3)
    for height, width in ((32, 48), (64, 16)):
        fixed = tiny_unet((height, width, 3))
        fixed.set_weights(model.get_weights())
        images = random_images(1, height, width, 3)
        probabilities = model.predict(images, verbose=0)
        assert probabilities.shape == (1, height, width, 3)
        np.testing.assert_allclose(probabilities, fixed.predict(images, verbose=0), atol=1e-6)


def test_images_of_other_channel_counts():
    model = tiny_unet((32, 32, 1))
    assert model.get_layer("block1_conv1").kernel.shape == (3, 3, 1, 8)


# Refusals


@pytest.mark.parametrize("size", [(-5, 20), (0, 32), (None, 0)])
def test_a_size_without_pixels_is_refused(size):
    message = f"input_shape must be at least 1 pixel high and wide; got {size}."
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        check_input_shape(size)


@pytest.mark.parametrize("size", [(1, 500), (512, 512, 3), (None, None), (None, 64)])
def test_sizes_that_fit(size):
    check_input_shape(size)


@pytest.mark.parametrize("num_classes", [-1, 0, 1, 256])
def test_num_classes_out_of_range_is_refused(num_classes):
    message = (
        f"num_classes must be 2 to 255 and counts the background too; got {num_classes}. "
        "One kind of object on a background is num_classes=2."
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        check_num_classes(num_classes)


@pytest.mark.parametrize("num_classes", [2, 255])
def test_num_classes_at_the_limits(num_classes):
    check_num_classes(num_classes)
    assert tiny_unet(num_classes=num_classes).output_shape[-1] == num_classes


@pytest.mark.parametrize(
    "check",
    [
        check_backbone,
        lambda name: check_input_shape((32, 32), name),
        lambda name: set_encoder_trainable(tiny_unet(), False, name),
    ],
)
def test_unknown_backbone_is_refused(check):
    with pytest.raises(UserError, match=r"^backbone must be one of vgg, .*; got 'alexnet'\. Near"):
        check("alexnet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (40, 0, 3)}, "input_shape must be at least 1 pixel high and wide"),
        ({"num_classes": 1}, "num_classes must be 2 to 255"),
        ({"backbone": "alexnet"}, "backbone must be one of vgg"),
    ],
)
def test_unet_checks_its_arguments(arguments, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Unet(**{"input_shape": (32, 32, 3), "num_classes": 3, "width": 8, **arguments})


# Freezing


def trainable_layers(model):
    return [layer.name for layer in model.layers if layer.trainable_weights]


def train_one_step(model):
    """One step of plain gradient descent; returns the names of the layers that changed."""
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model.compile(keras.optimizers.SGD(0.1), losses.CE())
    ids = np.random.default_rng(1).integers(0, 3, (2, 32, 32)).astype(np.uint8)
    model.train_on_batch(random_images(2, 32, 32, 3), ids)
    return [
        layer.name
        for layer in model.layers
        if any(
            not np.array_equal(old, new)
            for old, new in zip(before[layer.name], layer.get_weights(), strict=True)
        )
    ]


def test_freezing_takes_exactly_the_encoder():
    model = tiny_unet()
    assert set_encoder_trainable(model, False) == ENCODER_CONVOLUTIONS
    assert trainable_layers(model) == [*DECODER_CONVOLUTIONS, "head_conv"]
    assert set_encoder_trainable(model, True) == ENCODER_CONVOLUTIONS
    assert trainable_layers(model) == [*ENCODER_CONVOLUTIONS, *DECODER_CONVOLUTIONS, "head_conv"]


def test_training_changes_the_frozen_encoder_only_once_unfrozen():
    model = tiny_unet()
    set_encoder_trainable(model, False)
    assert train_one_step(model) == [*DECODER_CONVOLUTIONS, "head_conv"]
    set_encoder_trainable(model, True)
    assert set(ENCODER_CONVOLUTIONS) <= set(train_one_step(model))

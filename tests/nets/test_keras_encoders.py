"""The encoders of Keras with their weights: each works as the others do, and as Keras' own."""

import math
import os
import sys

import keras
import numpy as np
import pytest
from keras_encoders import FEATURES, keras_own, write_random_weights

from errors import UserError
from nets.backbones import BACKBONES
from nets.checks import check_decoder_width
from nets.cost import multiply_adds
from nets.encoders.catalogue import FIRST
from nets.encoders.keras_encoder import (
    ChannelScale,
    ChannelwiseConv2D,
    ErfGelu,
    KerasEncoder,
    PixelConv2D,
)
from nets.encoders.keras_graph import SIDE, find_features, trace
from nets.encoders.widths import scaled
from nets.precision import dtype_policy
from nets.unet import Unet, build, set_encoder_trainable
from nets.weights import applications
from nets.weights.description import Description
from nets.weights.storage import load_weights, open_weights, save_weights
from training.optimization import compile_trainer, make_loss, make_optimizer
from training.settings import LossSettings, OptimizerSettings
from utils.labels import voc_palette
from utils.prediction.export import export_model

# All take gigabytes and the better part of an hour: for a change of nets/encoders,
# ALL_ENCODERS=1 python -m pytest -n 0 tests/nets/test_keras_encoders.py
ALL = bool(os.environ.get("ALL_ENCODERS"))


def encoders(*quick):
    """Parameters: these encoders of Keras, or all with ALL_ENCODERS."""
    return pytest.mark.parametrize("backbone", FEATURES if ALL else quick)


def random_images(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


# Sizes of the layers


def test_channels_scale_with_width():
    # by hand: 64ths of Keras' channels, rounded, one at least
    assert [scaled(16, width) for width in (64, 32, 128, 2)] == [16, 8, 32, 1]
    image = keras.Input((64, 64, 5))
    for application in ("MobileNetV3Small", "ConvNeXtTiny", "EfficientNetB0"):
        name = application.lower()
        channels = [int(text.split()[1]) for text in FEATURES[name].split(", ")]
        for width in (16, 128) if application.startswith("M") else (16,):
            features = KerasEncoder(image, width, application=application)
            assert [feature.shape[-1] for feature in features] == [
                channel * width // 64 for channel in channels
            ]


@pytest.mark.parametrize(
    ("backbone", "width", "expected"),
    [
        ("vgg", 64, 64),
        ("vgg", 8, 8),
        ("resnet50", 16, 16),
        ("mobilenetv3large", 64, 16),
        ("efficientnetb0", 64, 32),
        ("efficientnetb0", 32, 16),
        ("convnextxlarge", 64, 64),  # its first convolution has 256
    ],
)
def test_the_decoder_is_as_wide_as_the_encoders_first_convolution(backbone, width, expected):
    assert BACKBONES[backbone].decoder_width(width) == expected


def test_a_decoder_of_another_width():
    model = Unet((64, 64, 3), 3, "mobilenetv3small", width=16, decoder_width=3)
    names = [f"decoder{stage}_conv{index}" for stage in range(1, 6) for index in (1, 2)]
    assert [model.get_layer(name).filters for name in names] == [
        24, 24, 12, 12, 6, 6, 3, 3, 3, 3,
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"^decoder_width must be 0 .* or at least 1; got -1"):
        check_decoder_width(-1)


def test_only_convolutions_without_an_own_initializer_get_another():
    image = keras.Input((64, 64, 3))
    for application, expected in (("VGG19", "HeUniform"), ("EfficientNetB0", "VarianceScaling")):
        features = KerasEncoder(image, 8, "he_uniform", application=application)
        network = keras.Model(image, features)
        kinds = {
            type(layer.kernel_initializer).__name__
            for layer in network.layers
            if type(layer) is keras.layers.Conv2D
        }
        assert kinds == {expected}


def learn(steps, weights, inputs, targets):
    """The output of these layers, and what a step of plain gradient descent takes from each weight.

    Args:
        steps: list of a keras.Input and layers.
        weights: list of arrays, of all of them.
        inputs: array.
        targets: array of the output's shape: the loss is half the sum of squared differences. Of a
            loss that the output's size doesn't change, TensorFlow's graph may read weights late.
    """
    network = keras.Sequential(steps)
    network.set_weights(weights)
    output = network.predict_on_batch(inputs)
    network.compile(
        keras.optimizers.SGD(1.0), lambda target, out: keras.ops.sum((out - target) ** 2) / 2
    )
    network.train_on_batch(inputs, targets)
    taken = zip(weights, network.get_weights(), strict=True)
    return [output, *(before - after for before, after in taken)]


def assert_alike(found, expected):
    for one, other in zip(found, expected, strict=True):
        largest = np.abs(other).max()
        assert largest > 0.01
        np.testing.assert_allclose(one.reshape(other.shape), other, rtol=0, atol=1e-5 * largest)


def random_arrays(rng, *shapes):
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


def test_a_convolution_of_one_pixel_is_a_product(rng):
    image, targets, *weights = random_arrays(rng, (3, 1, 1, 6), (3, 1, 1, 4), (1, 1, 6, 4), (4,))
    found, expected = (
        learn([keras.Input((1, 1, 6)), kind(4, 1, activation="sigmoid")], weights, image, targets)
        for kind in (PixelConv2D, keras.layers.Conv2D)
    )
    assert_alike(found, expected)


# ConvNeXt's own is 7x7 without a step and "same".
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_convolution_of_each_channel_alone(size, strides, dilation, padding, rng):
    """The weights of the convolution before it get the gradient by its inputs."""
    options = {"strides": strides, "dilation_rate": dilation, "padding": padding}
    theirs = keras.layers.DepthwiseConv2D(size, **options)
    ours = ChannelwiseConv2D(5, size, groups=5, **options)
    shape = theirs.compute_output_shape((2, 15, 14, 5))
    image, targets, *weights = random_arrays(rng, (2, 15, 14, 3), shape, (1, 1, 3, 5), (5,))
    kernel, bias = random_arrays(rng, (size, size, 1, 5), (5,))
    found, expected = (
        learn(
            [keras.Input((15, 14, 3)), keras.layers.Conv2D(5, 1), kind],
            [*weights, kernel.reshape(shape), bias],
            image,
            targets,
        )
        for kind, shape in ((ours, kernel.shape), (theirs, (size, size, 5, 1)))
    )
    assert_alike(found, expected)


def test_gelu_by_erf(rng):
    """Against Keras' gelu, and x P(x) by Python's erf with its derivative P(x) + x p(x)."""
    values = np.linspace(-12, 12, 481, dtype=np.float32)
    ones, (targets,) = np.ones((1, 481), np.float32), random_arrays(rng, (1, 481))
    found, expected = (
        # The values are weights of ones, so that they get their own derivatives.
        learn([keras.Input((481,)), ChannelScale(1.0, 481), kind], [values], ones, targets)
        for kind in (ErfGelu(), keras.layers.Activation("gelu"))
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    exact = values.astype(float)
    below = np.array([(1 + math.erf(value / math.sqrt(2))) / 2 for value in exact])
    density = np.exp(-(exact**2) / 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(found[0][0], exact * below, rtol=1e-6, atol=2e-6)
    slopes = (below + exact * density) * (exact * below - targets[0])
    np.testing.assert_allclose(found[1], slopes, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        PixelConv2D(4, 1, activation="relu"),
        ChannelwiseConv2D(4, 3, groups=4, padding="same"),
        ErfGelu(),
        ChannelScale(0.3, 4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_made_of_its_configuration_is_the_same(layer, rng):
    (image,) = random_arrays(rng, (2, 1, 1, 4))
    expected = layer(image)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.compute_output_shape(image.shape) == expected.shape
    again.build(image.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(image), expected)


def test_the_channels_of_light_encoders_are_weighed_by_products():
    image = keras.Input((64, 64, 3))
    for application, count in (("MobileNetV3Small", 18), ("EfficientNetB0", 32)):
        network = keras.Model(image, KerasEncoder(image, 8, application=application))
        products = [layer for layer in network.layers if isinstance(layer, PixelConv2D)]
        assert len(products) == count
        assert all(layer.output.shape[1:3] == (1, 1) for layer in products)


# ImageNet weights


def outputs_of(network, tensors, images):
    """NumPy arrays of some of a network's tensors."""
    found = keras.Model(network.inputs, tensors)(images, training=False)
    return [keras.ops.convert_to_numpy(one) for one in keras.tree.flatten(found)]


def after_preprocessing(network):
    """What Keras' network gives its first convolution, before any padding."""
    tensor = network.inputs[0]
    for layer in network.layers:
        if isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization)):
            tensor = layer.output
        elif layer.weights:
            return tensor


def first_features(network, steps):
    """(name of a layer, its result in Keras' network): the first convolution's, normalized if a
    normalization follows, which takes up constants."""
    names = [step.name for step in steps]
    index = names.index(FIRST)
    (after, *others) = (number for number, step in enumerate(steps) if step.inputs == (index,))
    if not others and type(steps[after].layer).__name__.endswith("Normalization"):
        index = after
    layer = steps[index].layer
    if layer in network.layers:
        return names[index], layer.output
    # A layer in a layer: the result is what the next one takes.
    (after,) = (step.layer for step in steps if step.inputs == (index,))
    return names[index], after.input


def write_weights_with_statistics(record, folder, rng):
    """Writes random weights of which batch normalization has the statistics of images.

    Returns:
        their path; the images, float32 (2, SIDE, SIDE, 3) in [0, 255]; Keras' preprocessing.
    """
    path = folder / record.keras.name
    coarse = rng.uniform(0, 255, (2, 16, 16, 3))
    images = np.rint(np.kron(coarse, np.ones((1, 16, 16, 1)))).astype(np.float32)
    make = getattr(keras.applications, record.application)
    preprocess = sys.modules[make.__module__].preprocess_input
    write_random_weights(record, path, rng, preprocess(images.copy()))
    return path, images, preprocess


@encoders("resnet50v2", "mobilenetv3small")
@pytest.mark.slow
def test_features_are_those_of_keras(backbone, tmp_path, rng, monkeypatch):
    """All of it, border included, where Keras' preprocessing has been done; and the first
    convolution, which takes that up, inside the border."""
    record = BACKBONES[backbone]
    path, images, preprocess = write_weights_with_statistics(record, tmp_path, rng)
    theirs, _ = keras_own(record, path, monkeypatch)
    ours = Unet((SIDE, SIDE, 3), 2, backbone)
    steps = trace(theirs)
    features = [steps[index] for index in find_features(steps)]

    name, first = first_features(theirs, steps)
    prepared = after_preprocessing(theirs)
    compared = [one.layer.output for one in features if one.layer in theirs.layers]
    given, expected_first, *expected = outputs_of(
        theirs, [prepared, first, *compared], preprocess(images.copy())
    )

    with monkeypatch.context() as patch:
        patch.setattr(applications, "_preprocessing", lambda *_: (np.eye(3), np.zeros(3)))
        load_weights(ours, open_weights(path), allow_mismatch=True)
    names = [one.name for one in features if one.layer in theirs.layers]
    assert names[-1] == features[-1].name
    found = outputs_of(ours, [ours.get_layer(one).output for one in names], given)
    for name_of, one, other in zip(names, expected, found, strict=True):
        factor = factor_of(one, other) if record.unit_size or name_of == FIRST else 1.0
        assert one.std() > 0.01
        assert np.abs(other - factor * one).max() <= 1e-3 * np.abs(factor * one).max(), name_of

    report = load_weights(ours, open_weights(path), allow_mismatch=True)
    assert report.unexpected == []
    names = [name, *(one.name for one in features)]
    found_first, *found = outputs_of(
        ours, [ours.get_layer(one).output for one in names], images / 127.5 - 1
    )
    inner = np.s_[:, 2:-2, 2:-2]
    factor = factor_of(expected_first, found_first) if record.unit_size or name == FIRST else 1.0
    error = np.abs(found_first - factor * expected_first)[inner].max()
    assert error <= 1e-4 * np.abs(factor * expected_first).max()
    for one, values in zip(features, found, strict=True):
        assert 0.1 < np.sqrt(np.square(values).mean()) < 5, one.name


def factor_of(before, after):
    """What features are multiplied by."""
    large = np.abs(before) > 0.1 * np.abs(before).max()
    return np.median(after[large] / before[large])


@pytest.mark.parametrize("backbone", ["vgg19", "mobilenetv3small"])
@pytest.mark.slow
def test_features_are_those_of_keras_with_its_preprocessing(backbone, tmp_path, rng, monkeypatch):
    record = BACKBONES[backbone]
    path = tmp_path / record.keras.name
    write_random_weights(record, path, rng)
    theirs, preprocess = keras_own(record, path, monkeypatch)
    stored = open_weights(path)
    assert (stored.kind, stored.is_pretrained) == ("ImageNet weights of Keras", True)
    assert stored.infer() == {"backbone": backbone, "width": 64, "in_channels": 3}
    ours = Unet((SIDE, SIDE, 3), 2, backbone)
    report = load_weights(ours, stored, allow_mismatch=True)
    left = report.unexpected
    assert left == [] or backbone.startswith("vgg")

    coarse = rng.uniform(0, 255, (1, 16, 16, 3))
    image = np.rint(np.kron(coarse, np.ones((1, 16, 16, 1)))).astype(np.float32)
    steps = trace(theirs)
    pairs = [
        (steps[index].layer.output, ours.get_layer(steps[index].name).output)
        for index in find_features(steps)
        if "downsampling" not in steps[index].name  # a layer in a layer: not an output of theirs
    ]
    here, there = [pair[1] for pair in pairs], [pair[0] for pair in pairs]
    expected = keras.Model(theirs.inputs, there).predict_on_batch(preprocess(image.copy()))
    found = keras.Model(ours.inputs, here).predict_on_batch(image / 127.5 - 1)
    for one, other in zip(expected, found, strict=True):
        assert one.std() > 0.01
        # At the border zeros mean another colour, which is seen from there, up to here if the
        # network weighs channels by their means over the whole image.
        middle = one.shape[1] // 2
        inner = np.s_[:, middle - 1 : middle + 1, middle - 1 : middle + 1]
        factor = np.median(other[one > 0.01] / one[one > 0.01]) if record.unit_size else 1.0
        error = np.abs(other - factor * one)[inner].max()
        assert error <= 2e-3 * np.abs(factor * one).max()
        if record.unit_size:
            assert 0.3 < np.sqrt(np.square(other).mean()) < 3


def test_a_file_of_that_name_with_another_network_is_refused(tmp_path, rng):
    path = tmp_path / BACKBONES["mobilenetv2"].keras.name
    write_random_weights(BACKBONES["mobilenet"], path, rng)
    with pytest.raises(UserError, match=r"named as Keras' ImageNet weights, but holds another"):
        open_weights(path)


@pytest.mark.parametrize("in_channels", [1, 5])
def test_other_channels_follow_the_rule(in_channels, tmp_path, rng):
    """A grey image gives what it gave as RGB; of five channels alike, each weighs its share."""
    record = BACKBONES["mobilenet"]
    path = tmp_path / record.keras.name
    write_random_weights(record, path, rng)
    stored, outputs = open_weights(path), []
    grey = random_images(1, 64, 64, 1)
    for channels in (3, in_channels):
        model = Unet((64, 64, channels), 2, "mobilenet")
        report = load_weights(model, stored, allow_mismatch=True)
        assert report.unexpected == []
        first = keras.Model(model.inputs, model.get_layer("encoder1_conv1_bn").output)
        outputs.append(first.predict_on_batch(np.repeat(grey, channels, axis=-1)))
    if in_channels == 1:
        np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
    else:
        expected = stored.layers[FIRST][0]
        kernel = model.get_layer(FIRST).get_weights()[0]
        np.testing.assert_allclose(kernel[:, :, 4], expected[:, :, 1] * 0.6, rtol=1e-6)


# Each in use


def predict(model, images):
    """As `predict_on_batch`, without the time that compiling takes."""
    return keras.ops.convert_to_numpy(model(images, training=False))


def take_statistics(model, images):
    """Has batch normalization store those of the images: with those that it starts with, the
    features of MobileNet are so small that no step changes what they are multiplied by."""
    layers = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    model(images, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def steps_of_training(model, images, masks, recompute=False, ema=0.0):
    """{path: change} of a step of plain gradient descent, and the optimizer; the weights are put
    back."""
    before = model.get_weights()
    loss = make_loss(LossSettings(True, False))
    optimizer = make_optimizer(OptimizerSettings("sgd", 1.0, 0.0, 0.0, 1, ema))
    trainer = compile_trainer(model, optimizer, loss, recompute)
    trainer.run_eagerly = True  # a tiny step takes less time than its trace
    trainer.train_on_batch(images, masks)
    after = model.get_weights()
    model.set_weights(before)
    paths = [weight.path for weight in model.weights]
    changes = {path: new - old for path, old, new in zip(paths, before, after, strict=True)}
    return changes, optimizer


@encoders("resnet50v2", "mobilenetv2", "mobilenetv3small", "convnexttiny")
@pytest.mark.slow
def test_an_encoder_works_as_the_others_do(backbone, tmp_path, rng):
    described = Description(3, backbone, (64, 32), ("a", "b", "c"), 8, in_channels=2)
    model = build(described)
    images, masks = random_images(2, 64, 32, 2), rng.integers(0, 3, (2, 64, 32)).astype(np.uint8)
    probabilities = predict(model, images)
    assert probabilities.shape == (2, 64, 32, 3) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)

    # Frozen, nothing of the encoder changes, nor its statistics; all of the decoder does.
    start = model.get_weights()
    take_statistics(model, images)
    frozen = set_encoder_trainable(model, False, backbone)
    assert all(name.startswith("encoder") for name in frozen)
    for path, change in steps_of_training(model, images, masks)[0].items():
        assert path.split("/")[0] in frozen or path.startswith(("decoder", "head"))
        assert (np.abs(change).max() > 0) == (not path.startswith("encoder")), path
    set_encoder_trainable(model, True, backbone)
    model.set_weights(start)
    changes, optimizer = steps_of_training(model, images, masks, ema=0.5)
    assert max(np.abs(changes[path]).max() for path in changes if FIRST in path) > 0

    # The moving average has all that is trained, and begins with the weights.
    averages = dict(
        zip(
            [weight.path for weight in model.trainable_variables],
            optimizer._model_variables_moving_average,
            strict=True,
        )
    )
    for weight in model.trainable_variables:
        started = weight.numpy() + changes[weight.path]
        np.testing.assert_allclose(averages[weight.path], started, atol=1e-6)

    # Checkpointing computes the same.
    again, _ = steps_of_training(model, images, masks, recompute=True)
    for path, change in changes.items():
        error = np.abs(again[path] - change).max()
        assert error <= 2e-3 * max(np.abs(change).max(), 1), path

    # Its file says what it is, and any other network refuses it.
    path = tmp_path / "one.weights.h5"
    save_weights(model, path, described)
    stored = open_weights(path)
    assert stored.infer()["backbone"] == backbone
    copy = build(stored.description)
    assert load_weights(copy, stored).is_exact
    np.testing.assert_array_equal(predict(copy, images), probabilities)
    clone = keras.models.clone_model(model)  # as several devices have it
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(predict(clone, images), probabilities, atol=1e-6)

    with dtype_policy("mixed_bfloat16"):
        half = build(described)
    assert predict(half, images).dtype == np.float32
    assert half.get_layer(FIRST).compute_dtype == "bfloat16"


@encoders("mobilenetv3small", "convnexttiny")
@pytest.mark.slow
def test_an_encoder_is_exported(backbone, tmp_path, rng):
    for package in ("onnx", "tf2onnx", "onnxruntime"):
        pytest.importorskip(package)
    path, images, _ = write_weights_with_statistics(BACKBONES[backbone], tmp_path, rng)
    described = Description(3, backbone, (64, 32), ("a", "b", "c"))
    model = build(described, described.input_shape)
    # Deep networks as they start, or on other images than those of their statistics, make much of
    # little: EfficientNetV2M as it starts 0.24 of 1e-6 of an image.
    load_weights(model, open_weights(path), allow_mismatch=True)
    (exported,) = export_model(
        model, described, tmp_path, ["onnx"], voc_palette(3),
        examples=list(images[:, :64, :32].astype(np.uint8)),
    )  # fmt: skip
    assert exported.path.is_file() and exported.largest_difference < 1e-4


def test_a_file_that_does_not_say_which_encoder_it_holds(tmp_path):
    path = tmp_path / "plain.weights.h5"
    build(Description(3, "mobilenet", (32, 32), ("a", "b", "c"), 4)).save_weights(path)
    with pytest.raises(UserError, match=r"does not say which encoder of Keras it holds\. Load it"):
        open_weights(path).infer()


@pytest.mark.parametrize(("decoder_width", "kept"), [(0, False), (5, True)])
def test_the_decoders_width_is_kept_where_it_is_not_the_usual(decoder_width, kept, tmp_path):
    described = Description(2, "mobilenet", (32, 32), ("a", "b"), 4, decoder_width=decoder_width)
    assert ("decoder_width" in described.to_json()) == kept
    path = tmp_path / "a.weights.h5"
    save_weights(build(described), path, described)
    stored = open_weights(path)
    assert stored.description == described
    assert stored.infer()["decoder_width"] == decoder_width
    assert stored.infer()["width"] == 4


def test_a_description_with_another_decoder_than_the_layers_is_broken(tmp_path):
    described = Description(2, "vgg", (32, 32), ("a", "b"), 4, decoder_width=5)
    path = tmp_path / "a.weights.h5"
    save_weights(build(described), path, Description(2, "vgg", (32, 32), ("a", "b"), 4))
    with pytest.raises(
        UserError, match="is broken: it says decoder_width 0, but its layers have 5"
    ):
        open_weights(path).infer()


def test_multiply_adds_of_a_light_encoder_by_hand():
    """MobileNet at 224x224: Howard et al. name 569 M, with a classifier of 1.02 M."""
    model = Unet((224, 224, 3), 2, "mobilenet")
    encoder = [layer for layer in model.layers if layer.name.startswith("encoder")]
    total = sum(multiply_adds(layer, layer.output.shape) for layer in encoder)
    assert total / 1e6 == pytest.approx(569 - 1.02, abs=1)
    # A layer that gives each image one number a channel.
    pooled = keras.layers.GlobalAveragePooling2D()
    assert multiply_adds(pooled, pooled(keras.Input((4, 4, 3))).shape) == 0

"""The encoders of Keras: what the decoder takes of each, and that each works as the others do."""

import os
import re
import sys

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from errors import UserError
from nets.backbones import BACKBONES
from nets.checks import check_backbone, check_decoder_width
from nets.cost import count_parameters, multiply_adds
from nets.encoders.catalogue import ENTRIES, FIRST, UNFIT
from nets.encoders.keras_encoder import KerasEncoder
from nets.encoders.keras_graph import SIDE, find_features, find_misfit, open_application, trace
from nets.encoders.widths import scaled
from nets.precision import dtype_policy
from nets.unet import Unet, build, set_encoder_trainable
from nets.weights.description import Description
from nets.weights.storage import load_weights, open_weights, save_weights
from training.optimization import compile_trainer, make_loss
from training.settings import LossSettings

# Layers of Keras with their channels, each half the size of the one before, from the finest; those
# of "expand_activation" and "expand_relu" are what segmentation_models takes too.
_RESNET = "conv1_relu 64, conv2_block3_out 256, conv3_block{}_out 512, conv4_block{}_out 1024"
_RESNET_2 = (
    "first_conv 64, conv2_block3_preact_relu 256, conv3_block{}_preact_relu 512, "
    "conv4_block{}_preact_relu 1024, post_relu 2048"
)
_EFFICIENT = (
    "block2a_expand_activation {}, block3a_expand_activation {}, block4a_expand_activation {}, "
    "block6a_expand_activation {}, top_activation {}"
)
_EFFICIENT_2 = (
    "block1{} {}, block2{}_add {}, block4a_expand_activation {}, block6a_expand_activation {}, "
    "top_activation {}"
)
_CONVNEXT = (
    "convnext_{0}_downsampling_layernorm_0 {1}, convnext_{0}_downsampling_layernorm_1 {2}, "
    "convnext_{0}_downsampling_layernorm_2 {3}, layernormalization1 {4}"
)
FEATURES = {
    "vgg19": "block1_conv2 64, block2_conv2 128, block3_conv4 256, block4_conv4 512, "
    "block5_conv4 512",
    "resnet101": _RESNET.format(4, 23) + ", conv5_block3_out 2048",
    "resnet152": _RESNET.format(8, 36) + ", conv5_block3_out 2048",
    "resnet50v2": _RESNET_2.format(4, 6),
    "resnet101v2": _RESNET_2.format(4, 23),
    "resnet152v2": _RESNET_2.format(8, 36),
    "densenet121": "conv1_relu 64, pool2_relu 256, pool3_relu 512, pool4_relu 1024, relu 1024",
    "densenet169": "conv1_relu 64, pool2_relu 256, pool3_relu 512, pool4_relu 1280, relu 1664",
    "densenet201": "conv1_relu 64, pool2_relu 256, pool3_relu 512, pool4_relu 1792, relu 1920",
    "mobilenet": "conv_pw_1_relu 64, conv_pw_3_relu 128, conv_pw_5_relu 256, conv_pw_11_relu 512, "
    "conv_pw_13_relu 1024",
    "mobilenetv2": "block_1_expand_relu 96, block_3_expand_relu 144, block_6_expand_relu 192, "
    "block_13_expand_relu 576, out_relu 1280",
    "mobilenetv3small": "activation1 16, relu3 72, activation2 96, activation12 288, "
    "activation18 576",
    "mobilenetv3large": "relu2 64, relu6 72, activation2 240, activation14 672, activation20 960",
    "efficientnetb0": _EFFICIENT.format(96, 144, 240, 672, 1280),
    "efficientnetb1": _EFFICIENT.format(96, 144, 240, 672, 1280),
    "efficientnetb2": _EFFICIENT.format(96, 144, 288, 720, 1408),
    "efficientnetb3": _EFFICIENT.format(144, 192, 288, 816, 1536),
    "efficientnetb4": _EFFICIENT.format(144, 192, 336, 960, 1792),
    "efficientnetb5": _EFFICIENT.format(144, 240, 384, 1056, 2048),
    "efficientnetb6": _EFFICIENT.format(192, 240, 432, 1200, 2304),
    "efficientnetb7": _EFFICIENT.format(192, 288, 480, 1344, 2560),
    "efficientnetv2b0": _EFFICIENT_2.format("a_project_activation", 16, "b", 32, 192, 672, 1280),
    "efficientnetv2b1": _EFFICIENT_2.format("b_add", 16, "c", 32, 192, 672, 1280),
    "efficientnetv2b2": _EFFICIENT_2.format("b_add", 16, "c", 32, 224, 720, 1408),
    "efficientnetv2b3": _EFFICIENT_2.format("b_add", 16, "c", 40, 224, 816, 1536),
    "efficientnetv2s": _EFFICIENT_2.format("b_add", 24, "d", 48, 256, 960, 1280),
    "efficientnetv2m": _EFFICIENT_2.format("c_add", 24, "e", 48, 320, 1056, 1280),
    "efficientnetv2l": _EFFICIENT_2.format("d_add", 32, "g", 64, 384, 1344, 1280),
    "convnexttiny": _CONVNEXT.format("tiny", 96, 192, 384, 768),
    "convnextsmall": _CONVNEXT.format("small", 96, 192, 384, 768),
    "convnextbase": _CONVNEXT.format("base", 128, 256, 512, 1024),
    "convnextlarge": _CONVNEXT.format("large", 192, 384, 768, 1536),
    "convnextxlarge": _CONVNEXT.format("xlarge", 256, 512, 1024, 2048),
}
FINEST = {"vgg19": 1} | {name: 4 for name in FEATURES if name.startswith("convnext")}  # else 2
# Quickly built, and of each kind of graph one: operations, layers in layers, concatenations. Of the
# others only their number and size of layers are new.
QUICK = ("vgg19", "resnet50v2", "densenet121", "mobilenetv3small", "convnexttiny")


# The largest take gigabytes and all of them the better part of an hour: for a change of
# nets/encoders, ALL_ENCODERS=1 python -m pytest -n 0 tests/nets/test_keras_encoders.py
ALL = bool(os.environ.get("ALL_ENCODERS"))


def encoders(*quick):
    """Parameters: the quick encoders of Keras, or all with ALL_ENCODERS."""
    return pytest.mark.parametrize("backbone", FEATURES if ALL else quick)


@pytest.fixture(scope="module")
def opened():
    """opened(name): Keras' own network and its steps; the last one is kept."""
    kept = {}

    def get(application):
        if application not in kept:
            kept.clear()
            network = open_application(application)
            kept[application] = network, trace(network)
        return kept[application]

    return get


def random_images(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


# What the decoder takes


def test_every_encoder_of_keras_is_known_or_refused():
    there = {name.lower() for name in dir(keras.applications) if name[0].isupper()}
    own = {"vgg16", "resnet50"}  # as vgg and resnet50
    assert there == own | set(FEATURES) | set(UNFIT)
    assert {name for name, one in BACKBONES.items() if one.application} == set(FEATURES)


@encoders(*QUICK)
def test_features_and_what_stands_of_an_encoder(backbone, opened):
    record = BACKBONES[backbone]
    application, steps = opened(record.application)
    assert find_misfit(steps) is None
    found = [steps[index] for index in find_features(steps)]
    expected = [text.split() for text in FEATURES[backbone].split(", ")]
    names = [name.split("_", 1)[1] for name in (step.name for step in found)]
    channels = [step.layer.output.shape[-1] for step in found]
    assert list(zip(names, map(str, channels), strict=True)) == [tuple(one) for one in expected]
    strides = [FINEST.get(backbone, 2) * 2**index for index in range(len(found))]
    assert [step.side for step in found] == [SIDE // stride for stride in strides]
    assert record.stride == strides[-1]
    (first,) = (step for step in steps if step.name == FIRST)
    assert first.layer.filters == record.first_filters
    assert record.keras.megabytes == round(4e-6 * application.count_params())
    kinds = {type(step.layer).__name__ for step in steps}
    assert record.unit_size == (not kinds & {"BatchNormalization", "LayerNormalization"})


@pytest.mark.parametrize(
    "name",
    [
        "xception",
        *(name for name in UNFIT if ALL and name != "xception"),
    ],
)
def test_encoders_that_lose_their_borders(name):
    (application,) = (one for one in dir(keras.applications) if one.lower() == name != one)
    steps = trace(open_application(application))
    misfit = find_misfit(steps)
    layer, made = UNFIT[name]
    # Keras numbers the layers without a name of their own.
    assert (re.sub(r"_\d+$", "", misfit.layer.name), misfit.side) == (layer, made)
    message = (
        f"^backbone '{name}' can't serve: its layer {layer} leaves out the border and makes 127 "
    )
    with pytest.raises(UserError, match=message):
        check_backbone(name)


def test_an_operation_without_a_layer_of_its_kind_is_a_defect():
    image = keras.Input((SIDE, SIDE, 3))
    with pytest.raises(NotImplementedError, match="has an operation Multiply, which is no layer"):
        trace(keras.Model(image, image * image))


def test_features_of_a_graph_by_hand():
    """A skip around, a pooling beside, a bare convolution, a size with a pooling alone."""
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(2.0)(image)
    x = layers.Conv2D(4, 3, 2, "same", name="bare")(x)
    shortcut = layers.MaxPooling2D(name="beside")(x)
    y = layers.Activation("relu", name="around")(layers.BatchNormalization()(x))
    y = layers.Conv2D(4, 3, 2, "same", activation="relu", name="within")(y)
    x = layers.Add(name="joined")([shortcut, y])
    x = layers.Dropout(0.5)(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Conv2D(4, 1, name="linear")(layers.ReLU(name="ready")(x))
    steps = trace(keras.Model(image, layers.MaxPooling2D()(x)))
    assert not any(isinstance(step.layer, (layers.Rescaling, layers.Dropout)) for step in steps)
    found = [(steps[index].name, steps[index].side) for index in find_features(steps)]
    # Of the half, all passes the bare convolution, and then goes two ways; normalization and
    # activation are on one of them and next.
    assert found == [("encoder1_around", 128), ("encoder2_joined", 64), ("encoder3_ready", 32)]


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("ResNet-101", "resnet101, resnet101v2"),
        ("mobilenetv3_large", "mobilenetv3large, mobilenetv3small"),
        ("efficientnet-b4", "efficientnetb4"),
        ("vgg16", "vgg19"),
    ],
)
def test_an_unknown_encoder_gets_the_nearest_names(typed, nearest):
    message = rf"^backbone must be one of vgg, .*; got '{typed}'\. Nearest: {nearest}"
    with pytest.raises(UserError, match=message):
        check_backbone(typed)


def test_an_encoder_like_none_gets_no_name():
    with pytest.raises(UserError, match=r"got 'sam'\.$"):
        check_backbone("sam")


# Sizes of the layers


@encoders("vgg19", "mobilenetv3small")
def test_at_full_width_the_weights_are_those_of_keras(backbone, opened):
    record = BACKBONES[backbone]
    application, _ = opened(record.application)
    image = keras.Input((None, None, 3))
    ours = keras.Model(image, KerasEncoder(image, application=record.application))
    preprocessing = sum(
        layer.count_params()
        for layer in application.layers
        if isinstance(layer, keras.layers.Normalization)
    )
    assert ours.count_params() == application.count_params() - preprocessing


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


# ImageNet weights


def keras_own(record, path, monkeypatch):
    """The network with ImageNet weights that Keras makes of a file."""
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(path))
    make = getattr(keras.applications, record.application)
    network = make(weights="imagenet", include_top=False, input_shape=(SIDE, SIDE, 3))
    monkeypatch.undo()
    return network, sys.modules[make.__module__].preprocess_input


def write_random_weights(record, path, rng):
    """Writes what Keras 2 makes of the same encoder, as the files of its server are."""
    tf_keras = pytest.importorskip("tf_keras")
    make = getattr(tf_keras.applications, record.application)
    network = make(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))
    for layer in network.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            shape = layer.get_weights()[0].shape
            values = rng.uniform(0.5, 1.5, shape), rng.normal(0, 0.1, shape)
            layer.set_weights([*values, rng.normal(0, 0.3, shape), rng.uniform(0.3, 2, shape)])
        elif isinstance(layer, tf_keras.layers.Normalization) and layer.weights:
            layer.set_weights([np.array([0.4, 0.5, 0.6]), np.array([0.05, 0.06, 0.07]), 0])
    network.save_weights(path)


@encoders("vgg19", "mobilenetv3small")
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


@pytest.mark.parametrize(
    "entry",
    [entry for entry in ENTRIES if ALL or entry.application.lower() in QUICK],
    ids=lambda entry: entry.application,
)
def test_files_are_those_that_keras_asks_for(entry, monkeypatch):
    class AskedError(Exception):
        pass

    def get_file(name, url, file_hash=None, **_):
        raise AskedError(name, url, file_hash or "")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    make = getattr(keras.applications, entry.application)
    with pytest.raises(AskedError) as caught:
        make(weights="imagenet", include_top=False)
    file = BACKBONES[entry.application.lower()].keras
    assert caught.value.args == (file.name, file.url, file.hash)


# Each in use


def predict(model, images):
    """As `predict_on_batch`, without the time that compiling takes."""
    return keras.ops.convert_to_numpy(model(images, training=False))


def steps_of_training(model, images, masks, recompute=False):
    """{path: change} of a step of plain gradient descent; the weights are put back."""
    before = model.get_weights()
    loss = make_loss(LossSettings(True, False))
    trainer = compile_trainer(model, keras.optimizers.SGD(1.0), loss, recompute)
    trainer.run_eagerly = True  # a tiny step takes less time than its trace
    trainer.train_on_batch(images, masks)
    after = model.get_weights()
    model.set_weights(before)
    paths = [weight.path for weight in model.weights]
    return {path: new - old for path, old, new in zip(paths, before, after, strict=True)}


@encoders("mobilenetv3small")
@pytest.mark.slow
def test_an_encoder_works_as_the_others_do(backbone, tmp_path, rng):
    described = Description(3, backbone, (64, 32), ("a", "b", "c"), 8, in_channels=2)
    model = build(described)
    assert [layer.name for layer in build(described).layers if layer.weights] == [
        layer.name for layer in model.layers if layer.weights
    ]
    images, masks = random_images(2, 64, 32, 2), rng.integers(0, 3, (2, 64, 32)).astype(np.uint8)
    probabilities = predict(model, images)
    assert probabilities.shape == (2, 64, 32, 3) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)

    # Frozen, nothing of the encoder changes, nor its statistics; all of the decoder does.
    frozen = set_encoder_trainable(model, False, backbone)
    assert all(name.startswith("encoder") for name in frozen)
    for path, change in steps_of_training(model, images, masks).items():
        assert path.split("/")[0] in frozen or path.startswith(("decoder", "head"))
        assert (np.abs(change).max() > 0) == (not path.startswith("encoder")), path
    set_encoder_trainable(model, True, backbone)
    changes = steps_of_training(model, images, masks)
    assert max(np.abs(changes[path]).max() for path in changes if FIRST in path) > 0

    # Checkpointing computes the same.
    again = steps_of_training(model, images, masks, recompute=True)
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

    encoder, rest, moments = count_parameters(model, backbone)
    assert encoder + rest + moments == model.count_params()
    sized = build(described, (64, 32))
    assert sum(multiply_adds(layer, layer.output.shape) for layer in sized.layers) > 0
    with dtype_policy("mixed_bfloat16"):
        half = build(described)
    assert predict(half, images).dtype == np.float32
    assert half.get_layer(FIRST).compute_dtype == "bfloat16"


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

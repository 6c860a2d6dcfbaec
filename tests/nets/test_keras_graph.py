"""What the encoders of Keras are, read off their graphs: no weight has a value here."""

import re

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils
from keras_encoders import FEATURES, find_strides, without_values

from errors import UserError
from nets.backbones import BACKBONES
from nets.checks import check_backbone
from nets.cost import count_parameters, multiply_adds
from nets.encoders.catalogue import FIRST, UNFIT
from nets.encoders.keras_graph import (
    SIDE,
    find_features,
    find_misfit,
    find_paddings,
    is_bare,
    open_application,
    trace,
)
from nets.remat import rematerialized
from nets.unet import Unet, set_encoder_trainable
from summary import format_layers
from utils.runs.memory import estimate_training_memory


@pytest.fixture(scope="module", params=FEATURES)
def backbone(request):
    """Each encoder of Keras; of a module, so that all tests of one come after each other."""
    return request.param


@pytest.fixture(scope="module")
def opened(backbone):
    """Keras' own network and its steps."""
    with without_values():
        network = open_application(BACKBONES[backbone].application)
        return network, trace(network)


@pytest.fixture(scope="module")
def unet(backbone):
    """The U-Net for images of 256x256 with 21 classes."""
    with without_values():
        return Unet((SIDE, SIDE, 3), 21, backbone)


def test_every_encoder_of_keras_is_known_or_refused():
    there = {name.lower() for name in dir(keras.applications) if name[0].isupper()}
    own = {"vgg16", "resnet50"}  # as vgg and resnet50
    assert there == own | set(FEATURES) | set(UNFIT)
    assert {name for name, one in BACKBONES.items() if one.application} == set(FEATURES)


def test_features_are_these_layers_of_these_shapes(backbone, opened):
    record = BACKBONES[backbone]
    application, steps = opened
    assert find_misfit(steps) is None
    found = [steps[index] for index in find_features(steps)]
    assert FEATURES[backbone] == ", ".join(
        f"{step.name.split('_', 1)[1]} {step.layer.output.shape[-1]}" for step in found
    )
    strides = find_strides(backbone)
    assert [step.side for step in found] == [SIDE // stride for stride in strides]
    assert record.stride == strides[-1]
    (first,) = (step for step in steps if step.name == FIRST)
    assert first.layer.filters == record.first_filters
    assert record.keras.megabytes == round(4e-6 * application.count_params())
    kinds = {type(step.layer).__name__ for step in steps}
    assert record.unit_size == (not kinds & {"BatchNormalization", "LayerNormalization"})
    # What nothing has normalized or activated is brought to unit size with ImageNet's weights.
    bare = [step.name for step in found if is_bare(step.layer)]
    assert bare == ([FIRST] if re.fullmatch(r"resnet\d+v2", backbone) else [])


def test_the_unet_takes_them_and_its_weights_are_those_of_keras(unet, opened):
    _, steps = opened
    assert unet.output_shape == (None, SIDE, SIDE, 21)
    skips = [steps[index] for index in find_features(steps)[:-1]]
    for stage, skip in enumerate(reversed(skips), start=1):
        given = unet.get_layer(f"decoder{stage}_conv1").input[0]
        layer = given._keras_history.operation
        assert layer.name == skip.name
        assert given.shape == (None, skip.side, skip.side, skip.layer.output.shape[-1])
    # The weights of the encoder, but for the preprocessing and what comes after the last feature.
    encoder = [layer for layer in unet.layers if layer.name.startswith("encoder")]
    left = {step.name: step.layer for step in steps}
    for layer in encoder:
        assert [tuple(weight.shape) for weight in layer.weights] == [
            tuple(weight.shape) for weight in left.pop(layer.name).weights
        ]
    assert not any(layer.weights for layer in left.values())


def test_only_paddings_that_no_convolution_does_itself_are_left(backbone, unet):
    """Those of the first 7x7 and the pooling after it, on both sides; ResNetV2's with stride 2."""
    left = [one for one in unet.layers if isinstance(one, keras.layers.ZeroPadding2D)]
    expected = 2 if backbone.startswith(("resnet", "densenet")) else 0
    expected += 3 if re.fullmatch(r"resnet\d+v2", backbone) else 0
    assert len(left) == expected
    assert all(top == bottom for one in left for top, bottom in one.padding)


def test_its_layers_are_named_so_that_files_and_phases_find_them(backbone, unet):
    names = [layer.name for layer in unet.layers]
    assert len(set(names)) == len(names)
    assert {re.match(r"encoder|decoder|head|image", name)[0] for name in names} == {
        "encoder", "decoder", "head", "image",
    }  # fmt: skip
    frozen = set_encoder_trainable(unet, False, backbone)
    paths = {weight.path.split("/")[0] for weight in unet.trainable_variables}
    assert all(name.startswith(("decoder", "head")) for name in paths)
    assert set(frozen) | paths == {layer.name for layer in unet.layers if layer.weights}
    assert BACKBONES[backbone].first_layer in frozen
    encoder, rest, moments = count_parameters(unet, backbone)
    assert encoder + rest + moments == unet.count_params()
    assert (moments > 0) == any(type(one) is keras.layers.BatchNormalization for one in unet.layers)


def test_its_layers_and_memory_are_told(backbone, unet):
    text = format_layers(unet, backbone)
    assert re.search(rf"^parameters +{unet.count_params():,}$", text, re.MULTILINE)
    assert re.search(rf"^{FIRST} +Conv2D +", text, re.MULTILINE)
    kept, again = (
        estimate_training_memory(unet, 8, (SIDE, SIDE), recompute) for recompute in (False, True)
    )
    # What normalization stands behind is kept in any case.
    assert kept > again > 12 * unet.count_params()


def test_checkpointing_has_the_same_weights(unet):
    with without_values():
        twin = rematerialized(unet)
    assert twin.output_shape == unet.output_shape
    assert [weight.path for weight in twin.weights] == [weight.path for weight in unet.weights]


def test_its_work_is_what_a_network_of_256x256_needs(backbone, unet):
    assert BACKBONES[backbone].work == work_of(unet)


def test_its_file_is_the_one_that_keras_asks_for(backbone, monkeypatch):
    class AskedError(Exception):
        pass

    def get_file(name, url, file_hash=None, **_):
        raise AskedError(name, url, file_hash or "")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    make = getattr(keras.applications, BACKBONES[backbone].application)
    with pytest.raises(AskedError) as caught, without_values():
        make(weights="imagenet", include_top=False)
    file = BACKBONES[backbone].keras
    assert caught.value.args == (file.name, file.url, file.hash)


@pytest.mark.parametrize("own", ["vgg", "resnet50"])
def test_the_work_of_this_projects_own(own):
    with without_values():
        assert BACKBONES[own].work == work_of(Unet((SIDE, SIDE, 3), 21, own))


def work_of(network):
    """Thousands of multiply-adds for a pixel."""
    total = sum(multiply_adds(layer, layer.output.shape) for layer in network.layers)
    return round(total / SIDE**2 / 1000)


@pytest.mark.parametrize("name", UNFIT)
def test_encoders_that_lose_their_borders(name):
    (application,) = (one for one in dir(keras.applications) if one.lower() == name != one)
    with without_values():
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
    ("kind", "size", "strides", "padding", "found"),
    [
        ("Conv2D", 3, 1, ((1, 1), (1, 1)), True),
        ("Conv2D", 3, 2, ((0, 1), (0, 1)), True),
        ("DepthwiseConv2D", 5, 2, ((1, 2), (1, 2)), True),
        ("Conv2D", (3, 1), 1, ((1, 1), (0, 0)), True),
        ("Conv2D", 3, 2, ((1, 1), (1, 1)), False),  # "same" pads the end alone
        ("Conv2D", 7, 2, ((3, 3), (3, 3)), False),
        ("Conv2D", 3, 1, ((1, 1), (0, 0)), False),
        ("MaxPooling2D", 3, 2, ((0, 1), (0, 1)), False),  # "same" pads no zeros there
    ],
)
def test_paddings_as_of_same(kind, size, strides, padding, found, rng):
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 2))
    filters = (4,) if kind == "Conv2D" else ()
    after = getattr(layers, kind)(*filters, size, strides)
    x = layers.ZeroPadding2D(padding)(layers.ReLU()(image))
    steps = trace(keras.Model(image, after(x)))
    assert find_paddings(steps) == ({1} if found else set())
    if found:
        same = type(after).from_config(after.get_config() | {"padding": "same"})
        features = rng.standard_normal((1, 8, 12, 2)).astype("float32")
        same.build(features.shape)
        same.set_weights(after.get_weights())
        np.testing.assert_allclose(
            same(features), after(layers.ZeroPadding2D(padding)(features)), atol=1e-6
        )


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("ResNet-101", "resnet101, resnet101v2"),
        ("mobilenetv3_large", "mobilenetv3large, mobilenetv3small"),
        ("efficientnet-b4", "efficientnetb4"),
        ("vgg16", "vgg, vgg19"),
    ],
)
def test_an_unknown_encoder_gets_the_nearest_names(typed, nearest):
    message = rf"^backbone must be one of vgg, .*; got '{typed}'\. Nearest: {nearest}"
    with pytest.raises(UserError, match=message):
        check_backbone(typed)


def test_an_encoder_like_none_gets_no_name():
    with pytest.raises(UserError, match=r"got 'sam'\.$"):
        check_backbone("sam")

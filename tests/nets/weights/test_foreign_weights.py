"""Weights that other programs wrote give this network the same results."""

import re

import numpy as np
import pytest
import tf_keras
import torch
from other_networks import keras_2_unet, torch_unet

from errors import UserError
from nets.precision import dtype_policy
from nets.unet import build
from nets.weights.description import Description
from nets.weights.storage import adapt_channels, load_weights, open_weights
from unet import Unet


def randomize(model, rng):
    """Random weights of a size that neither fades nor grows, and random statistics."""
    for layer in model.layers:
        weights = layer.get_weights()
        if len(weights) == 2:
            kernel, bias = weights
            fan_in = np.prod(kernel.shape[:3])
            layer.set_weights(
                [rng.normal(0, (2 / fan_in) ** 0.5, kernel.shape), rng.normal(0, 0.1, bias.shape)]
            )
        elif weights:
            shape = weights[0].shape
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.2, shape),
                    rng.normal(0, 0.1, shape),
                    rng.normal(0, 0.3, shape),
                    rng.uniform(0.5, 2, shape),
                ]
            )


def build_for(stored, size):
    facts = stored.infer()
    names = tuple(f"class {index}" for index in range(facts["num_classes"]))
    model = build(Description(input_shape=size, name_classes=names, **facts), size)
    report = load_weights(model, stored)
    assert report.is_exact
    return model


@pytest.mark.parametrize("whole_model", [False, True])
@pytest.mark.parametrize("backbone", ["vgg", "resnet50"])
def test_keras_2(backbone, whole_model, rng, tmp_path):
    theirs = keras_2_unet(tf_keras, 5, backbone)
    randomize(theirs, rng)
    path = tmp_path / "unet.h5"
    theirs.save(path) if whole_model else theirs.save_weights(path)
    stored = open_weights(path)
    assert stored.kind == "Keras 2 weights"
    assert stored.infer() == {
        "backbone": backbone, "width": 4, "in_channels": 3, "num_classes": 5,
        "decoder_norm": "none", "decoder_width": 0,
    }  # fmt: skip
    images = rng.uniform(-1, 1, (2, 64, 96, 3)).astype("float32")
    expected = theirs.predict_on_batch(images)
    assert expected.max() - expected.min() > 0.3  # else anything would be near it
    found = build_for(stored, (64, 96)).predict_on_batch(images)
    assert np.abs(found - expected).max() <= 1e-5


def test_keras_2_after_other_networks_in_one_process(rng, tmp_path):
    """The numbers of unnamed layers then go on; their order stays."""
    keras_2_unet(tf_keras, 2, "vgg")
    theirs = keras_2_unet(tf_keras, 3, "vgg")
    randomize(theirs, rng)
    assert not any(layer.name == "conv2d" for layer in theirs.layers)
    theirs.save_weights(tmp_path / "unet.h5")
    images = rng.uniform(-1, 1, (1, 32, 32, 3)).astype("float32")
    found = build_for(open_weights(tmp_path / "unet.h5"), (32, 32)).predict_on_batch(images)
    np.testing.assert_allclose(found, theirs.predict_on_batch(images), atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("zipped", [True, False])
def test_unet_pytorch(prefix, zipped, rng, tmp_path):
    torch.manual_seed(0)
    theirs = torch_unet(5)
    for parameter in theirs.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        else:
            torch.nn.init.normal_(parameter, 0, 0.1)
    path = tmp_path / "unet.pth"
    state = {prefix + name: value for name, value in theirs.state_dict().items()}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    stored = open_weights(path)
    assert stored.infer() == {
        "backbone": "vgg", "width": 4, "in_channels": 3, "num_classes": 5,
        "decoder_norm": "none", "decoder_width": 0, "upsampling": "bilinear", "unit_range": True,
    }  # fmt: skip
    images = rng.integers(0, 256, (2, 64, 96, 3)).astype("float32")
    with torch.no_grad():
        logits = theirs(torch.from_numpy((images / 255).transpose(0, 3, 1, 2)))
    expected = torch.softmax(logits, 1).numpy().transpose(0, 2, 3, 1)
    assert expected.max() - expected.min() > 0.3
    found = build_for(stored, (64, 96)).predict_on_batch(images / 127.5 - 1)
    assert np.abs(found - expected).max() <= 1e-4


def test_unet_pytorch_s_decoder_in_bfloat16(rng):
    """Positions are computed in float32: bfloat16 can't tell rows beyond 256 apart."""
    from nets.layers import AlignedUpSampling2D

    x = np.linspace(0, 1, 600, dtype="float32")[None, :, None, None] * np.ones((1, 1, 2, 1))
    with dtype_policy("mixed_bfloat16"):
        doubled = np.array(AlignedUpSampling2D()(x)).astype("float32")[0, :, 0, 0]
    assert np.abs(doubled - np.linspace(0, 1, 1200)).max() <= 2**-7


def test_prediction_needs_nothing_but_the_file(rng, tmp_path):
    theirs = keras_2_unet(tf_keras, 3, "vgg")
    theirs.save_weights(tmp_path / "unet.h5")
    unet = Unet(tmp_path / "unet.h5", precision="float32")
    described = unet.description
    assert (described.num_classes, described.backbone, described.width) == (3, "vgg", 4)
    assert described.input_shape == (512, 512)
    assert described.name_classes == ("background", "class_1", "class_2")
    small = Unet(tmp_path / "unet.h5", input_shape=(32, 32), precision="float32")
    assert small.predict_array(rng.integers(0, 256, (20, 30, 3), np.uint8)).shape == (20, 30)


def three_channel_file(tmp_path, rng):
    theirs = keras_2_unet(tf_keras, 3, "vgg")
    randomize(theirs, rng)
    theirs.save_weights(tmp_path / "unet.h5")
    return tmp_path / "unet.h5"


def with_channels(path, in_channels):
    facts = open_weights(path).infer() | {"in_channels": in_channels}
    model = build(Description(input_shape=(32, 32), name_classes=("a", "b", "c"), **facts))
    return model, load_weights(model, path, allow_mismatch=True)


def test_a_grey_image_gives_what_it_gave_as_three_equal_channels(rng, tmp_path):
    path = three_channel_file(tmp_path, rng)
    grey, report = with_channels(path, 1)
    colour, _ = with_channels(path, 3)
    assert re.search(r"\n  block1_conv1 +loaded, adapted from 3 channels to 1\n", str(report))
    assert report.is_exact
    image = rng.uniform(-1, 1, (1, 32, 32, 1)).astype("float32")
    expected = colour.predict_on_batch(np.repeat(image, 3, axis=3))
    np.testing.assert_allclose(grey.predict_on_batch(image), expected, atol=1e-5)


def test_six_channels_that_repeat_three_give_what_these_gave(rng, tmp_path):
    path = three_channel_file(tmp_path, rng)
    six, _ = with_channels(path, 6)
    colour, _ = with_channels(path, 3)
    image = rng.uniform(-1, 1, (1, 32, 32, 3)).astype("float32")
    expected = colour.predict_on_batch(image)
    found = six.predict_on_batch(np.concatenate([image, image], axis=3))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_four_channels_by_hand():
    kernel = np.array([1.0, 10.0, 100.0], "float32").reshape(1, 1, 3, 1)
    assert adapt_channels(kernel, 4).ravel().tolist() == [0.75, 7.5, 75.0, 0.75]
    assert adapt_channels(kernel, 1).ravel().tolist() == [111.0]
    assert adapt_channels(kernel, 4).dtype == np.float32


def test_prediction_does_not_adapt(rng, tmp_path):
    facts = open_weights(three_channel_file(tmp_path, rng)).infer() | {"in_channels": 1}
    model = build(Description(input_shape=(32, 32), name_classes=("a", "b", "c"), **facts))
    with pytest.raises(UserError, match=r"block1_conv1 +shape differs: \[\(3, 3, 1, 4\)"):
        load_weights(model, tmp_path / "unet.h5")

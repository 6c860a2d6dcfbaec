"""ImageNet weights as start weights of the encoder: adapted to this network's images and sizes.

Images here are RGB in [-1, 1]. Keras' weights expect BGR in [0, 255] minus means, torchvision's RGB
in [0, 1] minus means and divided by deviations: the first convolution is adapted, see
`_take_rgb`. Inside the image the features then are the pretrained ones. At the border zeros are
padded, which mean the average colour there and medium grey here.

VGG16's features are brought to unit size, see `nets.weights.feature_sizes`. ResNet50's normalize
themselves.

Sources: `keras.applications.vgg16`, `keras.applications.resnet`, `torchvision.models`.
"""

import re
from dataclasses import replace

import numpy as np

from errors import UserError
from nets.backbones import BACKBONES, find_backbone
from nets.weights.description import HEAD
from nets.weights.feature_sizes import scale_vgg16

_MEANS = np.array([103.939, 116.779, 123.68])  # of B, G, R in [0, 255]: Keras
_RGB_MEANS = np.array([0.485, 0.456, 0.406])  # of R, G, B in [0, 1]: torchvision
_RGB_DEVIATIONS = np.array([0.229, 0.224, 0.225])
_LAYER = re.compile(r"conv(\d)_block(\d)_(\d)_(conv|bn)")
_BRANCHES = ("1", "2a", "2b", "2c")
_EPSILON = 1e-3  # of batch normalization here
_EPSILON_KERAS = 1.001e-5  # of Keras' ResNet50


def adapt_keras(stored):
    """Renames and adapts the layers of Keras' own file for this network.

    Args:
        stored: `nets.weights.description.Stored`, as read.

    Returns:
        Stored.

    Raises:
        UserError: if it holds something else, or less.
    """
    newer = "conv1_conv" in stored.layers
    layers = {_rename(name): arrays for name, arrays in stored.layers.items()}
    stored = replace(stored, kind="ImageNet weights of Keras", layers=layers, is_pretrained=True)
    facts = stored.infer()
    refusal = UserError(
        f"{stored.path} is named as Keras' ImageNet weights, but holds another network. "
        "Give it another name if it is yours, or remove it."
    )
    if facts["in_channels"] != 3 or HEAD in layers:
        raise refusal
    if newer:  # Keras' first ResNet50 had the default epsilon
        change_epsilon(layers, _EPSILON_KERAS)
    try:
        # x' = 127.5 (x + 1) - mean, in the order B, G, R.
        _adapt(layers, facts["backbone"], [127.5] * 3, 127.5 - _MEANS, swap=True)
    except (KeyError, ValueError) as error:  # a layer is missing, or has another shape
        raise refusal from error
    return stored


def adapt_torchvision(layers):
    """Adapts torchvision's layers, already named and laid out as here, in place."""
    # x' = ((x + 1) / 2 - mean) / deviation
    factors, offsets = 0.5 / _RGB_DEVIATIONS, (0.5 - _RGB_MEANS) / _RGB_DEVIATIONS
    _adapt(layers, find_backbone(layers), factors, offsets)


def _adapt(layers, backbone, factors, offsets, **options):
    """Adapts the first convolution to images here, and all features to unit size, in place."""
    first = BACKBONES[backbone].first_layer
    layers[first] = _take_rgb(*layers[first], factors, offsets, **options)
    if BACKBONES[backbone].unit_size:
        scale_vgg16(layers)


def change_epsilon(layers, epsilon):
    """Has batch normalization give with this network's epsilon what it gave with `epsilon`."""
    for name, arrays in layers.items():
        if len(arrays) == 4:
            gamma, beta, mean, variance = arrays
            scale = np.sqrt((variance + _EPSILON) / (variance + epsilon))
            layers[name] = [(gamma * scale).astype(gamma.dtype), beta, mean, variance]


def _rename(name):
    """conv3_block2_1_conv becomes res3b_branch2a; other names stay."""
    if name in ("conv1_conv", "conv1_bn"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[name]
    match = _LAYER.fullmatch(name)
    if not match:
        return name
    stage, block, branch, kind = match.groups()
    prefix = "res" if kind == "conv" else "bn"
    return f"{prefix}{stage}{'abcdef'[int(block) - 1]}_branch{_BRANCHES[int(branch)]}"


def _take_rgb(kernel, bias, factors, offsets, swap=False):
    """The first convolution for RGB x in [-1, 1], from that for factors x + offsets.

    Args:
        kernel, bias: arrays (height, width, 3, filters) and (filters,).
        factors, offsets: 3 numbers each, in the order of the kernel's channels.
        swap: bool, whether the kernel's channels are B, G, R.
    """
    bias = bias + np.einsum("hwio,i->o", kernel.astype(np.float64), offsets)
    kernel = kernel * np.reshape(factors, (1, 1, 3, 1))
    kernel = kernel[:, :, ::-1] if swap else kernel
    return [np.ascontiguousarray(kernel, np.float32), bias.astype(np.float32)]

"""The encoders of Keras as tests know them: features, families, networks without values, files."""

import collections
import contextlib
import sys

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from keras.src.utils import file_utils

from nets.encoders.keras_graph import SIDE

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
# What EfficientNets make of RGB in [0, 1] first. With ImageNet's weights, and no others, they then
# divide by the roots of the deviations.
_MEANS, _VARIANCES = np.array([0.4, 0.5, 0.6]), np.array([0.05, 0.06, 0.07])
_DEVIATIONS = np.array([0.229, 0.224, 0.225])
_WAITING = "uninitialized_variables"  # as Keras calls its list of those


def find_strides(backbone):
    """The image's size in units of that of each of an encoder's features."""
    count = len(FEATURES[backbone].split(", "))
    return [FINEST.get(backbone, 2) * 2**index for index in range(count)]


@contextlib.contextmanager
def without_values():
    """Networks that are built here have shapes and names but no weights' values.

    So the largest takes seconds and hardly any memory.
    """
    waiting = list(global_state.get_global_attribute(_WAITING, []))
    with keras.StatelessScope(initialize_variables=False):
        yield
    global_state.set_global_attribute(_WAITING, waiting)


def keras_own(record, path, monkeypatch):
    """The network with ImageNet weights that Keras makes of a file, and its preprocessing."""
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(path))
    make = getattr(keras.applications, record.application)
    network = make(weights="imagenet", include_top=False, input_shape=(SIDE, SIDE, 3))
    monkeypatch.undo()
    return network, sys.modules[make.__module__].preprocess_input


def find_summed(network):
    """The normalizations whose results are summed as they are, activated, or partly dropped.

    Args:
        network: keras.Model of Keras 2.

    Returns:
        {name of a layer of batch normalization: how many sums in a row it is one of the terms of}.
        These are all sums of results of that size and with as many channels.
    """
    tf_keras = pytest.importorskip("tf_keras")
    sums = [layer for layer in network.layers if isinstance(layer, tf_keras.layers.Add)]
    counts = collections.Counter(layer.output_shape for layer in sums)
    found = {}
    for layer in sums:
        for before in _before(layer):
            while isinstance(before, (tf_keras.layers.Activation, tf_keras.layers.Dropout)):
                (before,) = _before(before)
            if isinstance(before, tf_keras.layers.BatchNormalization):
                found[before.name] = counts[layer.output_shape]
    return found


def _before(layer):
    """The layers whose results a layer of Keras 2 takes."""
    return [node.layer for node in layer.inbound_nodes[0].parent_nodes]


def write_random_weights(record, path, rng, images=None):
    """Writes what Keras 2 makes of the same encoder, as the files of its server are.

    Args:
        record: `nets.backbones.Backbone`.
        path: where to.
        rng: numpy.random.Generator.
        images: (B, SIDE, SIDE, 3), as Keras' preprocessing gives them: batch normalization has
            their statistics, as it has those of ImageNet; None: any.
    """
    tf_keras = pytest.importorskip("tf_keras")
    make = getattr(tf_keras.applications, record.application)
    network = make(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))
    preprocessing, summed = [], find_summed(network)
    for layer in network.submodules:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            shape = layer.get_weights()[0].shape
            # Residual blocks of random weights would make features as large as the root of their
            # number, which training doesn't: it leaves the gamma before a sum about this small.
            gamma = rng.uniform(0.5, 1.5, shape) / summed.get(layer.name, 1) ** 0.5
            values = gamma, rng.normal(0, 0.1, shape)
            layer.set_weights([*values, rng.normal(0, 0.3, shape), rng.uniform(0.3, 2, shape)])
            layer.momentum = 0.0
        elif isinstance(layer, tf_keras.layers.LayerNormalization):
            shape = layer.get_weights()[0].shape
            layer.set_weights([rng.uniform(0.5, 1.5, shape), rng.normal(0, 0.1, shape)])
        elif type(layer).__name__ == "LayerScale":  # those of Keras' start hardly do anything
            layer.set_weights([rng.uniform(0.2, 0.5, layer.get_weights()[0].shape)])
        elif isinstance(layer, tf_keras.layers.Dropout):
            layer.rate = 0.0  # the statistics are to be those of features in use
        elif isinstance(layer, tf_keras.layers.Normalization) and layer.weights:
            preprocessing.append(layer)
            layer.set_weights([_MEANS, _VARIANCES * _DEVIATIONS, 0])  # as if they were ImageNet's
            layer.finalize_state()  # it computes with copies of its weights
    if images is not None:
        first = next(layer for layer in network.submodules if type(layer) is tf_keras.layers.Conv2D)
        kernel, *bias = first.get_weights()
        first.set_weights([30 * kernel, *bias])  # features far from unit size
        network(images, training=True)
    for layer in preprocessing:
        layer.set_weights([_MEANS, _VARIANCES, 0])
    network.save_weights(path)

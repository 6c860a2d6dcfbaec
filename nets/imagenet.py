"""Keras' own ImageNet weights, as start weights of the encoder.

They expect BGR in [0, 255] minus the means of ImageNet; this network's pictures are RGB in
[-1, 1]. With x' = 127.5 (x + 1) - mean, the first convolution is adapted: its input channels
swapped and multiplied by 127.5, and what the offset makes of the kernel added to the bias.
Inside the picture the features then are those of `keras.applications`. At the border zeros
are padded, which mean the average colour there and medium grey here.

Source: `keras.applications.vgg16`, `keras.applications.resnet`.
"""

import re
import socket
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from errors import UserError
from nets.stored import FIRST_LAYERS, HEAD

IMAGENET = "imagenet"  # as `model_path`
_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
_FILES = {  # backbone: folder, file and MD5 of the weights without top
    "vgg": (
        "vgg16",
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "resnet50": (
        "resnet",
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
}
_MEANS = np.array([103.939, 116.779, 123.68])  # of B, G, R
_LAYER = re.compile(r"conv(\d)_block(\d)_(\d)_(conv|bn)")
_BRANCHES = ("1", "2a", "2b", "2c")
_EPSILON, _EPSILON_HERE = 1.001e-5, 1e-3  # of Keras' ResNet50, and the default
_PATIENCE = 20  # seconds without a byte until a download is given up


def find_imagenet(backbone, folder="model_data"):
    """The file of Keras' ImageNet weights: from `folder`, or downloaded.

    Args:
        backbone: "vgg" or "resnet50".
        folder: where to look before anything is downloaded.

    Returns:
        Path.

    Raises:
        UserError: if it is not there and can't be downloaded.
    """
    place, name, checksum = _FILES[backbone]
    path = Path(folder) / name
    if path.is_file():
        return path
    url = f"{_URL}/{place}/{name}"
    try:
        with _timeout(_PATIENCE):
            return Path(keras.utils.get_file(name, url, cache_subdir="models", file_hash=checksum))
    except Exception as error:  # get_file raises plain Exceptions too
        raise UserError(
            f"The ImageNet weights for {backbone} are not there and can't be downloaded ({error}). "
            f"Put {url} into {folder}/, or train from scratch with model_path empty: "
            'python train.py --model_path ""'
        ) from error


@contextmanager
def _timeout(seconds):
    former = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(former)


def is_imagenet(path):
    """Whether a file is, by its name, one of Keras' own."""
    return Path(path).name in {name for _, name, _ in _FILES.values()}


def adapt_imagenet(stored):
    """Renames and adapts the layers of such a file for this network.

    Args:
        stored: `nets.stored.Stored`, as read.

    Returns:
        Stored.

    Raises:
        UserError: if it holds something else.
    """
    newer = "conv1_conv" in stored.layers
    layers = {_rename(name): arrays for name, arrays in stored.layers.items()}
    stored = replace(stored, kind="ImageNet weights of Keras", layers=layers)
    facts = stored.infer()
    if facts["in_channels"] != 3 or HEAD in layers:
        raise UserError(
            f"{stored.path} is named as Keras' ImageNet weights, but holds another network. "
            "Give it another name if it is yours."
        )
    if newer:  # Keras' first ResNet50 had the default epsilon
        for name, arrays in layers.items():
            if len(arrays) == 4:
                layers[name] = _change_epsilon(*arrays)
    first = next(name for name in FIRST_LAYERS if name in layers)
    layers[first] = _take_rgb(*layers[first])
    return stored


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


def _change_epsilon(gamma, beta, mean, variance):
    """With the scale so changed, a batch normalization of the default epsilon gives the same."""
    scale = np.sqrt((variance + _EPSILON_HERE) / (variance + _EPSILON))
    return [(gamma * scale).astype(gamma.dtype), beta, mean, variance]


def _take_rgb(kernel, bias):
    """The first convolution for RGB in [-1, 1], from that for BGR minus the means."""
    offset = np.einsum("hwio,i->o", kernel.astype(np.float64), 127.5 - _MEANS)
    adapted = kernel[:, :, ::-1] * np.float32(127.5)
    return [adapted.astype(kernel.dtype), (bias + offset).astype(bias.dtype)]

"""torchvision's ImageNet weights, renamed and laid out as here: VGG16 and ResNet50.

`vgg16-397923af.pth` and `resnet50-*.pth`. ResNet50 strides in other convolutions there than in
Keras': a network that starts from it is built with `stride_in_3x3`, and its weights files say so.

Source: `torchvision.models.vgg`, `torchvision.models.resnet`.
"""

import numpy as np

from errors import UserError
from nets.encoders.resnet50 import BLOCKS
from nets.encoders.vgg16 import CONVOLUTIONS
from nets.weights.description import Stored
from nets.weights.imagenet import adapt_torchvision, change_epsilon

_EPSILON = 1e-5  # of PyTorch's batch normalization
_NORMALIZATION = ("weight", "bias", "running_mean", "running_var")
_EXPECTED = "Expected vgg16-397923af.pth or resnet50-0676ba61.pth, as torchvision has them."


def is_torchvision(state):
    """Whether a state dict is, by its names, of one of torchvision's VGG or ResNet networks."""
    return "features.0.weight" in state or {"conv1.weight", "layer1.0.conv1.weight"} <= set(state)


def read_torchvision(path, state):
    """Takes the encoder from a state dict of torchvision.

    Args:
        path: Path of the file, for messages.
        state: dict from names to tensors.

    Returns:
        `nets.weights.description.Stored`.

    Raises:
        UserError: if it is another network than VGG16 or ResNet50.
    """
    if "features.0.weight" in state:
        layers, facts = _read_vgg(path, state), {}
    else:
        layers, facts = _read_resnet(path, state), {"stride_in_3x3": True}
    adapt_torchvision(layers)
    return Stored(path, "ImageNet weights of torchvision", layers, facts=facts, is_pretrained=True)


def vgg_indices():
    """{VGG16's layer here: its index in PyTorch's `features`}."""
    names, index = {}, 0
    for block, count in enumerate(CONVOLUTIONS, start=1):
        for convolution in range(1, count + 1):
            names[f"block{block}_conv{convolution}"] = index
            index += 2  # its ReLU is a module too
        index += 1  # and so is the pooling
    return names


def to_keras(tensor):
    """(out, in, height, width) becomes (height, width, in, out)."""
    array = tensor.detach().float().numpy()
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _read_vgg(path, state):
    if any(name.endswith("running_mean") for name in state):
        raise UserError(f"{path} holds a VGG with batch normalization. {_EXPECTED}")
    names = vgg_indices()
    wanted = {f"features.{index}.{part}" for index in names.values() for part in ("weight", "bias")}
    if {name for name in state if name.startswith("features.")} != wanted:
        raise UserError(f"{path} holds a VGG with other layers than VGG16's. {_EXPECTED}")
    # torchvision's file of Caffe's features, for other colours, has no classifier but NaN.
    if np.isnan(to_keras(state.get("classifier.6.bias", state["features.0.bias"]))).any():
        raise UserError(f"{path} holds VGG16's features for other colours. {_EXPECTED}")
    return {
        name: [to_keras(state[f"features.{index}.{part}"]) for part in ("weight", "bias")]
        for name, index in names.items()
    }


def _read_resnet(path, state):
    layers = {"conv1": "conv1", "bn_conv1": "bn1"}
    for stage, count in enumerate(BLOCKS, start=1):
        for block in range(count):
            here, there = f"{stage + 1}{'abcdef'[block]}_branch", f"layer{stage}.{block}"
            for index, branch in enumerate("abc", start=1):
                layers[f"res{here}2{branch}"] = f"{there}.conv{index}"
                layers[f"bn{here}2{branch}"] = f"{there}.bn{index}"
            if block == 0:
                layers[f"res{here}1"] = f"{there}.downsample.0"
                layers[f"bn{here}1"] = f"{there}.downsample.1"
    parts = {
        here: [f"{there}.{part}" for part in (_NORMALIZATION if "bn" in here else ("weight",))]
        for here, there in layers.items()
    }
    wanted = {name for names in parts.values() for name in names}
    found = {name for name in state if not name.startswith("fc.")}
    found = {name for name in found if not name.endswith("num_batches_tracked")}
    shapes = [tuple(state[name].shape) for name in ("layer1.0.conv1.weight", "conv1.weight")]
    if found != wanted or shapes != [(64, 64, 1, 1), (64, 3, 7, 7)]:
        raise UserError(f"{path} holds a ResNet with other layers than ResNet50's. {_EXPECTED}")
    arrays = {name: [to_keras(state[part]) for part in theirs] for name, theirs in parts.items()}
    for weights in arrays.values():
        if len(weights) == 1:  # no biases there
            weights.append(np.zeros(weights[0].shape[-1], np.float32))
    change_epsilon(arrays, _EPSILON)
    return arrays

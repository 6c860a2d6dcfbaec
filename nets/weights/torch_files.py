"""Reads state dicts of PyTorch: unet-pytorch's, and torchvision's of ImageNet.

Of unet-pytorch as far as its network is this one: with VGG16.
Its images are in [0, 1] instead of [-1, 1], and its decoder upsamples bilinearly with
aligned corners, so the network is built with `unit_range` and `upsampling="bilinear"`. Its
ResNet50 is another one: it strides in the 3x3 convolutions, pads pooling at the end only,
and has no biases.
"""

import importlib.util

from errors import UserError
from nets.weights.description import HEAD, Stored
from nets.weights.torchvision_files import is_torchvision, read_torchvision, to_keras, vgg_indices

_FACTS = {"upsampling": "bilinear", "unit_range": True}


def read_torch(path):
    """Reads a state dict of unet-pytorch. Nothing but tensors is unpickled.

    Args:
        path: Path of a `.pth` file.

    Returns:
        Stored.

    Raises:
        UserError: if PyTorch is missing, the file is broken, or it holds another network.
    """
    if importlib.util.find_spec("torch") is None:
        raise UserError(
            f"{path} is a PyTorch file, and PyTorch is not installed. Run: "
            "pip install -r requirements-torch.txt"
        )
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken file leads to
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} can't be read as PyTorch weights ({reason}). Expected a state dict, as "
            "torch.save(model.state_dict(), ...) writes it."
        ) from error
    holds_tensors = isinstance(state, dict) and all(
        isinstance(value, torch.Tensor) for value in state.values()
    )
    if not holds_tensors or not state:
        raise UserError(
            f"{path} holds no state dict. Expected one, as torch.save(model.state_dict(), ...) "
            "writes it."
        )
    state = {name.removeprefix("module."): value for name, value in state.items()}
    if is_torchvision(state):
        return read_torchvision(path, state)
    if any(name.startswith("resnet.") for name in state):
        raise UserError(
            f"{path} is unet-pytorch's network with ResNet50, which strides and pads differently "
            "from this one: its weights can't give the same results. Only vgg can be taken over."
        )
    layers = {}
    for ours, theirs in _names().items():
        found = [state.pop(f"{theirs}.{part}", None) for part in ("weight", "bias")]
        if found[0] is not None and found[1] is not None:
            layers[ours] = [to_keras(tensor) for tensor in found]
    layers |= {name: [to_keras(tensor)] for name, tensor in state.items()}
    return Stored(path, "unet-pytorch weights", layers, facts=dict(_FACTS))


def _names():
    """{layer here: layer of unet-pytorch}."""
    names = {name: f"vgg.features.{index}" for name, index in vgg_indices().items()}
    for stage in range(1, 5):
        for convolution in (1, 2):
            theirs = f"up_concat{5 - stage}.conv{convolution}"
            names[f"decoder{stage}_conv{convolution}"] = theirs
    return names | {HEAD: "final"}

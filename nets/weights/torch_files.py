"""Reads state dicts of PyTorch: unet-pytorch's, and torchvision's of ImageNet.

Of unet-pytorch as far as its network is this one: with VGG16.
Its images are in [0, 1] instead of [-1, 1], and its decoder upsamples bilinearly with
aligned corners, so the network is built with `unit_range` and `upsampling="bilinear"`. Its
ResNet50 is another one: it strides in the 3x3 convolutions, pads pooling at the end only,
and has no biases.
"""

import importlib.util
import pickle
import re
import warnings
import zipfile

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
        _check_archive(path)
        with warnings.catch_warnings(action="ignore"):  # PyTorch's advice is not ours
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken file leads to
        raise UserError(
            f"{path} can't be read as PyTorch weights ({_reason(error)}). Expected a state dict, "
            "as torch.save(model.state_dict(), ...) writes it."
        ) from error
    holds_tensors = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    )
    if not holds_tensors or not state:
        raise UserError(
            f"{path} holds no state dict. Expected one, as torch.save(model.state_dict(), ...) "
            "writes it."
        )
    for name, tensor in state.items():
        _check_tensor(path, name, tensor)
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


def _check_archive(path):
    """Raises ValueError for an archive that would take far more memory than the file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                raise ValueError("its archive is compressed, as PyTorch's never are")


def _check_tensor(path, name, tensor):
    """Raises UserError for a tensor that is no array of its own numbers."""
    kind = str(tensor.layout).removeprefix("torch.")
    if kind != "strided" or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
        what = "quantized" if tensor.is_quantized else "complex" if tensor.is_complex() else kind
        raise UserError(
            f"{path}: {name!r} is a {what} tensor. Expected a dense one of real numbers."
        )
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise UserError(
            f"{path} is broken: the shape of {name!r} is {tuple(tensor.shape)}, more than it holds."
        )


def _reason(error):
    """Why PyTorch can't read a file, in one line, without its advice to let the file run code."""
    text = str(error)
    found = re.search(r"GLOBAL (\S+)", text)
    if found:
        return f"it holds {found[1]}, which is code and not weights"
    if isinstance(error, pickle.UnpicklingError) or not text:
        return "it is damaged, or something else wrote it"
    return re.sub(r"[^ -~]+", " ", text.splitlines()[0].split(". ")[0])


def _names():
    """{layer here: layer of unet-pytorch}."""
    names = {name: f"vgg.features.{index}" for name, index in vgg_indices().items()}
    for stage in range(1, 5):
        for convolution in (1, 2):
            theirs = f"up_concat{5 - stage}.conv{convolution}"
            names[f"decoder{stage}_conv{convolution}"] = theirs
    return names | {HEAD: "final"}

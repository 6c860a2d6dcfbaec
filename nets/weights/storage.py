"""Weights files: this project's own, which say what they are, and those from elsewhere.

This project's are Keras' `.weights.h5` with a description: JSON in the HDF5 attribute
`unet_keras`. Keras ignores it, so the files also load with plain `model.load_weights`.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from errors import UserError
from nets.backbones import BACKBONES, backbone_of_file
from nets.checks import check_weights_file
from nets.weights.description import HEAD
from nets.weights.imagenet import adapt_keras
from nets.weights.imagenet_files import find_imagenet
from nets.weights.keras_files import ATTRIBUTE, read_keras
from nets.weights.torch_files import read_torch
from utils.files import whole_file

SUFFIX = ".weights.h5"
IMAGENET = "imagenet"  # as a path
_OVERHEAD = 2**12  # bytes of a file for each layer, beside its weights
_HDF5, _ZIP, _PICKLE = b"\x89HDF\r\n\x1a\n", b"PK", b"\x80"  # how files start
LOADED, DIFFERS = "loaded", "shape differs"
NOT_IN_FILE, NOT_IN_MODEL = "not in the file", "not in the network"


class Row(NamedTuple):
    """What became of a layer; `detail` says more for the user."""

    layer: str
    outcome: str
    detail: str = ""


class LoadReport:
    """What became of each layer. As text, a table.

    Args:
        source: `nets.weights.description.Stored`.
        rows: list of Row: the network's layers in their order, then what else the file has.

    Attributes:
        note: str, what else there is to say, the last line of the text; "": nothing.
    """

    def __init__(self, source, rows):
        self.source = source
        self.rows = rows
        self.note = ""

    def layers(self, outcome):
        """The names of the layers with an outcome: LOADED, DIFFERS, NOT_IN_FILE, NOT_IN_MODEL."""
        return [row.layer for row in self.rows if row.outcome == outcome]

    @property
    def is_exact(self):
        """Whether every layer on either side was loaded."""
        return len(self.layers(LOADED)) == len(self.rows)

    @property
    def unexpected(self):
        """What did not fit beyond the head, and beyond the decoder if there is none stored."""
        misfits = {row.layer for row in self.rows if row.outcome != LOADED} - {HEAD}
        if not any(name.startswith("decoder") for name in self.source.layers):
            misfits -= {name for name in self.layers(NOT_IN_FILE) if name.startswith("decoder")}
        return [row.layer for row in self.rows if row.layer in misfits]

    def __str__(self):
        lines = [f"Weights of {self.source.path} ({self.source.kind}):"]
        cells = list(_merge(self.rows))
        width = max((len(names) for names, _ in cells), default=0)
        lines += [f"  {names:{width}}  {outcome}" for names, outcome in cells]
        if self.unexpected:
            count = len(self.unexpected)
            lines.append(
                f"Warning: beside the head, {count} {'layers do' if count > 1 else 'layer does'} "
                "not fit: is this file of another network?"
            )
        lines += [self.note] if self.note else []
        return "\n".join(lines)


def _merge(rows):
    """Yields (layers, outcome), neighbours with the same outcome as one."""
    start = 0
    for index, row in enumerate(rows):
        following = rows[index + 1] if index + 1 < len(rows) else None
        if following and following[1:] == row[1:]:
            continue
        count = index - start + 1
        names = row.layer if count == 1 else f"{rows[start].layer} to {row.layer} ({count})"
        yield names, f"{row.outcome}{row.detail}"
        start = index + 1


def save_weights(model, path, description):
    """Writes the weights under a temporary name, then renames: never half a file.

    Args:
        model: keras.Model without a compiled optimizer, whose slots would be stored too.
        path: where to; must end in `.weights.h5`.
        description: `nets.weights.description.Description`.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise UserError(f"A weights file's name must end in {SUFFIX}; got {path.name!r}.")
    with whole_file(path, SUFFIX) as temporary:
        _reserve(temporary, 4 * model.count_params() + _OVERHEAD * len(model.layers))
        model.save_weights(temporary)
        with h5py.File(temporary, "a") as file:
            file.attrs[ATTRIBUTE] = json.dumps(description.to_json())
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())


def _reserve(path, size):
    """Raises OSError unless there is room for a file; HDF5 crashes when a disk fills up."""
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size))


def open_weights(path, backbone=None, imagenet_url=""):
    """Reads a weights file of any kind: see `keras_files` and `torch_files` beside this one.

    Args:
        path: the file; or "imagenet": ImageNet's for `backbone`, see `nets.weights.imagenet_files`.
        backbone, imagenet_url: str, needed for "imagenet" only.

    Returns:
        `nets.weights.description.Stored`.

    Raises:
        UserError: if there is no such file, or it is broken or something else.
    """
    if str(path) != IMAGENET:
        return _read(Path(path))
    return _read_pretrained(locate_imagenet(backbone, imagenet_url))


def locate_imagenet(backbone, url=""):
    """The file of ImageNet weights, as `nets.weights.imagenet_files.find_imagenet` finds it."""
    return find_imagenet(backbone, url, check=_read_pretrained)


def _read_pretrained(path):
    stored = _read(path)
    if not stored.is_pretrained:
        raise UserError(
            f"{path} is named as ImageNet weights, but holds {stored.kind}. Remove it, or give it "
            "another name if it is yours."
        )
    return stored


def _read(path):
    """Reads a file by what it holds."""
    check_weights_file(path)
    with open(path, "rb") as file:
        start = file.read(len(_HDF5))
    is_torch = path.suffix in (".pth", ".pt")
    if start.startswith(_ZIP) and (is_torch or _holds_pickle(path)):
        return read_torch(path)
    if start.startswith(_ZIP):
        raise UserError(
            f"{path} is a zip archive, as .keras files are. Expected weights alone: load it with "
            f"Keras, call save_weights, and give that file, ending in {SUFFIX}."
        )
    if is_torch and start.startswith(_PICKLE):  # how PyTorch wrote before 1.6
        return read_torch(path)
    if start.startswith(_PICKLE):
        raise UserError(
            f"{path} looks like a Python pickle, which may run any code when it is opened. "
            f"Expected a {SUFFIX} file, or a state dict of PyTorch that ends in .pth."
        )
    stored = read_keras(path)
    backbone = backbone_of_file(path.name)
    if backbone is None:
        return stored
    if not BACKBONES[backbone].application:
        return adapt_keras(stored)
    from nets.weights.applications import adapt_application  # builds networks: for these files only

    return adapt_application(stored, backbone)


def _holds_pickle(path):
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def load_weights(model, source, allow_mismatch=False):
    """Loads weights into a network, layer by layer, by name.

    Args:
        model: keras.Model, built.
        source: `nets.weights.description.Stored`, or the path of a file.
        allow_mismatch: bool. True, for fine-tuning: layers of another shape, or missing
            on either side, keep the values they have and are reported; a first convolution
            for three channels is adapted to the network's number of channels.

    Returns:
        LoadReport.

    Raises:
        UserError: if the file fits no layer at all or, unless `allow_mismatch`, does not fit
            exactly. The network is then unchanged.
    """
    stored = open_weights(source) if isinstance(source, (str, Path)) else source
    rows, pending, left = [], [], dict(stored.layers)
    for layer in model.layers:
        if not layer.weights:
            continue
        arrays = left.pop(layer.name, None)
        if arrays is None:
            rows.append(Row(layer.name, NOT_IN_FILE))
            continue
        here = [tuple(weight.shape) for weight in layer.weights]
        there = [array.shape for array in arrays]
        detail = ""
        if here != there and allow_mismatch and _differ_in_channels(layer.name, here, there):
            arrays = [adapt_channels(arrays[0], here[0][2]), *arrays[1:]]
            detail, there = f", adapted from 3 channels to {here[0][2]}", here
        if here == there:
            pending.append((layer, arrays))
            rows.append(Row(layer.name, LOADED, detail))
        else:
            rows.append(Row(layer.name, DIFFERS, f": {here} here, {there} in the file"))
    rows += [Row(name, NOT_IN_MODEL) for name in left]
    report = LoadReport(stored, rows)
    if not report.layers(LOADED) or not (report.is_exact or allow_mismatch):
        raise UserError(f"{stored.path} does not fit this network.\n{report}")
    for layer, arrays in pending:
        layer.set_weights(arrays)
    return report


def _differ_in_channels(name, here, there):
    """Whether a layer takes the image, and the file's has three channels and all else alike."""
    first_layers = {backbone.first_layer for backbone in BACKBONES.values()}
    if name not in first_layers or len(here) != len(there) or len(there[0]) != 4:
        return False
    (height, width, _, filters), others = here[0], here[1:]
    return there == [(height, width, 3, filters), *others]


def adapt_channels(kernel, in_channels):
    """A first convolution for images of other channels than red, green and blue.

    One channel: the three kernels' sum, so that a grey image gives what it gave as RGB with
    three equal channels. Other counts: the three in turn, times 3 / in_channels, so that the
    sum over the channels keeps its size.

    Args:
        kernel: array (height, width, 3, filters).
        in_channels: int, channels.

    Returns:
        array (height, width, in_channels, filters).

    Source: the rule of timm and segmentation_models.pytorch.
    """
    if in_channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    adapted = kernel[:, :, np.arange(in_channels) % 3] * (3 / in_channels)
    return adapted.astype(kernel.dtype)

"""Reads the weights files of Keras: those of Keras 3, and HDF5 as Keras 2 wrote it.

In a file of Keras 2, unet-keras' decoder convolutions have no names of their own; they stand
in the order in which the network runs.
"""

import json
import re

import h5py

from errors import UserError
from nets.backbones import BACKBONES, find_backbone
from nets.weights.description import HEAD, Description, Stored

ATTRIBUTE = "unet_keras"  # of an HDF5 file, where its description stands as JSON
_UNNAMED = re.compile(r"conv2d(_\d+)?")
_MOST_COMPRESSED = 1100  # times; deflate can't do better
# The convolutions that follow each encoder, as they run.
_DECODERS = {
    name: [f"decoder{stage}_conv{index}" for stage in range(1, one.stages + 1) for index in (1, 2)]
    + [HEAD]
    for name, one in BACKBONES.items()
}


def read_keras(path):
    """Reads a weights file of Keras.

    Args:
        path: Path of an HDF5 file.

    Returns:
        Stored.

    Raises:
        UserError: if it is broken or something else.
    """
    try:
        with h5py.File(path, "r") as file:
            legacy = file.get("model_weights", file)  # a whole model, or its weights alone
            if "layer_names" in legacy.attrs or "layer_names0" in legacy.attrs:
                return Stored(path, "Keras 2 weights", _read_legacy(legacy, path))
            if isinstance(file.get("layers"), h5py.Group):
                description = _read_description(file.attrs.get(ATTRIBUTE), path)
                kind = "weights of this project" if description else "Keras 3 weights"
                return Stored(path, kind, _read_layers(file["layers"], path), description)
    except OSError as error:
        raise UserError(
            f"{path} is not a weights file, or is broken ({error}). Expected a .weights.h5 file. "
            "If it was copied or downloaded, do so again."
        ) from error
    raise UserError(
        f"{path} is an HDF5 file, but holds no Keras weights. Expected a .weights.h5 file."
    )


def _read_description(text, path):
    if text is None:
        return None
    try:
        return Description.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise UserError(
            f"{path}: its description can't be read ({error!r}). Train or save it again."
        ) from error


def _read_layers(layers, path):
    """{layer name: its arrays}, from the names that Keras 3 notes."""
    stored = {}
    for layer in layers.values():
        group = layer.get("vars") if isinstance(layer, h5py.Group) else None
        if isinstance(group, h5py.Group) and len(group):
            if "name" not in group.attrs:
                raise UserError(
                    f"{path} does not name its layers: an early Keras 3 wrote it. Load "
                    "it there into the same network and save it with Keras 3.6 or newer."
                )
            try:
                keys = sorted(group, key=int)
            except ValueError as error:
                raise _broken(path, group.name, error) from error
            stored[str(group.attrs["name"])] = [_read(group, key, path) for key in keys]
    return stored


def _read_legacy(group, path):
    """{layer name: its arrays}, as Keras 2 wrote them."""
    stored = {}
    try:
        for name in _read_names(group, "layer_names"):
            weights = _read_names(group[name], "weight_names")
            if weights:
                stored[name] = [_read(group[name], weight, path) for weight in weights]
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise _broken(path, group.name, error) from error
    return _name_decoder(stored)


def _name_decoder(stored):
    """Gives unnamed convolutions the names of the decoder, in their order."""
    unnamed = [name for name in stored if _UNNAMED.fullmatch(name)]
    names = dict(zip(unnamed, _DECODERS.get(find_backbone(stored), ()), strict=False))
    return {names.get(name, name): arrays for name, arrays in stored.items()}


def _read_names(group, attribute):
    """A list of names; Keras 2 cuts long ones into numbered attributes."""
    parts = [attribute] if attribute in group.attrs else []
    while not parts or parts[-1] != attribute:
        part = f"{attribute}{len(parts)}"
        if part not in group.attrs:
            break
        parts.append(part)
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def _read(group, key, path):
    try:
        dataset = group[key]
        if dataset.nbytes > _MOST_COMPRESSED * dataset.id.get_storage_size():
            raise ValueError(f"its shape is {dataset.shape}, far more than the file holds")
        return dataset[()]
    except (OSError, ValueError, AttributeError) as error:
        raise _broken(path, group.name, error) from error


def _broken(path, name, error):
    return UserError(f"{path} is broken: {name} can't be read ({error}).")

"""Reads the weights files of Keras: those of Keras 3, and HDF5 as Keras 2 wrote it.

In a file of Keras 2, unet-keras' decoder convolutions have no names of their own; they stand
in the order in which the network runs.
"""

import json
import math
import re

import h5py

from errors import UserError
from nets.backbones import BACKBONES, find_backbone
from nets.weights.description import HEAD, Description, Stored

ATTRIBUTE = "unet_keras"  # of an HDF5 file, where its description stands as JSON
_UNNAMED = re.compile(r"conv2d(_\d+)?")
_MOST_COMPRESSED = 10  # times: weights are noise, which hardly gets smaller
_MOST_NAMES = 2**16  # of layers or weights
_LEAST_ROOM = 2**26  # bytes that any file may take
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
            _check_file(file, path)
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
    except UserError:
        raise
    except Exception as error:  # whatever damage leads HDF5 and h5py to
        raise _broken(path, "its structure", error) from error
    raise UserError(
        f"{path} is an HDF5 file, but holds no Keras weights. Expected a .weights.h5 file."
    )


def _check_file(file, path):
    """Refuses what leads out of the file, and arrays far larger than it; reads no array.

    Raises:
        UserError: for links to other places, and for arrays that lie in other files, are no
            numbers or would take far more memory than the file.
    """
    room = max(_LEAST_ROOM, _MOST_COMPRESSED * path.stat().st_size)
    pending, seen = [file], set()
    while pending:
        group = pending.pop()
        for name in group:
            place = f"{group.name.rstrip('/')}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise UserError(f"{path}: {place} is a link, which weights files have none of.")
            one = group[name]
            if isinstance(one, h5py.Dataset):  # counted for each of its names
                room -= _size(one, place, path)
                if room < 0:
                    shape = f"its shape is {one.shape}, far more than the file holds"
                    raise _broken(path, place, shape)
                continue
            address = h5py.h5o.get_info(one.id).addr
            if isinstance(one, h5py.Group) and address not in seen:
                seen.add(address)
                pending.append(one)


def _size(dataset, place, path):
    """The bytes that reading a dataset takes."""
    if dataset.external or dataset.is_virtual:
        raise UserError(f"{path}: {place} lies in another file, which those of weights never do.")
    if dataset.dtype.kind not in "fiub":
        # Keras' own seeds and the like are numbers too.
        raise UserError(f"{path}: {place} holds {dataset.dtype}. Expected arrays of numbers.")
    # A chunk is unpacked as a whole.
    return max(dataset.nbytes, math.prod(dataset.chunks or ()) * dataset.dtype.itemsize)


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
    for part in parts:
        shape = group.attrs.get_id(part).shape or ()
        if len(shape) != 1 or shape[0] > _MOST_NAMES:
            raise ValueError(f"{part} has the shape {shape}")
    names = [name for part in parts for name in group.attrs[part]]
    if len(set(names)) < len(names):
        raise ValueError(f"{attribute} names something twice")
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def _read(group, key, path):
    try:
        dataset = group[key]
        if not dataset.chunks and dataset.nbytes > dataset.id.get_storage_size():
            raise ValueError(f"its shape is {dataset.shape}, far more than the file holds")
        return dataset[()]
    except (OSError, ValueError, AttributeError) as error:
        raise _broken(path, group.name, error) from error


def _broken(path, name, error):
    return UserError(f"{path} is broken: {name} can't be read ({error}).")

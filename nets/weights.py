"""Weights files that say what they are: Keras' `.weights.h5` with a description inside.

The description is JSON in the HDF5 attribute `unet_keras`. Keras ignores it, so the files
also load with plain `model.load_weights`; and plain Keras files load here.
"""

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import keras

from errors import UserError

SUFFIX = ".weights.h5"
_OVERHEAD = 2**12  # bytes of a file for each layer, beside its weights
_ATTRIBUTE = "unet_keras"


@dataclass(frozen=True)
class Description:
    """What a weights file holds.

    Attributes:
        num_classes: int, the background included.
        backbone: str, the encoder's name.
        input_shape: (height, width) that pictures are letterboxed to in prediction.
        name_classes: one name a class.
        width: int, filters of the first block.
        ignore_labels: mask values that were void in training.
        in_channels: int, bands of a picture.
        upsampling, unit_range: as for `nets.unet.Unet`; what weights of unet-pytorch need.
        versions: the packages that wrote the file.
    """

    num_classes: int
    backbone: str
    input_shape: tuple[int, int]
    name_classes: tuple[str, ...]
    width: int = 64
    ignore_labels: tuple[int, ...] = (255,)
    in_channels: int = 3
    upsampling: str = "nearest"
    unit_range: bool = False
    versions: dict[str, str] = field(
        default_factory=lambda: {
            "keras": keras.__version__,
            "backend": keras.config.backend(),
            "h5py": h5py.__version__,
        }
    )


@dataclass
class LoadReport:
    """What became of each layer; lists of layer names, or of one line a layer."""

    loaded: list[str] = field(default_factory=list)
    shape_differs: list[str] = field(default_factory=list)  # with both shapes
    not_in_file: list[str] = field(default_factory=list)
    not_in_model: list[str] = field(default_factory=list)

    def __str__(self):
        lines = [f"weights loaded into {len(self.loaded)} layers: {_shorten(self.loaded)}"]
        for title, names in (
            ("kept at their start values, because the shape differs", self.shape_differs),
            ("kept at their start values, because the file has no such layer", self.not_in_file),
            ("in the file, but not in this network", self.not_in_model),
        ):
            if names:
                lines.append(f"{title}: {', '.join(names)}")
        return "\n".join(lines)


def save_weights(model, path, description):
    """Writes the weights under a temporary name, then renames: never half a file.

    Args:
        model: keras.Model without a compiled optimizer, whose slots would be stored too.
        path: where to; must end in `.weights.h5`.
        description: Description.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise UserError(f"A weights file's name must end in {SUFFIX}; got {path.name!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")
    try:
        _reserve(temporary, 4 * model.count_params() + _OVERHEAD * len(model.layers))
        model.save_weights(temporary)
        with h5py.File(temporary, "a") as file:
            file.attrs[_ATTRIBUTE] = json.dumps(dataclasses.asdict(description))
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _reserve(path, size):
    """Raises OSError unless there is room for a file; HDF5 crashes when a disk fills up."""
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size))


def read_description(path):
    """Reads what a weights file says of itself.

    Returns:
        Description, or None for a Keras file without one.

    Raises:
        UserError: if there is no such file or it is no Keras weights file.
    """
    with _open(path) as file:
        text = file.attrs.get(_ATTRIBUTE)
    if text is None:
        return None
    try:
        values = json.loads(text)
        return Description(
            num_classes=int(values["num_classes"]),
            backbone=str(values["backbone"]),
            input_shape=tuple(int(side) for side in values["input_shape"]),
            name_classes=tuple(str(name) for name in values["name_classes"]),
            width=int(values["width"]),
            ignore_labels=tuple(int(label) for label in values["ignore_labels"]),
            in_channels=int(values["in_channels"]),
            upsampling=str(values["upsampling"]),
            unit_range=bool(values["unit_range"]),
            versions=dict(values["versions"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(
            f"{path}: its description can't be read ({error!r}). Train or save it again."
        ) from error


def load_weights(model, path, allow_mismatch=False):
    """Loads a `.weights.h5` file into a network, layer by layer, by name.

    Args:
        model: keras.Model, built.
        path: the file.
        allow_mismatch: bool. True, for fine-tuning: layers of another shape, or missing
            on either side, keep the values they have and are reported.

    Returns:
        LoadReport.

    Raises:
        UserError: if the file is no weights file, fits no layer at all or, unless
            `allow_mismatch`, does not fit exactly. The network is then unchanged.
    """
    report, pending = LoadReport(), []
    with _open(path) as file:
        stored = _stored_layers(file)
        for layer in model.layers:
            if not layer.weights:
                continue
            group = stored.pop(layer.name, None)
            if group is None:
                report.not_in_file.append(layer.name)
                continue
            shapes = [tuple(weight.shape) for weight in layer.weights]
            file_shapes = [group[key].shape for key in sorted(group, key=int)]
            if shapes == file_shapes:
                # Read all before assigning any: a broken file changes nothing.
                pending.append((layer, _read(group, path)))
                report.loaded.append(layer.name)
            else:
                report.shape_differs.append(f"{layer.name} {shapes} (in the file {file_shapes})")
        report.not_in_model.extend(stored)
    misfit = report.shape_differs or report.not_in_file or report.not_in_model
    if not report.loaded or (misfit and not allow_mismatch):
        raise UserError(f"{path} does not fit this network.\n{report}")
    for layer, arrays in pending:
        layer.set_weights(arrays)
    return report


def _open(path):
    path = Path(path)
    if not path.is_file():
        raise UserError(f"No weights file {path}. Train first, or give the path of one.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(
            f"{path} is no weights file, or is broken ({error}). Expected a {SUFFIX} file."
        ) from error
    if not isinstance(file.get("layers"), h5py.Group):
        file.close()
        raise UserError(
            f"{path} is an HDF5 file, but holds no Keras 3 weights. Expected a {SUFFIX} file."
        )
    return file


def _stored_layers(file):
    """{layer name: HDF5 group of its numbered variables}, from the names Keras notes."""
    stored = {}
    for layer in file["layers"].values():
        group = layer.get("vars") if isinstance(layer, h5py.Group) else None
        if isinstance(group, h5py.Group) and len(group):
            if "name" not in group.attrs:
                raise UserError(
                    f"{file.filename} does not name its layers: an early Keras 3 wrote it. Load "
                    "it there into the same network and save it with Keras 3.6 or newer."
                )
            stored[str(group.attrs["name"])] = group
    return stored


def _read(group, path):
    try:
        return [group[key][()] for key in sorted(group, key=int)]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is broken: {group.name} can't be read ({error}).") from error


def _shorten(names, most=4):
    if len(names) <= most:
        return ", ".join(names)
    return f"{names[0]}, {names[1]}, ... {names[-1]}"

"""New names for the classes of trained weights: for one use, or written into the file."""

import dataclasses
import io
import json
import os

import h5py

from errors import UserError
from nets.weights.keras_files import ATTRIBUTE
from nets.weights.storage import SUFFIX, open_weights
from utils.files import whole_file
from utils.labels import class_names, moved_names, name_changes


def renamed(described, names, path):
    """A network's description with other names of its classes.

    Args:
        described: `nets.weights.description.Description`.
        names: one name per class.
        path: of the weights file, for messages.

    Raises:
        UserError: if they are not as many as the classes, or give a name of the file to another of
            its classes: that is a wrong order far more often than a new meaning.
    """
    names = class_names(described.num_classes, names)
    if moved := moved_names(described.name_classes, names):
        moves = ", ".join(f"{name!r} to class {now}, not {was}" for name, was, now in moved[:3])
        raise UserError(
            f"name_classes gives {moves} as in {path}. Names don't change what a class is. Keep "
            f"the order of the training: {', '.join(described.name_classes)}. If it is the file "
            f"whose names are wrong: python summary.py --model_path {path} --name_classes ... "
            "--write_names"
        )
    return dataclasses.replace(described, name_classes=names)


def describe_names(trained, used):
    """Says which classes are not called as in the weights file, or "".

    Args:
        trained: Description of the weights file, or None.
        used: Description.
    """
    changes = name_changes(trained.name_classes, used.name_classes) if trained else ""
    return f"Classes are named as name_classes says: {changes}." if changes else ""


def write_names(path, names):
    """Writes other names of the classes into a weights file, of which all else stays as it is.

    Args:
        path: str or Path of a weights file of this project.
        names: one name per class.

    Returns:
        str for the user: what has changed, with a warning if names changed places.

    Raises:
        UserError: for a file without a description, or another number of names than of classes.
    """
    stored = open_weights(path)
    if stored.description is None:
        raise UserError(
            f"{path} ({stored.kind}) has no place for names. Set name_classes in predict.py and "
            "get_miou.py instead, or train from it."
        )
    former = stored.description.name_classes
    names = class_names(stored.description.num_classes, names)
    described = dataclasses.replace(stored.description, name_classes=names)
    # In memory: HDF5 crashes when a disk fills up.
    with open(path, "rb") as file:
        content = io.BytesIO(file.read())
    with h5py.File(content, "r+") as file:
        file.attrs[ATTRIBUTE] = json.dumps(described.to_json())
    with whole_file(path, SUFFIX) as temporary, open(temporary, "wb") as file:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    lines = [f"{path}: {name_changes(former, names) or 'the names are those it had'}."]
    if moved_names(former, names):
        lines.append(
            "WARNING: names of the file went to other classes. The network still finds what it was "
            f"trained to find, in the same ids. The former order was: {','.join(former)}"
        )
    lines.append("Its weights are as they were. Other files of the same run keep their names.")
    return "\n".join(lines)

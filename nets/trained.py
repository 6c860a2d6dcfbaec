"""A trained network: what its weights file and its user say of it, built and filled."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import keras

from errors import UserError
from nets.checks import check_input_shape, check_num_classes
from nets.precision import choose_precision, dtype_policy
from nets.unet import build_blank
from nets.weights.description import Description, Stored
from nets.weights.naming import describe_names, renamed
from nets.weights.storage import LoadReport, load_weights
from utils.labels import class_names

INPUT_SHAPE = (512, 512)  # upstream's, of files that don't say theirs


class Trained(NamedTuple):
    """A network that is ready to predict.

    Attributes:
        model: keras.Model.
        description: what it is.
        report: what became of each layer.
        precision_reason: str, why it computes in its number format.
    """

    model: keras.Model
    description: Description
    report: LoadReport
    precision_reason: str


def load_trained(
    stored: Stored, description: Description, precision: str = "auto", engine: str = "keras"
) -> Trained:
    """Builds a network and loads its weights.

    Args:
        stored: the weights file, opened.
        description: of what it holds, and of the size to predict at.
        precision: as for `nets.precision.choose_precision`.
        engine: what is to run it; engines but "keras" and "auto" compute in float32.
    """
    if engine not in ("auto", "keras") and precision == "auto":
        policy, reason = choose_precision("float32", said=f"as {engine} needs")
    else:
        policy, reason = choose_precision(precision, description.precision)
    with dtype_policy(policy):
        model = build_blank(description, description.network_shape)
    report = load_weights(model, stored)
    report.note = describe_names(stored.description, description)
    return Trained(model, description, report, reason)


def resolve_description(
    stored: Stored,
    num_classes: int | None,
    backbone: str | None,
    input_shape: Sequence[int] | None,
    name_classes: Sequence[str] | None,
) -> Description:
    """Joins what a weights file says of itself with what the caller says.

    Args:
        stored: `nets.weights.description.Stored`.
        num_classes, backbone, input_shape, name_classes: as for `unet.Unet`.

    Returns:
        Description.

    Another `input_shape` than the file's is taken: the network is convolutional, and pads. So are
    other names of the classes, but not the file's in another order.

    Raises:
        UserError: if they contradict each other, or the file holds no whole network.
    """
    size = (input_shape[0], input_shape[1]) if input_shape else None
    names = tuple(name_classes or ())
    inferred, described = stored.infer(), stored.description
    if "num_classes" not in inferred:
        raise UserError(
            f"{stored.path} holds an encoder alone ({stored.kind}), which can't tell classes. "
            f"Train first: python train.py --model_path {stored.path}"
        )
    if described is None:
        shape = size or INPUT_SHAPE
        named = class_names(inferred["num_classes"], names)
        check_num_classes(inferred["num_classes"])
        described = Description(input_shape=shape, name_classes=named, **inferred)
    for name, value in (("num_classes", num_classes), ("backbone", backbone)):
        stored.refuse_other(name, value, getattr(described, name))
    if names:
        described = renamed(described, names, stored.path)
    check_input_shape(size or described.input_shape, described.backbone)
    return resized(described, size) if size else described


def resized(described: Description, size: tuple[int, int]) -> Description:
    """A Description for images of another (height, width)."""
    if not described.window:
        return dataclasses.replace(described, input_shape=size)
    window = min(described.window[0], size[0]), min(described.window[1], size[1])
    return dataclasses.replace(described, input_shape=size, window=window)


def describe_size(trained: Description | None, used: Description) -> str:
    """Says that images are predicted at another size than that of the training, or "".

    Args:
        trained: Description of the weights file, or None.
        used: Description.
    """
    if trained is None or trained.input_shape == used.input_shape:
        return ""
    here, there = ("{}x{}".format(*one.input_shape) for one in (used, trained))
    return f"Predicting at {here} (height x width) instead of the {there} of the training."

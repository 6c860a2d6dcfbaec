"""A trained network, built and filled from its weights file."""

from typing import NamedTuple

import keras

from nets.precision import choose_precision, dtype_policy
from nets.unet import build_blank
from nets.weights.description import Description, Stored
from nets.weights.naming import describe_names
from nets.weights.storage import LoadReport, load_weights


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

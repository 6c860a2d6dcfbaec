"""Several networks as one: their files found, compared, and their probabilities averaged."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from errors import UserError
from utils.prediction.output_paths import expand_patterns

WeightsPath = str | os.PathLike[str]
Paths = tuple[str, ...] | str  # the type of a setting

# What networks must have in common, and what helps where they don't.
_SHARED = {
    "num_classes": "Networks can only be averaged over the same classes.",
    "name_classes": "If these are the same classes in the same order, give name_classes.",
    "in_channels": "Networks can only be averaged over the same images.",
    "input_shape": "Give input_shape, which then holds for all.",
    "window": "Networks can only be averaged if they are trained with the same val_window.",
    "ignore_labels": "Networks can only be averaged if they are trained on the same pixels.",
    "value_range": "Networks can only be averaged if they are trained on images of one range.",
}


def find_weights(model_path: WeightsPath | Sequence[WeightsPath]) -> list[Path]:
    """The weights files that are meant, each once, in order.

    Args:
        model_path: a path, or several. A text that is no path of a file may hold wildcards, such
            as `fold*/best_epoch_weights.weights.h5`, or several paths between commas.

    Raises:
        UserError: if it is empty, or wildcards match nothing.
    """
    given = [model_path] if isinstance(model_path, (str, os.PathLike)) else list(model_path)
    paths = [path for one in given for path in _find(os.fspath(one))]
    if not paths:
        raise UserError("model_path is empty. Give the path of a weights file.")
    return list(dict.fromkeys(map(Path, paths)))


def _find(text: str) -> list[str]:
    if os.path.exists(text):
        return [text]
    if "," in text:
        return [path for part in text.split(",") if part.strip() for path in _find(part.strip())]
    matches: list[str] = expand_patterns([text]) if text else []
    if matches == [text] and any(sign in text for sign in "*?["):
        raise UserError(f"No weights file matches {text}. Train first, or give another pattern.")
    return matches


def check_alike(descriptions: Sequence[Any], paths: Sequence[Path]) -> None:
    """Refuses networks that can't be averaged.

    Args:
        descriptions: of each file, with the attributes of `Description` of nets.weights.
        paths: of the files.

    Raises:
        UserError: that names the first two that differ, and in what.
    """
    for name, remedy in _SHARED.items():
        first = getattr(descriptions[0], name)
        for described, path in zip(descriptions, paths, strict=True):
            if (other := getattr(described, name)) != first:
                raise UserError(
                    f"{paths[0]} and {path} don't fit each other: {name} is {first!r} in the one "
                    f"and {other!r} in the other. {remedy}"
                )


def averaged(networks: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """A network whose probabilities are the means of several networks'.

    Args:
        networks: callables from float32 (B, H, W, channels) to probabilities, NumPy (B, H, W, C).
    """
    if len(networks) == 1:
        return networks[0]

    def run(batch: Any) -> Any:
        total = np.array(networks[0](batch), np.float32)
        for network in networks[1:]:
            total += network(batch)
        return total / len(networks)

    return run

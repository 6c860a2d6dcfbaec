"""Labelled regions of an image, whatever drew them, painted one over the other."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.convert.annotated_images import read_annotated_image
from utils.convert.annotations import class_id


class FoundImage(NamedTuple):
    """An image of which the annotations tell.

    Attributes:
        path: Path.
        file_name: str, by the annotations.
        size: (height, width) by the annotations; None where they don't say.
        origin: str, for messages.
    """

    path: Path
    file_name: str
    size: tuple
    origin: str


class Region(NamedTuple):
    """A part of an image that has a label.

    Attributes:
        label: str.
        draw: function((height, width)) -> bool (height, width).
        origin: str, for messages.
    """

    label: str
    draw: Callable
    origin: str


def labels_of(regions):
    """frozenset of str."""
    return frozenset(region.label for region in regions)


def boxes_note(count):
    """list of str for the user: on the boxes that were filled, if there are any."""
    return [f"{count} boxes were filled. A box is rarely what an object covers."] if count else []


def load_regions(image, regions, frames, classes):
    """Reads an image and paints its regions, later ones over earlier ones.

    Args:
        image: FoundImage.
        regions: list of Region.
        frames: as in `read_annotated_image`.
        classes: tuple of str, the background first.

    Returns:
        (AnnotatedImage, uint8 (H, W) class ids, 255 for void).

    Raises:
        UserError: for an image that can't be read or has another size, for a label that is
            not in the list, and what drawing raises.
    """
    annotated = read_annotated_image(image.path, image.size, frames, image.origin)
    size = annotated.size
    mask = np.zeros(size, np.uint8)
    for region in regions:
        mask[region.draw(size)] = class_id(region.label, classes, region.origin)
    return annotated, mask

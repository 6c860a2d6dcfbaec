"""Several masks for one image, each of one class: laid one over the other."""

from functools import partial
from typing import NamedTuple

import numpy as np

from errors import UserError
from utils.convert.annotations import Item, class_id, fixed_id, read_class_list
from utils.convert.mask_files import read_binary, read_image_of
from utils.convert.scan import Scan
from utils.parallel import ordered_map


class Layered(NamedTuple):
    """An image and its masks.

    Attributes:
        image_path: Path.
        layers: list of (label, Path of the mask); several may have the same label.
    """

    image_path: object
    layers: list


def order_labels(labels, options):
    """The labels in the order of their ids: background, the class list's or by name, void."""
    names = read_class_list(options.classes) if options.classes else ()
    order = {name: index for index, name in enumerate(names)}

    def rank(label):
        fixed = fixed_id(label)
        return order.get(label, len(order)) if fixed is None else fixed or -1, label

    return sorted(labels, key=rank)


def scan_layers(images, labels, skips, any_value=False):
    """Reads all masks and counts where classes overlap; the later one in `labels` counts there.

    Args:
        images: list of Layered.
        labels: list of str, in the order of their ids.
        skips: Skips, which gets the images whose masks can't be used. If it is strict,
            classes that overlap are an error.
        any_value: as for `read_binary`.

    Returns:
        Scan.

    Raises:
        UserError: if `skips` is strict, for the first thing that can't be converted.
    """
    rank = {label: index for index, label in enumerate(labels)}
    images = [
        one._replace(layers=sorted(one.layers, key=lambda layer: rank[layer[0]])) for one in images
    ]
    items, overlaps = [], []
    read = partial(_overlap_or_error, any_value=any_value)
    # All at once: its threads may not outlive an error that `skips` raises.
    counts = list(ordered_map(read, images, 0, "Reading the masks"))
    for one, count in zip(images, counts, strict=True):
        origin = str(one.layers[0][1])
        if isinstance(count, UserError):
            skips.add(origin, count)
            continue
        if count and skips.strict:
            raise UserError(
                f"{count:,} pixels of {one.image_path.name} belong to several classes by "
                f"{', '.join(str(path) for _, path in one.layers)}. Correct the masks, or leave "
                "out strict: then the class with the higher id counts."
            )
        overlaps += [count] if count else []
        held = frozenset(label for label, _ in one.layers)
        load = partial(load_layers, one.image_path, one.layers, any_value)
        items.append(Item(one.image_path.stem, origin, held, load))
    notes = []
    if overlaps:
        notes.append(
            f"{sum(overlaps):,} pixels in {len(overlaps)} images belong to several classes; the "
            f"last of these counts: {', '.join(labels)}."
        )
    return Scan(items, list(labels), notes, skips.found)


def _overlap_or_error(one, any_value):
    try:
        return _count_overlap(one, any_value)
    except UserError as error:
        return error


def _count_overlap(one, any_value):
    """How many pixels belong to several labels; raises UserError for masks of unequal size."""
    taken, doubled = None, None
    for label in dict.fromkeys(label for label, _ in one.layers):
        own = None
        for _, path in (layer for layer in one.layers if layer[0] == label):
            mask = _read_layer(path, own if own is not None else taken, any_value)
            own = mask if own is None else own | mask
        if taken is None:
            taken, doubled = own, np.zeros_like(own)
        else:
            doubled |= taken & own
            taken |= own
    return int(np.count_nonzero(doubled))


def _read_layer(path, other, any_value):
    """A mask, which must be of the size of the other array, unless that is None."""
    mask = read_binary(path, any_value)
    if other is not None and other.shape != mask.shape:
        raise UserError(
            f"The mask {path} is {mask.shape[1]}x{mask.shape[0]} pixels, but another of the same "
            f"image is {other.shape[1]}x{other.shape[0]}. All must be of the image's size."
        )
    return mask


def load_layers(image_path, layers, any_value, classes):
    """Reads an image and lays its masks one over the other.

    Args:
        image_path: Path.
        layers: list of (label, Path), the last on top.
        any_value: as for `read_binary`.
        classes: tuple of str, the background first.

    Returns:
        (AnnotatedImage, uint8 (H, W) class ids).

    Raises:
        UserError: for a file that can't be read, sizes that differ, or a label that is not in
            the list.
    """
    result = None
    for label, path in layers:
        mask = _read_layer(path, result, any_value)
        if result is None:
            result = np.zeros(mask.shape, np.uint8)
        result[mask] = class_id(label, classes, str(path))
    return read_image_of(result, image_path, str(layers[0][1])), result

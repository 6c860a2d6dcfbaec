"""What a pixel's label means: class names, void, the VOC colours. Imports no image library."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from errors import UserError
from utils.files import name_key

VOID = 255  # label of pixels that are neither trained nor scored
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
    "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
    "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def check_ignore_labels(ignore_labels: Iterable[int]) -> None:
    """Raises UserError unless every label is a value that an 8-bit mask can hold."""
    wrong = [label for label in ignore_labels if not 0 <= label <= 255]
    if wrong:
        raise UserError(f"ignore_labels must be 0 to 255; got {wrong[0]}.")


def ignored_classes(ignore_labels: Iterable[int], num_classes: int) -> tuple[int, ...]:
    """The ignored labels that are classes too, in order: never trained, predicted or averaged."""
    return tuple(sorted({label for label in ignore_labels if label < num_classes}))


def check_ignored_classes(ignore_labels: Iterable[int], num_classes: int) -> None:
    """Raises UserError if fewer than two classes are left to tell apart."""
    ignored = ignored_classes(ignore_labels, num_classes)
    if num_classes - len(ignored) < 2:
        raise UserError(
            f"ignore_labels holds {', '.join(map(str, ignored))} of the {num_classes} classes, "
            "which leaves fewer than two to tell apart. Take ids out of ignore_labels, or raise "
            "num_classes."
        )


def voc_palette(num_classes: int) -> npt.NDArray[np.uint8]:
    """The PASCAL VOC colours: the bits of the class id, spread over red, green and blue.

    Returns:
        uint8 (num_classes, 3), RGB.
    """
    ids = np.arange(num_classes)
    colors = np.zeros((num_classes, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= ((ids >> (3 * bit + channel)) & 1) << (7 - bit)
    return colors.astype(np.uint8)


def void_white_palette() -> npt.NDArray[np.uint8]:
    """The colours of all labels, uint8 (256, 3) RGB, with void in white, to show masks."""
    colors = voc_palette(256)
    colors[VOID] = 255
    return colors


def class_names(num_classes: int, name_classes: Sequence[str] | None = ()) -> tuple[str, ...]:
    """One name per class: the given ones, VOC's for 21 classes, or numbered ones.

    Raises:
        UserError: if the given names are not num_classes many.
    """
    if name_classes:
        if len(name_classes) != num_classes:
            raise UserError(
                f"name_classes holds {len(name_classes)} names, but num_classes is "
                f"{num_classes}. Name every class, the background too."
            )
        return tuple(name_classes)
    if num_classes == len(VOC_CLASSES):
        return VOC_CLASSES
    return ("background", *(f"class_{index}" for index in range(1, num_classes)))


def name_changes(former: Sequence[str], names: Sequence[str], most: int = 8) -> str:
    """Says which classes have other names, such as "1 was 'cell', is 'core'"; "" if none has.

    Args:
        former, names: one name per class.
        most: int, classes that are named one by one.
    """
    pairs = enumerate(zip(former, names, strict=True))
    changes = [f"{index} was {was!r}, is {now!r}" for index, (was, now) in pairs if was != now]
    more = f", and {len(changes) - most} more" if len(changes) > most else ""
    return "; ".join(changes[:most]) + more


def moved_names(former: Sequence[str], names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Names that stand for another class than formerly: a wrong order, most likely.

    Case, outer spaces and Unicode's forms make no other name.

    Args:
        former, names: one name per class.

    Returns:
        list of (name, its class formerly, its class now).
    """
    known: dict[str, list[int]] = {}
    for index, name in enumerate(former):
        known.setdefault(_alike_key(name), []).append(index)
    return [
        (name, known[_alike_key(name)][0], index)
        for index, name in enumerate(names)
        if index not in known.get(_alike_key(name), [index])
    ]


def _alike_key(name: str) -> str:
    return str(name_key(name.strip().casefold()))


def note_of_alike_names(names: Iterable[str]) -> str:
    """A note on class names that are equal, if only but for case, outer spaces or Unicode form.

    They may be meant, and are often one class that was written in two ways.

    Args:
        names: iterable of str.

    Returns:
        str, one line; "" if there are none.
    """
    known: dict[str, str] = {}
    alike = []
    for name in names:
        key = _alike_key(name)
        if key in known:
            alike.append(f"{known[key]!r} and {name!r}")
        known.setdefault(key, name)
    if not alike:
        return ""
    return f"note: class names that are equal or nearly so: {', '.join(alike)}. Are they one class?"

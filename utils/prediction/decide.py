"""From probabilities to classes: what decides, and what is kept besides the classes.

Probabilities come in parts, as the network makes them; nobody has to hold all of them. A `Sheet`
takes the parts of one image, and gives its mask.

    sheet = Sheet(size, Decision(((2, 0.3),)), Keep(confidence=True))
    sheet.put(rows, columns, probabilities)  # for each part
    mask = sheet.finish()
"""

from typing import NamedTuple

import cv2
import numpy as np

from errors import UserError
from utils.images.transforms import resize_mask
from utils.prediction.small_regions import drop_small_regions

_MOST_BYTES = 4_000_000_000  # of the probabilities of an image; also what plain TIFF files hold


class Decision(NamedTuple):
    """What makes a class of probabilities.

    A class with a threshold is taken exactly where its probability is at least that: a threshold
    below 1/2 makes more pixels of it, one above makes fewer. Where several classes reach theirs,
    the most probable of these is taken; where none does, the most probable of the classes without
    a threshold, or the background if all have one. Of equal ones, the lowest id.

    Attributes:
        thresholds: tuple of (class id, probability above 0 and up to 1), ascending by id.
        min_region: int, pixels; smaller regions give way, as
            `utils.prediction.small_regions.drop_small_regions` says.
    """

    thresholds: tuple = ()
    min_region: int = 0

    def classes_of(self, probabilities):
        """Class ids, uint8 (...), of probabilities, float (..., num_classes)."""
        if not self.thresholds:
            return probabilities.argmax(axis=-1).astype(np.uint8)
        ids, least = np.array([one[0] for one in self.thresholds]), [x for _, x in self.thresholds]
        chosen = probabilities[..., ids]
        reached = chosen >= np.array(least, probabilities.dtype)
        others = np.setdiff1d(np.arange(probabilities.shape[-1]), ids)
        if len(others):
            rest = others[probabilities[..., others].argmax(axis=-1)]
        else:
            rest = np.zeros(probabilities.shape[:-1], int)
        best = ids[np.where(reached, chosen, -1).argmax(axis=-1)]
        return np.where(reached.any(axis=-1), best, rest).astype(np.uint8)

    def describe(self, names):
        """What it does beyond taking the most probable class, in words; "" if nothing."""
        parts = [f"{names[class_id]} from {least:g} on" for class_id, least in self.thresholds]
        if self.min_region > 1:
            parts.append(f"regions of at least {self.min_region:,} pixels")
        return ", ".join(parts)


class Keep(NamedTuple):
    """What is kept of an image besides its mask.

    Attributes:
        confidence: bool.
        probabilities: str, "float16" or "float32", or "" for none.
    """

    confidence: bool = False
    probabilities: str = ""

    def bytes_of_pixel(self, num_classes):
        """Bytes that a pixel takes in memory."""
        size = np.dtype(self.probabilities).itemsize if self.probabilities else 0
        return int(self.confidence) + size * num_classes

    def check_size(self, size, num_classes):
        """Raises UserError if an image of this (height, width) would take too much memory."""
        needed = self.bytes_of_pixel(num_classes) * size[0] * size[1]
        if self.probabilities and needed > _MOST_BYTES:
            raise UserError(
                f"The probabilities of an image of {size[1]}x{size[0]} pixels and {num_classes} "
                f"classes take {needed / 1e9:,.1f} GB; at most {_MOST_BYTES / 1e9:.0f} GB are "
                "kept. Cut the image, or leave out probabilities."
            )


class Details(NamedTuple):
    """What was kept of an image; None where it was not asked for.

    Attributes:
        confidence: uint8 (H, W), the highest probability of each pixel times 255.
        probabilities: float16 or float32 (H, W, num_classes).
    """

    confidence: np.ndarray | None
    probabilities: np.ndarray | None


class Sheet:
    """One image's classes, and what is kept besides, from probabilities that come in parts.

    Args:
        size: (height, width).
        decision: Decision.
        keep: Keep, or None for the mask alone.
    """

    def __init__(self, size, decision=None, keep=None):
        self._decision, self._keep = decision or Decision(), keep or Keep()
        self.mask = np.empty(size, np.uint8)
        self._confidence = np.empty(size, np.uint8) if self._keep.confidence else None
        self._probabilities = None  # made when the number of classes is known

    def put(self, rows, columns, probabilities):
        """Takes float (h, w, num_classes) of the pixels in two slices."""
        self.mask[rows, columns] = self._decision.classes_of(probabilities)
        if self._keep.confidence:
            # Sums of blended tiles may be a rounding above 1.
            highest = np.minimum(probabilities.max(axis=-1), 1)
            self._confidence[rows, columns] = np.rint(255 * highest)
        if self._keep.probabilities:
            if self._probabilities is None:
                shape = (*self.mask.shape, probabilities.shape[-1])
                self._probabilities = np.empty(shape, self._keep.probabilities)
            self._probabilities[rows, columns] = probabilities

    def like(self, size):
        """An empty Sheet of another size, with the same rules."""
        return Sheet(size, self._decision, self._keep)

    def enlarge(self, other, box):
        """Takes what lies in a `Box` of another Sheet, resized to the nearest pixel."""
        size, part = self.mask.shape, box.slices
        self.mask = resize_mask(np.ascontiguousarray(other.mask[part]), size)
        if other._confidence is not None:
            self._confidence = resize_mask(np.ascontiguousarray(other._confidence[part]), size)
        if other._probabilities is not None:
            rows, columns = _nearest(box.height, size[0]), _nearest(box.width, size[1])
            self._probabilities = other._probabilities[part][np.ix_(rows, columns)]

    def finish(self):
        """The mask, uint8 (H, W), when all parts are there."""
        self.mask = drop_small_regions(self.mask, self._decision.min_region)
        return self.mask

    @property
    def details(self):
        """Details of all parts; small regions that gave way are still in them."""
        return Details(self._confidence, self._probabilities)


def _nearest(length, new):
    """Where `resize_mask` takes each of `new` rows from, of `length` rows: int (new,)."""
    places = np.arange(length, dtype=np.float32)[:, None]
    if new == length:
        return places[:, 0].astype(int)
    resized = cv2.resize(places, (1, new), interpolation=cv2.INTER_NEAREST_EXACT)
    return resized.reshape(-1).astype(int)


def parse_thresholds(texts):
    """Reads thresholds as users type them.

    Args:
        texts: sequence of str such as "nucleus:0.3", or "2:0.3" with the class id.

    Returns:
        dict, {class, as it was typed: probability}.

    Raises:
        UserError: for anything else.
    """
    found = {}
    for text in texts:
        name, colon, number = text.rpartition(":")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not (colon and name.strip() and 0 < value <= 1):
            raise UserError(
                f"threshold has the part {text!r}. Expected a class, by name or id, and a "
                "probability above 0 and up to 1: nucleus:0.3, or 2:0.3."
            )
        if name.strip() in found:
            raise UserError(f"threshold names {name.strip()!r} twice. Give each class once.")
        found[name.strip()] = value
    return found


def resolve_thresholds(thresholds, names):
    """Finds the ids of classes that have thresholds.

    Args:
        thresholds: dict, {name or id of a class: probability}.
        names: one name per class.

    Returns:
        tuple of (class id, probability), ascending by id, as for `Decision`.

    Raises:
        UserError: for a class that there is not, that is named twice, or that could be two; and
            for a probability that is not above 0 and up to 1.
    """
    found = {}
    for key, value in thresholds.items():
        class_id = _find_class(str(key), tuple(names))
        if class_id in found:
            raise UserError(
                f"threshold names the class {names[class_id]!r} twice. Give each class once."
            )
        if not 0 < value <= 1:
            raise UserError(
                f"The threshold of {key!r} must be above 0 and up to 1; got {value}. It is a "
                "probability."
            )
        found[class_id] = float(value)
    return tuple(sorted(found.items()))


def _find_class(key, names):
    if names.count(key) > 1:
        ids = [index for index, name in enumerate(names) if name == key]
        raise UserError(
            f"threshold names the class {key!r}, but several have that name. Give its id, one of "
            f"{', '.join(map(str, ids))}."
        )
    if key in names:
        return names.index(key)
    if key.isdecimal() and int(key) < len(names):
        return int(key)
    known = ", ".join(f"{index} {name}" for index, name in enumerate(names))
    raise UserError(f"threshold names the class {key!r}. Expected one of: {known}.")

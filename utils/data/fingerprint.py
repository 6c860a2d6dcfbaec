"""What a set of images and masks is like: what a plan of its training must know.

Sizes, channels, how much there is of each class, how thin its structures are, and whether images
turned or mirrored look like images of the set, also together with their masks.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from errors import UserError
from utils.data.masks import read_mask
from utils.images.header import image_size
from utils.images.reading import read_image
from utils.images.transforms import resize_image
from utils.labels import VOID
from utils.parallel import ordered_map

_MOST, _LEAST = 60, 12  # images that are looked at, evenly spaced in the list
_PIXELS = 200_000_000  # of all of them, about
_GRID = 8  # parts of an image's side in which classes are counted
_ANGLES = 8  # directions of edges, of 180 degrees
_SIDE = 256  # pixels to which an image is shrunk to look for its edges
_REACH = 3  # pixels by which masks are moved to see where they fit best
_BORDER = 20_000  # pixels of an image's borders between classes that are looked at, about
_AGREE = 0.25  # pixels by which a half of the set may fit elsewhere than all of it
_THIN = 0.5  # quantile of the widths along the middle lines; below it ragged edges count


@dataclass(frozen=True)
class Fingerprint:
    """Figures of a set.

    Attributes:
        count: int, images.
        size: (height, width), the median.
        largest: (height, width), the most of each.
        channels: int.
        shares: float per class, of all pixels that are not void.
        widths: float per class, pixels across its structures, the median along their middle
            lines; NaN for a class that does not occur.
        mirrored, upside_down, turned: how alike the images are to themselves mirrored left to
            right, mirrored up and down, turned by 90 degrees. 1: no difference beyond chance, 0:
            nothing is the same.
        offset: (down, right), pixels by which the masks would have to be moved to lie on the edges
            that the images show. 0 where it can't be told.
    """

    count: int
    size: tuple[int, int]
    largest: tuple[int, int]
    channels: int
    shares: tuple[float, ...]
    widths: tuple[float, ...]
    mirrored: float
    upside_down: float
    turned: float
    offset: tuple[float, float] = (0.0, 0.0)


def take_fingerprint(
    samples, num_classes, ignore_labels=(VOID,), in_channels=3, workers=0, value_range=None
):
    """Looks at up to 60 samples of a set; of large images at fewer, but at 12.

    Args:
        samples: list of `utils.data.voc.Sample`.
        num_classes: int.
        ignore_labels: mask values that are void.
        in_channels: int, as for `utils.images.reading.read_image`.
        workers: int, threads; 0: one per processor.
        value_range: as for `utils.images.scaling.to_8_bit`.

    Returns:
        Fingerprint.

    Raises:
        UserError: for an image or mask that can't be used, and if all pixels are void.
    """
    pixels = math.prod(image_size(samples[0].image_path))
    most = min(max(_PIXELS // pixels, _LEAST), _MOST)
    chosen = [samples[i] for i in np.unique(np.linspace(0, len(samples) - 1, most).astype(int))]

    def look(sample):
        mask = read_mask(sample.mask_path, num_classes, ignore_labels)
        image = read_image(sample.image_path, in_channels=in_channels, value_range=value_range)
        return _look(image, mask, num_classes)

    looks = list(ordered_map(look, chosen, workers, "fingerprint"))
    pixels = np.sum([one["pixels"] for one in looks], axis=0)
    if not pixels.any():
        raise UserError(
            f"There is nothing to plan by: all pixels of the {len(chosen)} masks are void "
            f"(ignore_labels is {tuple(ignore_labels)}). Which value is a class?"
        )
    sizes = np.array([one["size"] for one in looks])
    widths = [
        np.concatenate([one["widths"][label] for one in looks]) for label in range(num_classes)
    ]
    places = np.array([one["places"] for one in looks])
    edges = np.array([one["edges"] for one in looks])
    return Fingerprint(
        count=len(samples),
        size=tuple(np.median(sizes, axis=0).astype(int).tolist()),
        largest=tuple(sizes.max(axis=0).tolist()),
        channels=in_channels,
        shares=tuple((pixels / pixels.sum()).tolist()),
        widths=tuple(
            float(np.quantile(found, _THIN)) if len(found) else float("nan") for found in widths
        ),
        mirrored=min(
            _likeness(places, places[:, :, ::-1]), _likeness(edges, np.roll(edges[:, ::-1], 1, 1))
        ),
        upside_down=min(
            _likeness(places, places[:, ::-1]), _likeness(edges, np.roll(edges[:, ::-1], 1, 1))
        ),
        turned=min(
            _likeness(places, np.rot90(places, axes=(1, 2))),
            _likeness(edges, np.roll(edges, _ANGLES // 2, 1)),
        ),
        offset=_find_offset(np.array([one["fit"] for one in looks])),
    )


def _look(image, mask, num_classes):
    """The figures of one image."""
    return {
        "size": mask.shape,
        "pixels": np.bincount(mask.ravel(), minlength=VOID + 1)[:num_classes],
        "widths": [structure_widths(mask == label) for label in range(num_classes)],
        "places": _class_places(mask, num_classes),
        "edges": _edge_directions(image),
        "fit": _fit(image, mask),
    }


def structure_widths(inside):
    """How wide the structures of a class are, along their middle lines.

    Args:
        inside: bool (H, W).

    Returns:
        float array, pixels, one for each pixel of a middle line: 2 d - 1 for its distance d to
        the nearest pixel outside. The image's border is no edge.
    """
    if not inside.any() or inside.all():
        return np.empty(0)
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
    middle = inside & (distance >= cv2.dilate(distance, np.ones((3, 3), np.uint8)))
    return 2 * distance[middle] - 1


def _class_places(mask, num_classes):
    """Shares of the classes in each part of an image: (_GRID, _GRID, num_classes), sum 1."""
    counts = np.zeros((_GRID, _GRID, VOID + 1))
    rows = np.linspace(0, mask.shape[0], _GRID + 1).astype(int)
    columns = np.linspace(0, mask.shape[1], _GRID + 1).astype(int)
    for row in range(_GRID):
        for column in range(_GRID):
            part = mask[rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
            counts[row, column] = np.bincount(part.ravel(), minlength=VOID + 1)
    counts = counts[..., :num_classes]
    return counts / max(counts.sum(), 1)


def _edge_directions(image):
    """Shares of the directions of an image's edges, weighed by their strength: (_ANGLES,)."""
    scale = min(_SIDE / max(image.shape[:2]), 1)
    small = resize_image(image, tuple(max(round(side * scale), 1) for side in image.shape[:2]))
    right, down = _slopes(_grey(small))
    # Bin 0 is centred at 0 degrees, so that a mirror image has bin -k where this one has k.
    angles = np.rint(np.arctan2(down, right) / np.pi * _ANGLES).astype(int) % _ANGLES
    strength = np.bincount(angles.ravel(), np.hypot(right, down).ravel(), _ANGLES)
    return strength / max(strength.sum(), 1e-9)


def _grey(image):
    return image.reshape(*image.shape[:2], -1).mean(axis=2, dtype=np.float32)


def _slopes(grey):
    """How much brighter it gets to the right and down: two float32 (H, W)."""
    return [cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))]


def _fit(image, mask):
    """How strong the image's edges are under the mask's borders, for each move of the mask.

    Returns:
        float (2 _REACH + 1, 2 _REACH + 1), of moves down and to the right; without a border, 0.
    """
    border = np.zeros(mask.shape, bool)
    for along, into in ((mask, border), (mask.T, border.T)):
        before, after = along[:-2], along[2:]
        into[1:-1] |= (before != after) & (before != VOID) & (after != VOID)
    inner = tuple(slice(_REACH, max(side - _REACH, _REACH)) for side in mask.shape)
    rows, columns = (found[:: len(found) // _BORDER + 1] for found in np.nonzero(border[inner]))
    moves = range(2 * _REACH + 1)
    if not len(rows):
        return np.zeros((len(moves), len(moves)))
    strength = np.hypot(*_slopes(cv2.GaussianBlur(_grey(image), (0, 0), 1)))
    return np.array(
        [[strength[rows + down, columns + right].mean() for right in moves] for down in moves]
    )


def _find_offset(fits):
    """(down, right) at which masks fit best, in parts of pixels; 0 where that can't be told.

    Args:
        fits: float (images, ...), of `_fit`.
    """
    if len(fits) < 2:
        return 0.0, 0.0
    whole, *halves = (_top(part.sum(axis=0)) for part in (fits, fits[::2], fits[1::2]))
    # NaN agrees with nothing.
    agree = all(math.dist(whole, half) < _AGREE for half in halves)
    return whole if agree else (0.0, 0.0)


def _top(fit):
    """(down, right) of the highest point, between pixels by a parabola; NaN at the edge."""
    row, column = np.unravel_index(fit.argmax(), fit.shape)
    if not (0 < row < len(fit) - 1 and 0 < column < len(fit) - 1):
        return math.nan, math.nan
    near = fit[row - 1 : row + 2, column], fit[row, column - 1 : column + 2]
    moved = [(low - high) / 2 / (low - 2 * top + high) for low, top, high in near]
    return float(row - _REACH + moved[0]), float(column - _REACH + moved[1])


def _likeness(figures, changed):
    """How alike two averages over a set are: 1 less the distance beyond chance.

    The distance is half the sum of absolute differences, 0..1. What chance makes is judged by
    that of two halves of the set.

    Args:
        figures, changed: float (images, ...), each image's sum is 1.
    """

    def distance(first, second):
        return np.abs(first.mean(axis=0) - second.mean(axis=0)).sum() / 2

    if len(figures) < 2:
        return float(1 - distance(figures, changed))
    # Halves hold half as many images each as the two averages do: their variance is twice.
    chance = distance(figures[::2], figures[1::2]) / np.sqrt(2)
    return float(1 - max(distance(figures, changed) - chance, 0.0))

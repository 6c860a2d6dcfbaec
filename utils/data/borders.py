"""Borders between objects: weights for the background between them, and how to make it."""

from dataclasses import dataclass

import cv2
import numpy as np

from errors import UserError
from utils.labels import VOID

_NEGLIGIBLE = 1e-6  # weights below this are 0
_MOST_COMPARED = 1000  # objects whose distances from each other are looked at


@dataclass(frozen=True)
class BorderWeights:
    """The U-Net paper's weights for background between objects that nearly touch.

        weight * exp(-(d1 + d2)^2 / (2 sigma^2))

    for each pixel of the background, where d1 and d2 are the distances, in pixels, to the
    nearest pixels of the nearest and of the second nearest object; 0 for all other pixels. It
    is what the paper adds to the weight of a pixel's class.

    An object is all that hangs together, along sides or at corners, of one class but the
    background. Objects of two classes that touch have no background between them; only what lies
    around the ends of their common border weighs more. Void is neither background nor an object,
    and distances reach across it.

    Args:
        weight: float, the paper's w0, 10 there.
        sigma: float, pixels, 5 in the paper: between objects that are 2 sigma apart a pixel
            weighs exp(-2), or 14%, of `weight`.

    Source: Ronneberger et al. 2015, arXiv:1505.04597, equation 2.
    """

    weight: float = 10.0
    sigma: float = 5.0

    def __post_init__(self):
        if not 0 <= self.weight < np.inf:
            raise UserError(
                f"border_weight must be at least 0; got {self.weight}. The U-Net paper has 10; "
                "0 switches it off."
            )
        if not 0 < self.sigma < np.inf:
            raise UserError(
                f"border_sigma is a distance in pixels and must be above 0; got {self.sigma}. The "
                "U-Net paper has 5."
            )

    @property
    def reach(self):
        """The largest d1 + d2 that counts: where the weight falls to 1e-6."""
        return self.sigma * np.sqrt(2 * np.log(max(self.weight / _NEGLIGIBLE, 1.0)))

    def __call__(self, mask):
        """Weighs the pixels of a mask.

        Args:
            mask: uint8 (H, W) of class ids; 0 is the background, 255 void.

        Returns:
            float32 (H, W), 0 to `weight`; exact but for its rounding and for weights below 1e-6,
            which are 0.
        """
        labels, boxes = find_objects(mask)
        groups = _group_apart(boxes, self.reach)
        if groups.max(initial=0) == 0:  # nowhere do two objects matter together
            return np.zeros(mask.shape, np.float32)
        distances = np.add(*_two_distances(labels, groups))
        weights = self.weight * np.exp(np.square(distances / self.sigma) / -2)
        weights[(mask != 0) | (distances > self.reach)] = 0
        return weights


def find_objects(mask):
    """Finds what hangs together of each class but the background.

    Args:
        mask: uint8 (H, W) of class ids; 0 is the background, 255 void.

    Returns:
        (labels, boxes): int32 (H, W), the number of each pixel's object from 1, 0 for none; and
        int64 (objects, 4), the first and the last row, the first and the last column of each.
    """
    labels, boxes = np.zeros(mask.shape, np.int32), [np.empty((0, 4), np.int64)]
    count = 0
    for value in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)):
        if value in (0, VOID):
            continue
        here = (mask == value).view(np.uint8)
        found, parts, stats, _ = cv2.connectedComponentsWithStats(here, connectivity=8)
        np.copyto(labels, parts + count, where=parts > 0)
        count += found - 1
        left, top, width, height = stats[1:, :4].T.astype(np.int64)
        boxes.append(np.stack([top, top + height - 1, left, left + width - 1], axis=1))
    return labels, np.concatenate(boxes)


def _group_apart(boxes, reach):
    """Gives each object a group, so that all of one group are farther apart than `reach`.

    Returns:
        int64 (objects,), groups from 0. Of very many objects, each is a group of its own.
    """
    groups = np.arange(len(boxes))
    if len(boxes) > _MOST_COMPARED:
        return groups
    top, bottom, left, right = boxes.T
    down = np.maximum(top[:, None] - bottom, 0)
    across = np.maximum(left[:, None] - right, 0)
    gaps = np.square(np.maximum(down, down.T)) + np.square(np.maximum(across, across.T))
    near = gaps <= reach**2
    for index in range(len(boxes)):
        taken = np.zeros(index + 1, bool)
        taken[groups[:index][near[index, :index]]] = True
        groups[index] = np.argmin(taken)  # the first that is free
    return groups


def _two_distances(labels, groups):
    """The distances to the nearest object and to the nearest one of another group.

    Two transforms for each binary digit of the groups' numbers, not one for each object. Objects
    with a 0 in a digit and those with a 1 part the objects in two: the nearest object is the
    nearer of both sides' nearest, and no object of the farther side is in its group. Each other
    group differs from its group in some digit, so the nearest of another group is the least
    of the farther sides' distances over all digits.

    Args:
        labels: int32 (H, W), as `find_objects` gives it.
        groups: int64 (objects,), at least two different ones, from 0 without gaps.

    Returns:
        two float32 (H, W).
    """
    second = np.full(labels.shape, np.inf, np.float32)
    for digit in range(int(groups.max()).bit_length()):
        sides = np.append(2, groups >> digit & 1).astype(np.uint8)[labels]
        zero, one = (_distances_to(sides == side) for side in (0, 1))
        first = np.minimum(zero, one)
        np.minimum(second, np.maximum(zero, one), out=second)
    # OpenCV's last digit differs from call to call; a square of distances is a whole number.
    return tuple(np.sqrt(np.rint(np.square(found))) for found in (first, second))


def _distances_to(where):
    """The distance of each pixel to the nearest one that is True: float32 (H, W)."""
    return cv2.distanceTransform((~where).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def separate_instances(ids):
    """Finds the pixels that must become background so that touching instances come apart.

    Of two instances that touch, along a side or at a corner, the one with the larger id gives
    its pixels along the other: the border is one pixel wide. An instance that would lose its
    last pixel keeps all, and its neighbours give theirs instead. Where both would vanish, both
    stay, and stay in touch.

    Args:
        ids: integer (H, W) of any width: above 0 an instance each, whatever its number of
            parts; 0 and below none.

    Returns:
        bool (H, W).

    Raises:
        ValueError: for another kind of array.
    """
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise ValueError(f"ids must be integer (H, W); got {ids.dtype} {ids.shape}.")
    ranks = _number_instances(ids)
    giving, other = _touching_pixels(ranks)
    own_rank, other_rank = ranks.flat[giving], ranks.flat[other]
    sizes = np.bincount(ranks.ravel())
    sizes[:1] = 1  # what is no instance has nothing to lose
    kept = np.zeros(len(sizes), bool)
    while True:
        gives = ~kept[own_rank] & (kept[other_rank] | (other_rank < own_rank))
        border = np.zeros(ids.shape, bool)
        border.flat[giving[gives]] = True
        vanished = np.bincount(ranks[border], minlength=len(sizes)) == sizes
        if not vanished.any():
            return border
        kept |= vanished


def _number_instances(ids):
    """The place of each pixel's id among those above 0, from 1; 0 for no instance."""
    values, places = np.unique(ids, return_inverse=True)
    return np.maximum(places - np.count_nonzero(values <= 0) + 1, 0)


def _touching_pixels(ranks):
    """All pairs of neighbours in two instances, each both ways round, as flat indices."""
    places = np.arange(ranks.size).reshape(ranks.shape)
    pairs = []
    for first, second in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ):
        one, two = ranks[first], ranks[second]
        touch = (one != two) & (one > 0) & (two > 0)
        pairs.append((places[first][touch], places[second][touch]))
    one, two = (np.concatenate(indices) for indices in zip(*pairs, strict=True))
    return np.concatenate([one, two]), np.concatenate([two, one])

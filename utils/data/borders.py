"""Borders between objects: pixels that part instances."""

import numpy as np


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

"""Turns the content of a mask into class ids, by what its set's values and colours stand for."""

from collections import Counter

import numpy as np

from utils.checking.content import GREY_CODE, decode
from utils.checking.meaning import THOUSAND
from utils.data.borders import separate_instances
from utils.labels import VOID

_NO_COLOR, _VOID_COLOR = -1, -2  # of an index beyond a palette's end, and of 255 there


def to_ids(content, meaning, border=False):
    """Turns a mask's content into class ids.

    Args:
        content: `utils.checking.content.MaskContent`.
        meaning: `utils.checking.meaning.Meaning` of its set.
        border: bool, whether background parts instances that touch.

    Returns:
        (uint8 (H, W) or None, why not, Counter of the colours or values without a meaning).
    """
    if content.refusal:
        return None, content.refusal, Counter()
    keys, shown = content.keys, content.shown
    by_color = content.colors is not None
    if not by_color and content.palette and meaning.by_color:
        colors = np.full(256, _NO_COLOR)
        colors[VOID] = _VOID_COLOR  # 255 beyond a palette's end is void
        colors[list(content.palette)] = list(content.palette.values())
        keys, by_color = colors[keys], True
    found, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    table = _table(content, meaning, found.tolist(), by_color)
    if shown is not None:
        counts = np.bincount(inverse.ravel()[shown.ravel()], minlength=len(found))
    unknown = {
        int(key): int(count)
        for key, count in zip(found, counts, strict=True)
        if count and int(key) not in table
    }
    if unknown:
        kind = "colours" if by_color else "values"
        named = {decode(key) if by_color else key: count for key, count in unknown.items()}
        return None, f"{len(unknown)} {kind} stand for no class", Counter(named)
    ids = np.array([table.get(int(key), 0) for key in found], np.uint8)
    ids = ids[inverse].reshape(keys.shape)
    if content.clear is not None:
        ids[content.clear] = 0
    if content.soft is not None:
        ids[content.soft] = VOID
    if border and meaning.instances:
        least = THOUSAND if meaning.instances == "class" else 1  # below: areas, not objects
        parted = separate_instances(np.where(keys >= least, keys, 0))
        ids[parted & (ids != VOID)] = 0
    return ids, "", Counter()


def _table(content, meaning, found, by_color):
    """{value or colour: id} for one mask."""
    if content.clear is not None and meaning.opaque and not meaning.names:
        return dict(meaning.opaque)
    if not by_color:
        table = meaning.ids
        if meaning.alone and set(found) <= set(meaning.alone):
            table = meaning.alone
        table = dict(table)
    else:
        table = meaning.codes | {_VOID_COLOR: VOID}
    thin = set(content.thin) - set(meaning.ids) if meaning.smoothed else set()
    factor = GREY_CODE if content.colors is not None else 1
    edges = {value * factor: VOID for value in {*content.smooth, *thin}}
    # A colour that the user named is a class even along edges.
    return edges | table if by_color and meaning.names else table | edges

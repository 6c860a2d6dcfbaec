"""Random masks for what must hold of any mask, and how deep inside regions pixels lie."""

import cv2
import numpy as np


def random_mask(number, least=1, most=40):
    """A mask by its number: uint8 (H, W) with up to five classes, of each kind in turn."""
    rng = np.random.default_rng(number)
    size = tuple(rng.integers(least, most + 1, 2).tolist())
    classes = int(rng.integers(2, 6))
    return _MAKERS[number % len(_MAKERS)](rng, size, classes).astype(np.uint8)


def _blobs(rng, size, classes):
    """Smooth regions that share outlines."""
    sigma = rng.uniform(0.8, 5)
    fields = [cv2.GaussianBlur(rng.normal(size=size), (0, 0), sigma) for _ in range(classes)]
    return np.argmax(fields, axis=0)


def _noise(rng, size, classes):
    """Single pixels and blocks, at corners of each other."""
    side = tuple(rng.integers(1, 5, 2).tolist())
    return np.kron(rng.integers(0, classes, size), np.ones(side, int))[: size[0], : size[1]]


def _stripes(rng, size, classes):
    """Slanted lines, one pixel wide and more."""
    y, x = np.indices(size)
    slant = rng.uniform(-2, 2, 2)
    position = np.floor((slant[0] * x + slant[1] * y) / rng.uniform(0.5, 3)).astype(int)
    return position % 7 % classes


def _rings(rng, size, classes):
    """Regions in holes in regions, which may touch."""
    y, x = np.indices(size)
    center = rng.uniform(0, size)
    distance = np.hypot(y - center[0], (x - center[1]) * rng.uniform(0.5, 2))
    ids = (distance / rng.uniform(1, 6)).astype(int) % classes
    ids[rng.random(size) < 0.02] = 0
    return ids


def _specks(rng, size, classes):
    """Single pixels, lines and squares on the background."""
    ids = np.zeros(size, int)
    for _ in range(12):
        top, left = rng.integers(0, size)
        height, width = rng.choice([(1, 1), (1, 9), (9, 1), (2, 12), (4, 4)])
        ids[top : top + height, left : left + width] = rng.integers(classes)
    return ids


_MAKERS = (_blobs, _noise, _stripes, _rings, _specks)


def distance_from_outlines(mask):
    """Of each pixel's centre from the nearest edge between regions, by a distance transform.

    On a grid twice as fine, with the corners, sides and centres of pixels as its points. The
    nearest point of an edge is the middle of a side or a corner, so it is among them.
    """
    height, width = mask.shape
    ids = np.pad(mask.astype(int), 1, constant_values=-1)
    away = np.ones((2 * height + 1, 2 * width + 1), np.uint8)
    upright = ids[1:-1, 1:] != ids[1:-1, :-1]
    level = ids[1:, 1:-1] != ids[:-1, 1:-1]
    for rows in (slice(0, -1, 2), slice(1, None, 2), slice(2, None, 2)):
        away[rows, ::2][upright] = 0
    for columns in (slice(0, -1, 2), slice(1, None, 2), slice(2, None, 2)):
        away[::2, columns][level] = 0
    return cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1::2, 1::2] / 2

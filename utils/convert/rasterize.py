"""Outlines as pixels: polygons, ellipses, crops and run-length codes (RLE).

The pixel in row r and column c covers [c, c + 1) by [r, r + 1); its centre decides.

Source: pycocotools, maskApi.c.
"""

import math

import numpy as np

from errors import UserError


def fill_polygon(points, size):
    """The pixels whose centres a polygon encloses, by the even-odd rule.

    As in COCO, polygons that share an edge neither overlap nor leave a gap, and areas are
    unbiased.

    Args:
        points: list of (x, y).
        size: (height, width).

    Returns:
        bool (height, width).
    """
    height, width = size
    # Where an edge crosses the row's centre line, inside and outside change places.
    changes = np.zeros((height, width + 1), bool)
    for ends in zip(points, [*points[1:], points[0]], strict=True):
        (x0, y0), (x1, y1) = sorted(ends, key=lambda point: point[::-1])
        first, last = np.clip(np.ceil(np.subtract((y0, y1), 0.5)), 0, height).astype(int)
        if first < last:
            rows = np.arange(first, last)
            crossings = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            changes[rows, np.clip(np.ceil(crossings - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(changes[:, :-1], axis=1)


def box_corners(left, top, right, bottom, degrees=0, pivot=None):
    """The corners of a box that is turned clockwise: list of four (x, y).

    Args:
        left, top, right, bottom: float, pixels.
        degrees: float.
        pivot: (x, y) about which it is turned; None: its centre.
    """
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    if not degrees:
        return corners
    x0, y0 = pivot or ((left + right) / 2, (top + bottom) / 2)
    # The y axis points down, so that this turns clockwise.
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [
        (x0 + (x - x0) * cos - (y - y0) * sin, y0 + (x - x0) * sin + (y - y0) * cos)
        for x, y in corners
    ]


def fill_ellipse(center, radii, size, degrees=0):
    """The pixels whose centres an ellipse holds.

    Args:
        center: (x, y).
        radii: (along x, along y) before it is turned.
        size: (height, width).
        degrees: float, by which it is turned clockwise.

    Returns:
        bool (height, width).
    """
    filled, reach = np.zeros(size, bool), max(radii)
    if min(radii) <= 0:
        return filled
    top, left = (max(math.floor(value - reach), 0) for value in center[::-1])
    bottom, right = (max(math.ceil(value + reach), 0) for value in center[::-1])
    window = filled[top:bottom, left:right]
    y = (np.arange(window.shape[0]) + top + 0.5 - center[1])[:, None]
    x = np.arange(window.shape[1]) + left + 0.5 - center[0]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    window |= ((x * cos + y * sin) / radii[0]) ** 2 + ((y * cos - x * sin) / radii[1]) ** 2 <= 1
    return filled


def place_crop(crop, left, top, size):
    """A crop on an empty canvas; what lies beyond the edges is cut off.

    Args:
        crop: bool (h, w).
        left, top: int, where its first pixel lies.
        size: (height, width).

    Returns:
        bool (height, width).
    """
    height, width = crop.shape
    canvas = np.zeros(size, bool)
    rows = slice(max(top, 0), max(top + height, 0))
    columns = slice(max(left, 0), max(left + width, 0))
    inside = canvas[rows, columns]
    above, before = max(-top, 0), max(-left, 0)
    inside |= crop[above : above + inside.shape[0], before : before + inside.shape[1]]
    return canvas


def decode_rle(rle, size, origin):
    """Decodes COCO's run-length code, plain or compressed.

    Runs go down the columns and alternate between outside and inside, outside first.
    (pycocotools returns uninitialised memory for runs that end early, so its decoder would
    need these checks before it; with them the rest is one line.)

    Args:
        rle: dict with "size": [height, width] and "counts": list of int, or str.
        size: (height, width) of the image.
        origin: str, for messages.

    Returns:
        bool (height, width).

    Raises:
        UserError: if the sizes differ, or the runs do not fill the image exactly.
    """
    if rle.get("size") != list(size):
        raise UserError(
            f"{origin} has an RLE mask of size {rle.get('size')}, but the image has "
            f"{list(size)} (height, width). They must be equal."
        )
    counts = rle.get("counts")
    if isinstance(counts, str):
        counts = _decompress(counts)
    are_counts = isinstance(counts, list) and all(
        type(count) is int and count >= 0 for count in counts
    )
    if not are_counts or sum(counts) != size[0] * size[1]:
        raise UserError(
            f"{origin} has a broken RLE mask: its runs must be whole numbers and fill the "
            f"{size[0] * size[1]} pixels of the image exactly. Export it again."
        )
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(size[::-1]).T


def _decompress(text):
    """The runs of a compressed RLE, or None if it is broken.

    Each character holds 5 bits, the lowest first, and whether more follow; from the fourth
    run on, the number is the difference to the run before the previous one.
    """
    counts, value, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits < 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts if shift == 0 else None

"""Class ids made visible: colours over an image, outlines, and a table of counts."""

import cv2
import numpy as np

from errors import check_choice

MIX_TYPES = (0, 1, 2, 3)
OPACITY = 0.7  # share of the mask's colours in a blend
_STRIP = 2**16  # pixels worked on at a time: what they need on the way is about 2 MB


def check_mix_type(mix_type):
    """Raises UserError unless `mix_type` is one of `MIX_TYPES`."""
    check_choice("mix_type", mix_type, MIX_TYPES)


def draw_mask(image, mask, colors, mix_type=0, out=None, opacity=OPACITY):
    """Draws class ids over an image, a strip of rows at a time.

    Apart from the result it needs a few MB, however large the image is; with `out=image`
    there is no second image at all.

    Args:
        image: uint8 (H, W, 3) RGB.
        mask: uint8 (H, W).
        colors: uint8 (256, 3).
        mix_type: 0: the mask's colours blended over the image, the background (0) as it is; 1:
            the colours alone; 2: the image with a black background; 3: the image with each
            region outlined in its class's colour. An outline lies inside its region and is
            closed along the image's edges; regions that are thinner than it are filled, and
            the background (0) has none. It is 2 pixels thick, and more in images beyond a
            megapixel.
        out: uint8 (H, W, 3) that the result is written to; may be `image`. None: a new array.
        opacity: float, 0 to 1, the share of the mask's colours where they are blended.

    Returns:
        uint8 (H, W, 3).
    """
    if out is None:
        out = np.empty(image.shape, np.uint8)
    if mix_type == 3:
        _draw_outlines(image, mask, colors, out)
        return out
    for rows in _strips(*mask.shape):
        if mix_type == 1:
            out[rows] = colors[mask[rows]]
        elif mix_type == 2:
            out[rows] = np.where(mask[rows][..., None] == 0, np.uint8(0), image[rows])
        else:
            out[rows] = _blend(image[rows], mask[rows], colors, opacity)
    return out


def _strips(height, width, least=1):
    """Slices of rows, in order, that make up the image; each of `least` rows or more."""
    step = max(least, _STRIP // width)
    return [slice(top, min(top + step, height)) for top in range(0, height, step)]


def _blend(image, mask, colors, opacity):
    blend = image * np.float32(1 - opacity) + colors[mask] * np.float32(opacity)
    # Differs from upstream: black over the background left a third of its brightness.
    return np.where(mask[..., None] == 0, image, np.rint(blend).astype(np.uint8))


def _draw_outlines(image, mask, colors, out):
    height, width = mask.shape
    thickness = max(2, round((height * width) ** 0.5 / 400))
    # Thinner blocks would spend their time on the rows around them.
    for block in _strips(height, width, least=2 * thickness):
        outline = _find_outline(mask, block, thickness)
        for strip in _strips(*outline.shape):
            rows = slice(block.start + strip.start, block.start + strip.stop)
            on = outline[strip]
            if out is not image:
                out[rows] = image[rows]
            out[rows][on] = colors[mask[rows][on]]


def _find_outline(mask, rows, thickness):
    """The pixels of these rows whose region ends within `thickness` king's moves.

    Returns:
        bool (rows, W).
    """
    top, bottom = max(0, rows.start - thickness), min(len(mask), rows.stop + thickness)
    ids = mask[top:bottom]
    # Not zero where one of the eight neighbours differs, and along the image's edges.
    ends = cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    ends[:, [0, -1]] = 255
    if top == 0:
        ends[0] = 255
    if bottom == len(mask):
        ends[-1] = 255
    side = 2 * thickness - 1
    near = cv2.dilate(ends, np.ones((side, side), np.uint8))
    inner = slice(rows.start - top, rows.stop - top)
    return (near[inner] > 0) & (ids[inner] > 0)


def pixels_of_values(mask, minlength=0):
    """Counts each value of a mask, a strip of rows at a time.

    Args:
        mask: uint8 (H, W).
        minlength: int, least length of the result.

    Returns:
        int64 (N,), N - 1 the highest value or more.
    """
    # bincount makes 8 bytes of each pixel.
    counts = sum(np.bincount(mask[rows].ravel(), minlength=256) for rows in _strips(*mask.shape))
    return counts[: max(minlength, 1 + np.flatnonzero(counts).max(initial=0))]


def format_count(mask, names):
    """A table of pixels and share of each class that a mask holds."""
    counts = pixels_of_values(mask, minlength=len(names))
    width = max(len("class"), *map(len, names))
    lines = [f"{'class':<{width}}  {'pixels':>12}   share"]
    lines += [
        f"{name:<{width}}  {count:>12,}  {count / mask.size:6.2%}"
        for name, count in zip(names, counts, strict=True)
        if count
    ]
    return "\n".join(lines)

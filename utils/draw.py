"""Class ids made visible: colours over a picture, and a table of counts."""

import numpy as np

from errors import UserError

MIX_TYPES = (0, 1, 2)
_OVERLAY = 0.7  # share of the mask's colours in a blend


def check_mix_type(mix_type):
    """Raises UserError unless `mix_type` is one of `MIX_TYPES`."""
    if mix_type not in MIX_TYPES:
        raise UserError(f"mix_type must be one of {MIX_TYPES}; got {mix_type!r}.")


def draw_mask(image, mask, colors, mix_type=0):
    """Draws class ids over a picture.

    Args:
        image: uint8 (H, W, 3) RGB.
        mask: uint8 (H, W).
        colors: uint8 (256, 3).
        mix_type: 0: the mask's colours blended over the picture; 1: the colours alone; 2: the
            picture with a black background.

    Returns:
        uint8 (H, W, 3).
    """
    if mix_type == 2:
        return np.where(mask[..., None] == 0, np.uint8(0), image)
    painted = colors[mask]
    if mix_type == 1:
        return painted
    blend = image * np.float32(1 - _OVERLAY) + painted * np.float32(_OVERLAY)
    return np.rint(blend).astype(np.uint8)


def format_count(mask, names):
    """A table of pixels and share of each class that a mask holds."""
    counts = np.bincount(mask.ravel(), minlength=len(names))
    width = max(len("class"), *map(len, names))
    lines = [f"{'class':<{width}}  {'pixels':>12}   share"]
    lines += [
        f"{name:<{width}}  {count:>12,}  {count / mask.size:6.2%}"
        for name, count in zip(names, counts, strict=True)
        if count
    ]
    return "\n".join(lines)

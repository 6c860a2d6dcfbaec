"""Orientations of EXIF and TIFF, 1 to 8: from the stored rows and columns to upright ones."""

import numpy as np

# What a viewer does to show the rows and columns of a file upright.
_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: np.rot90,
}
_INVERSE = {6: 8, 8: 6}  # all others are their own


def turn_upright(values, orientation):
    """Turns an array (H, W, ...) as an orientation of EXIF says, 1 to 8; any other: not at all."""
    return _UPRIGHT.get(orientation, np.asarray)(values)


def stored_view(upright, orientation):
    """The view of an upright array (H, W, ...) in which it lies as it is stored."""
    return turn_upright(upright, _INVERSE.get(orientation, orientation))

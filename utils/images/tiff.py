"""TIFF files with any number of channels, by the tifffile package.

The channels stand in each pixel, or one after another (planar), or each on a page of its own.
"""

import logging
from contextlib import contextmanager
from textwrap import shorten
from typing import NamedTuple

import numpy as np

from errors import UserError
from utils.images.channels import check_channels, check_pixels, to_8_bit

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of files, and of those beyond 4 GB
_TIGHTEST = 1100  # bytes that one byte of a file can hold: deflate makes at most 1032 of one
_ORIENTATION = 274  # tag
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


class CompressionError(UserError):
    """A TIFF whose compression needs a package that is not there."""


class TiffHeader(NamedTuple):
    """What a TIFF file says of itself: (height, width), upright; its channels; their numbers."""

    size: tuple[int, int]
    channels: int
    dtype: str


def is_tiff(path):
    """Whether a file starts as TIFF files do; False too if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(4) in _STARTS
    except (OSError, ValueError):
        return False


def read_tiff_header(path):
    """Reads the TiffHeader of a file.

    Raises:
        UserError: if it is broken.
    """
    with _opened(path) as file:
        page = file.pages.first
        height, width = page.imagelength, page.imagewidth
        size = (width, height) if _orientation(page) >= 5 else (height, width)
        return TiffHeader(size, _channels(file), str(page.dtype))


def read_tiff(path, in_channels, max_pixels):
    """Reads a TIFF file whose channels are as many as asked for.

    Args:
        path: of the file.
        in_channels: int, its channels; or its pages, if each has one channel and all are alike.
        max_pixels: int.

    Returns:
        uint8 (H, W, in_channels), upright, scaled by `utils.images.channels.to_8_bit`.

    Raises:
        UserError: if it is broken or not whole, or has too many pixels or other channels.
        CompressionError: if it is compressed in a way that only `imagecodecs` knows.
    """
    with _opened(path) as file:
        first = file.pages.first
        check_pixels(first.imagewidth, first.imagelength, path, max_pixels)
        check_channels(_channels(file), in_channels, path)
        pages = [first] if first.samplesperpixel > 1 else list(file.pages)
        _check_pages(file, pages)
        # Strips one after another: images themselves are read side by side.
        parts = [page.asarray(squeeze=False, maxworkers=1) for page in pages]
        # (planes, depth, height, width, channels in a pixel), of which planes or channels are one.
        values = np.concatenate([part[:, 0] for part in parts])
        values = np.moveaxis(values, 0, -1).reshape(first.imagelength, first.imagewidth, -1)
        turn = _UPRIGHT.get(_orientation(first), np.asarray)
        return np.ascontiguousarray(turn(to_8_bit(values)))


@contextmanager
def _opened(path):
    """A tifffile.TiffFile; whatever a broken file leads to is a UserError."""
    import tifffile  # a fifth of a second, which most images do without

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # the error itself says enough
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except UserError:
        raise
    except Exception as error:
        if "imagecodecs" in str(error):
            raise CompressionError(
                f"The image {path} is compressed in a way that needs another package: pip "
                "install imagecodecs, or save it without compression or with deflate."
            ) from error
        # Of a broken file, tifffile's own words may hold half of it.
        reason = shorten(str(error) or type(error).__name__, 200)
        raise UserError(f"The image {path} can't be read: {reason}") from error


def _channels(file):
    samples = file.pages.first.samplesperpixel
    return samples if samples > 1 else len(file.pages)


def _orientation(page):
    tag = page.tags.get(_ORIENTATION)
    return tag.value if tag and tag.value in _UPRIGHT else 1


def _check_pages(file, pages):
    """Raises ValueError for what can't be an image, before memory is taken for it."""
    first = pages[0]
    if first.dtype is None or first.dtype.kind not in "buif":
        raise ValueError(f"its numbers are {first.dtype}, not integers or floats.")
    if first.imagedepth != 1:
        raise ValueError("it is a volume.")
    if any((page.shaped, page.dtype) != (first.shaped, first.dtype) for page in pages):
        raise ValueError("its pages differ in size or kind.")
    stored = file.filehandle.size
    promised = len(pages) * first.size * first.dtype.itemsize
    ends = (
        offset + count
        for page in pages
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    )
    if promised > stored * _TIGHTEST or max(ends, default=0) > stored:
        raise ValueError("the file is not whole.")

"""TIFF files with any number of channels, by the tifffile package.

The channels stand in each pixel, or one after another (planar), or each on a page of its own.
Overviews and transparency masks are no pages of an image.
"""

import logging
from contextlib import contextmanager
from itertools import islice
from textwrap import shorten
from typing import NamedTuple

import numpy as np

from errors import UserError
from utils.images.channels import check_bytes, check_pixels
from utils.images.numbers import Numbers
from utils.images.orientation import turn_upright

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of files, and of those beyond 4 GB
_TIGHTEST = 1100  # bytes that one byte of a file can hold: deflate makes at most 1032 of one
_ORIENTATION = 274  # tag
_MOST_PAGES = 256  # that can be channels
_REDUCED, _MASK = 1, 4  # bits of the tag NewSubfileType: what is no image of its own
_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK = 0, 2, 3, 5  # values of the tag PhotometricInterpretation
_TRANSPARENT = ((1,), (2,))  # values of the tag ExtraSamples


class CompressionError(UserError):
    """A TIFF whose compression needs a package that is not there."""


class TiffHeader(NamedTuple):
    """What a TIFF file says of itself.

    Attributes:
        size: (height, width), upright.
        channels: int.
        dtype: str, of its numbers.
        pages: int, pages that are its channels; 1 if they stand on one page.
        others: int, further images in it, which are not read.
        is_inverted: bool, whether 0 is white.
    """

    size: tuple[int, int]
    channels: int
    dtype: str
    pages: int = 1
    others: int = 0
    is_inverted: bool = False


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
    with opened_tiff(path) as file:
        page = file.pages.first
        height, width = page.imagelength, page.imagewidth
        if not all(isinstance(side, int) and side > 0 for side in (height, width)):
            raise ValueError("its size is not two numbers.")
        size = (width, height) if _orientation(page) >= 5 else (height, width)
        pages, others = _find_pages(file)
        channels = page.samplesperpixel if len(pages) == 1 else len(pages)
        inverted = page.photometric == _WHITE_IS_ZERO
        return TiffHeader(size, channels, str(page.dtype), len(pages), others, inverted)


def read_tiff(path, max_pixels):
    """Reads a TIFF file as it is stored, but upright; its pages, if these are its channels.

    Returns:
        `utils.images.numbers.Numbers`.

    Raises:
        UserError: if it is broken or not whole, or has too many pixels.
        CompressionError: if it is compressed in a way that only `imagecodecs` knows.
    """
    with opened_tiff(path) as file:
        first = file.pages.first
        check_pixels(first.imagewidth, first.imagelength, path, max_pixels)
        pages, _ = _find_pages(file)
        _check_pages(file, pages)
        check_bytes(len(pages) * first.size * first.dtype.itemsize, path, max_pixels)
        # Strips one after another: images themselves are read side by side.
        parts = [page.asarray(squeeze=False, maxworkers=1) for page in pages]
        # (planes, depth, height, width, channels in a pixel), of which planes or channels are one.
        parts = [part[:, 0] for part in parts]
        values = np.concatenate(parts) if len(parts) > 1 else parts[0]
        values = np.moveaxis(values, 0, -1).reshape(first.imagelength, first.imagewidth, -1)
        return Numbers(
            np.ascontiguousarray(turn_upright(values, _orientation(first))),
            values.shape[2] if len(pages) > 1 else _count_colors(first),
            first.photometric == _WHITE_IS_ZERO,
            first.photometric == _CMYK and values.shape[2] == 4,
            was_ignored=values.dtype != np.uint8,
        )


@contextmanager
def opened_tiff(path):
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


def _find_pages(file):
    """(the pages that are one image, how many other images there are) of an opened file."""
    first, more = file.pages.first, []
    for page in islice(file.pages, 1, None):
        if not page.subfiletype & (_REDUCED | _MASK):
            more.append(page)
        if len(more) >= _MOST_PAGES:
            raise ValueError(f"it has more than {_MOST_PAGES} pages. Write each to its own file.")
    single = first.samplesperpixel == 1 and first.photometric != _PALETTE
    if single and all((page.shaped, page.dtype) == (first.shaped, first.dtype) for page in more):
        return [first, *more], 0
    return [first], len(more)


def _count_colors(page):
    """How many of the channels in a pixel are colours; what follows is transparency."""
    channels = page.samplesperpixel
    if channels == 4 and page.photometric == _RGB:
        return 3
    return 1 if channels == 2 and page.extrasamples in _TRANSPARENT else channels


def _orientation(page):
    tag = page.tags.get(_ORIENTATION)
    return tag.value if tag and tag.value in range(1, 9) else 1


def _check_pages(file, pages):
    """Raises ValueError for what can't be an image, before memory is taken for it."""
    first = pages[0]
    if first.dtype is None or first.dtype.kind not in "buif":
        raise ValueError(f"its numbers are {first.dtype}, not integers or floats.")
    if first.imagedepth != 1:
        raise ValueError("it is a volume.")
    stored = file.filehandle.size
    promised = len(pages) * first.size * first.dtype.itemsize
    ends = (
        offset + count
        for page in pages
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    )
    if promised > stored * _TIGHTEST or max(ends, default=0) > stored:
        raise ValueError("the file is not whole.")

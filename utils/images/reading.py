"""Image files as arrays: whatever Pillow reads, upright, within a limit of pixels.

Images are uint8 (H, W, 3) RGB unless other channels are asked for (`utils.images.channels`).
Masks have a reader of their own, in `utils.data.masks`.
"""

import os

import cv2
import numpy as np

from errors import UserError
from utils.files import check_regular
from utils.images.channels import (
    CONVERTED,
    MAX_PIXELS,
    check_channels,
    check_pixels,
    hides_bits,
    hides_channels,
    to_array,
    to_rgb,
)
from utils.images.deep import read_numbers
from utils.images.foreign import is_dicom
from utils.images.header import orientation, read_header
from utils.images.jpeg import plain_jpeg_size
from utils.images.numbers import to_pixels
from utils.images.opening import open_header, open_image
from utils.images.scaling import PERCENTILES
from utils.images.tiff import is_tiff

_LARGE = 50_000_000  # pixels from which the 4 bytes per pixel of Pillow's images are too much
_LARGE_FORMATS = ("PNG", "TIFF", "BMP")  # of which OpenCV refuses what is not whole
_SMALL = 1_000_000  # bytes of a file that is read rather than mapped
_AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_image(path, max_pixels=MAX_PIXELS, in_channels=3, value_range=None):
    """Reads an image file as uint8 (H, W, in_channels), upright.

    OpenCV decodes ordinary JPEG files as RGB, three times as fast as Pillow and to the same
    pixels, and ordinary large images, in less memory.

    Args:
        path: of the file.
        max_pixels: int.
        in_channels: int. 3 and 1: any image as RGB or grey, as `utils.images.channels.to_array`
            makes them. Another number: TIFF files with as many channels or single-channel pages,
            and other images such as RGBA, as they are stored.
        value_range: what of numbers of more bits becomes 0..255, as for
            `utils.images.scaling.to_8_bit`.

    Raises:
        UserError: as `open_image`; and if the file has other channels.
    """
    check_regular(path)
    has_range = value_range is not None
    if in_channels == 3 and (
        size := plain_jpeg_size(path) or _plain_large_size(path, has_range, max_pixels)
    ):
        check_pixels(*size, path, max_pixels)
        image = _decode(path, *size)
        if image is not None:
            return image
    if has_range or is_tiff(path) or is_dicom(path):
        header = read_header(path)
        by_pillow = header.by_pillow and (in_channels in CONVERTED or not is_tiff(path))
        if not by_pillow or (has_range and header.is_deep):
            check_pixels(*header.size[::-1], path, max_pixels)
            _check_header(header, in_channels, path)
            numbers = read_numbers(path, max_pixels)
            return to_pixels(numbers, in_channels, path, value_range)
    return to_array(open_image(path, max_pixels), max_pixels, in_channels, value_range)


def _check_header(header, in_channels, path):
    """Raises UserError if a file can't be read with as many channels."""
    if in_channels in header.channels:
        return
    if header.pages > 1:
        raise UserError(
            f"The image {path} holds {header.pages} pages of one channel, which are read as "
            f"{header.pages} channels, but in_channels is {in_channels}. Write each page to a file "
            f"of its own, or train with in_channels={header.pages}."
        )
    check_channels(header.stored, in_channels, path)


def read_to_show(path, max_pixels=MAX_PIXELS):
    """Reads any image file, whatever its channels, as uint8 (H, W, 3) for people to look at.

    One of more than 8 bits is spread between its percentiles, so that there is something to see.

    Raises:
        UserError: as `read_image`.
    """
    channels = read_header(path).channels
    return to_rgb(read_image(path, max_pixels, 3 if 3 in channels else channels[0], PERCENTILES))


def _decode(path, width, height):
    """Decodes by OpenCV, as stored; None if it can't."""
    if width * height < _LARGE:
        return cv2.imdecode(_map_bytes(path), _AS_STORED)
    # Only when it is given the array does OpenCV not make a second one. It leaves it as it
    # is for a file that it can't open, such as, on Windows, one with foreign letters.
    if not cv2.haveImageReader(str(path)):
        return None
    image = np.empty((height, width, 3), np.uint8)
    # Nor does it always say that decoding failed: the rest of the array is then as it was.
    image[0] = image[-1] = mark = np.random.default_rng().integers(0, 256, (width, 3), np.uint8)
    image = cv2.imread(str(path), image, _AS_STORED)
    failed = image is None or any(np.array_equal(row, mark) for row in image[[0, -1]])
    return None if failed else image


def _map_bytes(path):
    # Unlike OpenCV's own reading both take any letters in a path on any system; mapped, the
    # bytes of a large file need no memory of their own.
    if os.path.getsize(path) < _SMALL:
        return np.fromfile(path, np.uint8)
    return np.memmap(path, np.uint8, "r")


def _plain_large_size(path, has_range, max_pixels):
    """(width, height) of a large image of 8-bit grey or RGB, as stored; or None.

    Of 16 bits, OpenCV keeps the upper 8, as Pillow does: without a range, these are wanted.
    """
    try:
        with open_header(
            path, max_pixels, icon_pixels=1
        ) as image:  # icons, which are refused thus, are never large
            plain = image.mode in ("L", "RGB") and "transparency" not in image.info
            plain = plain and not hides_channels(image)
            plain = plain and not (has_range and hides_bits(image))
            # Pages of one channel may be the channels of an image.
            pages = image.mode == "L" and image.format == "TIFF" and image.is_animated
            plain = plain and not pages
            # Of an APNG whose first image is not a frame, OpenCV shows the first frame.
            plain = plain and not image.info.get("default_image")
            large = image.width * image.height >= _LARGE and image.format in _LARGE_FORMATS
            if plain and large and orientation(image, path) == 1:
                return image.size
    except Exception:  # open_image says what is wrong
        pass
    return None

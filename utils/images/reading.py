"""Image files as arrays: whatever Pillow reads, upright, within a limit of pixels.

Images are uint8 (H, W, 3) RGB unless other channels are asked for (`utils.images.channels`).
Masks have a reader of their own, in `utils.data.masks`.
"""

import contextlib
import logging
import os
import threading
import warnings
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from errors import UserError
from utils.images.channels import (
    CONVERTED,
    MAX_PIXELS,
    check_pixels,
    hides_channels,
    stored_channels,
    to_array,
    to_rgb,
)
from utils.images.jpeg import plain_jpeg_size
from utils.images.tiff import CompressionError, is_tiff, read_tiff, read_tiff_header

_LARGE = 50_000_000  # pixels from which the 4 bytes per pixel of Pillow's images are too much
_LARGE_FORMATS = ("PNG", "TIFF", "BMP")  # of which OpenCV refuses what is not whole
_ICONS = (b"\0\0\1\0", b"icns")  # how their files start
_icon_lock = threading.Lock()
_AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

# `check_pixels` stands in its place, with a limit that the user can set.
Image.MAX_IMAGE_PIXELS = None
# Of a broken image a UserError tells; what the decoders print besides is not for users.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def open_image(path, max_pixels=MAX_PIXELS):
    """Opens an image file and decodes it (of an animation, the first frame).

    Returns:
        PIL.Image, as stored: any mode, not yet rotated.

    Raises:
        UserError: if the file is missing, broken or no image, or has too many pixels.
    """
    try:
        image = _open(path, max_pixels)
        try:
            check_pixels(*image.size, path, max_pixels)
            image.load()
        except Exception:
            image.close()  # until the error is collected, its file would stay open
            raise
        return image
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        raise UserError(f"The image {path} can't be read: {error}") from error


def _open(path, max_pixels=MAX_PIXELS):
    """`Image.open`; an icon, which it decodes at once, only within `max_pixels`.

    The images in an icon may be larger than it claims, which Pillow alone sees.
    """
    with open(path, "rb") as file:
        if file.read(4) not in _ICONS:
            return Image.open(path)
    with _icon_lock:
        Image.MAX_IMAGE_PIXELS = max(max_pixels // 2, 1)  # Pillow refuses more than twice that
        try:
            image = Image.open(path)
            image.load()
            return image
        except Image.DecompressionBombError:
            raise UserError(
                f"The icon {path} holds an image of more than {max_pixels:,} pixels, which is "
                "max_pixels. Raise max_pixels if memory allows (4 bytes per pixel and more)."
            ) from None
        finally:
            Image.MAX_IMAGE_PIXELS = None


def read_image(path, max_pixels=MAX_PIXELS, in_channels=3):
    """Reads an image file as uint8 (H, W, in_channels), upright.

    OpenCV decodes ordinary JPEG files as RGB, three times as fast as Pillow and to the same
    pixels, and ordinary large images, in less memory.

    Args:
        path: of the file.
        max_pixels: int.
        in_channels: int. 3 and 1: any image as RGB or grey, as `utils.images.channels.to_array`
            makes them. Another number: TIFF files with as many channels or single-channel pages,
            and other images such as RGBA, as they are stored; numbers of more bits are
            scaled by `utils.images.channels.to_8_bit`.

    Raises:
        UserError: as `open_image`; and if the file has other channels.
    """
    if in_channels == 3 and (size := plain_jpeg_size(path) or _plain_large_size(path)):
        check_pixels(*size, path, max_pixels)
        image = _decode(path, *size)
        if image is not None:
            return image
    if is_tiff(path):
        converted = set(CONVERTED) <= set(read_header(path).channels)
        if in_channels not in CONVERTED or not converted:
            return _read_channels(path, max_pixels, in_channels)
    return to_array(open_image(path, max_pixels), max_pixels, in_channels)


def _read_channels(path, max_pixels, in_channels):
    try:
        return read_tiff(path, in_channels, max_pixels)
    except CompressionError as error:
        try:  # Pillow knows more compressions, but at most four channels
            return to_array(open_image(path, max_pixels), max_pixels, in_channels)
        except UserError:
            raise error from None


def read_to_show(path, max_pixels=MAX_PIXELS):
    """Reads any image file, whatever its channels, as uint8 (H, W, 3) for people to look at.

    Raises:
        UserError: as `read_image`.
    """
    channels = read_header(path).channels
    return to_rgb(read_image(path, max_pixels, 3 if 3 in channels else channels[0]))


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
    # Mapped, a file's bytes need no memory of their own; and unlike OpenCV's own reading it
    # takes any letters in a path on any system.
    return np.memmap(path, np.uint8, "r")


def _plain_large_size(path):
    """(width, height) of a large image of 8-bit grey or RGB, as stored; or None."""
    try:
        with _open(path, 1) as image:  # icons, which are refused thus, are never large
            plain = image.mode in ("L", "RGB") and "transparency" not in image.info
            plain = plain and not hides_channels(image)
            # Of an APNG whose first image is not a frame, OpenCV shows the first frame.
            plain = plain and not image.info.get("default_image")
            large = image.width * image.height >= _LARGE and image.format in _LARGE_FORMATS
            if plain and large and _orientation(image, path) == 1:
                return image.size
    except Exception:  # open_image says what is wrong
        pass
    return None


def _orientation(image, path):
    """The EXIF orientation of an opened image, 1 if it has none."""
    if image.format == "PNG" and "exif" not in image.info and not _has_chunk(path, b"eXIf"):
        # To look for EXIF behind the pixels, Pillow would decode them; XMP comes before.
        return Image.Image.getexif(image).get(Base.Orientation, 1)
    return image.getexif().get(Base.Orientation, 1)


def _has_chunk(path, wanted):
    with open(path, "rb") as file:
        file.seek(8)  # the signature
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            if head[4:] == wanted:
                return True
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)  # the checksum too
    return False


class Header(NamedTuple):
    """What an image file says of itself.

    Attributes:
        size: (height, width), upright.
        mode: str, Pillow's; or, of a TIFF that Pillow does not know, such as "5 x uint16".
        channels: the values of in_channels that it can be read with, ascending.
    """

    size: tuple[int, int]
    mode: str
    channels: tuple[int, ...]


def read_header(path):
    """Reads the Header of an image file; raises as `open_image`."""
    try:
        with _open(path) as image:
            width, height = image.size
            # Orientations 5 to 8 swap the sides; of a TIFF, Pillow has swapped them already.
            if image.format != "TIFF" and _orientation(image, path) in (5, 6, 7, 8):
                width, height = height, width
            return Header((height, width), image.mode, _channels(image))
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except Exception as error:
        if isinstance(error, UnidentifiedImageError) and is_tiff(path):
            size, channels, dtype = read_tiff_header(path)
            return Header(size, f"{channels} x {dtype}", (channels,))
        raise UserError(f"The image {path} can't be read: {error}") from error


def image_size(path):
    """(height, width) of an image file, upright, from its header; raises as `open_image`."""
    return read_header(path).size


def _channels(image):
    stored = stored_channels(image)
    if hides_channels(image):
        return (stored,)
    if image.format == "TIFF" and stored == 1:
        with contextlib.suppress(Exception):  # of further pages, which most readings do without
            stored = image.n_frames
    return tuple(sorted({*CONVERTED, stored}))

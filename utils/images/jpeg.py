"""Which JPEG files are so ordinary that OpenCV may decode them in Pillow's place."""

import os
import struct

from PIL import Image
from PIL.ExifTags import Base

from utils.images.plausible import MOST_PIXELS

_HEADER = 2**20  # bytes of a JPEG that hold its size: EXIF, XMP and colour profile come first


def plain_jpeg_size(path):
    """(width, height) of a JPEG on which Pillow and OpenCV agree; None for any other file.

    That is a grey or RGB one, not turned by EXIF. A file without its end marker is not for
    OpenCV either, which fills what is missing with grey.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_HEADER)
            size = file.seek(0, os.SEEK_END)
            if not _ends_with(file, b"\xff\xd9"):
                return None
    except (OSError, ValueError):  # open_image says what is wrong
        return None
    position = 2 if data.startswith(b"\xff\xd8") else len(data)
    while data[position : position + 1] == b"\xff" and position + 10 < len(data):
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xC2:  # the frame's header: its tenth byte counts the colours
            height, width, colors = struct.unpack(">HHB", data[position + 5 : position + 10])
            whole = width * height <= size * MOST_PIXELS
            return (width, height) if colors in (1, 3) and whole else None
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xE1 and _may_turn(data[position + 4 : end]):
            return None
        position = end
    return None


def _ends_with(file, end):
    file.seek(-len(end), os.SEEK_END)
    return file.read() == end


def _may_turn(segment):
    """Whether an APP1 segment of a JPEG, EXIF or XMP, may ask to turn the image."""
    if not segment.startswith(b"Exif"):
        return b"Orientation" in segment
    exif = Image.Exif()
    try:
        exif.load(segment)
        return exif.get(Base.Orientation, 1) != 1
    except Exception:  # Pillow's reader raises whatever broken EXIF leads to
        return True

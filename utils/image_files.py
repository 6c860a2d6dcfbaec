"""Picture files as arrays: whatever Pillow reads, upright, within a limit of pixels.

Pictures are uint8 (H, W, 3) RGB. Masks have a reader of their own, in `utils.voc`.
"""

import os
import struct
import threading
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps

from errors import UserError

MAX_PIXELS = 500_000_000  # a picture of more is refused: 22,360 x 22,360, 1.5 GB as RGB
_LARGE = 50_000_000  # pixels from which the 4 bytes a pixel of Pillow's pictures are too much
_LARGE_FORMATS = ("PNG", "TIFF", "BMP")  # of which OpenCV refuses what is not whole
_HEADER = 2**20  # bytes of a JPEG that hold its size: EXIF, XMP and colour profile come first
_ICONS = (b"\0\0\1\0", b"icns")  # how their files start
_icon_lock = threading.Lock()
_AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_ORIENTATION = 0x0112  # tag of EXIF

# `check_pixels` stands in its place, with a limit that the user can set.
Image.MAX_IMAGE_PIXELS = None
# Of a broken picture a UserError tells; what the decoders print besides is not for users.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def check_pixels(width, height, path, max_pixels=MAX_PIXELS):
    """Raises UserError for a picture of more than `max_pixels`, before it takes its memory."""
    if width * height > max_pixels:
        raise UserError(
            f"The picture {path} has {width}x{height} = {width * height:,} pixels; max_pixels is "
            f"{max_pixels:,}. Raise max_pixels if memory allows (4 bytes a pixel and more), or "
            "cut the picture."
        )


def open_image(path, max_pixels=MAX_PIXELS):
    """Opens a picture file and decodes it (of an animation, the first frame).

    Returns:
        PIL.Image, as stored: any mode, not yet rotated.

    Raises:
        UserError: if the file is missing, broken or no picture, or has too many pixels.
    """
    try:
        image = _open(path, max_pixels)
        check_pixels(*image.size, path, max_pixels)
        image.load()
        return image
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        raise UserError(f"The picture {path} can't be read: {error}") from error


def _open(path, max_pixels=MAX_PIXELS):
    """`Image.open`; an icon, which it decodes at once, only within `max_pixels`.

    The pictures in an icon may be larger than it claims, which Pillow alone sees.
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
                f"The icon {path} holds a picture of more than {max_pixels:,} pixels, which is "
                "max_pixels. Raise max_pixels if memory allows (4 bytes a pixel and more)."
            ) from None
        finally:
            Image.MAX_IMAGE_PIXELS = None


def read_image(path, max_pixels=MAX_PIXELS):
    """Reads a picture file as uint8 (H, W, 3) RGB, upright; raises as `open_image`.

    OpenCV decodes ordinary JPEG files, three times as fast as Pillow and to the same pixels,
    and ordinary large pictures, in less memory.
    """
    size = _plain_jpeg_size(path) or _plain_large_size(path)
    if size:
        check_pixels(*size, path, max_pixels)
        image = _decode(path, *size)
        if image is not None:
            return image
    return to_rgb_array(open_image(path, max_pixels), max_pixels)


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


def _ends_with(file, end):
    file.seek(-len(end), os.SEEK_END)
    return file.read() == end


def _plain_jpeg_size(path):
    """(width, height) of a JPEG on which Pillow and OpenCV agree; None for any other file.

    That is a grey or RGB one, not turned by EXIF. A file without its end marker is not for
    OpenCV either, which fills what is missing with grey.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_HEADER)
            if not _ends_with(file, b"\xff\xd9"):
                return None
    except (OSError, ValueError):  # open_image says what is wrong
        return None
    position = 2 if data.startswith(b"\xff\xd8") else len(data)
    while data[position : position + 1] == b"\xff" and position + 10 < len(data):
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xC2:  # the frame's header: its tenth byte counts the colours
            height, width, colors = struct.unpack(">HHB", data[position + 5 : position + 10])
            return (width, height) if colors in (1, 3) else None
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xE1 and _may_turn(data[position + 4 : end]):
            return None
        position = end
    return None


def _plain_large_size(path):
    """(width, height) of a large picture of 8-bit grey or RGB, as stored; or None."""
    try:
        with _open(path, 1) as image:  # icons, which are refused thus, are never large
            plain = image.mode in ("L", "RGB") and "transparency" not in image.info
            # Of an APNG whose first picture is no frame, OpenCV shows the first frame.
            plain = plain and not image.info.get("default_image")
            large = image.width * image.height >= _LARGE and image.format in _LARGE_FORMATS
            if plain and large and _orientation(image, path) == 1:
                return image.size
    except Exception:  # open_image says what is wrong
        pass
    return None


def _orientation(image, path):
    """The EXIF orientation of an opened picture, 1 if it has none."""
    if image.format == "PNG" and "exif" not in image.info and not _has_chunk(path, b"eXIf"):
        # To look for EXIF behind the pixels, Pillow would decode them; XMP comes before.
        return Image.Image.getexif(image).get(_ORIENTATION, 1)
    return image.getexif().get(_ORIENTATION, 1)


def _has_chunk(path, wanted):
    with open(path, "rb") as file:
        file.seek(8)  # the signature
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            if head[4:] == wanted:
                return True
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)  # the checksum too
    return False


def _may_turn(segment):
    """Whether an APP1 segment of a JPEG, EXIF or XMP, may ask to turn the picture."""
    if not segment.startswith(b"Exif"):
        return b"Orientation" in segment
    exif = Image.Exif()
    try:
        exif.load(segment)
        return exif.get(_ORIENTATION, 1) != 1
    except Exception:  # Pillow's reader raises whatever broken EXIF leads to
        return True


def image_size(path):
    """(height, width) of a picture file, upright, from its header; raises as `open_image`."""
    try:
        with _open(path) as image:
            width, height = image.size
            # Orientations 5 to 8 swap the sides; of a TIFF, Pillow has swapped them already.
            turned = image.format != "TIFF" and _orientation(image, path) in (5, 6, 7, 8)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except Exception as error:
        raise UserError(f"The picture {path} can't be read: {error}") from error
    return (width, height) if turned else (height, width)


def to_rgb_array(image, max_pixels=MAX_PIXELS):
    """Converts a PIL picture of any mode to uint8 (H, W, 3) RGB, turned upright by its EXIF.

    16-bit grey is scaled from 0..65535; 32-bit integers too if any exceeds 255; floats are
    scaled from 0..1, or from 0..maximum above 255. Transparency is dropped.

    Raises:
        UserError: if it has too many pixels, or its file, not yet read, is broken.
    """
    name = getattr(image, "filename", "") or "given"
    check_pixels(*image.size, name, max_pixels)
    try:
        image = ImageOps.exif_transpose(image)
    except Exception as error:  # pictures are decoded late, and raise whatever that leads to
        raise UserError(f"The picture {name} can't be read: {error}") from error
    if image.mode.startswith("I") or image.mode == "F":
        grey = _to_8_bit(image)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _to_8_bit(image):
    values = np.nan_to_num(np.array(image).astype(np.float64), posinf=0, neginf=0)
    largest = values.max(initial=0)
    if image.mode.startswith("I;16") or (image.mode == "I" and largest > 255):
        values = values / 257
    elif image.mode == "F" and (largest <= 1 or largest > 255):
        values = values * (255 if largest <= 1 else 255 / largest)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)

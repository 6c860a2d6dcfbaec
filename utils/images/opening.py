"""Opening image files by Pillow: within a limit of pixels, and whatever is wrong is one line."""

import logging
import math
import threading
import warnings

from PIL import Image, UnidentifiedImageError

from errors import UserError
from utils.files import check_regular
from utils.images.channels import MAX_PIXELS, check_bytes, check_pixels, load_image, pixel_bytes
from utils.images.foreign import advice, is_heic, open_heic
from utils.images.plausible import check_file, check_tiff

_ICONS = (b"\0\0\1\0", b"icns")  # how their files start
_icon_lock = threading.Lock()

# `check_pixels` stands in its place, with a limit that the user can set.
Image.MAX_IMAGE_PIXELS = None
# Of a broken image a UserError tells; what the decoders print besides is not for users.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(path, max_pixels=MAX_PIXELS):
    """Opens an image file and decodes it (of an animation, the first frame).

    Returns:
        PIL.Image, as stored: any mode, not yet rotated.

    Raises:
        UserError: if the file is missing, broken or no image, or has too many pixels.
    """
    try:
        image = open_header(path, max_pixels)
        try:
            check_pixels(*image.size, path, max_pixels)
            check_bytes(math.prod(image.size) * pixel_bytes(image.mode), path, max_pixels)
            load_image(image)
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


def open_header(path, max_pixels=MAX_PIXELS, icon_pixels=None):
    """`Image.open`, unless the file can't be whole (`utils.images.plausible`).

    An icon, which Pillow decodes at once, is opened only within `icon_pixels` (None:
    `max_pixels`). The images in it may be larger than it claims, which Pillow alone sees.
    """
    check_regular(path)
    with open(path, "rb") as file:
        start = file.read(12)
    if is_heic(start):
        open_heic()
    check_file(path, start, max_pixels)
    if start[:4] not in _ICONS:
        return _identify(path, max_pixels)
    max_pixels = icon_pixels or max_pixels
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


def _identify(path, max_pixels):
    try:
        image = Image.open(path)
    except UnidentifiedImageError:
        if told := advice(path):
            raise UserError(f"The image {path} can't be read: {told}") from None
        raise
    if image.format == "TIFF":
        try:
            check_tiff(image, path, max_pixels)
        except Exception:
            image.close()
            raise
    return image

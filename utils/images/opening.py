"""Opening image files by Pillow: within a limit of pixels, and whatever is wrong is one line."""

import logging
import threading
import warnings

from PIL import Image

from errors import UserError
from utils.files import check_regular
from utils.images.channels import MAX_PIXELS, check_pixels

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


def open_header(path, max_pixels=MAX_PIXELS):
    """`Image.open`; an icon, which it decodes at once, only within `max_pixels`.

    The images in an icon may be larger than it claims, which Pillow alone sees.
    """
    check_regular(path)
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

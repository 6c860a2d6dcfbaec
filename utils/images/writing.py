"""Writing large images: PNG files that are whole or not there."""

import errno
import os

import cv2
from PIL import Image

from utils.files import whole_file
from utils.images.transforms import swap_channels

_LARGE = 50_000_000  # pixels from which a PNG is no longer put together in memory
_LONGEST = 1_000_000  # pixels of a side of OpenCV's PNG files; Pillow's have no limit
_PNG_END = b"IEND\xaeB`\x82"


def save_png(path, pixels):
    """Saves uint8 (H, W, 3) RGB as a PNG file; its channels may be swapped on the way.

    Args:
        path: str or Path of the file.
        pixels: the array; swapped to BGR in place if it is large, to save its memory.

    Raises:
        OSError: if it can't be written.
    """
    if max(pixels.shape) > _LONGEST:
        with whole_file(path) as temporary:
            Image.fromarray(pixels).save(temporary, "PNG")
        return
    large = pixels.shape[0] * pixels.shape[1] > _LARGE
    # In place: OpenCV's own conversion copies the image first.
    swapped = swap_channels(pixels) if large else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    with whole_file(path) as temporary:
        # On Windows OpenCV takes no letters beyond the system's own in a path.
        if large and (os.name != "nt" or str(temporary).isascii()):
            written = cv2.imwrite(str(temporary), swapped)
        else:
            encoded = cv2.imencode(".png", swapped)[1]
            written = temporary.write_bytes(encoded) > 0
        if not (written and _ends_with(temporary, _PNG_END)):
            raise OSError(errno.EIO, "It could not be written whole. Is the disk full?", str(path))


def _ends_with(path, end):
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - len(end), 0))
        return file.read() == end

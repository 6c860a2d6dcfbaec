"""Result files: whole or not there, and never two runs' bytes in one."""

import errno
import os
import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path

import cv2
from PIL import Image

from utils.image import swap_channels

_LARGE = 50_000_000  # pixels from which a PNG is no longer put together in memory
_LONGEST = 1_000_000  # pixels of a side of OpenCV's PNG files; Pillow's have no limit
_PNG_END = b"IEND\xaeB`\x82"


@contextmanager
def whole_file(path):
    """Gives a temporary path beside `path`; renames it to `path` if all goes well.

    A failure or a kill leaves nothing under the final name, and what lay there stays. The
    temporary name is hidden, unique and has the extension of `path`, by which writers choose
    their format. Missing parent folders are made.

    Args:
        path: str or Path of the final file.

    Yields:
        Path to write to.

    Raises:
        OSError: as the writer raises it: a full disk, no permission.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The middle of the name is short: file systems allow 255 bytes, and `path` may use them.
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path):
    """As `whole_file`, for a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
        new, former = Path(scratch) / "new", Path(scratch) / "former"
        yield new
        if path.exists():  # a folder with files in it can't be replaced at once
            os.replace(path, former)
        try:
            os.replace(new, path)
        except OSError:
            if former.exists():
                os.replace(former, path)
            raise


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
    # In place: OpenCV's own conversion copies the picture first.
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

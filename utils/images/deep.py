"""Image files of any numbers: 16 bits, floats, and more channels than Pillow shows."""

import cv2
import numpy as np
from PIL import ImageOps, ImageSequence

from errors import UserError
from utils.images.channels import channel_count, check_pixels, hides_bits, is_white_at_zero
from utils.images.dicom import read_dicom
from utils.images.foreign import is_dicom
from utils.images.header import orientation
from utils.images.numbers import Numbers
from utils.images.opening import open_header, open_image
from utils.images.orientation import turn_upright
from utils.images.tiff import CompressionError, is_tiff, read_tiff, read_tiff_header

_AS_STORED = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION


def read_numbers(path, max_pixels):
    """Reads the numbers of an image file as they are stored, but upright.

    Args:
        path: of a file whose `utils.images.header.Header` says that it `is_deep`, or not
            `by_pillow`; or of any TIFF.
        max_pixels: int.

    Returns:
        `utils.images.numbers.Numbers`.

    Raises:
        UserError: as `utils.images.opening.open_image`.
    """
    reason = None
    try:
        if is_tiff(path):
            return read_tiff(path, max_pixels)
        if is_dicom(path):
            return read_dicom(path, max_pixels)
    except CompressionError as error:  # Pillow and OpenCV know more, but at most four channels
        reason = error
    try:
        return _read_by_pillow(path, max_pixels)
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        if reason:
            raise reason from None
        if isinstance(error, UserError):
            raise
        raise UserError(f"The image {path} can't be read: {error}") from error


def _read_by_pillow(path, max_pixels):
    with open_header(path, max_pixels) as image:
        check_pixels(*image.size, path, max_pixels)
        if image.format == "TIFF" and image.is_animated and read_tiff_header(path).pages > 1:
            return _read_pages(image)
        if hides_bits(image):
            return _read_by_opencv(path, image)
    image = open_image(path, max_pixels)
    values = np.array(ImageOps.exif_transpose(image))
    colors = 1 if values.ndim == 2 else 3
    return Numbers(
        values.reshape(*values.shape[:2], -1), colors, is_white_at_zero(image), was_ignored=True
    )


def _read_pages(image):
    """The pages of a TIFF of which `utils.images.tiff` says that they are channels."""
    pages = [np.array(ImageOps.exif_transpose(page)) for page in ImageSequence.Iterator(image)]
    return Numbers(np.stack(pages, axis=-1), len(pages))


def _read_by_opencv(path, image):
    """Colours of more than 8 bits, of which Pillow shows 8."""
    # Mapped, a file's bytes need no memory of their own.
    values = cv2.imdecode(np.memmap(path, np.uint8, "r"), _AS_STORED)
    if values is None or values.ndim != 3 or values.dtype == np.uint8 or image.mode == "CMYK":
        raise UserError(
            f"The image {path} can't be read with all its bits. Save it again, as PNG, or as TIFF "
            "without compression."
        )
    values = values[..., [2, 1, 0, 3][: values.shape[2]]]
    if image.format != "TIFF":  # which OpenCV turns whatever it is told
        values = turn_upright(values, orientation(image, path))
    return Numbers(values[..., : channel_count(image)], 3)

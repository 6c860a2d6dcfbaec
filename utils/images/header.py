"""What image files say of themselves, read without their pixels."""

import os
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from errors import UserError
from utils.images.channels import (
    CONVERTED,
    hides_channels,
    is_deep,
    is_white_at_zero,
    stored_channels,
)
from utils.images.dicom import read_dicom_header
from utils.images.foreign import is_dicom
from utils.images.opening import open_header
from utils.images.tiff import is_tiff, read_tiff_header

# Formats whose further images are not previews, layers or other sizes of the first.
_SEVERAL = ("GIF", "PNG", "WEBP", "AVIF", "FLI")


class Header(NamedTuple):
    """What an image file says of itself.

    Attributes:
        size: (height, width), upright.
        mode: str, Pillow's; or, of a TIFF that Pillow does not know, such as "5 x uint16".
        channels: the values of in_channels that it can be read with, ascending.
        stored: int, channels in the file.
        is_deep: bool, whether its numbers are other than 8 bits or fewer.
        is_inverted: bool, whether it says that 0 is white.
        pages: int, pages that are its channels; 1 if they stand on one page.
        has_more: bool, whether it holds further images, which are not read.
        by_pillow: bool, whether Pillow shows all of it, but for bits beyond 8.
    """

    size: tuple[int, int]
    mode: str
    channels: tuple[int, ...]
    stored: int
    is_deep: bool = False
    is_inverted: bool = False
    pages: int = 1
    has_more: bool = False
    by_pillow: bool = True

    @property
    def notes(self):
        """What users must know of it: kinds of problems of `utils.checking.problems`."""
        kinds = {
            "picture_pages": self.pages > 1,
            "picture_more": self.has_more,
            "picture_inverted": self.is_inverted,
        }
        return tuple(kind for kind, applies in kinds.items() if applies)


def read_header(path):
    """Reads the Header of an image file; raises as `utils.images.opening.open_image`."""
    try:
        with open_header(path) as image:
            if image.format == "TIFF" and (image.is_animated or hides_channels(image)):
                return _tiff_header(path, image)
            width, height = image.size
            stored = stored_channels(image)
            # Orientations 5 to 8 swap the sides; of a TIFF, Pillow has swapped them already.
            if image.format != "TIFF" and orientation(image, path) in (5, 6, 7, 8):
                width, height = height, width
            return Header(
                (height, width),
                image.mode,
                tuple(sorted({*CONVERTED, stored})),
                stored,
                is_deep(image),
                is_white_at_zero(image),
                has_more=image.format in _SEVERAL and getattr(image, "is_animated", False),
            )
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except Exception as error:
        if isinstance(error, UnidentifiedImageError) and is_tiff(path):
            return _tiff_header(path)
        if isinstance(error, UnidentifiedImageError) and is_dicom(path):
            return _dicom_header(path)
        raise UserError(f"The image {path} can't be read: {error}") from error


def _tiff_header(path, image=None):
    """The Header of a TIFF file of several pages, or which Pillow shows in part or not at all."""
    found = read_tiff_header(path)
    shown = image is not None and not hides_channels(image) and found.pages == 1
    if found.pages > 1:
        channels = (found.channels,)
    elif shown:
        channels = tuple(sorted({*CONVERTED, stored_channels(image)}))
    else:
        channels = CONVERTED if found.channels in CONVERTED else (found.channels,)
    return Header(
        found.size,
        image.mode if shown else f"{found.channels} x {found.dtype}",
        channels,
        found.channels,
        found.dtype not in ("uint8", "bool"),
        found.is_inverted,
        found.pages,
        found.others > 0,
        shown,
    )


def _dicom_header(path):
    size, channels, deep, inverted = read_dicom_header(path)
    return Header(size, "DICOM", CONVERTED, channels, deep, inverted, by_pillow=False)


def holds_several(image):
    """Whether an opened PIL image's file holds further images: frames, or pages but overviews."""
    if image.format == "TIFF" and image.is_animated:
        found = read_tiff_header(image.filename)
        return found.pages > 1 or found.others > 0
    return image.format in _SEVERAL and getattr(image, "is_animated", False)


def image_size(path):
    """(height, width) of an image file, upright, from its header; raises as `read_header`."""
    return read_header(path).size


def orientation(image, path):
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

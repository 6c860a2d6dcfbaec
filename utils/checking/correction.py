"""What a corrected copy makes of one image and its mask; `utils.checking.fix` writes it."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from errors import UserError
from utils.checking.content import read_content
from utils.checking.relabel import to_ids
from utils.images.header import read_header
from utils.images.opening import open_image
from utils.images.reading import read_image


@dataclass
class FixedPair:
    """What became of a sample.

    Attributes:
        name: str.
        left_out: str, why it is not in the copy; "" if it is.
        mask_changed, image_changed: bool.
        unknown: Counter of colours or values that stand for no class.
    """

    name: str
    left_out: str = ""
    mask_changed: bool = False
    image_changed: bool = False
    unknown: Counter = field(default_factory=Counter)


def correct(sample, meaning, border=False):
    """Corrects an image and its mask; writes nothing.

    Args:
        sample: `utils.data.voc.Sample`.
        meaning: `utils.checking.meaning.Meaning` of its set.
        border: bool, whether background parts instances that touch.

    Returns:
        (FixedPair; class ids, uint8 (H, W), or None if it is left out; PIL.Image, the image turned
        to fit its mask, or None if it needs no change).
    """
    outcome = FixedPair(sample.name)
    content = read_content(sample.mask_path)
    ids, outcome.left_out, outcome.unknown = to_ids(content, meaning, border)
    if ids is None:
        return outcome, None, None
    try:
        turned = _fit_image(sample.image_path, ids.shape)
    except UserError as error:
        outcome.left_out = str(error)
        return outcome, None, None
    outcome.image_changed = turned is not None
    outcome.mask_changed = not _is_as_stored(sample.mask_path, content, ids)
    return outcome, ids, turned


def _is_as_stored(path, content, ids):
    """Whether a mask file holds these ids already, in a way that needs no other."""
    with Image.open(path) as image:
        plain = image.format == "PNG" and image.mode in ("P", "L", "1")
    return plain and content.values is not None and np.array_equal(content.values, ids)


def _fit_image(path, size):
    """The image turned to fit its mask, or None if it needs no change.

    One with more than three channels, or more than 8 bits, is never changed: what is written
    anew has three of 8 bits.

    Raises:
        UserError: if it is broken, or fits no way.
    """
    header = read_header(path)
    if header.is_deep or not header.by_pillow:
        channels = 3 if 3 in header.channels else header.channels[0]
        found = read_image(path, in_channels=channels).shape[:2]
        fits, turned = found == size, None
    else:
        image = open_image(path)
        turned, found = _turn_to_fit(image, size), image.size[::-1]
        fits, turned = turned is not None, turned if turned is not image else None
        if header.channels[-1] > 3 and turned is not None:
            fits, turned = header.size == size, None
    if not fits:
        raise UserError(f"image {found} and mask {size} differ in size")
    return turned


def _turn_to_fit(image, size):
    """The image as its mask was drawn on it: itself, upright, or as stored without EXIF.

    Returns:
        PIL.Image, the very same one if it needs no change; None if no way fits.
    """
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(Base.Orientation, 1) == 1:
        return image if image.size[::-1] == size else None
    if upright.size[::-1] == size:
        return upright
    if image.size[::-1] != size:
        return None
    stored = image.copy()
    stored.getexif().clear()
    stored.info.pop("exif", None)
    return stored

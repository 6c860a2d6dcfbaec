"""Masks of class ids: the one label reader.

This is the only place where a mask file becomes class ids.
"""

import cv2
import numpy as np
from PIL import Image

from errors import UserError
from utils.files import check_regular
from utils.images.channels import check_pixels
from utils.images.header import holds_several
from utils.images.opening import open_header
from utils.labels import VOID, voc_palette

REFUSED_MASKS = {
    "several": "it holds several images, of which only the first would count",
    "lossy": "it is compressed with loss, which smears class ids",
    "format": "it is not a PNG file",
    "16-bit": "it has 16-bit values",
    "alpha": "it has an alpha channel",
    "colour": "it is a colour image",
}
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
LOSSY_FORMATS = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF")


def refused_mask(image):
    """Why an opened mask file holds no class ids: a key of `REFUSED_MASKS`, or None."""
    if image.format in LOSSY_FORMATS:
        return "lossy"
    if image.format != "PNG":
        return "format"
    if holds_several(image):
        return "several"
    if image.mode.startswith("I"):
        return "16-bit"
    if image.mode in ("P", "L", "1"):
        return None
    return "alpha" if image.mode.endswith("A") else "colour"


def read_label_ids(path):
    """Reads a mask as it is: one class id per pixel.

    Palette, 8-bit grey, and 1-, 2- and 4-bit PNG give the number stored for each pixel.

    Returns:
        uint8 (H, W).

    Raises:
        UserError: for a missing or broken file, and for any other kind of file: colours,
            16-bit values and lossy compression are not class ids.
    """
    check_regular(path)
    ids = _read_plain_grey(path)
    if ids is not None:
        return ids
    try:
        with open_header(path) as image:
            check_pixels(*image.size, path)
            refused = refused_mask(image)
            if refused:
                raise UserError(
                    f"{path} is not a class-id mask: {REFUSED_MASKS[refused]} ({image.format}, "
                    f"mode {image.mode}). Expected a PNG with a palette or 8-bit grey whose pixel "
                    "values are the class ids 0, 1, 2, ..."
                )
            return ids_of(image, path)
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        raise UserError(f"The mask {path} can't be read: {error}. Save it again.") from error


def ids_of(image, path):
    """The class ids of an opened mask for which `refused_mask` is None: uint8 (H, W)."""
    ids = np.asarray(image).astype(np.uint8, copy=False)
    depth = _bit_depth(path) if image.mode == "L" else 8
    # Pillow stretches 2- and 4-bit grey to 0..255.
    return ids if depth == 8 else ids // (255 // (2**depth - 1))


def _read_plain_grey(path):
    """An 8-bit grey PNG by OpenCV, twice as fast as Pillow; None for anything else."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None  # the ordinary way says what is wrong
    # Signature, 8 bits of grey in the header, and the end that a truncated file lacks.
    if data[:8] != _PNG_START or data[24:26] != b"\x08\x00" or data[-8:] != _PNG_END:
        return None
    if b"acTL" in data[: data.find(b"IDAT")]:  # of an animation, of which one frame is shown
        return None
    ids = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return ids if ids is not None and ids.ndim == 2 else None


def _bit_depth(path):
    with open(path, "rb") as file:
        return file.read(25)[24]  # the PNG header's own field


def read_mask(path, num_classes, ignore_labels=(VOID,)):
    """Reads a mask for training and scoring.

    Args:
        path: the mask file.
        num_classes: int.
        ignore_labels: ids that count as void, before anything else.

    Returns:
        uint8 (H, W): class ids 0..num_classes-1, and 255 for void.

    Raises:
        UserError: as `read_label_ids`; and for a value that is neither a class nor ignored.
    """
    ids = read_label_ids(path)
    table = np.full(256, VOID, np.uint8)
    table[:num_classes] = np.arange(num_classes)
    table[list(ignore_labels)] = VOID
    if num_classes <= int(ids.max(initial=0)):
        _check_values(path, ids, num_classes, ignore_labels)
    return cv2.LUT(ids, table)


def _check_values(path, ids, num_classes, ignore_labels):
    counts = np.bincount(ids.ravel(), minlength=256)
    known = set(range(num_classes)) | set(ignore_labels)
    wrong = [int(value) for value in np.flatnonzero(counts) if int(value) not in known]
    if not wrong:
        return
    value = wrong[0]
    others = f" (and {len(wrong) - 1} other such values)" if len(wrong) > 1 else ""
    raise UserError(
        f"The mask {path} holds the value {value} in {counts[value]:,} pixels{others}; with "
        f"num_classes={num_classes} the ids are 0 to {num_classes - 1}, and ignore_labels is "
        f"{tuple(ignore_labels)}. Raise num_classes (background included), or name {value} in "
        "ignore_labels, or correct the mask."
    )


def mask_to_image(mask):
    """A palette image (PIL, mode P) of class ids, with 255 in VOC's border colour."""
    image = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    image.putpalette(voc_palette(256).tobytes())
    return image

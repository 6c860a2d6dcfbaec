"""Mask files of other programs: their numbers, their colours, and the images they belong to.

Masks for training have a reader of their own, `utils.data.masks`, which takes class ids alone.
"""

import numpy as np
from PIL import Image

from errors import UserError
from utils.convert.annotated_images import read_annotated_image
from utils.data.masks import read_label_ids, refused_mask
from utils.data.voc import image_extensions
from utils.images.channels import check_pixels

_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
_SHOWN = 6  # values or colours in one message
_LARGEST = 1 << 31  # of numbers that may be ids; those of float32 may be far larger
_CODES = np.array([1 << 16, 1 << 8, 1])


def read_values(path):
    """The number that a mask file stores for each pixel.

    Grey files give their grey, palettes the index, unless it is black and white in the other
    order: then black is 0 and white 255. Grey saved as RGB, or with full opacity, is grey.

    Args:
        path: of any lossless image.

    Returns:
        integer (H, W).

    Raises:
        UserError: if it can't be read, has several pages, is compressed with loss, partly
            transparent, or in colours.
    """
    image = _open(path)
    if refused_mask(image) is None:
        values = read_label_ids(path)
        return values if image.mode != "P" else _by_colour_if_inverted(values, image)
    if image.mode == "P":
        return _by_colour_if_inverted(np.array(image), image)
    if image.mode in ("L", "1") or image.mode.startswith("I"):
        return np.array(image).astype(np.int64)
    if image.mode == "F":
        numbers = np.array(image)
        is_whole = (numbers == np.rint(numbers)) & (np.abs(numbers) < _LARGEST)
        if not is_whole.all():  # not so of NaN and infinity
            raise UserError(
                f"The mask {path} holds {numbers[~is_whole][0]}. Expected class ids, whole "
                "numbers. Save it as 8-bit PNG."
            )
        return numbers.astype(np.int64)
    pixels = _without_alpha(image, path)
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise UserError(
                f"The mask {path} is in colours. Expected grey or a palette whose values are the "
                "class ids. Put images and masks into VOC2007/JPEGImages and SegmentationClass; "
                "then voc_annotation.py --fix turns colours into ids."
            )
        pixels = pixels[..., 0]
    return pixels


def read_colors(path):
    """The colours that a mask file shows, uint8 (H, W, 3); raises UserError as `read_values`."""
    image = _open(path)
    if image.mode in ("P", "L", "1"):
        return np.array(image.convert("RGB"))
    pixels = _without_alpha(image, path)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def _open(path):
    """A lossless image of one page, decoded."""
    try:
        image = Image.open(path)
        with image:
            check_pixels(*image.size, path)
            pages = getattr(image, "n_frames", 1)
            lossy = refused_mask(image) == "lossy" or (
                image.format in ("TIFF", "GIF") and image.info.get("compression") in _LOSSY_TIFF
            )
            if not lossy and pages == 1:
                image.load()
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        raise UserError(f"The mask {path} can't be read: {error}. Save it again.") from error
    if pages != 1:
        raise UserError(
            f"The mask {path} holds {pages} pages. Expected one. Save each as a file of its own."
        )
    if lossy:
        raise UserError(
            f"The mask {path} is compressed with loss ({image.format}), which smears its values. "
            "Expected PNG or another lossless type: export it again as such."
        )
    return image


def _without_alpha(image, path):
    if image.mode not in ("RGB", "RGBA", "LA"):
        raise UserError(
            f"The mask {path} has the mode {image.mode}. Expected grey, a palette, or RGB. Save it "
            "as such a PNG."
        )
    pixels = np.array(image)
    if image.mode == "RGB":
        return pixels
    if (pixels[..., -1] != 255).any():
        raise UserError(
            f"The mask {path} is partly transparent. What that means, it does not say: save it "
            "without an alpha channel."
        )
    return np.ascontiguousarray(pixels[..., 0] if image.mode == "LA" else pixels[..., :3])


def _by_colour_if_inverted(indices, image):
    """Grey values where a palette shows 0 as white or others as black; else the indices."""
    palette = np.array(image.getpalette("RGB"), int).reshape(-1, 3)
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    if not len(used) or used[-1] >= len(palette):
        return indices
    sums = palette[used].sum(axis=1)
    if not np.isin(sums, (0, 3 * 255)).all() or ((sums == 0) == (used == 0)).all():
        return indices
    return (palette[:, 0][indices]).astype(np.uint8)


def read_binary(path, any_value=False):
    """A mask of one class: bool (H, W), from values 0 and 255, or 0 and 1.

    Args:
        path: as for `read_values`.
        any_value: bool, whether everything but 0 is inside.

    Raises:
        UserError: for other values; and as `read_values`.
    """
    values = read_values(path)
    found = set(values_in(values))
    if not any_value and not (found <= {0, 255} or found <= {0, 1}):
        raise UserError(
            f"The mask {path} holds the values {show_some(sorted(found))}. Expected a mask of one "
            "class: 0 and 255, or 0 and 1."
        )
    return values != 0


def values_in(values):
    """The different numbers of an integer array, sorted: list of int."""
    if values.dtype == np.uint8:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
    return np.unique(values).tolist()


def colors_to_ids(colors, ids, path):
    """Replaces colours.

    Args:
        colors: uint8 (H, W, 3).
        ids: {(r, g, b): id}.
        path: for messages.

    Returns:
        integer (H, W).

    Raises:
        UserError: for a colour that is not in `ids`.
    """
    codes, inverse = np.unique(colors.astype(np.int64) @ _CODES, return_inverse=True)
    found = [(code >> 16, (code >> 8) & 255, code & 255) for code in codes.tolist()]
    unknown = [color for color in found if color not in ids]
    if unknown:
        raise UserError(
            f"The mask {path} holds {show_some(unknown)}, which stands for no class. Add the "
            "colour to the label map, or correct the mask."
        )
    return np.array([ids[color] for color in found])[inverse.reshape(colors.shape[:2])]


def show_some(values):
    """The first few of a list, as text."""
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(map(str, values[:_SHOWN])) + more


def read_image_of(mask, image_path, origin):
    """Reads the image of a mask, turned as the mask is.

    Args:
        mask: (H, W) array.
        image_path: Path.
        origin: str, where the mask comes from, for messages.

    Returns:
        AnnotatedImage of the same size.

    Raises:
        UserError: as `read_annotated_image`.
    """
    return read_annotated_image(image_path, mask.shape, ("upright", "stored"), origin)


def image_files(paths):
    """Those of the paths that have an extension of images."""
    extensions = image_extensions()
    return [path for path in paths if path.suffix.lower() in extensions]


def by_stem(paths, what="images"):
    """{name without extension: path}.

    Raises:
        UserError: if two have the same.
    """
    found = {}
    for path in paths:
        other = found.setdefault(path.stem, path)
        if other is not path:
            raise UserError(
                f"{other} and {path} are two {what} of the same name. Remove or rename one."
            )
    return found

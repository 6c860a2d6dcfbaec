"""Bands of a picture: from Pillow's modes and any kind of numbers to uint8 (H, W, bands).

Three bands are colours, RGB; one is grey. Files are read by `utils.images.reading`.
"""

import numpy as np
from PIL import ImageOps

from errors import UserError

MAX_PIXELS = 500_000_000  # a picture of more is refused: 22,360 x 22,360, 1.5 GB as RGB
CONVERTED = (1, 3)  # band counts that pictures of any mode are converted to
_GREY_MODES = ("1", "L", "LA", "La")
_SAMPLES = 277  # tag of TIFF: bands in a pixel
_STRIP = 64  # rows scaled at a time: float64 takes eight times their memory
_FROM_16_BIT = np.rint(np.arange(65536) / 257).astype(np.uint8)


def check_pixels(width, height, path, max_pixels=MAX_PIXELS):
    """Raises UserError for a picture of more than `max_pixels`, before it takes its memory."""
    if width * height > max_pixels:
        raise UserError(
            f"The picture {path} has {width}x{height} = {width * height:,} pixels; max_pixels is "
            f"{max_pixels:,}. Raise max_pixels if memory allows (4 bytes a pixel and more), or "
            "cut the picture."
        )


def check_bands(found, in_channels, path):
    """Raises UserError unless a picture has as many bands as the network takes."""
    if found != in_channels:
        raise UserError(
            f"The picture {path} has {_count(found)}, but in_channels is {in_channels}. Give "
            f"files with {_count(in_channels)}, or train with in_channels={found}."
        )


def _count(bands):
    return f"{bands} band{'s' if bands > 1 else ''}"


def band_count(image):
    """How many bands a PIL picture has as it is; those of a palette are its colours."""
    return 3 if image.mode == "P" else len(image.getbands())


def stored_bands(image):
    """How many bands the file of a PIL picture has; Pillow may show fewer of a TIFF."""
    samples = image.tag_v2.get(_SAMPLES, 1) if image.format == "TIFF" else 1
    return max(samples, band_count(image))


def hides_bands(image):
    """Whether Pillow shows one band of several: the first of a planar TIFF, say, as grey."""
    return band_count(image) == 1 and stored_bands(image) > 2


def to_array(image, max_pixels=MAX_PIXELS, in_channels=3):
    """Converts a PIL picture to uint8 (H, W, in_channels), turned upright by its EXIF.

    Args:
        image: PIL.Image.
        max_pixels: int.
        in_channels: int. 3: RGB, from any mode, grey repeated. 1: grey, colours as their
            luma. Both drop transparency; numbers of more bits are scaled by `to_8_bit`.
            Another number: the bands as they are, such as the four of RGBA or CMYK.

    Raises:
        UserError: if it has too many pixels or other bands, or its file, not yet read, is
            broken.
    """
    name = getattr(image, "filename", "") or "given"
    check_pixels(*image.size, name, max_pixels)
    if in_channels not in CONVERTED:
        check_bands(band_count(image), in_channels, name)
    if hides_bands(image):
        raise UserError(
            f"Of the picture {name}, Pillow shows only one of {stored_bands(image)} bands. Give "
            "the path of its file to what reads files, or an array."
        )
    try:
        image = ImageOps.exif_transpose(image)
    except Exception as error:  # pictures are decoded late, and raise whatever that leads to
        raise UserError(f"The picture {name} can't be read: {error}") from error
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(to_8_bit(np.array(image))[..., None], in_channels, axis=2)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if in_channels == 3:
        return np.array(image.convert("RGB"))
    if in_channels == 1:
        grey = image if image.mode in _GREY_MODES else image.convert("RGB")
        return np.array(grey.convert("L"))[..., None]
    return np.array(image)


def to_8_bit(values):
    """Scales numbers to uint8.

    Args:
        values: array (H, W) or (H, W, bands). uint8 stays as it is, bool becomes 0 and 255,
            uint16 is scaled from 0..65535; other integers too if any exceeds 255; floats are
            scaled from 0..1, or from 0..maximum above 255. The bands of a picture share one
            scale. What is below, not a number or infinite is 0.

    Returns:
        uint8 of the same shape.
    """
    if values.dtype == np.uint8:
        return values
    scaled = np.empty(values.shape, np.uint8)
    strips = [slice(top, top + _STRIP) for top in range(0, len(values), _STRIP)]
    kind, bits = values.dtype.kind, 8 * values.dtype.itemsize
    if kind == "u" and bits == 16:
        for rows in strips:
            scaled[rows] = _FROM_16_BIT[values[rows]]
        return scaled
    largest = max((_finite(values[rows]).max(initial=0) for rows in strips), default=0)
    divisor, factor = 1, 1
    if kind == "b" or (kind == "f" and (largest <= 1 or largest > 255)):
        factor = 255 if largest <= 1 else 255 / largest
    elif kind != "f" and largest > 255:
        divisor = 257
    for rows in strips:
        numbers = _finite(values[rows]) * factor / divisor
        scaled[rows] = np.clip(np.rint(numbers), 0, 255)
    return scaled


def _finite(values):
    return np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)


def to_rgb(pixels):
    """Shows uint8 (H, W, bands) as RGB: the first three bands, or the first one repeated.

    Returns:
        uint8 (H, W, 3); the very same array if it has three bands.
    """
    if pixels.shape[2] == 3:
        return pixels
    shown = pixels[..., :3] if pixels.shape[2] > 3 else pixels[..., :1].repeat(3, axis=2)
    return np.ascontiguousarray(shown)

"""Channels of an image: from Pillow's modes and any kind of numbers to uint8 (H, W, channels).

Three channels are colours, RGB; one is grey. Files are read by `utils.images.reading`.
"""

import numpy as np
from PIL import ImageOps

from errors import UserError

MAX_PIXELS = 500_000_000  # an image of more is refused: 22,360 x 22,360, 1.5 GB as RGB
CONVERTED = (1, 3)  # channel counts that images of any mode are converted to
_GREY_MODES = ("1", "L", "LA", "La")
_SAMPLES = 277  # tag of TIFF: channels in a pixel
_STRIP = 64  # rows scaled at a time: float64 takes eight times their memory
_FROM_16_BIT = np.rint(np.arange(65536) / 257).astype(np.uint8)


def check_pixels(width, height, path, max_pixels=MAX_PIXELS):
    """Raises UserError for an image of more than `max_pixels`, before it takes its memory."""
    if width * height > max_pixels:
        raise UserError(
            f"The image {path} has {width}x{height} = {width * height:,} pixels; max_pixels is "
            f"{max_pixels:,}. Raise max_pixels if memory allows (4 bytes per pixel and more), or "
            "cut the image."
        )


def check_channels(found, in_channels, path):
    """Raises UserError unless an image has as many channels as the network takes."""
    if found != in_channels:
        raise UserError(
            f"The image {path} has {_count(found)}, but in_channels is {in_channels}. Give "
            f"files with {_count(in_channels)}, or train with in_channels={found}."
        )


def _count(channels):
    return f"{channels} channel{'s' if channels > 1 else ''}"


def channel_count(image):
    """How many channels a PIL image has as it is; those of a palette are its colours."""
    return 3 if image.mode == "P" else len(image.getbands())


def stored_channels(image):
    """How many channels the file of a PIL image has; Pillow may show fewer of a TIFF."""
    samples = image.tag_v2.get(_SAMPLES, 1) if image.format == "TIFF" else 1
    return max(samples, channel_count(image))


def hides_channels(image):
    """Whether Pillow shows one channel of several: the first of a planar TIFF, say, as grey."""
    return channel_count(image) == 1 and stored_channels(image) > 2


def to_array(image, max_pixels=MAX_PIXELS, in_channels=3):
    """Converts a PIL image to uint8 (H, W, in_channels), turned upright by its EXIF.

    Args:
        image: PIL.Image.
        max_pixels: int.
        in_channels: int. 3: RGB, from any mode, grey repeated. 1: grey, colours as their
            luma. Both drop transparency; numbers of more bits are scaled by `to_8_bit`.
            Another number: the channels as they are, such as the four of RGBA or CMYK.

    Raises:
        UserError: if it has too many pixels or other channels, or its file, not yet read, is
            broken.
    """
    name = getattr(image, "filename", "") or "given"
    check_pixels(*image.size, name, max_pixels)
    if in_channels not in CONVERTED:
        check_channels(channel_count(image), in_channels, name)
    if hides_channels(image):
        raise UserError(
            f"Of the image {name}, Pillow shows only one of {stored_channels(image)} channels. "
            "Give the path of its file to what reads files, or an array."
        )
    try:
        image = ImageOps.exif_transpose(image)
    except Exception as error:  # images are decoded late, and raise whatever that leads to
        raise UserError(f"The image {name} can't be read: {error}") from error
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
        values: array (H, W) or (H, W, channels). uint8 stays as it is, bool becomes 0 and 255,
            uint16 is scaled from 0..65535; other integers too if any exceeds 255; floats are
            scaled from 0..1, or from 0..maximum above 255. The channels of an image share one
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
    """Shows uint8 (H, W, channels) as RGB: the first three channels, or the first one repeated.

    Returns:
        uint8 (H, W, 3); the very same array if it has three channels.
    """
    if pixels.shape[2] == 3:
        return pixels
    shown = pixels[..., :3] if pixels.shape[2] > 3 else pixels[..., :1].repeat(3, axis=2)
    return np.ascontiguousarray(shown)

"""Channels of an image: from Pillow's modes and any kind of numbers to uint8 (H, W, channels).

Three channels are colours, RGB; one is grey. Files are read by `utils.images.reading`.
"""

import numpy as np
from PIL import ImageOps
from PIL.ExifTags import Base

from errors import UserError
from utils.images.orientation import stored_view
from utils.images.scaling import to_8_bit

MAX_PIXELS = 500_000_000  # an image of more is refused: 22,360 x 22,360, 1.5 GB as RGB
_LONGEST = 10_000_000  # pixels of a side
_FREE_BYTES = 300_000_000  # that any image may take
CONVERTED = (1, 3)  # channel counts that images of any mode are converted to
_STRIP = 10_000_000  # pixels that are converted at a time
_GREY_MODES = ("1", "L", "LA", "La")
# Tags of TIFF: channels in a pixel, bits of each, kind of its numbers, what they stand for.
_SAMPLES, _BITS, _FORMAT, _PHOTOMETRIC = 277, 258, 339, 262


def check_pixels(width, height, path, max_pixels=MAX_PIXELS):
    """Raises UserError for an image of more than `max_pixels`, before it takes its memory.

    And for one of a side that no decoder takes.
    """
    if width * height > max_pixels:
        raise UserError(
            f"The image {path} has {width}x{height} = {width * height:,} pixels; max_pixels is "
            f"{max_pixels:,}. Raise max_pixels if memory allows (4 bytes per pixel and more), or "
            "cut the image."
        )
    if max(width, height) > _LONGEST:
        raise UserError(
            f"The image {path} has {width}x{height} pixels; sides of up to {_LONGEST:,} are read. "
            "Cut the image."
        )


def check_bytes(size, path, max_pixels=MAX_PIXELS):
    """Raises UserError for an image that takes more memory, decoded, than `max_pixels` of RGB."""
    if size > max(3 * max_pixels, _FREE_BYTES):
        raise UserError(
            f"The image {path} takes {size / 1e9:,.2f} GB when it is decoded; of max_pixels = "
            f"{max_pixels:,}, 3 bytes each are allowed. Save it with 8 bits and without "
            "transparency, raise max_pixels if memory allows, or cut it."
        )


def pixel_bytes(mode):
    """Bytes of a pixel in memory of Pillow's images of a mode."""
    return {"1": 1, "L": 1, "P": 1}.get(mode, 2 if mode.startswith("I;16") else 4)


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


def to_array(image, max_pixels=MAX_PIXELS, in_channels=3, value_range=None):
    """Converts a PIL image to uint8 (H, W, in_channels), turned upright by its EXIF.

    Args:
        image: PIL.Image.
        max_pixels: int.
        in_channels: int. 3: RGB, from any mode, grey repeated. 1: grey, colours as their
            luma. Both drop transparency; numbers of more bits are scaled by
            `utils.images.scaling.to_8_bit`. Another number: the channels as they are, such as the
            four of RGBA or CMYK.
        value_range: as for `utils.images.scaling.to_8_bit`.

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
    if value_range is not None and hides_bits(image):
        raise UserError(
            f"Of the image {name}, Pillow shows only 8 bits of 16, and the network expects "
            f"brightness in {value_range}. Give the path of its file to what reads files."
        )
    inverted = value_range is not None and is_white_at_zero(image)
    try:
        load_image(image)
        if image.width * image.height > _STRIP and not has_numbers(image):
            return _convert_in_strips(image, in_channels)
        image = ImageOps.exif_transpose(image)
    except Exception as error:  # images are decoded late, and raise whatever that leads to
        raise UserError(f"The image {name} can't be read: {error}") from error
    if has_numbers(image):
        pixels = to_8_bit(np.array(image)[..., None], value_range)
        return (255 - pixels if inverted else pixels).repeat(in_channels, axis=2)
    return _convert(image, in_channels)


def _convert_in_strips(image, in_channels):
    """As `_convert` of a large image, upright: neither of these then takes memory of its own."""
    orientation = image.getexif().get(Base.Orientation, 1)
    shape = (image.width, image.height) if orientation >= 5 else (image.height, image.width)
    pixels = np.empty((*shape, in_channels), np.uint8)
    stored = stored_view(pixels, orientation)
    rows = max(_STRIP // image.width, 1)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        stored[top : top + rows] = _convert(strip, in_channels)
    return pixels


def _convert(image, in_channels):
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if in_channels == 3:
        return np.array(image.convert("RGB"))
    if in_channels == 1:
        grey = image if image.mode in _GREY_MODES else image.convert("RGB")
        return np.array(grey.convert("L"))[..., None]
    return np.array(image)


def load_image(image):
    """Decodes a PIL image, if that is still to be done.

    Of a TIFF turned by a quarter, Pillow garbles what it can map into memory instead of reading
    it: it takes the sides of the upright image for those of the stored one.
    """
    turned = image.format == "TIFF" and image.tag_v2.get(Base.Orientation, 1) >= 5
    if not (turned and image.tile):
        image.load()
        return
    name, image.filename = image.filename, ""  # only a file with a name is mapped
    try:
        image.load()
    finally:
        image.filename = name


def has_numbers(image):
    """Whether the pixels of a PIL image are single numbers of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def hides_bits(image):
    """Whether Pillow shows 8 bits of the 16 of a colour image's file."""
    if has_numbers(image):
        return False
    if image.format == "PNG":
        return any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
    return image.format == "TIFF" and _is_deep_tiff(image)


def is_deep(image):
    """Whether the numbers in the file of an opened PIL image are other than 8 bits or fewer."""
    return has_numbers(image) or hides_bits(image)


def _is_deep_tiff(image):
    bits, formats = image.tag_v2.get(_BITS, (1,)), image.tag_v2.get(_FORMAT, (1,))
    return max(bits) > 8 or any(one != 1 for one in formats)


def is_white_at_zero(image):
    """Whether the file of a PIL image says that 0 is white; of 8 bits, Pillow inverts it."""
    return image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0


def to_rgb(pixels):
    """Shows uint8 (H, W, channels) as RGB: the first three channels, or the first one repeated.

    Returns:
        uint8 (H, W, 3); the very same array if it has three channels.
    """
    if pixels.shape[2] == 3:
        return pixels
    shown = pixels[..., :3] if pixels.shape[2] > 3 else pixels[..., :1].repeat(3, axis=2)
    return np.ascontiguousarray(shown)

"""Random changes of an image and its mask together, for training.

Upstream's augmentation at its default strengths. The image is resized by a random scale
and aspect, flipped, moved, cut or padded to the target size, and its colours are changed: of
images with another number of channels than three, which have no hue, only the brightness.
The mask takes exactly the same geometry. Padding is grey in the image, void in the mask.

Source: unet-keras, `get_random_data`. Differs from upstream: the padding of a mask is void
instead of background, sizes are rounded instead of truncated, and the grey of the padding
keeps its value when colours change.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from errors import UserError
from utils.images.transforms import GREY, Box, over_channels, paste, resize_image
from utils.labels import VOID


@dataclass(frozen=True)
class Augment:
    """Strengths of the augmentation; 0 (or scale (1, 1)) switches one off.

    Attributes:
        jitter: the aspect ratio is multiplied by u / v, both from 1 - jitter..1 + jitter.
        scale: (least, most) size of the image, in units of the target size.
        flip: probability of a left-right flip.
        hue, saturation, value: each is multiplied by a factor from 1 - x..1 + x. Hue and
            saturation are those of RGB, and pass over images with other channels.
    """

    jitter: float = 0.3
    scale: tuple[float, float] = (0.25, 2.0)
    flip: float = 0.5
    hue: float = 0.1
    saturation: float = 0.7
    value: float = 0.3

    def __post_init__(self):
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UserError(f"scale must be (least, most), both above 0; got {self.scale}.")
        if not 0 <= self.flip <= 1:
            raise UserError(f"flip is a probability, 0 to 1; got {self.flip}.")
        for name in ("jitter", "hue", "saturation", "value"):
            strength = getattr(self, name)
            if not 0 <= strength < 1:
                raise UserError(f"{name} must be at least 0 and below 1; got {strength}.")

    def __call__(self, image, mask, size, rng):
        """Augments one sample.

        Args:
            image: uint8 (H, W, channels); three are RGB.
            mask: uint8 (H, W).
            size: (height, width) of the result.
            rng: numpy.random.Generator; the only source of randomness.

        Returns:
            (uint8 (height, width, channels), uint8 (height, width) with 255 in the padding).
        """
        scaled = self._scaled_size(image.shape[:2], size, rng)
        flipped = rng.random() < self.flip
        top = round(rng.random() * (size[0] - scaled[0]))
        left = round(rng.random() * (size[1] - scaled[1]))
        factors = 1 + rng.uniform(-1, 1, 3) * (self.hue, self.saturation, self.value)
        offset = (top, left)
        box = _visible_box(scaled, offset, size)
        image = _place_image(image, scaled, offset, box, flipped)
        mask = _place_mask(mask, scaled, offset, box, flipped)
        image = change_colors(image, factors)
        return paste(image, box, size, GREY), paste(mask, box, size, VOID)

    def _scaled_size(self, image, target, rng):
        """Draws the size, (height, width), that the whole image is resized to."""
        aspect = image[1] / image[0]
        aspect *= rng.uniform(1 - self.jitter, 1 + self.jitter)
        aspect /= rng.uniform(1 - self.jitter, 1 + self.jitter)
        scale = rng.uniform(*self.scale)
        # Differs from upstream, which compares with 1 and so cuts off parts of non-square targets.
        if aspect < target[1] / target[0]:
            height = scale * target[0]
            width = height * aspect
        else:
            width = scale * target[1]
            height = width / aspect
        return max(round(height), 1), max(round(width), 1)


def _visible_box(scaled, offset, target):
    """Where the part of the image that can be seen lies on the canvas."""
    start = [max(shift, 0) for shift in offset]
    stop = [
        min(shift + full, side) for shift, full, side in zip(offset, scaled, target, strict=True)
    ]
    return Box(start[0], start[1], stop[0] - start[0], stop[1] - start[1])


def _place_image(image, scaled, offset, box, flipped):
    """Resizes an image to `scaled`, flips it, and cuts out what lies in `box`.

    Where it grows, only the visible part is made, by one affine warp; where it shrinks, the
    whole is made by area averaging, against aliasing.
    """
    height, width = image.shape[:2]
    if scaled[0] < height or scaled[1] < width:
        image = resize_image(image, scaled)
        if flipped:
            image = over_channels(lambda part: cv2.flip(part, 1), image)
        top, left = box.top - offset[0], box.left - offset[1]
        return image[top : top + box.height, left : left + box.width]
    step_y, step_x = height / scaled[0], width / scaled[1]
    # Pixel centres: output x lies at (x + shift + 0.5) * step - 0.5 of the source.
    start_y = (box.top - offset[0] + 0.5) * step_y - 0.5
    start_x = (box.left - offset[1] + 0.5) * step_x - 0.5
    if flipped:
        step_x, start_x = -step_x, width - 1 - start_x
    matrix = np.array([[step_x, 0, start_x], [0, step_y, start_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def warp(part):
        return cv2.warpAffine(
            part, matrix, (box.width, box.height), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )

    return over_channels(warp, image)


def _place_mask(mask, scaled, offset, box, flipped):
    """Does to class ids what `_place_image` does to the image: the nearest id each."""
    rows = _nearest(mask.shape[0], scaled[0], box.top - offset[0], box.height)
    columns = _nearest(mask.shape[1], scaled[1], box.left - offset[1], box.width)
    if flipped:
        columns = mask.shape[1] - 1 - columns
    return mask[rows].take(columns, axis=1)


def _nearest(source, scaled, first, count):
    """Source indices of `count` pixels from `first` on, when `source` pixels become `scaled`."""
    centres = (np.arange(first, first + count) + 0.5) * (source / scaled)
    return np.minimum(centres.astype(np.intp), source - 1)


def change_colors(image, factors):
    """Multiplies hue, saturation and value of an image by three factors.

    Hue wraps around; saturation and value are clipped.

    Args:
        image: uint8 (H, W, 3) RGB; or with other channels, of which each is multiplied by the
            factor of the value alone.
        factors: (hue, saturation, value).
    """
    levels = np.arange(256)
    brightness = np.rint(np.clip(levels * factors[2], 0, 255)).astype(np.uint8)
    if image.shape[2] != 3:
        return cv2.LUT(image, brightness).reshape(image.shape)
    table = np.empty((1, 256, 3), np.uint8)
    table[0, :, 0] = np.rint(levels * factors[0]) % 180
    table[0, :, 1] = np.rint(np.clip(levels * factors[1], 0, 255))
    table[0, :, 2] = brightness
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)

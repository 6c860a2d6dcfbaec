"""Random changes of a picture and its mask together, for training.

Upstream's augmentation at its default strengths. The picture is resized by a random scale
and aspect, flipped, moved, cut or padded to the target size, and its colours are changed.
The mask takes exactly the same geometry. Padding is grey in the picture, void in the mask.

Source: unet-keras, `get_random_data`. Differs from upstream: the padding of a mask is void
instead of background, sizes are rounded instead of truncated, and the grey of the padding
keeps its value when colours change.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from errors import UserError
from utils.image import GREY, Box, paste, resize_image, resize_mask
from utils.metrics import VOID


@dataclass(frozen=True)
class Augment:
    """Strengths of the augmentation; 0 (or scale (1, 1)) switches one off.

    Attributes:
        jitter: the aspect ratio is multiplied by u / v, both from 1 - jitter..1 + jitter.
        scale: (least, most) size of the picture, in units of the target size.
        flip: probability of a left-right flip.
        hue, saturation, value: each is multiplied by a factor from 1 - x..1 + x.
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
            image: uint8 (H, W, 3) RGB.
            mask: uint8 (H, W).
            size: (height, width) of the result.
            rng: numpy.random.Generator; the only source of randomness.

        Returns:
            (uint8 (height, width, 3), uint8 (height, width) with 255 in the padding).
        """
        scaled = self._scaled_size(image.shape[:2], size, rng)
        flipped = rng.random() < self.flip
        top = round(rng.random() * (size[0] - scaled[0]))
        left = round(rng.random() * (size[1] - scaled[1]))
        factors = 1 + rng.uniform(-1, 1, 3) * (self.hue, self.saturation, self.value)
        if flipped:
            image, mask = image[:, ::-1], mask[:, ::-1]
        image, box = _visible_part(image, scaled, (top, left), size, resize_image)
        mask, _ = _visible_part(mask, scaled, (top, left), size, resize_mask)
        image = change_colors(image, factors)
        return paste(image, box, size, GREY), paste(mask, box, size, VOID)

    def _scaled_size(self, picture, target, rng):
        """Draws the size, (height, width), that the whole picture is resized to."""
        aspect = picture[1] / picture[0]
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


def _visible_part(array, scaled, offset, target, resize):
    """Resizes to `scaled` and cuts out what lies on the canvas at `offset`.

    Returns:
        (array, Box): the visible part and where it lies on the canvas.
    """
    start = [max(-shift, 0) for shift in offset]  # first visible row and column
    stop = [
        min(full, side - shift) for full, side, shift in zip(scaled, target, offset, strict=True)
    ]
    resized = resize(np.ascontiguousarray(array), scaled)
    part = resized[start[0] : stop[0], start[1] : stop[1]]
    top, left = (max(shift, 0) for shift in offset)
    return part, Box(top, left, *part.shape[:2])


def change_colors(image, factors):
    """Multiplies hue, saturation and value of uint8 RGB by three factors.

    Hue wraps around; saturation and value are clipped.
    """
    levels = np.arange(256)
    table = np.empty((1, 256, 3), np.uint8)
    table[0, :, 0] = np.rint(levels * factors[0]) % 180
    table[0, :, 1] = np.rint(np.clip(levels * factors[1], 0, 255))
    table[0, :, 2] = np.rint(np.clip(levels * factors[2], 0, 255))
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)

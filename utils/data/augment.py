"""Random changes of an image and its mask together, for training.

Upstream's augmentation at its default strengths. The image is resized by a random scale
and aspect, flipped, moved, cut or padded to the target size, and its colours are changed: of
images with another number of channels than three, which have no hue, only the brightness.
The mask takes exactly the same geometry. Padding is grey in the image, void in the mask.

What upstream doesn't have is off by default: other turns and flips, elastic deformation, crops
around rare classes, and what spoils an image but not its mask (`utils.data.degrade`).

Source: unet-keras, `get_random_data`. Differs from upstream: the padding of a mask is void
instead of background, sizes are rounded instead of truncated, and the grey of the padding
keeps its value when colours change.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from errors import UserError
from utils.data.degrade import cut_out, degrade
from utils.images.transforms import GREY, Box, over_channels, paste, resize_image
from utils.labels import VOID

_PROBABILITIES = ("flip", "flip_vertical", "quarter_turn", "rare_crops")
_BELOW_ONE = (
    "jitter", "hue", "saturation", "value", "contrast", "low_resolution", "elastic", "cutout",
)  # fmt: skip
_FROM_ZERO = ("rotation", "blur", "noise", "gamma")
_ELASTIC_GRID = 3  # displacements along a side, as in the U-Net paper
_MOST_CHANNELS = 4  # that OpenCV copies by a mask
_LONGEST = 32_000  # pixels along a side of an image that OpenCV reads at places


@dataclass(frozen=True)
class Augment:
    """Strengths of the augmentation; 0 (or scale (1, 1)) switches one off.

    Attributes:
        jitter: the aspect ratio is multiplied by u / v, both from 1 - jitter..1 + jitter.
        scale: (least, most) size of the image, in units of the target size.
        flip: probability of a left-right flip.
        hue, saturation, value: each is multiplied by a factor from 1 - x..1 + x. Hue and
            saturation are those of RGB, and pass over images with other channels.
        flip_vertical: probability of an up-down flip.
        quarter_turn: probability of a turn by 90, 180 or 270 degrees.
        rotation: the image is turned by an angle from -rotation..rotation, degrees.
        elastic: standard deviation of the displacements on a grid of 3x3 points, between
            which they are interpolated by cubic functions; in units of the target's shorter side.
        rare_crops: probability that the target must hold a certain pixel: of a class drawn in
            inverse proportion to its pixels in this mask.
        blur, noise, gamma, contrast, low_resolution, cutout: as for `utils.data.degrade`.

    Source: elastic deformation: Ronneberger et al. 2015, arXiv:1505.04597, 3.1.
    """

    jitter: float = 0.3
    scale: tuple[float, float] = (0.25, 2.0)
    flip: float = 0.5
    hue: float = 0.1
    saturation: float = 0.7
    value: float = 0.3
    flip_vertical: float = 0.0
    quarter_turn: float = 0.0
    rotation: float = 0.0
    elastic: float = 0.0
    rare_crops: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    gamma: float = 0.0
    contrast: float = 0.0
    low_resolution: float = 0.0
    cutout: float = 0.0

    def __post_init__(self):
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UserError(f"scale must be (least, most), both above 0; got {self.scale}.")
        for name in _PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is a probability, 0 to 1; got {getattr(self, name)}.")
        for name in _BELOW_ONE:
            strength = getattr(self, name)
            if not 0 <= strength < 1:
                raise UserError(f"{name} must be at least 0 and below 1; got {strength}.")
        for name in _FROM_ZERO:
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"{name} must be at least 0; got {getattr(self, name)}.")
        if self.rotation > 180:
            raise UserError(f"rotation is at most 180 degrees each way; got {self.rotation}.")

    def __call__(self, image, mask, size, rng):
        """Augments one sample.

        Args:
            image: uint8 (H, W, channels); three are RGB.
            mask: uint8 (H, W).
            size: (height, width) of the result.
            rng: numpy.random.Generator; the only source of randomness. What is off draws
                nothing from it.

        Returns:
            (uint8 (height, width, channels), uint8 (height, width) with 255 in the padding).
        """
        turns = rng.integers(1, 4) if _happens(self.quarter_turn, rng) else 0
        if turns % 2:
            size = size[::-1]
        scaled = self._scaled_size(image.shape[:2], size, rng)
        flipped = rng.random() < self.flip
        focus = self._draw_focus(mask, scaled, flipped, rng)
        offset = tuple(
            _draw_offset(part, side, at, rng)
            for part, side, at in zip(scaled, size, focus or (None, None), strict=True)
        )
        factors = 1 + rng.uniform(-1, 1, 3) * (self.hue, self.saturation, self.value)
        if self.rotation or self.elastic:
            image, mask, outside = self._warp(
                image, mask, size, scaled, offset, flipped, focus, rng
            )
            image = degrade(change_colors(image, factors), self, rng)
            _fill(image, outside, GREY)
            _fill(mask, outside, VOID)
        else:
            box = _visible_box(scaled, offset, size)
            image = _place_image(image, scaled, offset, box, flipped)
            mask = _place_mask(mask, scaled, offset, box, flipped)
            image = degrade(change_colors(image, factors), self, rng)
            image, mask = paste(image, box, size, GREY), paste(mask, box, size, VOID)
        if self.cutout:
            image = cut_out(image, self.cutout, rng)
        if _happens(self.flip_vertical, rng):
            image, mask = image[::-1], mask[::-1]
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
        return np.ascontiguousarray(image), np.ascontiguousarray(mask)

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

    def _draw_focus(self, mask, scaled, flipped, rng):
        """A pixel of the resized, flipped image that must be seen, (row, column); or None."""
        if not _happens(self.rare_crops, rng):
            return None
        pixels = cv2.calcHist([mask], [0], None, [VOID + 1], [0, VOID + 1]).ravel()[:VOID]
        present = np.flatnonzero(pixels)
        if not len(present):
            return None
        shares = 1 / pixels[present]
        chosen = rng.choice(present, p=shares / shares.sum())
        places = np.flatnonzero(mask == chosen)
        place = places[rng.integers(len(places))]
        row, column = divmod(int(place), mask.shape[1])
        if flipped:
            column = mask.shape[1] - 1 - column
        return tuple(
            (at + 0.5) * new / old
            for at, new, old in zip((row, column), scaled, mask.shape, strict=True)
        )

    def _warp(self, image, mask, size, scaled, offset, flipped, focus, rng):
        """Resizes, flips, moves, turns and bends at once.

        Returns:
            (image, mask, outside): of the target's size; bool (height, width), what lies outside
            of the image and has no meaning.
        """
        # Where target pixels lie in the resized image: turn @ (row, column) + shift, from 0 at the
        # outer edge of its first pixel.
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation)) if self.rotation else 0.0
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        # What must be seen stays where it is, and the rest turns around it.
        pivot = np.array(size) / 2 if focus is None else np.add(focus, offset)
        shift = pivot - turn @ pivot - offset
        if flipped:
            turn[1], shift[1] = -turn[1], scaled[1] - shift[1]
        bends = None
        if self.elastic:
            grid = rng.normal(0, self.elastic * min(size), (_ELASTIC_GRID, _ELASTIC_GRID, 2))
            bends = cv2.resize(grid.astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
        if scaled[0] < image.shape[0] or scaled[1] < image.shape[1]:  # averaged against aliasing
            image = resize_image(image, scaled)
        places = _places(size, turn, shift, bends, np.divide(image.shape[:2], scaled))
        outside = _outside(places, image.shape)
        found = _sample(image, places, cv2.INTER_LINEAR)
        if mask.shape != image.shape[:2]:
            places = _places(size, turn, shift, bends, np.divide(mask.shape, scaled))
        return found, _sample(mask, places, cv2.INTER_NEAREST), outside


def _happens(probability, rng):
    """Draws whether something happens; what never does draws nothing."""
    return probability > 0 and rng.random() < probability


def _draw_offset(scaled, side, focus, rng):
    """Draws where an image begins along an axis of the target, so that `focus` is seen."""
    room = side - scaled
    if focus is None:
        return round(rng.random() * room)
    least, most = sorted((0, room))
    least, most = max(least, round(0.5 - focus)), min(most, round(side - 0.5 - focus))
    return int(rng.integers(least, most + 1)) if least < most else most


def _places(size, turn, shift, bends, step):
    """Where the centres of target pixels lie in an array, which is `step` times the resized image.

    Args:
        size: (height, width) of the target.
        turn, shift: (2, 2) and (2,), see `Augment._warp`.
        bends: float32 (height, width, 2), displacements in pixels of the resized image; or None.
        step: (2,), by rows and columns.

    Returns:
        [rows, columns], float32 (height, width) each, from 0 at the centre of the first pixel.
    """
    down, right = (np.arange(side) + 0.5 for side in size)
    places = []
    for axis in (0, 1):
        of_rows = step[axis] * (turn[axis, 0] * down + shift[axis]) - 0.5
        of_columns = step[axis] * turn[axis, 1] * right
        place = np.add.outer(of_rows.astype(np.float32), of_columns.astype(np.float32))
        if bends is not None:
            place += np.float32(step[axis]) * bends[..., axis]
        places.append(place)
    return places


def _outside(places, shape):
    """Which places lie beyond the outer pixels' edges of an array, as bool (height, width)."""
    outside = np.zeros(places[0].shape, bool)
    for place, side in zip(places, shape, strict=False):
        outside |= np.abs(place - np.float32((side - 1) / 2)) > side / 2
    return outside


def _fill(array, where, value):
    """Sets pixels of uint8 (H, W, channels) or (H, W), in place."""
    if array.ndim == 3 and array.shape[2] > _MOST_CHANNELS:
        array[where] = value
    else:  # fifty times as fast
        cv2.copyTo(np.full_like(array, value), where.view(np.uint8), array)


def _sample(array, places, interpolation):
    """Reads an array, uint8 (H, W, channels) or (H, W), at places; beyond it its outer pixels."""
    if max(array.shape[:2]) > _LONGEST:
        parts = []
        for place, side in zip(places, array.shape, strict=False):
            first = int(np.clip(place.min(), 0, side - 1))
            last = int(np.clip(place.max(), 0, side - 1)) + 2
            parts.append((place - np.float32(first), slice(first, last)))
        places = [place for place, _ in parts]
        array = np.ascontiguousarray(array[parts[0][1], parts[1][1]])
    rows, columns = places

    def remap(part):
        return cv2.remap(part, columns, rows, interpolation, borderMode=cv2.BORDER_REPLICATE)

    return over_channels(remap, array).reshape(*rows.shape, *array.shape[2:])


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

    Returns:
        uint8 of the same shape; the very same array if all factors are 1.
    """
    if np.all(np.equal(factors, 1)):  # the way to 8-bit hues and back would change it
        return image
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

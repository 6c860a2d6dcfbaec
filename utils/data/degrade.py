"""What spoils an image without moving anything: its mask stays as it is.

Each is drawn with a strength up to the setting's, and all but gamma and contrast happen to half of
the images only, so that good images are seen too. The settings are those of
`utils.data.augment.Augment`:

    gamma           exponent of the brightness, from 1 / (1 + gamma) to 1 + gamma
    contrast        distances from the mean are multiplied by 1 - contrast..1 + contrast
    blur            standard deviation of a Gaussian blur, pixels
    low_resolution  share of the resolution that is lost
    noise           standard deviation of Gaussian noise, grey levels of 255
    cutout          side of a grey rectangle, in units of the image's; the mask keeps its classes
"""

from statistics import NormalDist

import cv2
import numpy as np

from utils.images.transforms import GREY, over_channels, resize_image

_PROBABILITY = 0.5
_NORMAL = np.array([NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)])
_NORMAL /= _NORMAL.std()


def degrade(image, strengths, rng):
    """Applies all but the cut-out.

    Args:
        image: uint8 (H, W, channels); not changed.
        strengths: `utils.data.augment.Augment`, or anything with its attributes.
        rng: numpy.random.Generator. What is off draws nothing from it.

    Returns:
        uint8 (H, W, channels).
    """
    if strengths.gamma or strengths.contrast:
        image = change_tones(image, strengths.gamma, strengths.contrast, rng)
    if _chosen(strengths.blur, rng):
        image = blur(image, rng.uniform(0, strengths.blur))
    if _chosen(strengths.low_resolution, rng):
        image = lower_resolution(image, 1 - rng.uniform(0, strengths.low_resolution))
    if _chosen(strengths.noise, rng):
        image = add_noise(image, rng.uniform(0, strengths.noise), rng)
    return image


def _chosen(strength, rng):
    """Draws whether an image is one of the half that is changed; at strength 0 draws nothing."""
    return strength > 0 and rng.random() < _PROBABILITY


def change_tones(image, gamma, contrast, rng):
    """Draws an exponent and a contrast, and applies both by one table for all channels."""
    exponent = (1 + gamma) ** rng.uniform(-1, 1)
    factor = 1 + rng.uniform(-1, 1) * contrast
    levels = 255 * (np.arange(256) / 255) ** exponent
    flat = image.reshape(len(image), -1)
    mean = (cv2.calcHist([flat], [0], None, [256], [0, 256]).ravel() @ levels) / image.size
    table = np.rint(np.clip((levels - mean) * factor + mean, 0, 255)).astype(np.uint8)
    return cv2.LUT(image, table).reshape(image.shape)


def blur(image, sigma):
    """Gaussian blur; the border is mirrored."""
    if sigma < 0.1:  # less than a hundredth of a pixel's light moves
        return image

    def soften(part):
        return cv2.GaussianBlur(part, (0, 0), sigma)

    return over_channels(soften, image).reshape(image.shape)


def lower_resolution(image, share):
    """Shrinks an image to a share of its size and back: averaged, then nearest pixels."""
    height, width = image.shape[:2]
    small = resize_image(image, (max(round(height * share), 1), max(round(width * share), 1)))

    def enlarge(part):
        return cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

    return over_channels(enlarge, small).reshape(image.shape)


def add_noise(image, sigma, rng):
    """Adds Gaussian noise, of its own in each pixel and channel; clips at 0 and 255.

    It has 256 levels, equally probable: a byte draws one, ten times as fast as a float.
    """
    flat = image.reshape(len(image), -1)
    drawn = np.frombuffer(rng.bytes(flat.size), np.uint8).reshape(flat.shape)
    noise = cv2.LUT(drawn, (sigma * _NORMAL).astype(np.float32))
    return cv2.add(flat, noise, dtype=cv2.CV_8U).reshape(image.shape)


def cut_out(image, largest, rng):
    """Fills a rectangle of half of the images with grey; what was there must be guessed.

    Args:
        image: uint8 (H, W, channels).
        largest: float, its longest height and width in units of the image's.
        rng: numpy.random.Generator.
    """
    if not _chosen(largest, rng):
        return image
    height, width = (max(round(side * rng.uniform(0, largest)), 1) for side in image.shape[:2])
    top = rng.integers(0, image.shape[0] - height + 1)
    left = rng.integers(0, image.shape[1] - width + 1)
    image = image.copy()
    image[top : top + height, left : left + width] = GREY
    return image

"""Images that are drawn, for trying things out where there are none."""

import cv2
import numpy as np

_CELL, _NUCLEUS = 1, 2


def draw_cells(size, rng):
    """Draws an image of cells with nuclei, as a microscope might show them.

    The light is uneven and the image noisy, cells touch, and cells, nuclei and debris
    share their range of brightness: shape and surroundings tell them apart, no threshold.

    Args:
        size: (height, width).
        rng: numpy.random.Generator.

    Returns:
        (uint8 (height, width, 3) RGB, uint8 (height, width) of 0 background, 1 cell,
        2 nucleus).
    """
    height = size[0]
    light = _smooth_noise(size, height / 3, rng)
    image = 110 + 45 * light
    mask = np.zeros(size, np.uint8)
    for _ in range(rng.integers(3, 6)):  # out-of-focus debris: bright or dark, but no cell
        debris = _blob(size, rng.uniform((0, 0), size), rng.uniform(0.02, 0.05) * height, rng)
        image += cv2.GaussianBlur(debris.astype(np.float64), (0, 0), 2) * rng.choice((-40, 40))
    for _ in range(rng.integers(5, 10)):
        center = rng.uniform((0, 0), size)
        radius = rng.uniform(0.1, 0.2) * height
        cell = _blob(size, center, radius, rng)
        nucleus = _blob(size, center + rng.normal(0, radius / 8, 2), radius * 0.45, rng) & cell
        tone = rng.uniform(18, 36)
        texture = _smooth_noise(size, 2, rng)
        image = np.where(cell, 110 + 45 * light + tone + 6 * texture, image)
        rim = cell & ~cv2.erode(cell.astype(np.uint8), np.ones((3, 3))).astype(bool)
        image[rim] -= 30
        image[nucleus] -= tone + rng.uniform(18, 32)
        mask[cell] = _CELL
        mask[nucleus] = _NUCLEUS
    image = cv2.GaussianBlur(image, (0, 0), 0.8) + rng.normal(0, 7, size)
    tinted = image[..., None] * np.array((1.04, 0.92, 1.08))
    return np.clip(np.rint(tinted), 0, 255).astype(np.uint8), mask


def _smooth_noise(size, scale, rng):
    """Random hills of about `scale` pixels, with mean 0 and standard deviation 1."""
    noise = cv2.GaussianBlur(rng.standard_normal(size), (0, 0), scale)
    return (noise - noise.mean()) / noise.std()


def _blob(size, center, radius, rng):
    """A filled, wobbly ellipse as bool (H, W)."""
    rows, columns = np.indices(size, dtype=np.float64)
    rows, columns = rows - center[0], columns - center[1]
    angle = np.arctan2(rows, columns)
    wobble = sum(
        rng.normal(0, 0.1 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
        for order in (2, 3, 5)
    )
    return np.hypot(rows, columns) < radius * (1 + wobble)

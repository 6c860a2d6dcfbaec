"""How a prediction is drawn on the page: layers, opacity, colours, classes that are hidden."""

import re
from typing import NamedTuple

import cv2
import numpy as np

from errors import UserError
from utils.images.transforms import resize_mask
from utils.prediction.draw import OPACITY, draw_mask
from webapp.predict_run import Layers

CLASSES, CONFIDENCE = "Classes", "Confidence"
_MOST = 1600  # pixels of the longest side of what the page shows
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_RGB = re.compile(r"rgba?\(([\d.]+), *([\d.]+), *([\d.]+)(?:, *[\d.]+)?\)")


class Look(NamedTuple):
    """What of a prediction is seen.

    Attributes:
        layer: CLASSES or CONFIDENCE.
        opacity: float, 0 to 1.
        outlines: bool, whether regions are outlined too.
        classes: list of int, the classes that are shown; None: all.
    """

    layer: str = CLASSES
    opacity: float = OPACITY
    outlines: bool = False
    classes: list | None = None


def draw(layers, colors, look):
    """Draws a prediction over its image.

    Args:
        layers: Layers.
        colors: uint8 (256, 3).
        look: Look.

    Returns:
        uint8 (H, W, 3), a new array.
    """
    shown = _only(layers.mask, look.classes)
    if look.layer == CONFIDENCE:
        heat = cv2.applyColorMap(layers.confidence, cv2.COLORMAP_VIRIDIS)
        heat = cv2.cvtColor(heat, cv2.COLOR_BGR2RGB)
        drawn = cv2.addWeighted(layers.image, 1 - look.opacity, heat, look.opacity, 0)
    else:
        drawn = draw_mask(layers.image, shown, colors, opacity=look.opacity)
    if look.outlines:
        draw_mask(drawn, shown, colors, mix_type=3, out=drawn)
    return drawn


def _only(mask, classes):
    """The mask without the classes that are not among these."""
    if classes is None:
        return mask
    table = np.zeros(256, np.uint8)
    table[classes] = classes
    return table[mask]


def reduced(layers):
    """The Layers at a size that suits a window, if they are larger."""
    height, width = layers.mask.shape
    share = _MOST / max(height, width)
    if share >= 1:
        return layers
    size = max(1, round(height * share)), max(1, round(width * share))
    image = cv2.resize(layers.image, size[::-1], interpolation=cv2.INTER_AREA)
    return Layers(image, resize_mask(layers.mask, size), resize_mask(layers.confidence, size))


def parse_color(text):
    """(red, green, blue) of what a colour picker gives: "#ff8000" or "rgb(255, 128, 0)".

    Raises:
        UserError: for anything else.
    """
    text = text or ""
    if _HEX.fullmatch(text):
        return tuple(bytes.fromhex(text[1:]))
    found = _RGB.fullmatch(text)
    values = [round(float(one)) for one in found.groups()] if found else []
    if not found or max(values) > 255:
        raise UserError(f"{text!r} is no colour. Expected one such as #ff8000.")
    return tuple(values)


def format_color(color):
    """The colour as a picker takes it, such as "#ff8000"."""
    return "#" + bytes(map(int, color)).hex()

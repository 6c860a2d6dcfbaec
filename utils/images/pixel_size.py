"""How large a pixel is, as TIFF files of microscopes and of ImageJ say it.

Source: the TIFF 6.0 specification (XResolution, ResolutionUnit); ImageJ's `unit=` in the
description, whose resolution is in pixels per unit; the OME-XML schema (PhysicalSizeX).
"""

import math
from typing import NamedTuple
from xml.etree import ElementTree

from utils.images.tiff import is_tiff, opened_tiff

# Units as these programs write them, in micrometres.
_MICROMETRES = {
    "nm": 1e-3, "um": 1.0, "\u00b5m": 1.0, "\u03bcm": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25_400.0, "in": 25_400.0,
}  # fmt: skip
_TAG_UNITS = {2: "inch", 3: "cm"}  # values of the tag ResolutionUnit
# Dots per inch that programs write for the printer, whatever the image shows.
_OF_PRINT = (72, 75, 96, 100, 120, 144, 150, 180, 200, 240, 300, 350, 360, 400, 600, 1200, 2400)
_SAME = 0.01  # sides that differ by less are equal


class PixelSize(NamedTuple):
    """The side of a pixel.

    Attributes:
        micrometres: float.
        source: str, what says so.
    """

    micrometres: float
    source: str


def read_pixel_size(path):
    """Reads how large a pixel is.

    OME-XML comes first, then ImageJ's description, then the tags alone. The tags are passed over
    where they are a resolution for print, such as 72 or 300 dots an inch.

    Args:
        path: of an image file of any kind.

    Returns:
        PixelSize; None if the file does not say it, is no TIFF, or its pixels are not square.
    """
    if not is_tiff(path):
        return None
    try:
        with opened_tiff(path) as file:
            for source, find in _WAYS.items():
                sides = find(file)
                if sides is not None:
                    return _square(sides, source)
    except ValueError:  # it is broken, which reading it tells
        pass
    return None


def _square(sides, source):
    width, height = sides
    if not all(side > 0 and math.isfinite(side) for side in sides):
        return None
    return PixelSize(width, source) if abs(width - height) <= _SAME * width else None


def _by_ome(file):
    if not file.ome_metadata:
        return None
    for element in ElementTree.fromstring(file.ome_metadata).iter():
        if element.tag.rpartition("}")[2] != "Pixels":
            continue
        sides = []
        for axis in "XY":
            size = element.get(f"PhysicalSize{axis}")
            unit = _MICROMETRES.get(element.get(f"PhysicalSize{axis}Unit", "\u00b5m"))
            if size is None or unit is None:
                return None
            sides.append(float(size) * unit)
        return sides
    return None


def _by_imagej(file):
    unit = str((file.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "\u00b5")
    sides = _sides(file, _MICROMETRES.get(unit))
    return _unless_for_print(sides) if unit in ("in", "inch") else sides


def _by_tags(file):
    if file.is_imagej:  # there they are in the unit of the description
        return None
    tag = file.pages.first.tags.get("ResolutionUnit")
    unit = _TAG_UNITS.get(int(tag.value)) if tag else None
    return _unless_for_print(_sides(file, _MICROMETRES.get(unit)))


def _unless_for_print(sides):
    if sides is None:
        return None
    dots = _MICROMETRES["inch"] / sides[0]
    return None if any(abs(dots - one) < 0.005 * one for one in _OF_PRINT) else sides


def _sides(file, unit):
    """Width and height of a pixel by the resolution, in micrometres; None if there is none."""
    tags = [file.pages.first.tags.get(f"{axis}Resolution") for axis in "XY"]
    if unit is None or None in tags:
        return None
    found = []
    for tag in tags:
        pixels, units = tag.value
        if not pixels or not units:
            return None
        found.append(unit * units / pixels)
    return found


_WAYS = {
    "OME-XML": _by_ome,
    "ImageJ's description": _by_imagej,
    "the tags XResolution and ResolutionUnit": _by_tags,
}

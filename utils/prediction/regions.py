"""The regions of a mask: found, measured, and written as a table."""

import csv
import math
from typing import NamedTuple

import cv2
import numpy as np

from errors import UserError
from utils.files import csv_text, whole_file
from utils.prediction.draw import pixels_of_values

_MEASURES = ("centroid_x", "centroid_y", "left", "top", "width", "height")


class Region(NamedTuple):
    """Pixels of one class that hang together, by edges or corners. All in pixels.

    Attributes:
        class_id: int.
        number: int, counted from 1 within the class.
        area: int, pixels that belong to it.
        centroid_x, centroid_y: float, the mean column and row of its pixels: 0 is the centre
            of the image's first pixel.
        left, top: int, its first column and row, counted from 0.
        width, height: int, columns and rows that it spans.
    """

    class_id: int
    number: int
    area: int
    centroid_x: float
    centroid_y: float
    left: int
    top: int
    width: int
    height: int


def find_regions(mask, num_classes):
    """Finds the regions of all classes, the background (0) too.

    Args:
        mask: uint8 (H, W). Values from num_classes on, such as void (255), are not classes.
        num_classes: int.

    Returns:
        list of Region by class; within a class, as one comes upon them reading the image
        row by row.
    """
    counts = pixels_of_values(mask, minlength=num_classes)[:num_classes]
    regions = []
    for class_id in map(int, np.flatnonzero(counts)):
        found = sorted(_find_regions_of(mask == class_id))
        regions += [
            Region(class_id, number, *measures) for number, (_, measures) in enumerate(found, 1)
        ]
    return regions


def _find_regions_of(is_class):
    """(first pixel, (area, centroid x and y, left, top, width, height)) of each region."""
    _, labels, stats, centroids = cv2.connectedComponentsWithStats(
        is_class.view(np.uint8), connectivity=8
    )
    # The first label is the rest of the image.
    for label, (row, centroid) in enumerate(zip(stats[1:], centroids[1:], strict=True), 1):
        left, top, width, height, area = row.tolist()
        first = left + int(np.argmax(labels[top, left : left + width] == label))
        yield (top, first), (area, *centroid.tolist(), left, top, width, height)


def check_pixel_size(pixel_size):
    """Raises UserError unless `pixel_size` is None or a length above 0."""
    if pixel_size is not None and not (pixel_size > 0 and math.isfinite(pixel_size)):
        raise UserError(
            f"pixel_size must be above 0; got {pixel_size}. It is the length of a pixel's side "
            "in your unit: 0.5 if a pixel is half a micrometre, or half a metre, wide."
        )


def write_regions(path, images, names, pixel_size=None):
    """Writes one row a region as CSV, for Excel and everything else.

    Columns whose names end in `_px` are in pixels, as in `Region`. With `pixel_size` the same
    follow in the unit that it is given in: lengths and positions (`_units`) are the pixels
    times pixel_size, areas (`_units2`) the pixels times its square.

    Args:
        path: str or Path of the file; nothing is left there if `images` fails.
        images: iterable of (image's name, iterable of Region); may be a generator, of
            which one image at a time is held.
        names: one name per class.
        pixel_size: float, length of a pixel's side in units of the user's choice, or None.

    Raises:
        UserError: if pixel_size is not above 0.
        OSError: if the file can't be written.
    """
    check_pixel_size(pixel_size)
    header = ["picture", "class_id", "class", "region"]
    header += ["area_px", *(f"{measure}_px" for measure in _MEASURES)]
    if pixel_size is not None:
        header += ["area_units2", *(f"{measure}_units" for measure in _MEASURES)]
    with (
        whole_file(path) as temporary,
        # The BOM is for Excel. File names need not be valid Unicode on Linux.
        open(temporary, "w", newline="", encoding="utf-8-sig", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        for image, regions in images:
            writer.writerows(_row(image, region, names, pixel_size) for region in regions)


def _row(image, region, names, pixel_size):
    lengths = [getattr(region, measure) for measure in _MEASURES]
    name = csv_text(names[region.class_id])
    row = [csv_text(image), region.class_id, name, region.number, region.area]
    row += [round(length, 3) for length in lengths]
    if pixel_size is not None:
        values = [region.area * pixel_size**2, *(length * pixel_size for length in lengths)]
        row += [f"{value:.9g}" for value in values]
    return row

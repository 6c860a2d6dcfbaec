"""The regions of a mask: found, numbered, measured, and written as a table."""

import csv
import math
from typing import NamedTuple

import cv2
import numpy as np

from errors import UserError
from utils.files import csv_text, whole_file
from utils.prediction.draw import pixels_of_values
from utils.prediction.measures import means, perimeters

_LENGTHS = ("centroid_x", "centroid_y", "left", "top", "width", "height", "perimeter")
OWN_UNIT = "units"  # the user's own


class Part(NamedTuple):
    """Pixels of one class that hang together, by edges or corners, before they are measured.

    Attributes:
        class_id, area: int.
        first: (row, column) of its first pixel, row by row.
        centroid: (column, row), the mean of its pixels.
        box: (left, top, width, height).
    """

    class_id: int
    area: int
    first: tuple
    centroid: tuple
    box: tuple


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
        perimeter: float, length of its outline, with those of its holes, by Crofton's formula: in
            each of four directions, along rows, columns and both diagonals, lines through the
            pixels' centres pass its outline so many times; rows + columns + (diagonals) / sqrt(2),
            times pi / 8. It is right for round outlines and those in all directions; of a square
            along the rows it finds 5% too little, where steps of pixels find 27% too much of a
            disc. The image's edge is outline too.
        intensity: float, mean of the image in it, over all channels; None without an image.
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
    perimeter: float
    intensity: float | None = None


def find_regions(mask, num_classes, image=None):
    """Finds and measures the regions of all classes, the background (0) too.

    Args:
        mask: uint8 (H, W). Values from num_classes on, such as void (255), are not classes.
        num_classes: int.
        image: array of numbers (H, W, channels), whose intensity is measured; or None.

    Returns:
        list of Region by class; within a class, as one comes upon them reading the image
        row by row.
    """
    numbers, parts = number_regions(mask, num_classes)
    outlines = perimeters(numbers, len(parts))
    intensities = [None] * len(parts)
    if image is not None:
        intensities = means(numbers, image, [part.area for part in parts])
    regions, counted = [], {}
    for part, perimeter, intensity in zip(parts, outlines, intensities, strict=True):
        number = counted[part.class_id] = counted.get(part.class_id, 0) + 1
        place = (*part.centroid, *part.box)
        regions.append(Region(part.class_id, number, part.area, *place, perimeter, intensity))
    return regions


def number_regions(mask, num_classes):
    """Numbers the regions of all classes.

    Args:
        mask, num_classes: as for `find_regions`.

    Returns:
        (int32 (H, W), the number of each pixel's region from 1 on, 0 where there is no class;
        list of Part by number, in the order of `find_regions`).
    """
    counts = pixels_of_values(mask, minlength=num_classes)[:num_classes]
    numbers, parts = np.zeros(mask.shape, np.int32), []
    for class_id in map(int, np.flatnonzero(counts)):
        _, labels, stats, centroids = cv2.connectedComponentsWithStats(
            (mask == class_id).view(np.uint8), connectivity=8
        )
        found = []
        # The first label is the rest of the image.
        for label, (row, centroid) in enumerate(zip(stats[1:], centroids[1:], strict=True), 1):
            left, top, width, height, area = row.tolist()
            first = left + int(np.argmax(labels[top, left : left + width] == label))
            part = Part(class_id, area, (top, first), centroid.tolist(), (left, top, width, height))
            found.append((part.first, label, part))
        found.sort(key=lambda one: one[0])
        new = np.zeros(len(stats), np.int32)
        new[[label for _, label, _ in found]] = len(parts) + 1 + np.arange(len(found))
        numbers += new[labels]
        parts += [part for _, _, part in found]
    return numbers, parts


def check_pixel_size(pixel_size):
    """Raises UserError unless `pixel_size` is None or a length above 0."""
    if pixel_size is not None and not (pixel_size > 0 and math.isfinite(pixel_size)):
        raise UserError(
            f"pixel_size must be above 0; got {pixel_size}. It is the length of a pixel's side "
            "in your unit: 0.5 if a pixel is half a micrometre, or half a metre, wide."
        )


def write_regions(path, images, names, pixel_size=None, unit=OWN_UNIT):
    """Writes one row a region as CSV, for Excel and everything else.

    `label` numbers the regions of an image from 1 on, without the background's (0), in the order
    of the rows: its value in the label images of `utils.prediction.image_annotations`. Columns
    whose names end in `_px` are in pixels, as in `Region`. With `pixel_size` the same follow in
    its unit: lengths and positions (`_units`) are the pixels times pixel_size, areas (`_units2`)
    the pixels times its square.

    Args:
        path: str or Path of the file; nothing is left there if `images` fails.
        images: iterable of (image's name, iterable of Region); may be a generator, of
            which one image at a time is held.
        names: one name per class.
        pixel_size: float, length of a pixel's side, or None.
        unit: str, of pixel_size: how the names of the columns in it end.

    Raises:
        UserError: if pixel_size is not above 0.
        OSError: if the file can't be written.
    """
    check_pixel_size(pixel_size)
    header = ["picture", "class_id", "class", "region", "label"]
    header += ["area_px", *(f"{length}_px" for length in _LENGTHS), "mean_intensity"]
    if pixel_size is not None:
        header += [f"pixel_size_{unit}", f"area_{unit}2", *(f"{one}_{unit}" for one in _LENGTHS)]
    with (
        whole_file(path) as temporary,
        # The BOM is for Excel. File names need not be valid Unicode on Linux.
        open(temporary, "w", newline="", encoding="utf-8-sig", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        for image, regions in images:
            label = 0
            for region in regions:
                label += region.class_id > 0
                writer.writerow(_row(image, region, label, names, pixel_size))


def _row(image, region, label, names, pixel_size):
    lengths = [getattr(region, length) for length in _LENGTHS]
    row = [csv_text(image), region.class_id, csv_text(names[region.class_id]), region.number]
    row += [label if region.class_id else 0, region.area, *(round(one, 3) for one in lengths)]
    row.append("" if region.intensity is None else f"{region.intensity:.9g}")
    if pixel_size is not None:
        values = [pixel_size, region.area * pixel_size**2, *(one * pixel_size for one in lengths)]
        row += [f"{value:.9g}" for value in values]
    return row

"""COCO's annotations of an image: outlines read, and painted in the order of the file.

Source: cocodataset.org/#format-data; pycocotools (coco.py, maskApi.c).
"""

from typing import NamedTuple

import numpy as np

from errors import UserError
from utils.convert.annotated_images import read_annotated_image
from utils.convert.annotations import check_points, class_id, shown
from utils.convert.rasterize import decode_rle, fill_polygon
from utils.labels import VOID


class CocoRegion(NamedTuple):
    """One annotation.

    Attributes:
        label: str.
        is_crowd: bool.
        is_void: bool, whether it is painted as void.
        segmentation: list of polygons, each a list of (x, y); or an RLE, a dict.
        origin: str, for messages.
    """

    label: str
    is_crowd: bool
    is_void: bool
    segmentation: list | dict
    origin: str


def becomes_void(annotation, crowd):
    """Whether an annotation or segment is painted as void, by the setting `crowd`.

    auto: class in files of CVAT, which writes iscrowd=1 with every mask that was painted, and
    void elsewhere, as COCO means it.
    """
    from_cvat = "attributes" in annotation
    return annotation.get("iscrowd") == 1 and (
        crowd == "void" or (crowd == "auto" and not from_cvat)
    )


def read_segmentation(annotation, fill_boxes, origin):
    """Polygons as lists of (x, y), or an RLE as it is.

    Raises:
        UserError: if it has neither, or points that are none.
    """
    outline = annotation.get("segmentation")
    if isinstance(outline, dict):
        return outline
    if outline:
        if not isinstance(outline, list):
            raise UserError(
                f"{origin} has the segmentation {shown(outline)}. Expected polygons or RLE."
            )
        # Some programs leave out the list around a single polygon.
        are_numbers = all(isinstance(one, (int, float)) for one in outline)
        polygons = [outline] if are_numbers else outline
        return [_read_polygon(numbers, origin) for numbers in polygons]
    return [_read_box(annotation.get("bbox"), fill_boxes, origin)]


def _read_box(box, fill_boxes, origin):
    if not isinstance(box, list) or len(box) != 4:
        raise UserError(f"{origin} has neither a segmentation nor a bbox. Delete it or draw it.")
    if not fill_boxes:
        raise UserError(
            f"{origin} has only a box, no outline, and a box is rarely what the object covers. "
            "Draw an outline, or set fill_boxes to take the whole box."
        )
    (left, top), (width, height) = check_points([box[:2], box[2:]], origin)
    right, bottom = left + width, top + height
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _read_polygon(numbers, origin):
    if not isinstance(numbers, list) or len(numbers) < 6:
        raise UserError(
            f"{origin} has the polygon {shown(numbers)}. Expected a list of at least three "
            "points: x1, y1, x2, y2, x3, y3, ..."
        )
    if len(numbers) % 2:
        raise UserError(
            f"{origin} has the polygon {shown(numbers)} of {len(numbers)} numbers. Expected an "
            "even count: x1, y1, x2, y2, x3, y3, ..."
        )
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return check_points([list(pair) for pair in pairs], origin)


def load_coco(image, regions, classes):
    """Reads an image and paints its regions.

    Args:
        image: FoundImage.
        regions: list of CocoRegion.
        classes: tuple of str, the background first.

    Returns:
        (AnnotatedImage, uint8 (H, W) class ids, 255 for void).

    Raises:
        UserError: for an image of another size, an RLE that is broken, or a label that is
            not in the list.
    """
    # Label Studio takes the size as stored and the outlines as displayed: they don't fit
    # together where EXIF swaps the sides, so only an upright image of that size will do.
    annotated = read_annotated_image(image.path, image.size, ("upright",), image.origin)
    size = annotated.size
    mask = np.zeros(size, np.uint8)
    for region in regions:
        value = VOID if region.is_void else class_id(region.label, classes, region.origin)
        if isinstance(region.segmentation, dict):
            mask[decode_rle(region.segmentation, size, region.origin)] = value
        else:
            for polygon in region.segmentation:
                mask[fill_polygon(polygon, size)] = value
    return annotated, mask

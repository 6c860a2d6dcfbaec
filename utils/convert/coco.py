"""COCO's instance JSON files, as CVAT, Label Studio and Roboflow export them, as masks.

Later annotations paint over earlier ones, in the order of the file.

Source: cocodataset.org/#format-data; pycocotools (coco.py, maskApi.c); Datumaro, which
writes CVAT's files (coco_format/converter.py); label-studio-converter (converter.py).
"""

from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from errors import UserError
from utils.convert.annotated_images import read_annotated_image
from utils.convert.annotations import Item, check_points, class_id, clean_label
from utils.convert.rasterize import decode_rle, fill_polygon
from utils.convert.scan import Scan, Skips
from utils.convert.source import guess_json
from utils.labels import VOID

CROWDS = ("auto", "void", "class")


class CocoFile(NamedTuple):
    """What a COCO file holds.

    Attributes:
        categories: {name: id}, of those that are classes.
        items: list of Item, one per image.
        crowds: (regions with iscrowd=1 that become void, those that become their class).
    """

    categories: dict
    items: list
    crowds: tuple


class CocoRegion(NamedTuple):
    """One annotation.

    Attributes:
        label: str.
        is_void: bool.
        segmentation: list of polygons, each a list of (x, y); or an RLE, a dict.
        origin: str, for messages.
    """

    label: str
    is_void: bool
    segmentation: list | dict
    origin: str


def is_coco(data):
    """Whether the content of a JSON file is COCO's."""
    return isinstance(data, dict) and all(
        isinstance(data.get(key), list) for key in ("images", "annotations", "categories")
    )


guess_coco = guess_json(is_coco, "'images', 'annotations' and 'categories'")


def scan_coco_files(source, options):
    """Looks through all JSON files; see `utils.convert.scan.Format`.

    Several files, such as Roboflow's for training and validation, become one.
    """
    files, skips = [], Skips(options.strict)
    for path in source.need(".json"):
        with skips.catching(path):
            data = source.read(path)
            files.append(scan_coco(path, data, options.finder, options.crowd, options.fill_boxes))
    ids = {}
    for file in files:
        for name, key in file.categories.items():
            ids.setdefault(name, key)
    labels = sorted(ids, key=lambda name: (isinstance(ids[name], str), ids[name], name))
    voids, others = (sum(file.crowds[index] for file in files) for index in (0, 1))
    notes = [
        f"{count} regions with iscrowd=1 became {meaning} (crowd={options.crowd!r})."
        for count, meaning in ((voids, "void"), (others, "their class"))
        if count
    ]
    return Scan([item for file in files for item in file.items], labels, notes, skips.found)


def scan_coco(path, data, finder, crowd="auto", fill_boxes=False):
    """Checks the content of a COCO file and finds its images.

    Args:
        path: Path of the JSON file.
        data: its content, for which `is_coco` holds.
        finder: ImageFinder.
        crowd: one of CROWDS; auto: class in files of CVAT, which writes iscrowd=1 with
            every mask that was painted, and void elsewhere, as COCO means it.
        fill_boxes: bool, whether an annotation that has only a box fills it.

    Returns:
        CocoFile.

    Raises:
        UserError: for anything that can't be converted, and for images that are missing.
    """
    if not is_coco(data):
        raise UserError(
            f"{path} is not COCO's: it lacks 'images', 'annotations' or 'categories'. Move it away."
        )
    images = _index(data["images"], f"{path}, images")
    names = _read_categories(data, path)
    regions, crowds = {key: [] for key in images}, [0, 0]
    for number, annotation in enumerate(data["annotations"], 1):
        origin = f"{path}, annotation {number}"
        if not isinstance(annotation, dict):
            raise UserError(f"{origin} is {str(annotation)[:60]!r}. Expected braces.")
        image = _look_up(images, annotation, "image_id", origin)
        label = _look_up(names, annotation, "category_id", origin)
        origin = f"{origin} ({label}) of {image.get('file_name')}"
        is_void = _is_void(annotation, crowd)
        if annotation.get("iscrowd") == 1:
            crowds[0 if is_void else 1] += 1
        outline = _read_segmentation(annotation, fill_boxes, origin)
        regions[image["id"]].append(CocoRegion(label, is_void, outline, origin))
    used = {region.label for found in regions.values() for region in found}
    categories = {
        name: key for key, name in names.items() if name in used or not _is_parent(key, name, data)
    }
    return CocoFile(categories, _make_items(path, images, regions, finder), tuple(crowds))


def _is_void(annotation, crowd):
    from_cvat = "attributes" in annotation
    return annotation.get("iscrowd") == 1 and (
        crowd == "void" or (crowd == "auto" and not from_cvat)
    )


def _index(records, origin):
    """{id: record}; raises UserError for a record without an id, or with another's."""
    found = {}
    for number, record in enumerate(records, 1):
        key = record.get("id") if isinstance(record, dict) else None
        if isinstance(key, bool) or not isinstance(key, (int, str)):
            raise UserError(f"{origin}: entry {number} has no id. Export the file again.")
        if key in found:
            raise UserError(f"{origin}: the id {key!r} stands twice. Export the file again.")
        found[key] = record
    return found


def _read_categories(data, path):
    """{id: name} in the order of the ids."""
    origin = f"{path}, categories"
    records = _index(data["categories"], origin)
    names = {key: clean_label(one.get("name"), origin) for key, one in records.items()}
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _is_parent(key, name, data):
    """Whether a category stands for the others together, as Roboflow's category 0 does."""
    return key == 0 and any(
        one.get("supercategory") == name and one.get("name") != name for one in data["categories"]
    )


def _look_up(records, annotation, field, origin):
    key = annotation.get(field)
    if isinstance(key, (bool, list, dict)) or key not in records:
        raise UserError(f"{origin} has the {field} {key!r}, which the file does not list.")
    return records[key]


def _read_segmentation(annotation, fill_boxes, origin):
    """Polygons as lists of (x, y), or an RLE as it is."""
    outline = annotation.get("segmentation")
    if isinstance(outline, dict):
        return outline
    if outline:
        if not isinstance(outline, list):
            raise UserError(
                f"{origin} has the segmentation {str(outline)[:60]!r}. Expected polygons or RLE."
            )
        return [_read_polygon(numbers, origin) for numbers in outline]
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise UserError(f"{origin} has neither a segmentation nor a bbox. Delete it or draw it.")
    if not fill_boxes:
        raise UserError(
            f"{origin} has only a box, no outline, and a box is rarely what the object covers. "
            "Draw an outline, or set fill_boxes to take the whole box."
        )
    corner, extent = check_points([box[:2], box[2:]], origin)
    (left, top), (width, height) = corner, extent
    right, bottom = left + width, top + height
    return [[(left, top), (right, top), (right, bottom), (left, bottom)]]


def _read_polygon(numbers, origin):
    if not isinstance(numbers, list) or len(numbers) < 6 or len(numbers) % 2:
        raise UserError(
            f"{origin} has the polygon {str(numbers)[:60]}. Expected a list of at least three "
            "points: x1, y1, x2, y2, x3, y3, ..."
        )
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return check_points([list(pair) for pair in pairs], origin)


def _make_items(path, images, regions, finder):
    items, missing = [], []
    folders = [path.parent, path.parent / "images", path.parent.parent]
    # CVAT: annotations/instances_train.json beside images/train/.
    images_dir = path.parent.parent / "images"
    folders += [images_dir, images_dir / path.stem.partition("_")[2]]
    for image in images.values():
        file_name = image.get("file_name")
        if not isinstance(file_name, str) or not file_name:
            raise UserError(f"{path}: the image with id {image['id']!r} has no file_name.")
        found = finder.find(file_name, folders)
        if found is None:
            missing.append(file_name)
            continue
        declared = (image.get("height"), image.get("width"))
        origin = f"{file_name} in {path}"
        own = regions[image["id"]]
        labels = frozenset(region.label for region in own if not region.is_void)
        load = partial(load_coco, found, declared, own, origin)
        items.append(Item(PurePosixPath(found.name).stem, origin, labels, load))
    if missing:
        more = ", ..." if len(missing) > 5 else ""
        raise UserError(
            f"{path} names {len(missing)} images that are not there: {', '.join(missing[:5])}"
            f"{more}. Looked in {finder.image_dir or ', '.join(map(str, folders))}. Put them "
            "there, or set image_dir."
        )
    return items


def load_coco(image_path, declared, regions, origin, classes):
    """Reads an image and paints its regions.

    Args:
        image_path: Path.
        declared: (height, width) by the file; None where it does not say.
        regions: list of CocoRegion.
        origin: str, for messages.
        classes: tuple of str, the background first.

    Returns:
        (Image, uint8 (H, W) class ids, 255 for void).

    Raises:
        UserError: for an image of another size, an RLE that is broken, or a label that is
            not in the list.
    """
    # Label Studio takes the size as stored and the outlines as displayed: they don't fit
    # together where EXIF swaps the sides, so only an upright image of that size will do.
    image = read_annotated_image(image_path, declared, ("upright",), origin)
    size = (image.image.height, image.image.width)
    mask = np.zeros(size, np.uint8)
    for region in regions:
        value = VOID if region.is_void else class_id(region.label, classes, region.origin)
        if isinstance(region.segmentation, dict):
            mask[decode_rle(region.segmentation, size, region.origin)] = value
        else:
            for polygon in region.segmentation:
                mask[fill_polygon(polygon, size)] = value
    return image, mask

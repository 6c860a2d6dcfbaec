"""COCO's instance JSON files, as CVAT, Label Studio and Roboflow export them, as masks.

Later annotations paint over earlier ones, in the order of the file.
"""

from functools import partial

from errors import UserError
from utils.convert.annotations import Item, shown
from utils.convert.coco_records import (
    CocoFile,
    count_crowds,
    find_images,
    index_records,
    join_files,
    look_up,
    read_annotations,
    read_categories,
    used_categories,
)
from utils.convert.coco_regions import CocoRegion, becomes_void, load_coco, read_segmentation
from utils.convert.scan import Skips
from utils.convert.source import guess_json


def has_lists(data):
    """Whether the content of a JSON file has the lists of any kind of COCO."""
    return isinstance(data, dict) and all(
        isinstance(data.get(key), list) for key in ("images", "annotations", "categories")
    )


def has_segments(data):
    """Whether one with such lists is COCO panoptic."""
    first = next(iter(data["annotations"]), None)
    return isinstance(first, dict) and "segments_info" in first


def is_coco(data):
    """Whether the content of a JSON file is COCO's, of instances."""
    return has_lists(data) and not has_segments(data)


guess_coco = guess_json(is_coco, "'images', 'annotations' and 'categories'")


def scan_coco_files(source, options):
    """Looks through all JSON files; see `utils.convert.scan.Format`."""
    files, skips = [], Skips(options.strict)
    for path in source.need(".json"):
        with skips.catching(path):
            data = source.read(path)
            files.append(
                scan_coco(path, data, options.finder, options.crowd, options.fill_boxes, skips)
            )
    return join_files(files, skips, options.crowd)


def scan_coco(path, data, finder, crowd="auto", fill_boxes=False, skips=None):
    """Checks the content of a COCO file and finds its images.

    Args:
        path: Path of the JSON file.
        data: its content.
        finder: ImageFinder.
        crowd: one of CROWDS, see `becomes_void`.
        fill_boxes: bool, whether an annotation that has only a box fills it.
        skips: Skips, which gets the images that are missing or have a broken annotation, and
            the annotations of no image; None: they are errors.

    Returns:
        CocoFile.

    Raises:
        UserError: for lists that can't be read, and if no image is there.
    """
    if not is_coco(data):
        raise UserError(
            f"{path} is not COCO's: it lacks the list 'images', 'annotations' or 'categories'. "
            "Move it away."
        )
    skips = skips or Skips(strict=True)
    images = index_records(data["images"], f"{path}, images")
    names = read_categories(data, path)
    read = partial(_read_region, names=names, crowd=crowd, fill_boxes=fill_boxes)
    regions, broken = read_annotations(path, data, images, skips, read)
    items, kept = [], []
    for key, image in find_images(path, images, finder, skips).items():
        if key in broken:
            skips.add(image.origin, broken[key])
            continue
        labels = frozenset(region.label for region in regions[key] if not region.is_void)
        load = partial(load_coco, image, regions[key])
        items.append(Item(image.path.stem, image.origin, labels, load))
        kept += regions[key]
    categories = used_categories(names, {region.label for region in kept}, data)
    return CocoFile(categories, items, count_crowds(kept))


def _read_region(annotation, image, origin, names, crowd, fill_boxes):
    label = look_up(names, annotation, "category_id", origin)
    file_name = image.get("file_name")
    name = file_name if isinstance(file_name, str) else shown(file_name)
    origin = f"{origin} ({label}) of {name}"
    outline = read_segmentation(annotation, fill_boxes, origin)
    is_crowd = annotation.get("iscrowd") == 1
    return CocoRegion(label, is_crowd, becomes_void(annotation, crowd), outline, origin)

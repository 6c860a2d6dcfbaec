"""COCO's panoptic files: JSON with segments_info, and a PNG of segment ids for each image.

The id of a pixel is R + 256 G + 65536 B of its colour.

Source: cocodataset.org/#format-data, panoptic segmentation; panopticapi (utils.py); Datumaro
(coco_format/exporter.py).
"""

from functools import partial

import numpy as np

from errors import UserError
from utils.convert.annotated_images import read_annotated_image
from utils.convert.annotations import Item, class_id, shown
from utils.convert.coco import has_lists, has_segments
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
from utils.convert.coco_regions import CocoRegion, becomes_void
from utils.convert.scan import Skips
from utils.convert.source import guess_json
from utils.images.reading import open_image
from utils.labels import VOID

UNLABELED = ("auto", "void", "background")


def is_panoptic(data):
    """Whether the content of a JSON file is COCO panoptic."""
    return has_lists(data) and has_segments(data)


guess_panoptic = guess_json(is_panoptic, "'segments_info'")


def scan_panoptic_files(source, options):
    """Looks through all JSON files; see `utils.convert.scan.Format`."""
    files, notes, skips = [], {}, Skips(options.strict)
    for path in source.need(".json"):
        with skips.catching(path):
            data = source.read(path)
            file, note = scan_panoptic(path, data, options, skips)
            files.append(file)
            notes[note] = None
    return join_files(files, skips, options.crowd, notes)


def scan_panoptic(path, data, options, skips):
    """Checks the content of a panoptic file, finds its images and their PNG files.

    Returns:
        (CocoFile, str: what becomes of the pixels of no segment).

    Raises:
        UserError: for lists that can't be read, and if no image is there.
    """
    if not is_panoptic(data):
        raise UserError(f"{path} is not COCO panoptic: it lacks 'segments_info'. Move it away.")
    images = index_records(data["images"], f"{path}, images")
    names = read_categories(data, path)
    rest, note = _unlabeled_value(data, options.unlabeled)
    read = partial(_read_segments, path=path, names=names, crowd=options.crowd)
    own, broken = read_annotations(path, data, images, skips, read)
    items, kept = [], []
    for key, image in find_images(path, images, options.finder, skips).items():
        if key not in broken and len(own[key]) != 1:
            broken[key] = (
                f"{path} has {len(own[key])} annotations of the image {image.file_name}. Expected "
                "one, with all its segments. Export the file again."
            )
        if key in broken:
            skips.add(image.origin, broken[key])
            continue
        ((png, segments),) = own[key]
        labels = frozenset(one.label for one in segments.values() if not one.is_void)
        load = partial(load_panoptic, image, png, segments, rest)
        items.append(Item(image.path.stem, image.origin, labels, load))
        kept += segments.values()
    categories = used_categories(names, {one.label for one in kept}, data)
    return CocoFile(categories, items, count_crowds(kept)), note


def _unlabeled_value(data, unlabeled):
    """(mask value of the pixels of no segment, a sentence that says so)."""
    if unlabeled == "auto":
        has_stuff = any(one.get("isthing") == 0 for one in data["categories"])
        meaning = "void" if has_stuff else "background"
        why = f"{'some' if has_stuff else 'no'} category is stuff, isthing=0"
        said = f"unlabeled='auto': {why}"
    else:
        meaning, said = unlabeled, f"unlabeled={unlabeled!r}"
    return VOID if meaning == "void" else 0, f"Pixels of no segment became {meaning} ({said})."


def _read_segments(annotation, image, origin, path, names, crowd):
    """(Path of the PNG, {id: CocoRegion})."""
    file_name = annotation.get("file_name")
    if not isinstance(file_name, str) or not file_name:
        raise UserError(f"{origin} has no file_name, which names its PNG of segments. Add it.")
    # Not where the images are: their names may differ in nothing.
    folder = path.parent / path.stem
    png = next(
        (one for one in (folder / file_name, path.parent / file_name) if one.is_file()), None
    )
    if png is None:
        raise UserError(
            f"{origin} names the PNG of segments {file_name!r}, which is not in {folder}. Put it "
            "there."
        )
    listed = annotation.get("segments_info")
    if not isinstance(listed, list):
        raise UserError(f"{origin} has the segments_info {shown(listed)}. Expected a list.")
    segments = {}
    for key, segment in index_records(listed, f"{origin}, segments_info").items():
        place = f"{origin}, segment {key}"
        if isinstance(key, str):
            raise UserError(f"{place}: its id is a text. Expected a number, as in the PNG.")
        label = look_up(names, segment, "category_id", place)
        is_crowd = segment.get("iscrowd") == 1
        segments[key] = CocoRegion(label, is_crowd, becomes_void(segment, crowd), [], place)
    return png, segments


def load_panoptic(image, png, segments, rest, classes):
    """Reads an image and the classes of its segments.

    Args:
        image: FoundImage.
        png: Path.
        segments: {id: CocoRegion}.
        rest: int, of the pixels of no segment.
        classes: tuple of str, the background first.

    Returns:
        (AnnotatedImage, uint8 (H, W) class ids, 255 for void).

    Raises:
        UserError: for sizes that differ, and for ids that segments_info does not list.
    """
    annotated = read_annotated_image(image.path, image.size, ("upright",), image.origin)
    ids = read_segment_ids(png)
    size = annotated.size
    if ids.shape != size:
        raise UserError(
            f"{png} has {ids.shape[1]}x{ids.shape[0]} pixels, but its image {image.path} "
            f"{size[1]}x{size[0]}. They must belong together."
        )
    values = {0: rest} | {
        key: VOID if one.is_void else class_id(one.label, classes, one.origin)
        for key, one in segments.items()
    }
    found, where = np.unique(ids, return_inverse=True)
    unknown = [int(key) for key in found if int(key) not in values]
    if unknown:
        raise UserError(
            f"{png} holds the segment {unknown[0]}, which segments_info of {image.origin} does "
            "not list. They must belong together."
        )
    table = np.array([values[int(key)] for key in found], np.uint8)
    return annotated, table[where].reshape(size)


def read_segment_ids(png):
    """int32 (H, W): the segment ids of a PNG; raises UserError if it has no colours."""
    with open_image(png) as image:
        if image.mode not in ("RGB", "RGBA"):
            raise UserError(
                f"{png} is of the mode {image.mode}. Expected RGB, whose colours are the ids of "
                "segments: R + 256 G + 65536 B."
            )
        colors = np.array(image.convert("RGB"), np.int32)
    return colors @ np.array([1, 256, 65536], np.int32)

"""CVAT's "Segmentation mask 1.1": masks in the colours of labelmap.txt.

    labelmap.txt            name:r,g,b:parts:actions
    SegmentationClass/      PNG, RGB or with a palette; the colours count, not the indices
    JPEGImages/             if the images were saved with the export; else image_dir

Source: CVAT, docs.cvat.ai, "Segmentation mask"; Datumaro, which writes it (voc/exporter.py).
"""

from functools import partial
from pathlib import PurePosixPath

import numpy as np

from errors import UserError
from utils.convert.annotations import Item, class_id
from utils.convert.mask_files import (
    colors_to_ids,
    image_files,
    read_colors,
    read_image_of,
    values_in,
)
from utils.convert.scan import Scan, Skips
from utils.convert.source import Source
from utils.label_maps import is_background, is_void, read_label_map
from utils.labels import VOID

_MAP, _MASKS, _IMAGES = "labelmap.txt", "SegmentationClass", "JPEGImages"


def guess_cvat_masks(source):
    """What tells that the folder is CVAT's; see `utils.convert.scan.Format`."""
    maps = _find_maps(source)
    return f"{source.show(maps[0])} beside {_MASKS}" if maps else None


def _find_maps(source):
    """The label maps beside a folder of masks: list of Path."""
    maps = [path for path in source.files if path.name.lower() == _MAP]
    return [path for path in maps if (path.parent / _MASKS).is_dir()]


def scan_cvat_masks(source, options):
    """Pairs masks and images; see `utils.convert.scan.Format`.

    What colours a mask holds shows when its turn comes.
    """
    maps = _find_maps(source)
    if len(maps) > 1:
        raise UserError(
            f"{source.path} holds {len(maps)} exports, beginning with {maps[0].parent} and "
            f"{maps[1].parent}. Colours mean something else in each: convert one at a time."
        )
    if not maps:
        raise UserError(
            f"{source.path} has no {_MAP} beside a folder {_MASKS}. Set annotations to the "
            'unpacked export "Segmentation mask 1.1".'
        )
    label_map = read_label_map(maps[0])
    folder = maps[0].parent
    masks = _by_name(image_files(Source(folder / _MASKS).files), folder / _MASKS)
    image_folder = options.finder.image_dir or folder / _IMAGES
    images = _find_images(image_folder)
    items, skips = [], Skips(options.strict)
    for name, path in masks.items():
        if name not in images:
            skips.add(path, f"{path} belongs to no image: there is no {name} in {image_folder}.")
            continue
        load = partial(load_cvat_mask, images[name], path, label_map)
        items.append(Item(PurePosixPath(name).name, str(path), frozenset(), load))
    alone = [path for name, path in images.items() if name not in masks]
    notes = [label_map.note] if label_map.note else []
    if alone:
        notes.append(f"{len(alone)} images have no mask and are left out, such as {alone[0]}.")
    labels = [name for name in label_map.names if not is_background(name)]
    return Scan(items, labels, notes, skips.found)


def _find_images(folder):
    try:
        return _by_name(image_files(Source(folder).files), folder)
    except UserError as error:
        raise UserError(
            f"{error} These are the images to CVAT's masks: export them too (Save images), or set "
            "image_dir to where they are."
        ) from error


def _by_name(paths, folder):
    """{path below the folder, with / and without extension: path}."""
    found = {}
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        other = found.setdefault(name, path)
        if other is not path:
            raise UserError(
                f"{other} and {path} have the same name. Which one counts? Remove or rename one."
            )
    return found


def load_cvat_mask(image_path, mask_path, label_map, classes):
    """Reads an image and its mask.

    Args:
        image_path, mask_path: Path.
        label_map: LabelMap.
        classes: tuple of str, the background first.

    Returns:
        (AnnotatedImage, uint8 (H, W) class ids, 255 for void).

    Raises:
        UserError: for a file that can't be read, sizes that differ, a colour of no class, or a
            class that is not in the list.
    """
    numbers = {color: index for index, (_, color) in enumerate(label_map.entries)}
    found = colors_to_ids(read_colors(mask_path), numbers, mask_path)
    table = np.zeros(len(numbers), np.uint8)
    for index in values_in(found):
        name = label_map.entries[index][0]
        table[index] = VOID if is_void(name) else class_id(name, classes, str(mask_path))
    mask = table[found]
    return read_image_of(mask, image_path, str(mask_path)), mask

"""Cityscapes: leftImg8bit/<split>/<city>/*_leftImg8bit.png and gtFine/<split>/<city>/*.png.

Of the 34 label ids, 19 are classes that are scored, with the ids 0 to 18; the rest is void. There
is no background: road is class 0. Masks are `_labelIds`, or else `_labelTrainIds` or `_color`; of
gtFine, or else of gtCoarse.

Source: github.com/mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py.
"""

import re
from functools import partial

import numpy as np

from errors import UserError
from utils.convert.annotations import Item, class_id
from utils.convert.mask_files import (
    colors_to_ids,
    read_colors,
    read_image_of,
    read_values,
    show_some,
    values_in,
)
from utils.convert.scan import Scan, Skips
from utils.convert.source import Source
from utils.labels import VOID

# (name, label id, colour) in the order of the train ids.
CLASSES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
_LABEL_IDS = range(34)
# Of unlabeled and the like, dynamic, ground, parking, rail track, guard rail, bridge, tunnel,
# caravan, trailer. A polegroup, which is void too, has the colour of a pole.
_VOID_COLORS = (
    (0, 0, 0), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140), (180, 165, 180),
    (150, 100, 100), (150, 120, 90), (0, 0, 90), (0, 0, 110),
)  # fmt: skip
_KINDS = ("labelIds", "labelTrainIds", "color")  # the first that is there counts
_MASK = re.compile(r"(.+)_gt(Fine|Coarse)_(labelIds|labelTrainIds|color)\.png")
_IMAGE = "_leftImg8bit"
_LOOKED_AT = 3  # masks of the test split


def guess_cityscapes(source):
    """What tells that the folder is Cityscapes; see `utils.convert.scan.Format`."""
    first = next((path for path in source.files if _MASK.fullmatch(path.name)), None)
    return f"the name {source.show(first)}" if first else None


def scan_cityscapes(source, options):
    """Pairs masks and images by name; see `utils.convert.scan.Format`."""
    masks = _find_masks(source)
    if not masks:
        raise UserError(
            f"{source.path} holds no masks such as gtFine/train/<city>/*_gtFine_labelIds.png. Set "
            "annotations to the folder of gtFine and leftImg8bit."
        )
    image_dir = options.finder.image_dir
    files = Source(image_dir).files if image_dir else source.files
    images = {path.stem.removesuffix(_IMAGE): path for path in files if path.stem.endswith(_IMAGE)}
    notes = ["Cityscapes has no background class: road is id 0."]
    masks, left_out = _without_dummies(masks)
    if left_out:
        notes.append(f"{left_out} images of the split test are left out: all of it is void.")
    if any(kind == "color" for _, kind in masks.values()):
        notes.append("In _color masks, polegroup has the colour of pole, and counts as one.")
    items, skips = [], Skips(options.strict)
    for name, (path, kind) in masks.items():
        if name in images:
            load = partial(load_cityscapes, images[name], path, kind)
            items.append(Item(f"{name}{_IMAGE}", str(path), frozenset(), load))
        else:
            skips.add(
                path,
                f"{path} belongs to no image: {name}{_IMAGE}.png is not in "
                f"{image_dir or source.path}. Put leftImg8bit there, or set image_dir.",
            )
    labels = [name for name, _, _ in CLASSES]
    return Scan(items, labels, notes, skips.found, has_background=False)


def _find_masks(source):
    """{name: (Path, kind)}, of each image the best."""
    found = {}
    for path in source.files:
        match = _MASK.fullmatch(path.name)
        if match:
            rank = (match[2] != "Fine", _KINDS.index(match[3]))
            found.setdefault(match[1], {})[rank] = path
    return {name: (ranks[min(ranks)], _KINDS[min(ranks)[1]]) for name, ranks in found.items()}


def _without_dummies(masks):
    """The masks without those of the public test split, which are void, and how many these are."""
    tests = {name: one for name, one in masks.items() if "test" in one[0].parts[-3:-1]}
    for path, kind in list(tests.values())[:_LOOKED_AT]:
        try:
            if (read_train_ids(path, kind) != VOID).any():
                return masks, 0
        except UserError:
            return masks, 0  # its turn will come
    return {name: one for name, one in masks.items() if name not in tests}, len(tests)


def read_train_ids(path, kind):
    """Reads a mask.

    Args:
        path: Path.
        kind: "labelIds", "labelTrainIds" or "color".

    Returns:
        uint8 (H, W), train ids 0 to 18, 255 for void.

    Raises:
        UserError: if it can't be read, or holds other values or colours.
    """
    if kind == "color":
        ids = dict.fromkeys(_VOID_COLORS, VOID)
        ids |= {color: index for index, (_, _, color) in enumerate(CLASSES)}
        return colors_to_ids(read_colors(path), ids, path).astype(np.uint8)
    values = read_values(path)
    if kind == "labelIds":
        table = dict.fromkeys(_LABEL_IDS, VOID)
        table |= {label_id: index for index, (_, label_id, _) in enumerate(CLASSES)}
    else:
        table = {**{index: index for index in range(len(CLASSES))}, VOID: VOID}
    found = values_in(values)
    odd = [value for value in found if value not in table]
    if odd:
        raise UserError(
            f"The mask {path} holds the values {show_some(odd)}. Expected Cityscapes' {kind}: "
            f"{'0 to 33' if kind == 'labelIds' else '0 to 18, and 255 for void'}."
        )
    ids = np.zeros(values.shape, np.uint8)
    for value in found:
        ids[values == value] = table[value]
    return ids


def load_cityscapes(image_path, mask_path, kind, classes):
    """Reads an image and its mask.

    Args:
        image_path, mask_path: Path.
        kind: as for `read_train_ids`.
        classes: tuple of str.

    Returns:
        (AnnotatedImage, uint8 (H, W) ids by their place in `classes`, 255 for void).

    Raises:
        UserError: for a file that can't be read, sizes that differ, or a class that is not in
            the list.
    """
    ids = read_train_ids(mask_path, kind)
    table = np.full(256, VOID, np.uint8)
    for value in values_in(ids):
        if value != VOID:
            table[value] = class_id(CLASSES[value][0], classes, str(mask_path))
    mask = table[ids]
    return read_image_of(mask, image_path, str(mask_path)), mask

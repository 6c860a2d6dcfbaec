"""Folders of images and of masks, as Kaggle has them.

    images/a.jpg, masks/a_mask.png         one mask per image; the names pair by a rule
    a.jpg, a_mask.png                      the same in one folder, as Roboflow exports them
    <id>/images/x.png, <id>/masks/*.png    a mask per object; together they are the foreground

Masks hold 0 and 255, or class ids (`utils.convert.mask_meaning`), whose names may stand in
Roboflow's _classes.csv.

Source: Roboflow, "Semantic Segmentation Masks"; Data Science Bowl 2018,
kaggle.com/c/data-science-bowl-2018, for the last.
"""

from functools import partial

import numpy as np

from errors import UserError
from utils.convert.annotations import Item, class_id, read_class_list
from utils.convert.class_masks import guess_class_masks, has_own_names
from utils.convert.folders import Group, find_class_groups, find_groups
from utils.convert.layers import Layered, scan_layers
from utils.convert.mask_files import (
    by_stem,
    read_image_of,
    read_values,
    show_some,
    values_in,
)
from utils.convert.mask_meaning import FOREGROUND, find_meaning
from utils.convert.scan import Scan, Skips
from utils.convert.value_names import read_value_names
from utils.data.pairing import suggest_pairs
from utils.parallel import ordered_map


def guess_paired_masks(source):
    """What tells that masks lie beside images; see `utils.convert.scan.Format`."""
    groups, _ = find_groups(source)
    if not groups or has_own_names(source) or guess_class_masks(source):
        return None
    if find_class_groups(source)[0]:
        return None  # some masks are in folders of their own: no guess says what they are
    group = groups[0]
    names = [[path.stem for path in side] for side in (group.images, group.masks)]
    if _are_objects(groups) or suggest_pairs(*names):
        return f"{source.show(group.masks[0].parent)} beside {source.show(group.images[0].parent)}"
    return None


def _are_objects(groups):
    """Whether each image has a folder of its own, with the masks of its objects."""
    alone = all(len(group.images) == 1 for group in groups)
    return alone and (len(groups) > 1 or len(groups[0].masks) > 1)


def scan_paired_masks(source, options):
    """Pairs images and masks; see `utils.convert.scan.Format`. All masks are read."""
    groups, single = find_groups(source, options.finder.image_dir)
    sides = [[group for group in single if group[side]] for side in (1, 2)]
    if not groups and len(sides[0]) == len(sides[1]) == 1:
        groups, single = [Group((), sides[0][0].images, sides[1][0].masks)], []
    if not groups:
        raise UserError(
            f"{source.path} has no folder of images beside one of masks. Name them images and "
            "masks, or set annotations to the masks and image_dir to the images."
        )
    notes = [
        f"{len(group.images or group.masks)} {'images' if group.images else 'masks'} in "
        f"{(group.images or group.masks)[0].parent} are left out: there are no "
        f"{'masks' if group.images else 'images'} to them."
        for group in single
    ]
    if _are_objects(groups):
        return _scan_objects(groups, options, notes)
    return _scan_pairs(groups, options, notes, read_value_names(source))


def _scan_objects(groups, options, notes):
    listed = read_class_list(options.classes) if options.classes else ()
    label = listed[1] if len(listed) == 2 else FOREGROUND
    layered = [
        Layered(group.images[0], [(label, path) for path in group.masks]) for group in groups
    ]
    found = scan_layers(layered, [label], Skips(options.strict))
    count = sum(len(group.masks) for group in groups)
    note = f"{count} masks of single objects became one {label} each for {len(groups)} images."
    return found._replace(notes=[note, *notes, *found.notes])


def _scan_pairs(groups, options, notes, names):
    skips = Skips(options.strict)
    pairs, sentences = [], {}
    for group in groups:
        with skips.catching(group.masks[0].parent):
            found, sentence = _pair(group, skips)
            pairs += found
            sentences[sentence] = None
    pairs = _with_values(pairs, skips)
    if not pairs:
        return Scan([], [], notes, skips.found)
    listed = read_class_list(options.classes) if options.classes else ()
    meaning = find_meaning([values for *_, values in pairs], len(names or listed) or None)
    ids = {value: _id_in(listed, names, index) for value, index in meaning.ids.items()}
    items = []
    for image, mask, values in pairs:
        odd = show_some(sorted(values - ids.keys()))
        if odd:
            skips.add(mask, f"The mask {mask} holds {odd}; of the others: {meaning.note}")
        else:
            load = partial(load_pair, image, mask, ids)
            items.append(Item(image.stem, str(mask), frozenset(), load))
    labels = names[1:] or meaning.labels
    return Scan(items, labels, [*sentences, meaning.note, *notes], skips.found)


def _with_values(pairs, skips):
    """(image path, mask path, frozenset of its values) of all masks that can be read."""
    masks = [mask for _, mask in pairs]
    # All at once: its threads may not outlive an error that `skips` raises.
    found = list(ordered_map(_values_or_error, masks, 0, "Reading the masks"))
    read = []
    for (image, mask), values in zip(pairs, found, strict=True):
        if isinstance(values, UserError):
            skips.add(mask, values)
        else:
            read.append((image, mask, values))
    return read


def _id_in(listed, names, index):
    """The id of an id of the masks: by its name, where these have names and there is a list."""
    if not listed or not 0 < index < len(names):
        return index
    return class_id(names[index], listed, f"The file of the masks' values (value {index})")


def _pair(group, skips):
    """(list of (image path, mask path), the sentence on how they pair)."""
    images, masks = by_stem(group.images), by_stem(group.masks, "masks")
    found = suggest_pairs(images, masks)
    if found is None:
        raise UserError(
            f"The masks in {group.masks[0].parent} don't belong to the images in "
            f"{group.images[0].parent} by one rule: there are {len(images)} images, such as "
            f"{show_some(list(images)[:2])}, and {len(masks)} masks, such as "
            f"{show_some(list(masks)[:2])}. Name each mask as its image, or all with the same "
            "ending, such as _mask."
        )
    used = set(found.masks.values())
    for path in [images[stem] for stem in images if stem not in found.masks]:
        skips.add(path, f"The image {path} has no mask. {found.sentence}")
    for path in [masks[stem] for stem in masks if stem not in used]:
        skips.add(path, f"The mask {path} belongs to no image. {found.sentence}")
    pairs = [(images[image], masks[mask]) for image, mask in found.masks.items()]
    return pairs, found.sentence


def _values_or_error(path):
    try:
        return frozenset(values_in(read_values(path)))
    except UserError as error:
        return error


def load_pair(image_path, mask_path, ids, classes):
    """Reads an image and its mask.

    Args:
        image_path, mask_path: Path.
        ids: dict from value to class id.
        classes: tuple of str.

    Returns:
        (AnnotatedImage, uint8 (H, W) class ids, 255 for void).

    Raises:
        UserError: for a file that can't be read, or sizes that differ.
    """
    values = read_values(mask_path)
    mask = np.zeros(values.shape, np.uint8)
    for value in values_in(values):
        mask[values == value] = ids[value]
    return read_image_of(values, image_path, str(mask_path)), mask

"""A mask of 0 and 255 for each class of each image.

    images/a.jpg, masks/<class>/a.png      a folder for each class
    images/a.jpg, masks/a_<class>.png      the class behind the name, or before it

What no mask covers is background. Where classes overlap, the one with the higher id counts.
"""

import re
from collections import Counter

from errors import UserError
from utils.convert.annotations import clean_label
from utils.convert.cityscapes import guess_cityscapes
from utils.convert.folders import find_class_groups, find_groups
from utils.convert.label_studio_masks import guess_label_studio_masks
from utils.convert.layers import Layered, order_labels, scan_layers
from utils.convert.mask_files import by_stem, show_some
from utils.convert.scan import Skips
from utils.data.pairing import suggest_pairs

_SEPARATORS = " _-.+"


def guess_class_masks(source):
    """What tells that there is a mask for each class; see `utils.convert.scan.Format`."""
    if has_own_names(source):
        return None
    groups, others = find_class_groups(source)
    if groups:
        example = source.show(groups[0][0].masks[0].parent)
        return None if others else f"a folder for each class, such as {example}"
    for group in find_groups(source)[0]:
        split = split_names(_stems(group.images), _stems(group.masks))
        if split:
            mask = next(path for path in group.masks if path.stem in split)
            _, label = split[mask.stem]
            return f"the class {label!r} in the name {source.show(mask)}"
    return None


def has_own_names(source):
    """Whether the masks are of a program or data set whose names say more than their folders."""
    return bool(guess_cityscapes(source) or guess_label_studio_masks(source))


def _stems(paths):
    return [path.stem for path in paths]


def split_names(image_stems, mask_stems):
    """Splits names of masks into the image's and the class's.

    Returns:
        {mask stem: (image stem, class)}, of all but a few masks; or None unless there are
        several classes, each image's name is in the names of its masks, and one has several.
    """
    images = set(image_stems)
    for behind in (True, False):
        found = {}
        for stem in mask_stems:
            split = _split(stem, images, behind)
            if split:
                found[stem] = split
        classes = Counter(label for _, label in found.values())
        per_image = Counter(image for image, _ in found.values())
        most = max(per_image.values(), default=0)
        several = len(classes) > 1 and most > 1
        # Numbers count objects, and other names than these would be as many as images.
        if several and len(found) >= 0.9 * len(mask_stems) and len(classes) <= 2 * most:
            return found
    return None


def _split(stem, images, behind):
    """(image stem, class) by the longest image's name that begins or ends a mask's, or None."""
    for at in range(len(stem) - 1, 0, -1) if behind else range(1, len(stem)):
        image, label = (stem[:at], stem[at:]) if behind else (stem[at:], stem[:at])
        text = label.strip(_SEPARATORS)
        is_apart = text != label or not image[-1 if behind else 0].isalnum()
        if image in images and is_apart and re.search(r"[^\W\d_]", text):
            return image, text
    return None


def scan_class_masks(source, options):
    """Finds the masks of each image; see `utils.convert.scan.Format`. All masks are read."""
    skips = Skips(options.strict)
    layers = _find_layers(source, options.finder.image_dir, skips)
    labels = order_labels({label for found in layers.values() for label, _ in found}, options)
    images = [Layered(path, layers[path]) for path in sorted(layers)]
    scan = scan_layers(images, labels, skips)
    fewer = sum(len({label for label, _ in one.layers}) < len(labels) for one in images)
    if fewer:
        scan.notes.append(f"Of {fewer} images, some classes have no mask: they are not there.")
    return scan


def _find_layers(source, image_dir, skips):
    """{image path: [(label, mask path)]} of the images that have masks."""
    layers, seen, strays = {}, [], []
    groups, others = find_class_groups(source, image_dir)
    by_name = () if groups else find_groups(source, image_dir)[0]
    if not groups and not by_name:
        raise UserError(
            f"{source.path} has no masks by class. Expected images/ beside masks/<class>/, or "
            "masks/<image>_<class>.png; or set annotations to the masks and image_dir to the "
            "images."
        )
    for group, name in groups:
        # An error is one of the whole set: images without this class would be wrong.
        label = clean_label(name, str(group.masks[0].parent))
        strays += _add_folder(group, label, layers, skips)
        seen += group.images
    for path in others if groups else ():
        skips.add(path, f"The mask {path} is in none of the folders of classes.")
    for group in by_name:
        with skips.catching(group.masks[0].parent):
            strays += _add_names(group, layers, skips)
            seen += group.images
    for path in dict.fromkeys(seen):
        if path not in layers:
            skips.add(path, f"The image {path} has no mask of any class.")
    return _without_doubtful(layers, strays[0], skips) if strays else layers


def _without_doubtful(layers, stray, skips):
    """The images that have a mask of each class: a mask without an image may be another's."""
    labels = {label for found in layers.values() for label, _ in found}
    kept = {}
    for path, found in layers.items():
        missing = sorted(labels - {label for label, _ in found})
        if missing:
            reason = f"The image {path} has no mask of {', '.join(missing)}, while {stray} has no"
            skips.add(path, f"{reason} image. Do they belong together?")
        else:
            kept[path] = found
    return kept


def _add_folder(group, label, layers, skips):
    """Adds the masks of a folder masks/<class>/ to `layers`; those of no image, list of Path."""
    images, masks = by_stem(group.images), by_stem(group.masks, "masks")
    found = suggest_pairs(images, masks)
    if found is None:
        raise UserError(
            f"The masks in {group.masks[0].parent} don't belong to the images in "
            f"{group.images[0].parent} by their names: {show_some(list(masks)[:2])} and "
            f"{show_some(list(images)[:2])}. Name each mask as its image."
        )
    strays = [masks[stem] for stem in sorted(masks.keys() - set(found.masks.values()))]
    for path in strays:
        skips.add(path, f"The mask {path} belongs to no image. {found.sentence}")
    for image, mask in found.masks.items():
        layers.setdefault(images[image], []).append((label, masks[mask]))
    return strays


def _add_names(group, layers, skips):
    """Adds masks whose names hold image and class to `layers`; those of no image."""
    images, masks = by_stem(group.images), by_stem(group.masks, "masks")
    found = split_names(images, masks)
    folder = group.masks[0].parent
    if found is None:
        raise UserError(
            f"The names of the masks in {folder} are not those of images and a class behind or "
            f"before it: {show_some(list(masks)[:3])}. Expected <image>_<class>.png."
        )
    _check_no_numbers({label for _, label in found.values()}, folder)
    labels = {stem: clean_label(label, str(masks[stem])) for stem, (_, label) in found.items()}
    strays = [path for stem, path in masks.items() if stem not in found]
    for path in strays:
        skips.add(path, f"The mask {path} belongs to no image by its name.")
    for stem, (image, _) in found.items():
        layers.setdefault(images[image], []).append((labels[stem], masks[stem]))
    return strays


def _check_no_numbers(labels, folder):
    """Raises UserError if names differ by a number only: are these classes or objects?"""
    bases = Counter(re.sub(r"[\W_]*\d+$", "", label) for label in labels)
    double = [base for base, count in bases.items() if count > 1]
    if double:
        same = sorted(label for label in labels if re.sub(r"[\W_]*\d+$", "", label) == double[0])
        raise UserError(
            f"The masks in {folder} end in {show_some(same)}. Are these classes, or objects of "
            f"one class? Put those of each class into a folder of its own, masks/<class>/, one "
            "mask per image."
        )

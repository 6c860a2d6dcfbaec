"""Folders of images beside folders of masks, as data sets name them.

`images/` and `masks/`, `train/images/` and `train/masks/`, `images/train/` and `masks/train/`,
`train_images/` and `train_masks/`: what is left of a path without the word for images or masks
says which belong together. Without folders of masks, files named as such count: `a_mask.png`.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from utils.convert.mask_files import image_files
from utils.convert.source import Source

_MASK_WORDS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot",
    "groundtruths", "groundtruth", "truth", "segmentations", "segmentation", "segs", "seg", "gts",
    "gt", "targets", "target",
)  # fmt: skip
_IMAGE_WORDS = (
    "images", "image", "imgs", "img", "photos", "photo", "pictures", "picture", "originals",
    "original", "inputs", "input", "rgb",
)  # fmt: skip
_SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
_MASK_NAME = re.compile(
    rf".+[ _.-](?:{'|'.join(_MASK_WORDS)})|(?:{'|'.join(_MASK_WORDS)})[ _.-].+", re.IGNORECASE
)
_JOINED = 4  # letters from which a word may end another, as in trainannot


class Group(NamedTuple):
    """Images and masks that belong together by their folders.

    Attributes:
        key: tuple of str, what their folders have in common.
        images, masks: lists of Path.
    """

    key: tuple
    images: list
    masks: list


@lru_cache(maxsize=1)  # several guesses and the scan ask for the same
def find_groups(source, image_dir=""):
    """Sorts the image files of a source by their folders.

    Files below no folder with a word for images or masks are images if none is below one.

    Args:
        source: Source.
        image_dir: str, the folder of the images; "": they are in the source. If it is given,
            all is one group, whose masks are those below a folder of masks, or all other files.

    Returns:
        (tuple of Group with images and masks, tuple of Group with one of both alone), sorted.
    """
    if image_dir:
        return _with_images_of(image_dir, source)
    kinds = {"image": {}, "mask": {}, "": {}}
    for path in image_files(source.files):
        kind, key = _sort(path.relative_to(source.folder).parts[:-1])
        kinds[kind].setdefault(key, []).append(path)
    images, masks = kinds["image"] or kinds[""], kinds["mask"]
    if not masks and not source.having(".json", ".xml"):
        images, masks = _by_file_name(images)
    if len(images) == 1 and _without_splits(images) == images:
        masks = _without_splits(masks)  # images/ and masks/train/, which is no class
    if len(images) == len(masks) == 1:  # jpg/ and masks_png/
        (key,) = masks
        if _extra_part(images, key) is None:
            images = {key: next(iter(images.values()))}
    groups = [
        Group(key, images.get(key, []), masks.get(key, [])) for key in sorted({*images, *masks})
    ]
    both = tuple(group for group in groups if group.images and group.masks)
    return both, tuple(group for group in groups if not (group.images and group.masks))


def _with_images_of(image_dir, source):
    images = image_files(Source(image_dir).files)
    taken = {path.resolve() for path in images}
    others = [path for path in image_files(source.files) if path.resolve() not in taken]
    named = [
        path for path in others if _sort(path.relative_to(source.folder).parts[:-1])[0] == "mask"
    ]
    group = Group((), images, named or others)
    return ((group,), ()) if group.images and group.masks else ((), (group,))


def _sort(folders):
    """("image", "mask" or "", the folders without the word that says so)."""
    for at in range(len(folders) - 1, -1, -1):
        for kind, words in (("mask", _MASK_WORDS), ("image", _IMAGE_WORDS)):
            rest = _without_word(folders[at].lower(), words)
            if rest is not None:
                left = [*folders[:at], *([rest] if rest else []), *folders[at + 1 :]]
                return kind, tuple(left)
    return "", tuple(folders)


def _without_word(name, words):
    """What is left of a name without one of the words; None if it has none."""
    tokens = re.findall(r"[^\W_]+", name)
    for word in words:
        if word in tokens:
            tokens.remove(word)
            others = {"ground"} if word == "truth" else set()
            return "_".join(token for token in tokens if token not in others)
    if len(tokens) == 1:
        for word in words:
            if len(word) > _JOINED and name.endswith(word):
                return name[: -len(word)]
    return None


def _by_file_name(kind):
    """({key: images}, {key: masks}): a.jpg and a_mask.png in one folder."""
    sides = {False: {}, True: {}}
    for key, paths in kind.items():
        for path in paths:
            is_mask = _MASK_NAME.fullmatch(path.stem) is not None
            sides[is_mask].setdefault(key, []).append(path)
    return sides[False], sides[True]


def _without_splits(kind):
    """Paths by those of their folders that are not named as a split."""
    found = {}
    for key, paths in kind.items():
        left = tuple(part for part in key if part.lower() not in _SPLITS)
        found.setdefault(left, []).extend(paths)
    return found


def _extra_part(images, key):
    """Where a mask's key has one part more than that of its images; None if it has not."""
    for at in range(len(key)):
        if (*key[:at], *key[at + 1 :]) in images:
            return at
    return None


def find_class_groups(source, image_dir=""):
    """Masks in a folder for each class: `masks/<class>/`, beside images without such folders.

    Args:
        source: Source.
        image_dir: str, the folder of the images, to which the last folder of each mask is its
            class; "": they are in the source.

    Returns:
        (list of (Group, class name), list of Path of all other masks).
    """
    both, single = find_groups(source, image_dir)
    if image_dir:
        return _by_last_folder(both, source)
    images = {group.key: group.images for group in (*both, *single) if group.images}
    found, left = [], [path for group in both for path in group.masks]
    for group in single:
        at = _extra_part(images, group.key) if group.masks else None
        if at is None:
            left += group.masks
        else:
            key = (*group.key[:at], *group.key[at + 1 :])
            found.append((Group(key, images[key], group.masks), group.key[at]))
    return found, left


def _by_last_folder(groups, source):
    found, left = {}, []
    for group in groups:
        for path in group.masks:
            name = path.parent.name
            if path.parent == source.folder or _without_word(name.lower(), _MASK_WORDS) == "":
                left.append(path)
            else:
                found.setdefault(name, Group((), group.images, [])).masks.append(path)
    return [(group, name) for name, group in sorted(found.items())], left

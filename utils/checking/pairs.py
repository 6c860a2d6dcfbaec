"""Which image belongs to which mask, and which names nearly pair."""

import os

from utils.data.lists import can_list
from utils.data.pairing import suggest_pairs
from utils.data.voc import (
    MASK_EXTENSIONS,
    Sample,
    image_extensions,
    index_folder,
    stem_of,
    voc_folder,
)
from utils.files import name_key
from utils.images.foreign import describe_foreign

_LEAST_BY_RULE = 3  # beside pairs of equal names, fewer may be chance


def find_pairs(VOCdevkit_path):
    """Pairs the images and masks of a dataset by their names without extension.

    Returns:
        (samples, almost, problems): the pairs, sorted by name; pairs that differ in case, in
        spaces around the name, by a mask that is no .png, or by a rule such as `_mask` behind
        the name, as Samples too; and a list of (problem kind, detail) of
        `utils.checking.problems.PROBLEMS`.

    Raises:
        UserError: if a folder is missing.
    """
    images, any_mask, problems = _files(voc_folder(VOCdevkit_path))
    masks = {
        name: path for name, path in any_mask.items() if path.suffix.lower() in MASK_EXTENSIONS
    }
    samples = [_sample(images[name], masks[name]) for name in images if name in masks]
    alone = {name: path for name, path in images.items() if name not in masks}
    left = {name: path for name, path in any_mask.items() if name not in images or name in alone}
    almost = _almost_pairs(alone, left)
    problems += [
        ("names_almost_pair", f"{s.image_path.name} and {s.mask_path.name}") for s in almost
    ]
    _drop(almost, alone, left)
    by_rule, said = _pairs_by_rule(alone, left, 1 if not samples else _LEAST_BY_RULE)
    if by_rule:
        problems.append(("names_pair_by_rule", said))
    _drop(by_rule, alone, left)
    problems += [("picture_without_mask", path.name) for path in alone.values()]
    problems += [("mask_without_picture", path.name) for path in left.values()]
    return samples, almost + by_rule, problems


def _files(folder):
    """Images and masks of any type by their names, and problems of names alone."""
    duplicates = []
    images = index_folder(folder / "JPEGImages", image_extensions(), duplicates)
    masks = index_folder(folder / "SegmentationClass", image_extensions(), duplicates)
    # Names may hold bytes that are no text and can't be printed.
    duplicates = [text.encode("utf-8", "backslashreplace").decode() for text in duplicates]
    problems = [("duplicate_names", text) for text in duplicates]
    foreign = describe_foreign(sorted(os.listdir(folder / "JPEGImages")))
    problems += [("picture_foreign", text) for text in foreign]
    for files in (images, masks):
        unlistable = [name for name, path in files.items() if not can_list(stem_of(path))]
        problems += [("names_unlistable", repr(files.pop(name).name)) for name in unlistable]
    return images, masks, problems


def _sample(image, mask):
    return Sample(stem_of(image), image, mask)


def _drop(pairs, *files):
    """Takes the files of pairs out of {name: path}."""
    used = {path for pair in pairs for path in (pair.image_path, pair.mask_path)}
    for known in files:
        for name in [name for name, path in known.items() if path in used]:
            del known[name]


def _almost_pairs(images, masks):
    """Pairs what is equal but for case, outer spaces and a second extension, if unique."""
    by_key = {}
    for kind, files in enumerate((images, masks)):
        for name, path in files.items():
            by_key.setdefault(_key(name), ([], []))[kind].append(path)
    return [
        _sample(found[0][0], found[1][0])
        for _, found in sorted(by_key.items())
        if len(found[0]) == len(found[1]) == 1
    ]


def _key(name):
    stem, extension = os.path.splitext(name)
    # A mask named a.jpg.png belongs to a.jpg.
    bare = (stem if extension.lower() in image_extensions() else name).strip()
    return name_key(bare.casefold())


def _pairs_by_rule(images, masks, least):
    """Pairs names that differ by one rule, if it pairs at least so many.

    Returns:
        (list of Sample, str: how many there are, and the rule).
    """
    found = suggest_pairs(images, masks) if images and masks else None
    if found is None or len(found.masks) < least:
        return [], ""
    pairs = [_sample(images[image], masks[mask]) for image, mask in found.masks.items()]
    return pairs, f"{len(pairs):,} {'pairs' if len(pairs) > 1 else 'pair'}: {found.sentence}"

"""Which image belongs to which mask, and which names nearly pair."""

import os

from utils.data.voc import MASK_EXTENSIONS, Sample, image_extensions, index_folder, voc_folder
from utils.images.foreign import describe_foreign


def find_pairs(VOCdevkit_path):
    """Pairs the images and masks of a dataset by their names without extension.

    Returns:
        (samples, almost, problems): the pairs, sorted by name; pairs that differ in case, in
        spaces around the name, or by a mask that is no .png, as Samples too; and a list of
        (problem kind, detail) of `utils.checking.problems.PROBLEMS`.

    Raises:
        UserError: if a folder is missing.
    """
    folder = voc_folder(VOCdevkit_path)
    duplicates = []
    images = index_folder(folder / "JPEGImages", image_extensions(), duplicates)
    any_mask = index_folder(folder / "SegmentationClass", image_extensions(), duplicates)
    masks = {
        name: path for name, path in any_mask.items() if path.suffix.lower() in MASK_EXTENSIONS
    }
    problems = [("duplicate_names", text) for text in duplicates]
    foreign = describe_foreign(sorted(os.listdir(folder / "JPEGImages")))
    problems += [("picture_foreign", text) for text in foreign]
    samples = [Sample(name, images[name], masks[name]) for name in images if name in masks]
    alone = {name: path for name, path in images.items() if name not in masks}
    left = {name: path for name, path in any_mask.items() if name not in images or name in alone}
    almost = _almost_pairs(alone, left)
    problems += [
        ("names_almost_pair", f"{s.image_path.name} and {s.mask_path.name}") for s in almost
    ]
    for kind, names, used in (
        ("picture_without_mask", alone, {sample.image_path for sample in almost}),
        ("mask_without_picture", left, {sample.mask_path for sample in almost}),
    ):
        problems += [(kind, path.name) for path in names.values() if path not in used]
    return samples, almost, problems


def _almost_pairs(images, masks):
    """Pairs what is equal but for case, outer spaces and a second extension, if unique."""
    by_key = {}
    for kind, files in enumerate((images, masks)):
        for name, path in files.items():
            by_key.setdefault(_key(name), ([], []))[kind].append(path)
    return [
        Sample(os.path.splitext(found[0][0].name)[0], found[0][0], found[1][0])
        for _, found in sorted(by_key.items())
        if len(found[0]) == len(found[1]) == 1
    ]


def _key(name):
    stem, extension = os.path.splitext(name)
    # A mask named a.jpg.png belongs to a.jpg.
    return (stem if extension.lower() in image_extensions() else name).strip().casefold()

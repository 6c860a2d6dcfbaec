"""The VOC folder: images, masks, and the lists that pair them.

VOCdevkit_path/VOC2007/JPEGImages/            images, any type that Pillow reads
                       SegmentationClass/     masks, PNG, a class id in each pixel
                       ImageSets/Segmentation/{train,val,trainval,test}.txt
"""

import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from errors import UserError
from utils.data.lists import Names, read_lines, stem_of, write_lines
from utils.data.masks import LOSSY_FORMATS
from utils.files import name_key
from utils.images.foreign import describe_foreign, extra_extensions

# Types that Pillow knows but decodes only with other programs, if at all.
_NO_PICTURES = ("PDF", "MPEG", "BUFR", "GRIB", "HDF5", "EPS", "WMF")
MASK_EXTENSIONS = frozenset({".png"})


class Sample(NamedTuple):
    """An image and its mask; `mask_path` is None where no mask is asked for.

    The name is the image's, without extension, letter for letter as its file has it.
    """

    name: str
    image_path: Path
    mask_path: Path | None


class Samples(NamedTuple):
    """The samples of a training: two lists of Sample."""

    train: list
    val: list


def image_extensions():
    """The file extensions, lower case with the dot, of every type that can be read."""
    known = Image.registered_extensions().items()
    ends = {end for end, kind in known if kind in Image.OPEN and kind not in _NO_PICTURES}
    return frozenset({".mpo"} | ends | extra_extensions())


def voc_folder(VOCdevkit_path):
    """The folder that holds JPEGImages: `VOCdevkit_path/VOC2007`, or the path itself.

    Raises:
        UserError: if neither holds JPEGImages.
    """
    base = Path(VOCdevkit_path)
    for folder in (base / "VOC2007", base):
        if (folder / "JPEGImages").is_dir():
            return folder
    raise UserError(
        f"No dataset in VOCdevkit_path {str(base)!r}: there is no folder "
        f"{base / 'VOC2007' / 'JPEGImages'}. Put the images there and the masks into "
        "SegmentationClass beside it."
    )


def index_folder(folder, extensions, duplicates=None):
    """Finds the files of a folder by their name without extension.

    Args:
        folder: Path.
        extensions: set of lower-case extensions with the dot.
        duplicates: list that takes one text for each file whose stem is taken; None: such
            a file is an error.

    Returns:
        dict from `utils.files.name_key` of a stem to Path, sorted, whatever the file system's
        order.

    Raises:
        UserError: if the folder is missing, or two files share a stem.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    found = {}
    for name in sorted(os.listdir(folder), key=lambda name: (name_key(name), name)):
        stem, extension = os.path.splitext(name)
        if extension.lower() not in extensions or name.startswith("."):
            continue
        key = name_key(stem)
        if key not in found:
            found[key] = folder / name
            continue
        other = found[key].name
        note = "" if stem_of(found[key]) == stem else " (the letters in two Unicode forms)"
        if duplicates is None:
            raise UserError(
                f"{folder} holds both {other} and {name}{note}: "
                "one name must stand for one file. Rename or remove one of them."
            )
        duplicates.append(f"{other} and {name}{note}")
    return found


def list_path(VOCdevkit_path, split):
    """Where the list of a split lies: ImageSets/Segmentation/`split`.txt, or a path as it is."""
    if str(split).endswith(".txt"):
        return Path(split)
    return voc_folder(VOCdevkit_path) / "ImageSets" / "Segmentation" / f"{split}.txt"


def read_list(VOCdevkit_path, split):
    """Reads the names in a list, one a line; they may hold spaces, dots and any letters.

    Raises:
        UserError: if the list is missing, empty or in an encoding that is not UTF-8 or marked.
    """
    path = list_path(VOCdevkit_path, split)
    if not path.is_file():
        raise UserError(f"There is no list {path}. Run voc_annotation.py first.")
    lines = read_lines(path)
    if not lines:
        raise UserError(f"{path} is empty. Put images in the dataset and run voc_annotation.py.")
    return lines


def write_lists(VOCdevkit_path, lists):
    """Writes lists, {split: names}, each whole or not at all."""
    for split, names in lists.items():
        write_lines(list_path(VOCdevkit_path, split), names)


def read_samples(VOCdevkit_path, split):
    """Reads a list and finds the image and the mask of each line.

    Args:
        VOCdevkit_path: str or Path, the folder that holds VOC2007.
        split: str, a list's name such as "train" or "val_0", or the path of a .txt file.

    Returns:
        list of Sample, in the list's order.

    Raises:
        UserError: if the folder or list is missing or empty, or a line has no image or mask.
    """
    path, lines = list_path(VOCdevkit_path, split), read_list(VOCdevkit_path, split)
    folder = voc_folder(VOCdevkit_path)
    images = Names(index_folder(folder / "JPEGImages", image_extensions()))
    masks = Names(index_folder(folder / "SegmentationClass", MASK_EXTENSIONS))
    keys = [images.find(line) for line in lines]
    lacking = [line for line, key in zip(lines, keys, strict=True) if key not in masks.files]
    if lacking:
        more = (
            f" In all, {len(lacking)} of its {len(lines)} lines name no image with a mask; "
            "python voc_annotation.py --check_only sums up why."
        )
        raise UserError(
            f"{path} names {_explain(lacking[0], folder, images, masks)}"
            f"{more if len(lacking) > 1 else ''}"
        )
    return [Sample(stem_of(images.files[key]), images.files[key], masks.files[key]) for key in keys]


def _explain(line, folder, images, masks):
    """Why a line of a list has no image or no mask, and what to do."""
    key = images.find(line)
    if key is None:
        stem = f"{line.strip()}."
        files = [one for one in os.listdir(folder / "JPEGImages") if one.startswith(stem)]
        if foreign := describe_foreign(files):
            return f"{line.strip()!r}, which has no image that can be read. There is {foreign[0]}."
        return f"{line.strip()!r}, which has no image. {images.fault(line).advice}"
    other = index_folder(folder / "SegmentationClass", image_extensions(), []).get(key)
    advice = mask_advice(other) if other else masks.fault(line).advice
    return f"{line.strip()!r}, which has no mask. {advice}"


def mask_advice(path):
    """What to do about a mask whose file is of another type than PNG, by its extension."""
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind in LOSSY_FORMATS:
        return f"{path.name} is compressed with loss, which smears class ids: export it as PNG."
    return (
        f"{path.name} is no PNG file: python voc_annotation.py --fix writes a copy with PNG masks."
    )

"""The VOC folder: images, masks, and the lists that pair them.

VOCdevkit_path/VOC2007/JPEGImages/            images, any type that Pillow reads
                       SegmentationClass/     masks, PNG, a class id in each pixel
                       ImageSets/Segmentation/{train,val,trainval,test}.txt
"""

import difflib
import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from errors import UserError
from utils.files import whole_file
from utils.images.foreign import describe_foreign, extra_extensions

# Types that Pillow knows but decodes only with other programs, if at all.
_NO_PICTURES = ("PDF", "MPEG", "BUFR", "GRIB", "HDF5", "EPS", "WMF")
MASK_EXTENSIONS = frozenset({".png"})


class Sample(NamedTuple):
    """An image and its mask; `mask_path` is None where no mask is asked for."""

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
        dict from stem to Path, sorted by stem, whatever the file system's order.

    Raises:
        UserError: if the folder is missing, or two files share a stem.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    found = {}
    for name in sorted(os.listdir(folder)):
        stem, extension = os.path.splitext(name)
        if extension.lower() not in extensions or name.startswith("."):
            continue
        if stem not in found:
            found[stem] = folder / name
        elif duplicates is not None:
            duplicates.append(f"{found[stem].name} and {name}")
        else:
            raise UserError(
                f"{folder} holds both {found[stem].name} and {name}: "
                "one name must stand for one file. Rename or remove one of them."
            )
    return found


def list_path(VOCdevkit_path, split):
    """Where the list of a split lies: ImageSets/Segmentation/`split`.txt, or a path as it is."""
    if str(split).endswith(".txt"):
        return Path(split)
    return voc_folder(VOCdevkit_path) / "ImageSets" / "Segmentation" / f"{split}.txt"


def read_list(VOCdevkit_path, split):
    """Reads the names in a list, one a line; they may hold spaces, dots and any letters.

    Raises:
        UserError: if the list is missing, empty or no UTF-8 text.
    """
    path = list_path(VOCdevkit_path, split)
    if not path.is_file():
        raise UserError(f"There is no list {path}. Run voc_annotation.py first.")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}). Run voc_annotation.py.") from error
    lines = [line.rstrip("\r") for line in lines if line.strip()]
    if not lines:
        raise UserError(f"{path} is empty. Put images in the dataset and run voc_annotation.py.")
    return lines


def write_lists(VOCdevkit_path, lists):
    """Writes lists, {split: names}, each whole or not at all."""
    for split, names in lists.items():
        path = list_path(VOCdevkit_path, split)
        with whole_file(path) as temporary:
            temporary.write_text("".join(f"{name}\n" for name in names), "utf-8", newline="\n")


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
    folders = {"image": folder / "JPEGImages", "mask": folder / "SegmentationClass"}
    images = index_folder(folders["image"], image_extensions())
    masks = index_folder(folders["mask"], MASK_EXTENSIONS)
    samples = []
    for line in lines:
        name = line if line in images else line.strip()
        for kind, files in (("image", images), ("mask", masks)):
            if name not in files:
                hint = _hint(name, files, folders[kind])
                raise UserError(f"{path} names {name!r}, which has no {kind}. {hint}")
        samples.append(Sample(name, images[name], masks[name]))
    return samples


def _hint(name, files, folder):
    stem = os.path.splitext(name)[0]
    if stem in files:
        return f"Names stand without extension: write {stem!r}."
    if foreign := describe_foreign(one for one in os.listdir(folder) if one.startswith(f"{name}.")):
        return f"There is {foreign[0]}."
    same = [other for other in files if other.lower() == name.lower()]
    close = same or difflib.get_close_matches(name, files, n=1)
    if close:
        return f"Did you mean {files[close[0]].name!r}? Case and extension count."
    return "Add the file, or run voc_annotation.py to write the lists anew."

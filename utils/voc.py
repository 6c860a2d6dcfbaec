"""The VOC folder: pictures, masks and lists; the label reader; palette and class names.

    VOCdevkit_path/VOC2007/JPEGImages/            pictures, any type that Pillow reads
                           SegmentationClass/     masks, PNG, a class id in each pixel
                           ImageSets/Segmentation/{train,val,trainval,test}.txt

This is the only place where a mask file becomes class ids.
"""

import difflib
import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from errors import UserError
from utils.metrics import VOID

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
    "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
    "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
MASK_EXTENSIONS = frozenset({".png"})


class Sample(NamedTuple):
    """A picture and its mask; `mask_path` is None where no mask is asked for."""

    name: str
    image_path: Path
    mask_path: Path | None


def image_extensions():
    """The file extensions, lower case with the dot, of every type that Pillow reads."""
    return frozenset(
        extension
        for extension, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in ("PDF", "MPEG")
    )


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
        f"{base / 'VOC2007' / 'JPEGImages'}. Put the pictures there and the masks into "
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
        raise UserError(f"{path} is no UTF-8 text ({error}). Run voc_annotation.py.") from error
    lines = [line.rstrip("\r") for line in lines if line.strip()]
    if not lines:
        raise UserError(f"{path} is empty. Put pictures in the dataset and run voc_annotation.py.")
    return lines


def write_lists(VOCdevkit_path, lists):
    """Writes lists, {split: names}, each under a temporary name first."""
    for split, names in lists.items():
        path = list_path(VOCdevkit_path, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text("".join(f"{name}\n" for name in names), "utf-8", newline="\n")
        os.replace(temporary, path)


def read_samples(VOCdevkit_path, split):
    """Reads a list and finds the picture and the mask of each line.

    Args:
        VOCdevkit_path: str or Path, the folder that holds VOC2007.
        split: str, a list's name such as "train" or "val_0", or the path of a .txt file.

    Returns:
        list of Sample, in the list's order.

    Raises:
        UserError: if the folder or list is missing or empty, or a line has no picture or mask.
    """
    path, lines = list_path(VOCdevkit_path, split), read_list(VOCdevkit_path, split)
    folder = voc_folder(VOCdevkit_path)
    pictures = index_folder(folder / "JPEGImages", image_extensions())
    masks = index_folder(folder / "SegmentationClass", MASK_EXTENSIONS)
    samples = []
    for line in lines:
        name = line if line in pictures else line.strip()
        for kind, files in (("picture", pictures), ("mask", masks)):
            if name not in files:
                raise UserError(f"{path} names {name!r}, which has no {kind}. {_hint(name, files)}")
        samples.append(Sample(name, pictures[name], masks[name]))
    return samples


def _hint(name, files):
    stem = os.path.splitext(name)[0]
    if stem in files:
        return f"Names stand without extension: write {stem!r}."
    same = [other for other in files if other.lower() == name.lower()]
    close = same or difflib.get_close_matches(name, files, n=1)
    if close:
        return f"Did you mean {files[close[0]].name!r}? Case and extension count."
    return "Add the file, or run voc_annotation.py to write the lists anew."


REFUSED_MASKS = {
    "lossy": "it is compressed with loss, which smears class ids",
    "format": "it is no PNG file",
    "16-bit": "it has 16-bit values",
    "alpha": "it has an alpha channel",
    "colour": "it is a colour picture",
}
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_LOSSY = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF")


def refused_mask(image):
    """Why an opened mask file holds no class ids: a key of `REFUSED_MASKS`, or None."""
    if image.format in _LOSSY:
        return "lossy"
    if image.format != "PNG":
        return "format"
    if image.mode.startswith("I"):
        return "16-bit"
    if image.mode in ("P", "L", "1"):
        return None
    return "alpha" if image.mode.endswith("A") else "colour"


def read_label_ids(path):
    """Reads a mask as it is: one class id a pixel.

    Palette, 8-bit grey, and 1-, 2- and 4-bit PNG give the number stored for each pixel.

    Returns:
        uint8 (H, W).

    Raises:
        UserError: for a missing or broken file, and for any other kind of file: colours,
            16-bit values and lossy compression are no class ids.
    """
    ids = _read_plain_grey(path)
    if ids is not None:
        return ids
    try:
        with Image.open(path) as image:
            refused = refused_mask(image)
            if refused:
                raise UserError(
                    f"{path} is no class-id mask: {REFUSED_MASKS[refused]} ({image.format}, mode "
                    f"{image.mode}). Expected a PNG with a palette or 8-bit grey whose pixel "
                    "values are the class ids 0, 1, 2, ..."
                )
            ids = np.asarray(image).astype(np.uint8, copy=False)
            depth = _bit_depth(path) if image.mode == "L" else 8
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        raise UserError(f"The mask {path} can't be read: {error}. Save it again.") from error
    # Pillow stretches 2- and 4-bit grey to 0..255.
    return ids if depth == 8 else ids // (255 // (2**depth - 1))


def _read_plain_grey(path):
    """An 8-bit grey PNG by OpenCV, twice as fast as Pillow; None for anything else."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None  # the ordinary way says what is wrong
    # Signature, 8 bits of grey in the header, and the end that a truncated file lacks.
    if data[:8] != _PNG_START or data[24:26] != b"\x08\x00" or data[-8:] != _PNG_END:
        return None
    ids = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return ids if ids is not None and ids.ndim == 2 else None


def _bit_depth(path):
    with open(path, "rb") as file:
        return file.read(25)[24]  # the PNG header's own field


def read_mask(path, num_classes, ignore_labels=(VOID,)):
    """Reads a mask for training and scoring.

    Args:
        path: the mask file.
        num_classes: int.
        ignore_labels: ids that count as void, before anything else.

    Returns:
        uint8 (H, W): class ids 0..num_classes-1, and 255 for void.

    Raises:
        UserError: as `read_label_ids`; and for a value that is neither a class nor ignored.
    """
    ids = read_label_ids(path)
    table = np.full(256, VOID, np.uint8)
    table[:num_classes] = np.arange(num_classes)
    table[list(ignore_labels)] = VOID
    if num_classes <= int(ids.max(initial=0)):
        _check_values(path, ids, num_classes, ignore_labels)
    return cv2.LUT(ids, table)


def _check_values(path, ids, num_classes, ignore_labels):
    counts = np.bincount(ids.ravel(), minlength=256)
    known = set(range(num_classes)) | set(ignore_labels)
    wrong = [int(value) for value in np.flatnonzero(counts) if int(value) not in known]
    if not wrong:
        return
    value = wrong[0]
    others = f" (and {len(wrong) - 1} other such values)" if len(wrong) > 1 else ""
    raise UserError(
        f"The mask {path} holds the value {value} in {counts[value]:,} pixels{others}; with "
        f"num_classes={num_classes} the ids are 0 to {num_classes - 1}, and ignore_labels is "
        f"{tuple(ignore_labels)}. Raise num_classes (background included), or name {value} in "
        "ignore_labels, or correct the mask."
    )


def check_ignore_labels(ignore_labels):
    """Raises UserError unless every label is a value that an 8-bit mask can hold."""
    wrong = [label for label in ignore_labels if not 0 <= label <= 255]
    if wrong:
        raise UserError(f"ignore_labels must be 0 to 255; got {wrong[0]}.")


def voc_palette(num_classes):
    """The PASCAL VOC colours: the bits of the class id, spread over red, green and blue.

    Returns:
        uint8 (num_classes, 3), RGB.
    """
    ids = np.arange(num_classes)
    colors = np.zeros((num_classes, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= ((ids >> (3 * bit + channel)) & 1) << (7 - bit)
    return colors.astype(np.uint8)


def class_names(num_classes, name_classes=()):
    """One name a class: the given ones, VOC's for 21 classes, or numbered ones.

    Raises:
        UserError: if the given names are not num_classes many.
    """
    if name_classes:
        if len(name_classes) != num_classes:
            raise UserError(
                f"name_classes holds {len(name_classes)} names, but num_classes is "
                f"{num_classes}. Name every class, the background too."
            )
        return tuple(name_classes)
    if num_classes == len(VOC_CLASSES):
        return VOC_CLASSES
    return ("background", *(f"class_{index}" for index in range(1, num_classes)))


def mask_to_image(mask):
    """A palette picture (PIL, mode P) of class ids, with 255 in VOC's border colour."""
    image = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    image.putpalette(voc_palette(256).tobytes())
    return image

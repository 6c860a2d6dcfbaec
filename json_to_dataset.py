"""Converts annotations to a VOC folder: python json_to_dataset.py

Reads the files of labelme, COCO, CVAT, Label Studio, Supervisely, VIA and others (see the
setting format) and writes VOC2007/JPEGImages, VOC2007/SegmentationClass and the class list
VOC2007/classes.txt. Nothing that exists is overwritten. An image whose annotation is broken
is left out and listed, status 1; an error leaves nothing behind. Then: python voc_annotation.py
"""

import os
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from errors import UserError, check_at_least, check_choice
from utils.config import load_config, run_script, settings, take
from utils.convert.annotated_images import ImageFinder, save_annotated_image
from utils.convert.annotations import class_id, fixed_id, make_classes, read_class_list
from utils.convert.coco_panoptic import UNLABELED
from utils.convert.coco_records import CROWDS
from utils.convert.formats import check_format, choose_format
from utils.convert.new_dataset import DATA_FOLDERS, building, check_class_file, check_target
from utils.convert.scan import Options, Skips, nothing_left
from utils.convert.source import Source
from utils.convert.text import alike_note, encoding_note, one_form, read_text
from utils.data.masks import mask_to_image
from utils.labels import VOID
from utils.parallel import ordered_map


@settings
class ConvertConfig:
    # What to convert
    annotations: str = "datasets/before"  # folder of annotations, or one such file
    format: str = "auto"  # labelme, coco, ...; auto: by the content, and said
    image_dir: str = ""  # folder of the images; empty: where the JSON files say
    classes: str = ""  # text file, one name a line; empty: all labels that occur
    strict: bool = False  # whether the first error stops all, not just leaves out its image
    num_workers: int = 0  # threads that draw and write; 0: one per processor

    # COCO only
    crowd: str = "auto"  # what iscrowd=1 becomes: void, class, or auto (class if from CVAT)
    fill_boxes: bool = False  # whether annotations that have only a box fill it
    unlabeled: str = "auto"  # panoptic pixels of no segment: void, background or auto (said)

    # VIA only
    class_attribute: str = ""  # region attribute that names the class; empty: the only one

    # Where to
    VOCdevkit_path: str = "VOCdevkit"  # folder in which VOC2007 is made

    def check(self):
        """Raises UserError for values that make no sense."""
        check_format(self.format)
        check_choice("crowd", self.crowd, CROWDS)
        check_choice("unlabeled", self.unlabeled, UNLABELED)
        check_at_least(self, 0, "num_workers")


def main(config=None):
    """Converts; `config` is a ConvertConfig, or None to read the command line.

    Returns:
        int, the exit status: 0; or 1 if something was left out and the rest is written.
    """
    config = config or load_config(ConvertConfig)
    target = Path(config.VOCdevkit_path) / "VOC2007"
    check_target(target)
    source = Source(config.annotations)
    chosen, why = choose_format(source, config.format)
    print(why)
    finder = ImageFinder(config.image_dir, within=data_folder(config.annotations))
    scan = chosen.scan(source, take(Options, config, finder=finder))
    skips = Skips(config.strict, scan.skipped)
    if not scan.items:
        raise nothing_left(skips.found)
    classes, notes = choose_classes(config.classes, scan, skips)
    items = check_items(scan.items, classes, skips)
    check_class_file(target, classes, config.classes)
    with building(target) as folder:
        pixels, images, written = write_dataset(folder, items, classes, config.num_workers, skips)
        if not written:
            raise nothing_left(skips.found)
    print(format_classes(classes, pixels, images))
    for note in (*scan.notes, *source.notes, *notes):
        print(note)
    print(
        f"{written} images in {target}. For train.py:\n\n"
        f"    num_classes: int = {len(classes)}\n"
        f"    name_classes: tuple[str, ...] = {classes!r}\n\n"
        "Next: python voc_annotation.py"
    )
    print(format_skipped(skips.found), end="")
    return 1 if skips.found else 0


def data_folder(annotations):
    """The folder two above that of the annotations: `img` is there, of `img_out/labelme`."""
    folder = os.path.abspath(annotations)
    return Path(folder if os.path.isdir(folder) else os.path.dirname(folder)).parent.parent


def choose_classes(path, scan, skips):
    """The classes, from a list or from the labels that occur.

    Args:
        path: str, of the class list; empty: there is none.
        scan: Scan.
        skips: Skips.

    Returns:
        (tuple of str, in the order of their ids; list of str: notes on their names).

    Raises:
        UserError: if there are none, or too many.
    """
    note = ""
    if path:
        classes, note = read_class_list(path), encoding_note(path, read_text(path)[1])
    elif not scan.has_background:
        classes = tuple(scan.labels)
    elif skips.found and all(fixed_id(label) is not None for label in scan.labels):
        raise nothing_left(skips.found)
    else:
        classes = make_classes(scan.labels)
    return classes, [one for one in (note, alike_note(classes)) if one]


def check_items(items, classes, skips):
    """The items whose names and labels can be written.

    Args:
        items: list of Item.
        classes: tuple of str, the background first.
        skips: Skips, which gets the others.

    Raises:
        UserError: if two would be written under one name.
    """
    taken, kept = {}, []
    for item in items:
        # Windows and macOS take names that differ only in case for one, macOS é in two forms.
        other = taken.setdefault(one_form(item.name).lower(), item)
        if other is not item:
            raise UserError(
                f"{other.origin} and {item.origin} would both be written as {item.name}. "
                "Rename one of the two."
            )
        with skips.catching(item.origin):
            _check_item(item, classes)
            kept.append(item)
    return kept


def _check_item(item, classes):
    if item.name.startswith(".") or "\n" in item.name or "\r" in item.name:
        raise UserError(
            f"{item.origin} would give images the name {item.name!r}, which lists of "
            "images can't hold. Rename it."
        )
    for label in sorted(item.labels):
        class_id(label, classes, item.origin)


def write_dataset(folder, items, classes, workers, skips):
    """Writes images, masks and the class list.

    Args:
        folder: Path.
        items: list of Item.
        classes: tuple of str, the background first.
        workers: int.
        skips: Skips, which gets the items that turn out to be broken.

    Returns:
        (int64 (256,) pixels of each mask value, int64 (256,) images that hold it, int images
        written).
    """
    for name in DATA_FOLDERS:
        (folder / name).mkdir()
    text = "".join(f"{name}\n" for name in classes)
    (folder / "classes.txt").write_text(text, encoding="utf-8", newline="\n")
    pixels, images = np.zeros((2, 256), np.int64)
    written = 0
    write = partial(_write_item, folder=folder, classes=classes)
    # Closed at once: its threads may not outlive an error that `skips` raises.
    with closing(ordered_map(write, items, workers, "Converting")) as results:
        for item, counts in zip(items, results, strict=True):
            if isinstance(counts, UserError):
                skips.add(item.origin, counts)
                continue
            pixels += counts
            images += counts > 0
            written += 1
    return pixels, images, written


def _write_item(item, folder, classes):
    """The pixels of each mask value, int64 (256,); or the UserError that tells what is wrong."""
    try:
        image, mask = item.load(classes)
    except UserError as error:
        return error
    save_annotated_image(image, folder / "JPEGImages", item.name)
    mask_to_image(mask).save(folder / "SegmentationClass" / f"{item.name}.png", "PNG")
    return np.bincount(mask.ravel(), minlength=256)


def format_classes(classes, pixels, images):
    """A table: in how many images each class occurs, and its share of all pixels.

    Args:
        classes: tuple of str.
        pixels, images: as `write_dataset` returns them.
    """
    lines = ["  id  images    share  class"]
    for value, name in [*enumerate(classes), (VOID, "void")]:
        if value != VOID or pixels[VOID]:
            share = pixels[value] / pixels.sum()
            lines.append(f"{value:>4}  {images[value]:>8}  {share:7.2%}  {name}")
    return "\n".join(lines)


def format_skipped(skipped):
    """What was left out and why, a line each; empty if nothing was."""
    lines = [f"  {one.reason}" for one in skipped]
    head = f"\n{len(lines)} left out (strict=True would stop at the first):"
    return "\n".join([head, *lines, ""]) if lines else ""


if __name__ == "__main__":
    run_script(main)

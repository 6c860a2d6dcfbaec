"""Converts annotations to a VOC folder: python json_to_dataset.py

Reads labelme's JSON files (versions 3 to 5), or COCO instance JSON as CVAT, Label Studio
and Roboflow export it, and writes VOC2007/JPEGImages, VOC2007/SegmentationClass and the
class list VOC2007/classes.txt. Nothing that exists is overwritten, and an error leaves
nothing behind. Then: python voc_annotation.py
"""

from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from errors import UserError, check_at_least, check_choice
from utils.config import load_config, run_script, settings
from utils.convert.annotated_images import ImageFinder, save_annotated_image
from utils.convert.annotations import class_id, make_classes, read_class_list, read_json
from utils.convert.coco import CROWDS, is_coco, scan_coco
from utils.convert.labelme import is_labelme, scan_labelme
from utils.convert.new_dataset import DATA_FOLDERS, building, check_class_file, check_target
from utils.data.masks import mask_to_image
from utils.labels import VOID
from utils.parallel import ordered_map


@settings
class ConvertConfig:
    # What to convert
    annotations: str = "datasets/before"  # folder of labelme JSON files, or a COCO JSON file
    image_dir: str = ""  # folder of the images; empty: where the JSON files say
    classes: str = ""  # text file, one name a line; empty: all labels that occur
    num_workers: int = 0  # threads that draw and write; 0: one per processor

    # COCO only
    crowd: str = "auto"  # what iscrowd=1 becomes: void, class, or auto (class if from CVAT)
    fill_boxes: bool = False  # whether annotations that have only a box fill it

    # Where to
    VOCdevkit_path: str = "VOCdevkit"  # folder in which VOC2007 is made

    def check(self):
        """Raises UserError for values that make no sense."""
        check_choice("crowd", self.crowd, CROWDS)
        check_at_least(self, 0, "num_workers")


def main(config=None):
    """Converts; `config` is a ConvertConfig, or None to read the command line."""
    config = config or load_config(ConvertConfig)
    target = Path(config.VOCdevkit_path) / "VOC2007"
    check_target(target)
    items, labels, notes = scan(config)
    classes = read_class_list(config.classes) if config.classes else make_classes(labels)
    check_items(items, classes)
    check_class_file(target, classes, config.classes)
    with building(target) as folder:
        pixels, images = write_dataset(folder, items, classes, config.num_workers)
    print(format_classes(classes, pixels, images))
    for note in notes:
        print(note)
    print(
        f"{len(items)} images in {target}. For train.py:\n\n"
        f"    num_classes: int = {len(classes)}\n"
        f"    name_classes: tuple[str, ...] = {classes!r}\n\n"
        "Next: python voc_annotation.py"
    )


def find_json_files(path):
    """The JSON files that a path means: itself, or all in the folder, sorted.

    Raises:
        UserError: if there are none.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(
            f"There is no file or folder {path}. Set annotations to a folder of labelme JSON "
            "files, or to a COCO JSON file."
        )
    found = [one for one in path.rglob("*") if one.suffix.lower() == ".json" and one.is_file()]
    # Hidden folders hold copies that editors keep.
    found = [one for one in found if not any(map(_is_hidden, one.relative_to(path).parts))]
    if not found:
        raise UserError(f"{path} holds no JSON files, nor do its subfolders.")
    return sorted(found)


def _is_hidden(name):
    return name.startswith(".")


def scan(config):
    """Checks all annotations and finds their images, without decoding these.

    Returns:
        (list of Item, labels in the order of their ids, notes for the user): sorted labels
        for labelme, for COCO by category id.

    Raises:
        UserError: for the first file that can't be converted.
    """
    finder = ImageFinder(config.image_dir)
    labelme, coco = {}, {}
    paths = find_json_files(config.annotations)
    for path in tqdm(paths, "Reading the annotations", disable=None, leave=False):
        data = read_json(path)
        if is_labelme(data):
            labelme[path] = scan_labelme(path, data, finder)
        elif is_coco(data):
            coco[path] = scan_coco(path, data, finder, config.crowd, config.fill_boxes)
        else:
            raise UserError(
                f"{path} is not an annotation file: labelme's have 'shapes', COCO's 'images', "
                "'annotations' and 'categories'. Move it away, or export it as COCO."
            )
    if labelme and coco:
        raise UserError(
            f"{next(iter(labelme))} is labelme's, {next(iter(coco))} COCO's. Convert one kind "
            "at a time: set annotations to its folder or file."
        )
    if labelme:
        labels = set().union(*(item.labels for item in labelme.values()))
        return list(labelme.values()), sorted(labels), []
    return _join(list(coco.values()), config.crowd)


def _join(files, crowd):
    """Several COCO files, such as Roboflow's for training and validation, as one."""
    ids = {}
    for file in files:
        for name, key in file.categories.items():
            ids.setdefault(name, key)
    labels = sorted(ids, key=lambda name: (isinstance(ids[name], str), ids[name], name))
    voids, others = (sum(file.crowds[index] for file in files) for index in (0, 1))
    notes = [
        f"{count} regions with iscrowd=1 became {meaning} (crowd={crowd!r})."
        for count, meaning in ((voids, "void"), (others, "their class"))
        if count
    ]
    return [item for file in files for item in file.items], labels, notes


def check_items(items, classes):
    """Raises UserError unless there are images, each with its own name and known labels."""
    if not items:
        raise UserError("The annotations list no images.")
    taken = {}
    for item in items:
        if item.name.startswith(".") or "\n" in item.name or "\r" in item.name:
            raise UserError(
                f"{item.origin} would give images the name {item.name!r}, which lists of "
                "images can't hold. Rename it."
            )
        # Windows and macOS take names that differ only in case for one.
        other = taken.setdefault(item.name.lower(), item)
        if other is not item:
            raise UserError(
                f"{other.origin} and {item.origin} would both be written as {item.name}. "
                "Rename one of the two."
            )
        for label in sorted(item.labels):
            class_id(label, classes, item.origin)


def write_dataset(folder, items, classes, workers):
    """Writes images, masks and the class list.

    Returns:
        (int64 (256,) pixels of each mask value, int64 (256,) images that hold it).
    """
    for name in DATA_FOLDERS:
        (folder / name).mkdir()
    text = "".join(f"{name}\n" for name in classes)
    (folder / "classes.txt").write_text(text, encoding="utf-8", newline="\n")
    pixels, images = np.zeros((2, 256), np.int64)
    write = partial(_write_item, folder=folder, classes=classes)
    for counts in ordered_map(write, items, workers, "Converting"):
        pixels += counts
        images += counts > 0
    return pixels, images


def _write_item(item, folder, classes):
    image, mask = item.load(classes)
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


if __name__ == "__main__":
    run_script(main)

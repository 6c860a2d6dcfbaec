"""Converts annotations to a VOC folder: python json_to_dataset.py

Reads labelme's JSON files (versions 3 to 5), or COCO instance JSON as CVAT, Label Studio
and Roboflow export it, and writes VOC2007/JPEGImages, VOC2007/SegmentationClass and the
class list VOC2007/classes.txt. Nothing that exists is overwritten, and an error leaves
nothing behind. Then: python voc_annotation.py
"""

import contextlib
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from errors import UserError
from utils.annotations import class_id, make_classes, read_class_list, read_json
from utils.coco import CROWDS, is_coco, scan_coco
from utils.config import load_config, run_script, settings
from utils.labelme import is_labelme, scan_labelme
from utils.metrics import VOID
from utils.parallel import ordered_map
from utils.pictures import PictureFinder, save_picture
from utils.voc import mask_to_image

DATA_FOLDERS = ("SegmentationClass", "JPEGImages")
_KEPT = "README.md"  # stands in the folders of a fresh clone


@settings
class ConvertConfig:
    # What to convert
    annotations: str = "datasets/before"  # folder of labelme JSON files, or a COCO JSON file
    image_dir: str = ""  # folder of the pictures; empty: where the JSON files say
    classes: str = ""  # text file, one name a line; empty: all labels that occur
    num_workers: int = 0  # threads that draw and write; 0: one a processor

    # COCO only
    crowd: str = "auto"  # what iscrowd=1 becomes: void, class, or auto (class if from CVAT)
    fill_boxes: bool = False  # whether annotations that have only a box fill it

    # Where to
    VOCdevkit_path: str = "VOCdevkit"  # folder in which VOC2007 is made

    def check(self):
        """Raises UserError for values that make no sense."""
        if self.crowd not in CROWDS:
            raise UserError(f"crowd must be one of {', '.join(CROWDS)}; got {self.crowd!r}.")
        if self.num_workers < 0:
            raise UserError(f"num_workers must be at least 0; got {self.num_workers}.")


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
        histograms = write_dataset(folder, items, classes, config.num_workers)
    print(format_classes(classes, histograms))
    for note in notes:
        print(note)
    print(
        f"{len(items)} pictures in {target}. For train.py:\n\n"
        f"    num_classes: int = {len(classes)}\n"
        f"    name_classes: tuple[str, ...] = {classes!r}\n\n"
        "Next: python voc_annotation.py"
    )


def check_target(target):
    """Raises UserError if there are data in the VOC folder already."""
    for name in DATA_FOLDERS:
        folder = target / name
        files = sorted(set(os.listdir(folder)) - {_KEPT}) if folder.is_dir() else []
        if files:
            raise UserError(
                f"{folder} holds {len(files)} files already, such as {files[0]}, and nothing is "
                "overwritten. Move them away, or set another VOCdevkit_path."
            )


def check_class_file(target, classes, given):
    """Raises UserError if another class list than the given one would be overwritten."""
    path = target / "classes.txt"
    if not path.is_file() or (given and path.samefile(given)):
        return
    if read_class_list(path) != classes:
        raise UserError(
            f"{path} names other classes than these annotations: {', '.join(classes)}. Set "
            "classes to that file, or remove it."
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
    found = [one.relative_to(path) for one in path.rglob("*") if one.suffix.lower() == ".json"]
    # Hidden folders hold copies that editors keep.
    found = [one for one in found if not any(part.startswith(".") for part in one.parts)]
    if not found:
        raise UserError(f"{path} holds no JSON files, nor do its subfolders.")
    return [path / one for one in sorted(found)]


def scan(config):
    """Checks all annotations and finds their pictures, without decoding these.

    Returns:
        (list of Item, labels in the order of their ids, notes for the user): sorted labels
        for labelme, for COCO by category id.

    Raises:
        UserError: for the first file that can't be converted.
    """
    finder = PictureFinder(config.image_dir)
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
                f"{path} is no annotation file: labelme's have 'shapes', COCO's 'images', "
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
    """Raises UserError unless each picture has a name of its own and known labels."""
    taken = {}
    for item in items:
        if item.name.startswith(".") or "\n" in item.name or "\r" in item.name:
            raise UserError(
                f"{item.origin} would give pictures the name {item.name!r}, which lists of "
                "pictures can't hold. Rename it."
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


@contextlib.contextmanager
def building(target):
    """Gives a folder to fill; it becomes `target` at the end, or vanishes on an error."""
    place = next(folder for folder in target.resolve().parents if folder.is_dir())
    # Beside the target, so that the last step is a rename.
    with tempfile.TemporaryDirectory(prefix=".VOC2007_", dir=place) as temporary:
        folder = Path(temporary) / target.name
        folder.mkdir()
        yield folder
        move_in(folder, target)


def move_in(folder, target):
    """Gives a built folder its final name, or puts its content into one without data.

    What happened so far is undone if a step fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        folder.rename(target)
        return
    with contextlib.ExitStack() as undo:
        for name in ("classes.txt", *DATA_FOLDERS):
            new, old = folder / name, target / name
            if old.exists():
                if (old / _KEPT).is_file():
                    shutil.copy2(old / _KEPT, new)
                replaced = folder / f"old_{name}"
                old.rename(replaced)
                undo.callback(replaced.rename, old)
            new.rename(old)
            undo.callback(old.rename, new)
        undo.pop_all()


def write_dataset(folder, items, classes, workers):
    """Writes pictures, masks and the class list.

    Returns:
        int64 (len(items), 256): pixels of each value in each mask.
    """
    for name in DATA_FOLDERS:
        (folder / name).mkdir()
    text = "".join(f"{name}\n" for name in classes)
    (folder / "classes.txt").write_text(text, encoding="utf-8", newline="\n")
    write = partial(_write_item, folder=folder, classes=classes)
    return np.array(list(ordered_map(write, items, workers, "Converting")))


def _write_item(item, folder, classes):
    picture, mask = item.load(classes)
    save_picture(picture, folder / "JPEGImages", item.name)
    mask_to_image(mask).save(folder / "SegmentationClass" / f"{item.name}.png", "PNG")
    return np.bincount(mask.ravel(), minlength=256)


def format_classes(classes, histograms):
    """A table: in how many pictures each class occurs, and its share of all pixels.

    Args:
        classes: tuple of str.
        histograms: as `write_dataset` returns them.
    """
    lines = ["  id  pictures    share  class"]
    for value, name in [*enumerate(classes), (VOID, "void")]:
        counts = histograms[:, value]
        if value != VOID or counts.any():
            share = counts.sum() / histograms.sum()
            lines.append(f"{value:>4}  {np.count_nonzero(counts):>8}  {share:7.2%}  {name}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)

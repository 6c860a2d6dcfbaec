"""A VOC folder that appears with all its files or not at all."""

import contextlib
import os
import shutil

from errors import UserError
from utils.convert.annotations import read_class_list
from utils.files import naming, scratch_folder

DATA_FOLDERS = ("SegmentationClass", "JPEGImages")
_KEPT = "README.md"  # stands in the folders of a fresh clone


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


@contextlib.contextmanager
def building(target):
    """Gives a folder to fill; it becomes `target` at the end, or vanishes on an error."""
    place = next(folder for folder in target.resolve().parents if folder.is_dir())
    # Beside the target, so that the last step is a rename.
    with scratch_folder(place) as scratch:
        folder = scratch / target.name
        folder.mkdir()
        with naming(target, scratch):
            yield folder
        move_in(folder, target)


def move_in(folder, target):
    """Gives a built folder its final name, or puts its content into one without data.

    What happened so far is undone if a step fails.

    Raises:
        UserError: if data were put there in the meantime.
    """
    check_target(target)
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

"""Where the results of pictures go: never over a picture, never two in one place."""

import glob
import os
from collections import Counter
from itertools import count
from pathlib import Path
from typing import NamedTuple

from errors import UserError
from utils.data.voc import image_extensions


class Result(NamedTuple):
    """Where what comes of a picture is written.

    Attributes:
        picture: Path of the picture.
        drawn: Path of the coloured picture, PNG.
        mask: Path of the class ids, PNG.
        regions: Path of the table of regions, CSV.
    """

    picture: Path
    drawn: Path
    mask: Path
    regions: Path


_ENDS = (".png", "_mask.png", "_regions.csv")


def expand_patterns(paths):
    """Replaces patterns such as `dir/*.tif` (and `**`) by the files that they match, sorted.

    A pattern without a match stays as it is: opening it says that there is no such file.
    """
    expanded = []
    for path in paths:
        matches = [] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        expanded += matches or [path]
    return expanded


class ResultNames:
    """Names results in one folder: a picture's stem, or stem_2, stem_3, ... where that is taken.

    Taken are names of other pictures' results in this run, and of the pictures themselves.
    The same picture again gets its own names again.

    Args:
        folder: str or Path, where results go.
        pictures: paths of pictures that are still to be read.
    """

    def __init__(self, folder, pictures=()):
        self.folder = Path(folder)
        self._pictures = {Path(picture).resolve() for picture in pictures}
        self._owners = {}

    def of(self, picture):
        """The Result of a picture file."""
        picture = Path(picture)
        owner = picture.resolve()
        self._pictures.add(owner)
        for number in count(1):
            base = picture.stem if number == 1 else f"{picture.stem}_{number}"
            paths = [self.folder / (base + end) for end in _ENDS]
            if all(
                path.resolve() not in self._pictures and self._owners.get(path, owner) == owner
                for path in paths
            ):
                self._owners |= dict.fromkeys(paths, owner)
                return Result(picture, *paths)


def plan_results(origin, save):
    """Finds the pictures of a folder, and of the folders in it, and names their results.

    Results lie in `save` as the pictures lie in `origin`, under a picture's name without
    extension; where two pictures would share a result's name, under the whole name.

    Args:
        origin: str or Path, the folder of pictures. Hidden files and folders, and `save` if
            it lies inside, are left out.
        save: str or Path, the folder for the results.

    Returns:
        list of Result, sorted by path.

    Raises:
        UserError: if there is no such folder, it holds no picture, or results would lie
            among the pictures.
    """
    origin, save = Path(origin), Path(save)
    if not origin.is_dir():
        raise UserError(
            f"There is no folder {origin}. Set dir_origin_path to that of your pictures."
        )
    if origin.resolve().is_relative_to(save.resolve()):
        raise UserError(
            f"dir_save_path {str(save)!r} holds the pictures themselves ({origin}); results could "
            "overwrite them. Choose another dir_save_path."
        )
    results = []
    for folder, folders, files in os.walk(origin, onerror=_raise):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (Path(folder) / name).resolve() != save.resolve()
        )
        results += _plan_folder(Path(folder), files, save / Path(folder).relative_to(origin))
    if not results:
        raise UserError(f"There is no picture in {origin}, nor in the folders in it.")
    return results


def _plan_folder(folder, files, target):
    known = image_extensions()
    names = sorted(
        name
        for name in files
        if os.path.splitext(name)[1].lower() in known and not name.startswith(".")
    )
    stems = [os.path.splitext(name)[0] for name in names]
    # Without case: on some systems A.png and a.png are one file.
    uses = Counter((stem + end).casefold() for stem in stems for end in _ENDS)
    results = []
    for name, stem in zip(names, stems, strict=True):
        shared = any(uses[(stem + end).casefold()] > 1 for end in _ENDS)
        base = name if shared else stem
        results.append(Result(folder / name, *(target / (base + end) for end in _ENDS)))
    return results


def _raise(error):
    raise error

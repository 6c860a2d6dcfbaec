"""Where the results of images go: never over an image, never two in one place."""

import glob
import os
from collections import Counter
from itertools import count
from pathlib import Path
from typing import NamedTuple

from errors import UserError
from utils.data.voc import image_extensions
from utils.files import name_key
from utils.images.foreign import describe_foreign, files_below


class Result(NamedTuple):
    """Where what comes of an image is written.

    Attributes:
        image: Path of the image.
        drawn: Path of the coloured image, PNG.
        mask: Path of the class ids, PNG.
        regions: Path of the table of regions, CSV.
        confidence: Path of the highest probabilities, PNG.
        npz, tif: Path of the probabilities, as one kind of file or the other.
    """

    image: Path
    drawn: Path
    mask: Path
    regions: Path
    confidence: Path
    npz: Path
    tif: Path


_ENDS = (
    ".png", "_mask.png", "_regions.csv", "_confidence.png", "_probabilities.npz",
    "_probabilities.tif",
)  # fmt: skip


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
    """Names results in one folder: an image's stem, or stem_2, stem_3, ... where that is taken.

    Taken are names of other images' results in this run, and of the images themselves.
    The same image again gets its own names again.

    Args:
        folder: str or Path, where results go.
        images: paths of images that are still to be read.
    """

    def __init__(self, folder, images=()):
        self.folder = Path(folder)
        self._images = {os.path.realpath(image) for image in images}
        self._owners = {}

    def of(self, image):
        """The Result of an image file."""
        image = Path(image)
        owner = os.path.realpath(image)  # unlike resolve, it takes links that lead in circles
        self._images.add(owner)
        for number in count(1):
            base = image.stem if number == 1 else f"{image.stem}_{number}"
            paths = [self.folder / (base + end) for end in _ENDS]
            free = not self._images.intersection(map(os.path.realpath, paths))
            if free and all(self._owners.get(path, owner) == owner for path in paths):
                self._owners |= dict.fromkeys(paths, owner)
                return Result(image, *paths)


def plan_results(origin, save):
    """Finds the images of a folder, and of the folders in it, and names their results.

    Results are in `save` as the images are in `origin`, under an image's name without
    extension; where two images would share a result's name, under the whole name.

    Args:
        origin: str or Path, the folder of images. Hidden files and folders, and `save` if
            it lies inside, are left out.
        save: str or Path, the folder for the results.

    Returns:
        list of Result, sorted by path.

    Raises:
        UserError: if there is no such folder, it holds no image, or results would be
            among the images.
    """
    origin, save = Path(origin), Path(save)
    if not origin.is_dir():
        raise UserError(f"There is no folder {origin}. Set dir_origin_path to that of your images.")
    if origin.resolve().is_relative_to(save.resolve()):
        raise UserError(
            f"dir_save_path {str(save)!r} holds the images themselves ({origin}); results could "
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
        foreign = "".join(f" It holds {text}." for text in describe_foreign(files_below(origin)))
        raise UserError(f"There is no image in {origin}, nor in the folders in it.{foreign}")
    return results


def _plan_folder(folder, files, target):
    known = image_extensions()
    names = sorted(
        name
        for name in files
        if os.path.splitext(name)[1].lower() in known and not name.startswith(".")
    )
    stems = [os.path.splitext(name)[0] for name in names]
    uses = Counter(_one_file(stem + end) for stem in stems for end in _ENDS)
    results = []
    for name, stem in zip(names, stems, strict=True):
        shared = any(uses[_one_file(stem + end)] > 1 for end in _ENDS)
        base = name if shared else stem
        results.append(Result(folder / name, *(target / (base + end) for end in _ENDS)))
    return results


def _one_file(name):
    """On some systems A.png and a.png are one file, and so are the Unicode forms of é.png."""
    return name_key(name_key(name).casefold())


def _raise(error):
    raise error

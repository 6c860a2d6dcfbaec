"""Where the results of images go: never over an image, never two in one place."""

import glob
import os
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from errors import UserError
from utils.data.voc import image_extensions
from utils.files import name_key
from utils.images.foreign import describe_foreign, files_below

_ENDS = (
    ".png", "_mask.png", "_regions.csv", "_confidence.png", "_probabilities.npz",
    "_probabilities.tif",
)  # fmt: skip
# What one image's name may have more than another's, and yet share the name of a result.
_BETWEEN = {
    long.removesuffix(short)
    for long in _ENDS
    for short in _ENDS
    if long != short and long.endswith(short)
}


def _file_with(end):
    return property(lambda self: Path(self.target, self.base + end))


@dataclass(frozen=True, slots=True)
class Result:
    """Where what comes of an image is written; for whatever opens files, the image's own path.

    It holds texts: the paths themselves would take gigabytes for a million images.

    Attributes:
        folder, name: str, of the image.
        target: str, the folder of its results.
        base: str, how the names of its results begin.
        image: Path of the image.
        drawn: Path of the coloured image, PNG.
        mask: Path of the class ids, PNG.
        regions: Path of the table of regions, CSV.
        confidence: Path of the highest probabilities, PNG.
        npz, tif: Path of the probabilities, as one kind of file or the other.
    """

    folder: str
    name: str
    target: str
    base: str

    drawn, mask, regions, confidence, npz, tif = map(_file_with, _ENDS)

    @property
    def image(self):
        return Path(self.folder, self.name)

    @property
    def files(self):
        """All that may be written of it: list of Path."""
        return [Path(self.target, self.base + end) for end in _ENDS]

    def __fspath__(self):
        return str(self.image)

    def __str__(self):
        return str(self.image)


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
            result = Result(str(image.parent), image.name, str(self.folder), base)
            paths = result.files
            free = not self._images.intersection(map(os.path.realpath, paths))
            if free and all(self._owners.get(path, owner) == owner for path in paths):
                self._owners |= dict.fromkeys(paths, owner)
                return result


def plan_results(origin, save, is_wanted=None):
    """Finds the images of a folder, and of the folders in it, and names their results.

    Results are in `save` as the images are in `origin`, under an image's name without
    extension; where two images would share a result's name, under the whole name.

    Args:
        origin: str or Path, the folder of images. Hidden files and folders, and `save` if
            it lies inside, are left out.
        save: str or Path, the folder for the results.
        is_wanted: callable from an image's path below `origin`, with forward slashes, to
            whether it is wanted; None: all are. Names come out the same, whoever wants what.

    Returns:
        list of Result, sorted by path; empty if none of the images is wanted.

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
    results, is_empty = [], True
    for folder, folders, files in os.walk(origin, onerror=_raise):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (Path(folder) / name).resolve() != save.resolve()
        )
        inside = Path(folder).relative_to(origin)
        target, bases = str(save / inside), _name_results(files)
        is_empty = is_empty and not bases
        results += [
            Result(folder, name, target, base)
            for name, base in bases
            if is_wanted is None or is_wanted((inside / name).as_posix())
        ]
    if is_empty:
        foreign = "".join(f" It holds {text}." for text in describe_foreign(files_below(origin)))
        raise UserError(f"There is no image in {origin}, nor in the folders in it.{foreign}")
    return results


def _name_results(files):
    """(name, how the names of its results begin) of each image among the files of a folder."""
    known = image_extensions()
    names = sorted(
        name
        for name in files
        if os.path.splitext(name)[1].lower() in known and not name.startswith(".")
    )
    # Whole names too: they are what others' results may be called by.
    taken = Counter(_one_file(text) for name in names for text in (_stem_of(name), name))
    return [(name, _base_of(name, taken)) for name in names]


def _base_of(name, taken):
    stem = _stem_of(name)
    key = _one_file(stem)
    shared = taken[key] > 1 or any(
        key + more in taken or (key.endswith(more) and key.removesuffix(more) in taken)
        for more in _BETWEEN
    )
    return name if shared else stem


def _stem_of(name):
    return os.path.splitext(name)[0]


def _one_file(name):
    """On some systems A.png and a.png are one file, and so are the Unicode forms of é.png."""
    return name_key(name_key(name).casefold())


def _raise(error):
    raise error

"""Annotation files beside the results of images, to be corrected and trained on again.

Nothing that exists is overwritten: it may hold corrections. They lie in folders of their own.
Whoever reads them looks for an image in the folder of the file too, and there the coloured
results must not be taken for it.
"""

import contextlib
import os
from pathlib import Path

from tqdm import tqdm

from errors import UserError, check_choice
from utils.convert.annotations import clean_label, fixed_id
from utils.data.masks import read_label_ids
from utils.files import whole_file, write_json
from utils.messages import say
from utils.prediction.annotation_files import CocoFile, CvatFile, check_xml_name, labelme_content

KINDS = ("", "labelme", "coco", "cvat")
_MODES = ("predict", "dir_predict")
_MAX_TOLERANCE = 100
# The folders in which json_to_dataset.py looks for images must not hold results.
_RUN_FILES = {
    "coco": (CocoFile, "coco/annotations/instances_default.json"),
    "cvat": (CvatFile, "cvat/annotations/annotations.xml"),
}


def check_annotations(kind, tolerance, mode):
    """Raises UserError for settings that make no sense together."""
    check_choice("annotations", kind, KINDS)
    if not 0 <= tolerance <= _MAX_TOLERANCE:  # not so of NaN
        raise UserError(
            f"annotation_tolerance must be 0 to {_MAX_TOLERANCE} pixels; got {tolerance}."
        )
    if kind and mode not in _MODES:
        raise UserError(
            f"annotations {kind!r} are of images: mode must be {' or '.join(_MODES)}; got {mode!r}."
        )


def make_annotations(kind, folder, tolerance, origin=None):
    """What writes the annotations of a run: an Annotations of the kind asked for.

    Args:
        kind: one of KINDS.
        folder: str or Path, where results go.
        tolerance: float, pixels by which outlines may be simplified.
        origin: str or Path of the folder that images are named from; None: by their own
            names alone.
    """
    if kind in _RUN_FILES:
        return RunFile(kind, folder, tolerance, origin)
    return LabelmeFiles(folder, tolerance) if kind else Annotations()


class Annotations:
    """None at all, and what the kinds have in common.

    Attributes:
        per_image: bool, whether each image has its own file, rather than one for the run.
    """

    per_image = True

    def files_of(self, result):
        """The files that an image has to itself, of a Result: list of Path."""
        return []

    def is_complete(self):
        """Whether the file of the whole run is there, if there is one at all."""
        return True

    def check_new(self, results):
        """Raises UserError if something that exists would be overwritten."""

    @contextlib.contextmanager
    def writing(self, names):
        """Wraps the calls of `add`; afterwards all is written.

        Args:
            names: sequence of str, of all classes, the background first.

        Raises:
            UserError: for names that would come back as something else.
        """
        yield

    def add(self, result, mask):
        """Writes the regions of a mask, uint8 (H, W), for a Result."""


class LabelmeFiles(Annotations):
    """A labelme file for each image."""

    def __init__(self, folder, tolerance):
        self._results, self._folder = Path(folder), Path(folder) / "labelme"
        self._tolerance = tolerance

    def files_of(self, result):
        drawn = result.drawn.relative_to(self._results)
        return [self._folder / drawn.with_suffix(".json")]

    def check_new(self, results):
        found = [path for one in results for path in self.files_of(one) if path.exists()]
        if found:
            raise UserError(
                f"{len(found)} of the annotation files are there already, such as {found[0]}; "
                "they may hold corrections. Move them away, set another dir_save_path, or add "
                "--resume, which leaves them as they are."
            )

    @contextlib.contextmanager
    def writing(self, names):
        self._names = clean_names(names)
        write_class_list(self._folder / "classes.txt", self._names)
        yield

    def add(self, result, mask):
        [path] = self.files_of(result)
        if path.exists():
            raise UserError(
                f"{path} is there already and may hold corrections. Move it away, or set another "
                "dir_save_path."
            )
        image = _path_from(path.parent, result.image)
        write_json(path, labelme_content(image, mask, self._names, self._tolerance))


class RunFile(Annotations):
    """One COCO or CVAT file for all images of a run."""

    per_image = False

    def __init__(self, kind, folder, tolerance, origin):
        self._writer, name = _RUN_FILES[kind]
        self.path = Path(folder) / name
        self._kind, self._tolerance, self._origin = kind, tolerance, origin
        self._images = set()

    def is_complete(self):
        return self.path.exists()

    def check_new(self, results):
        if self.path.exists():
            raise UserError(
                f"{self.path} is there already, and nothing is overwritten. Move it away, or set "
                "another dir_save_path."
            )
        for result in results:
            self._name_of(result)

    def _name_of(self, result):
        image = result.image
        name = image.relative_to(self._origin).as_posix() if self._origin else image.name
        if self._kind == "cvat":
            check_xml_name(name, "The image")
        return name

    @contextlib.contextmanager
    def writing(self, names):
        self._names = clean_names(names)
        if self._kind == "cvat":
            for name in self._names:
                check_xml_name(name, "The class")
        write_class_list(self.path.with_name("classes.txt"), self._names)
        with contextlib.ExitStack() as self._stack:
            self._file = None
            yield
            if self._file:
                self._file.finish()
        if self._file:
            say(f"saved {self.path}, with {len(self._images)} images")

    def add(self, result, mask):
        name = self._name_of(result)
        if name in self._images:
            raise UserError(
                f"{self.path.name} names images without their folders, and there is a {name} "
                "already. Rename one, or put them into one folder for mode dir_predict."
            )
        if mask.max() > len(self._names):
            raise UserError(
                f"{result.mask} holds the class id {mask.max()}, but the weights have "
                f"{len(self._names) + 1} classes. Segment the images anew, without --resume."
            )
        if not self._file:  # a run without any image leaves nothing
            temporary = self._stack.enter_context(whole_file(self.path))
            file = open(temporary, "w", encoding="utf-8", newline="\n")  # noqa: SIM115
            self._file = self._writer(self._stack.enter_context(file), self._names, self._tolerance)
        self._file.add(name, mask)
        self._images.add(name)

    def add_saved(self, results):
        """Adds all Results whose masks are in their files, of this run or of earlier ones."""
        for result in tqdm(results, "Annotations", disable=None, leave=False):
            self.add(result, read_label_ids(result.mask))


def clean_names(names):
    """The names of all classes but the background, as an annotation's reader takes them.

    Raises:
        UserError: if one would be taken for the background, void, or another class.
    """
    cleaned = [clean_label(name, "name_classes") for name in names[1:]]
    for number, name in enumerate(cleaned, 1):
        if fixed_id(name) is not None:
            raise UserError(
                f"Class {number} is named {name!r}, which annotations take for the background or "
                "for void. Set name_classes to other names."
            )
        if name in cleaned[: number - 1]:
            raise UserError(
                f"Two classes are named {name!r}; annotations would make them one. Set "
                "name_classes to names that differ."
            )
    return cleaned


def write_class_list(path, names):
    """Writes the class list for json_to_dataset.py, so that ids stay what they are.

    Raises:
        UserError: if there is one with other classes.
    """
    text = "".join(f"{name}\n" for name in names)
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise UserError(
                f"{path} names other classes than these weights, of which annotations are beside "
                "it. Move them away, or set another dir_save_path."
            )
        return
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _path_from(folder, image):
    """The path of an image as seen from a folder, with forward slashes."""
    # Links in between would lead ".." elsewhere.
    image = Path(os.path.realpath(image.parent)) / image.name
    try:
        return Path(os.path.relpath(image, os.path.realpath(folder))).as_posix()
    except ValueError:  # on another drive of Windows
        return image.as_posix()

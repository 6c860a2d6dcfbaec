"""Annotation files beside the results of images, to be corrected and trained on again.

Nothing that exists is overwritten: it may hold corrections. They lie in folders of their own.
Whoever reads them looks for an image in the folder of the file too, and there the coloured
results must not be taken for it.
"""

import contextlib
from pathlib import Path

from tqdm import tqdm

from errors import UserError, check_choice
from utils.data.masks import read_label_ids
from utils.files import whole_file
from utils.messages import say
from utils.prediction.annotation_base import Annotations, clean_names, write_class_list
from utils.prediction.annotation_files import CocoFile, CvatFile, check_xml_name
from utils.prediction.image_annotations import GeojsonFiles, LabelFiles, LabelmeFiles

_MODES = ("predict", "dir_predict")
_MAX_TOLERANCE = 100
# The folders in which json_to_dataset.py looks for images must not hold results.
_RUN_FILES = {
    "coco": (CocoFile, "coco/annotations/instances_default.json"),
    "cvat": (CvatFile, "cvat/annotations/annotations.xml"),
}
_IMAGE_FILES = {"labelme": LabelmeFiles, "labels": LabelFiles, "geojson": GeojsonFiles}
KINDS = ("", "labelme", "coco", "cvat", "labels", "geojson")


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
    return _IMAGE_FILES[kind](folder, tolerance) if kind else Annotations()


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

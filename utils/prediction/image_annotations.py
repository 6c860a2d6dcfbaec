"""Annotation files that an image has to itself: labelme's, label images, and GeoJSON."""

import contextlib
import os
from pathlib import Path

import numpy as np

from errors import UserError
from utils.files import whole_file, write_json
from utils.prediction.annotation_base import Annotations, clean_names, write_class_list
from utils.prediction.annotation_files import labelme_content
from utils.prediction.geojson import write_geojson
from utils.prediction.regions import number_regions

_MOST_LABELS = np.iinfo(np.uint16).max


class ImageFiles(Annotations):
    """A file for each image, in a folder of their own; `_write` of the kinds writes it."""

    folder_name = suffix = None  # of the kinds

    def __init__(self, folder, tolerance):
        self._results, self._folder = Path(folder), Path(folder) / self.folder_name
        self._tolerance = tolerance

    def files_of(self, result):
        drawn = result.drawn.relative_to(self._results)
        return [self._folder / drawn.with_suffix(self.suffix)]

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
        self._names = names
        yield

    def add(self, result, mask):
        [path] = self.files_of(result)
        if path.exists():
            raise UserError(
                f"{path} is there already and may hold corrections. Move it away, or set another "
                "dir_save_path."
            )
        self._write(path, result.image, mask)


class LabelmeFiles(ImageFiles):
    """A labelme file for each image."""

    folder_name, suffix = "labelme", ".json"

    @contextlib.contextmanager
    def writing(self, names):
        self._names = clean_names(names)
        write_class_list(self._folder / "classes.txt", self._names)
        yield

    def _write(self, path, image, mask):
        image = _path_from(path.parent, image)
        write_json(path, labelme_content(image, mask, self._names, self._tolerance))


class LabelFiles(ImageFiles):
    """A TIFF for each image, 16 bits, with a number for each region and 0 for the background.

    The numbers are those in the column `label` of `utils.prediction.regions.write_regions`.
    """

    folder_name, suffix = "labels", ".tif"

    def _write(self, path, image, mask):
        import tifffile  # a fifth of a second

        numbers, parts = number_regions(mask, len(self._names))
        of_background = sum(part.class_id == 0 for part in parts)
        if len(parts) - of_background > _MOST_LABELS:
            raise UserError(
                f"{image} has {len(parts) - of_background:,} regions; a label image holds "
                f"{_MOST_LABELS:,}. Raise min_region, which drops the smallest."
            )
        labels = np.maximum(numbers - of_background, 0).astype(np.uint16)
        with whole_file(path) as temporary:
            tifffile.imwrite(
                temporary, labels, photometric="minisblack", compression="zlib", metadata=None
            )


class GeojsonFiles(ImageFiles):
    """A GeoJSON file for each image, as QuPath imports it."""

    folder_name, suffix = "geojson", ".geojson"

    def _write(self, path, image, mask):
        write_geojson(path, mask, self._names[1:], self._tolerance)


def _path_from(folder, image):
    """The path of an image as seen from a folder, with forward slashes."""
    # Links in between would lead ".." elsewhere.
    image = Path(os.path.realpath(image.parent)) / image.name
    try:
        return Path(os.path.relpath(image, os.path.realpath(folder))).as_posix()
    except ValueError:  # on another drive of Windows
        return image.as_posix()

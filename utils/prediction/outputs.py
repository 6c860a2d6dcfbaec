"""All that a run writes of its images besides the coloured ones."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from errors import UserError, check_choice
from utils.data.masks import mask_to_image
from utils.files import whole_file
from utils.images.channels import MAX_PIXELS
from utils.images.deep import read_numbers
from utils.images.header import read_header
from utils.images.pixel_size import read_pixel_size
from utils.prediction.annotate import check_annotations, make_annotations
from utils.prediction.decide import Keep
from utils.prediction.probability_files import DTYPES, write_probabilities
from utils.prediction.region_tables import FOLDER_TABLE, join_tables
from utils.prediction.regions import OWN_UNIT, check_pixel_size, find_regions, write_regions

_MODES = ("predict", "dir_predict")


@dataclass(frozen=True)
class Wanted:
    """What is asked for; the fields are named as the settings of predict.py.

    Attributes:
        dir_save_path: str, the folder of results.
        count: bool, tables of regions.
        background_regions: bool, whether these list the background's.
        pixel_size: float or None, for the tables; None: as TIFF files say.
        confidence: bool, images of the highest probability.
        probabilities: str, "npz", "tif" or "".
        annotations, annotation_tolerance: as for `utils.prediction.annotate.make_annotations`.
        max_pixels: int, of images.
    """

    dir_save_path: str
    count: bool = False
    background_regions: bool = False
    pixel_size: float | None = None
    confidence: bool = False
    probabilities: str = ""
    annotations: str = ""
    annotation_tolerance: float = 1.0
    max_pixels: int = MAX_PIXELS

    def check(self, mode):
        """Raises UserError for what makes no sense, or not in this mode of predict.py."""
        check_pixel_size(self.pixel_size)
        check_annotations(self.annotations, self.annotation_tolerance, mode)
        check_choice("probabilities", self.probabilities, ("", *DTYPES))
        for name in ("confidence", "probabilities"):
            if getattr(self, name) and mode not in _MODES:
                raise UserError(
                    f"{name} is of images: mode must be {' or '.join(_MODES)}; got {mode!r}."
                )


class Outputs:
    """Writes what is wanted of the images of a run, from any thread.

    Args:
        wanted: Wanted.
        origin: str or Path of the folder of images, which are given masks too; None: images are
            given one by one.

    Attributes:
        sizes: list of (image, PixelSize that was used), since `notes` told of them.
    """

    def __init__(self, wanted, origin=None):
        self._wanted, self._origin = wanted, origin
        self._annotations = make_annotations(
            wanted.annotations, wanted.dir_save_path, wanted.annotation_tolerance, origin
        )
        self.sizes = []

    @property
    def keep(self):
        """What is needed of an image besides its mask: Keep, or None."""
        wanted = self._wanted
        keep = Keep(wanted.confidence, DTYPES.get(wanted.probabilities, ""))
        return keep if any(keep) else None

    def files_of(self, result):
        """All files of an image, the coloured one too: list of Path."""
        wanted = self._wanted
        chosen = {
            result.mask: self._origin is not None,
            result.regions: wanted.count,
            result.confidence: wanted.confidence,
            result.npz: wanted.probabilities == "npz",
            result.tif: wanted.probabilities == "tif",
        }
        files = [path for path, is_wanted in chosen.items() if is_wanted]
        return [result.drawn, *files, *self._annotations.files_of(result)]

    def left_of(self, results):
        """Those Results of which a file is missing."""
        return [one for one in results if not all(path.is_file() for path in self.files_of(one))]

    def check_new(self, results, resume=False):
        """Raises UserError if something would be overwritten that may hold corrections.

        With `resume`, files that images have to themselves may be there: they stay as they are.
        """
        if not (resume and self._annotations.per_image):
            self._annotations.check_new(results)

    @property
    def has_joined(self):
        """Whether there is a file of the whole folder, which `finish` writes."""
        return self._wanted.count or not self._annotations.per_image

    def is_complete(self):
        """Whether there is nothing to write for the run as a whole, but for the table."""
        return self._annotations.is_complete()

    @contextlib.contextmanager
    def writing(self, names):
        """Wraps the calls of `add` and `finish`; `names` are those of all classes."""
        self._names = names
        with self._annotations.writing(names):
            yield

    def add(self, result, pixels, mask, details=None):
        """Writes the files of an image.

        Args:
            result: Result.
            pixels: uint8 (H, W, channels), the image.
            mask: uint8 (H, W), class ids.
            details: Details, of what `keep` says.

        Raises:
            UserError: if it has annotations already, unless it is of a folder: what is there then
                may hold corrections, and stays.
        """
        annotated = self._annotations.files_of(result)
        if self._origin is None or not all(path.exists() for path in annotated):
            self._annotations.add(result, mask)
        if self._wanted.count:
            self._write_table(result, pixels, mask)
        if self._wanted.confidence:
            with whole_file(result.confidence) as temporary:
                Image.fromarray(details.confidence).save(temporary)
        if self._wanted.probabilities:
            path = getattr(result, self._wanted.probabilities)
            write_probabilities(path, details.probabilities, self._names)
        if self._origin is not None:
            with whole_file(result.mask) as temporary:
                mask_to_image(mask).save(temporary)

    def _write_table(self, result, pixels, mask):
        image, size, unit = result.image, self._wanted.pixel_size, OWN_UNIT
        if size is None and (found := read_pixel_size(image)):
            size, unit = found.micrometres, "um"
            self.sizes.append((image, found))
        intensities = read_intensities(image, pixels, self._wanted.max_pixels)
        regions = find_regions(mask, len(self._names), intensities)
        if not self._wanted.background_regions:
            regions = [region for region in regions if region.class_id]
        write_regions(result.regions, [(image.name, regions)], self._names, size, unit)

    def finish(self, results):
        """Writes the files of the whole folder, of Results that have theirs."""
        if not self._annotations.per_image:
            self._annotations.add_saved(results)
        self.join_tables(results)

    def join_tables(self, results):
        """Joins the tables of all images of the folder, if tables are wanted."""
        if self._wanted.count:
            path = Path(self._wanted.dir_save_path) / FOLDER_TABLE
            join_tables(path, _Tables(results, self._origin))

    def notes(self):
        """What users must know of the files that were written since the last call: list of str."""
        used, self.sizes = self.sizes, []
        if not used:
            return []
        image, size = used[0]
        lengths = sorted({f"{one.micrometres:.6g}" for _, one in used}, key=float)
        text = lengths[0] if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
        where = image if len(used) == 1 else f"{len(used):,} images, such as {image}"
        return [
            f"a pixel is {text} micrometres wide by {size.source} of {where}; columns in um are "
            "made of it. Set pixel_size for another length."
        ]


def read_intensities(path, pixels, max_pixels):
    """An image's numbers as they are in its file if these have more than 8 bits, else `pixels`."""
    if not read_header(path).is_deep:
        return pixels
    numbers = read_numbers(path, max_pixels)
    return numbers.values[..., : numbers.colors]


class _Tables:
    """The (name, Path of its table) of each Result, made when they are asked for: of a million
    images they would take a gigabyte.
    """

    def __init__(self, results, origin):
        self._results, self._origin = results, origin

    def __iter__(self):
        for one in self._results:
            yield one.image.relative_to(self._origin).as_posix(), one.regions

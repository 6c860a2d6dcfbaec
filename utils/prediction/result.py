"""What is found in one image: class ids, probabilities, shares, regions, outlines, drawings."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from errors import UserError
from utils.data.masks import mask_to_image
from utils.files import whole_file
from utils.images.channels import to_rgb
from utils.images.writing import save_png
from utils.labels import voc_palette
from utils.prediction.draw import check_mix_type, draw_mask, pixels_of_values
from utils.prediction.legend import add_legend
from utils.prediction.outlines import Ring, doubled_area, find_outlines
from utils.prediction.probabilities import Visit, gather, highest
from utils.prediction.regions import Region, find_regions
from utils.prediction.simplify import simplify_regions


class Polygon(NamedTuple):
    """The outline of one region.

    Attributes:
        class_id: int.
        name: str, of the class.
        outer: int64 (n, 2), x and y of the corners, clockwise as one sees it; they lie between
            pixels, of which the first covers 0..1.
        holes: list of int64 (m, 2), counter-clockwise.
    """

    class_id: int
    name: str
    outer: npt.NDArray[np.int64]
    holes: list[npt.NDArray[np.int64]]


class Prediction:
    """What a network finds in one image.

    Args:
        image: uint8 (H, W, channels).
        mask: uint8 (H, W), class ids.
        names: one name per class.
        visit: as in `utils.prediction.probabilities`, over the image's probabilities.
        mix_type: int, how `draw` draws unless told otherwise.
        source: str, the path of the image; "" if it is not of a file.

    Attributes:
        image, mask, names, source: as given.
    """

    def __init__(
        self,
        image: npt.NDArray[np.uint8],
        mask: npt.NDArray[np.uint8],
        names: Sequence[str],
        visit: Visit,
        mix_type: int = 0,
        source: str = "",
    ) -> None:
        self.image = image
        self.mask = mask
        self.names = tuple(names)
        self.source = source
        self._visit = visit
        self._mix_type = mix_type

    def __repr__(self) -> str:
        height, width = self.mask.shape
        found = sorted(self.shares.items(), key=lambda item: -item[1])
        shares = ", ".join(f"{name} {share:.1%}" for name, share in found if share)
        return f"<Prediction {self.source or 'of an image'}, {width}x{height}: {shares}>"

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """float32 (H, W, num_classes), in 0..1, made anew at each use: keep what you need.

        `mask` holds the class of the highest one, unless the `Unet` has thresholds or drops small
        regions. Of images in tiles or windows the network
        computes them once more.

        Raises:
            UserError: if they take more than 4 GiB.
        """
        return gather(self._visit, self._size, len(self.names))

    @cached_property
    def confidence(self) -> npt.NDArray[np.float32]:
        """float32 (H, W), in 0..1: of each pixel the highest probability."""
        return highest(self._visit, self._size)

    @property
    def shares(self) -> dict[str, float]:
        """The share of each class in the pixels, in 0..1, by its name; all classes are there."""
        counts = pixels_of_values(self.mask, minlength=len(self.names))
        pixels = dict.fromkeys(self.names, 0)
        for name, count in zip(self.names, counts.tolist(), strict=True):
            pixels[name] += count  # two classes may have one name
        return {name: count / self.mask.size for name, count in pixels.items()}

    def regions(self, background: bool = False) -> list[Region]:
        """The regions of the mask, measured in pixels, with the image's mean in each.

        Args:
            background: whether to list those of class 0 too.
        """
        found = find_regions(self.mask, len(self.names), self.image)
        return [region for region in found if background or region.class_id]

    def polygons(self, tolerance: float = 1.0, background: bool = False) -> list[Polygon]:
        """The outlines of the mask's regions.

        Args:
            tolerance: pixels by which they may be simplified; 0: exact, along the pixels' edges.
            background: whether to list those of class 0 too.

        Returns:
            list of Polygon, from large to small by what they enclose.

        Raises:
            UserError: for a tolerance below 0.
        """
        if not tolerance >= 0:  # nor NaN
            raise UserError(f"tolerance must be 0 pixels or more; got {tolerance}.")
        regions, numbers = find_outlines(self.mask)
        polygons = [
            Polygon(
                region.class_id,
                self.names[region.class_id],
                _corners(region.outer),
                [_corners(hole) for hole in region.holes if len(hole.points) > 2],
            )
            for region in simplify_regions(regions, numbers, tolerance)
            if background or region.class_id
        ]
        return sorted(polygons, key=lambda one: -doubled_area(one.outer))

    def draw(self, mix_type: int | None = None, legend: bool = False) -> Image.Image:
        """The image with what is found in it.

        Args:
            mix_type: 0: the mask's colours over the image, 1: alone, 2: the image with a black
                background, 3: the image with outlines; None: as the `Unet` was told.
            legend: whether to add class names and shares, below or beside the image.

        Returns:
            PIL.Image, RGB, of the image's size; with a legend larger.

        Raises:
            UserError: for an unknown mix_type.
        """
        return Image.fromarray(self._draw(mix_type, legend))

    def save(self, path: str | Path, mix_type: int | None = None, legend: bool = False) -> None:
        """Saves the drawn image, whole or not at all.

        Args:
            path: of a file; its ending says in which format, such as .png, .jpg or .tif.
            mix_type, legend: as for `draw`.

        Raises:
            UserError: for an ending that no format has, and as `draw`.
            OSError: if it can't be written.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if (
            ending not in (known := Image.registered_extensions())
            or known[ending] not in Image.SAVE
        ):
            raise UserError(f"{path} ends in no image format that can be written. Take .png.")
        drawn = self._draw(mix_type, legend)
        if ending == ".png":
            save_png(path, drawn)
            return
        with whole_file(path) as temporary:
            Image.fromarray(drawn).save(temporary, quality=95)  # of JPEG and the like

    def save_mask(self, path: str | Path) -> None:
        """Saves the class ids as a PNG file with VOC's colours, whole or not at all.

        Raises:
            UserError: for another ending than .png; others change or hide class ids.
            OSError: if it can't be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise UserError(f"A mask's name must end in .png; got {path.name!r}.")
        with whole_file(path) as temporary:
            mask_to_image(self.mask).save(temporary)

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.mask.shape
        return height, width

    def _draw(self, mix_type: int | None, legend: bool) -> npt.NDArray[np.uint8]:
        mix_type = self._mix_type if mix_type is None else mix_type
        check_mix_type(mix_type)
        colors = voc_palette(256)
        drawn: npt.NDArray[np.uint8] = draw_mask(to_rgb(self.image), self.mask, colors, mix_type)
        if legend:
            drawn = add_legend(drawn, self.mask, colors, self.names)
        return drawn


def _corners(ring: Ring) -> npt.NDArray[np.int64]:
    """The points of a Ring; where its region touches itself, one of the two."""
    points = ring.points
    return points[(points != np.roll(points, 1, axis=0)).any(axis=1)]

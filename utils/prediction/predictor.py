"""Images of any kind in, predictions out; probabilities are kept, or made again where large."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from utils.images.transforms import Box
from utils.prediction.decide import Decision, Sheet
from utils.prediction.inference import is_tiled, mask_of
from utils.prediction.inputs import ImageLike, Pixels, pixels_of, read_any
from utils.prediction.probabilities import Each, Floats, Visitor, visit_resized, visit_windows
from utils.prediction.result import Prediction
from utils.prediction.stream import Outcome, predict_all
from utils.prediction.tiles import predict_tiles


@dataclass(frozen=True)
class Predictor:
    """How a network predicts.

    Attributes:
        network: callable from float32 (B, height, width, in_channels) to probabilities, NumPy
            (B, height, width, num_classes).
        description: with the attributes of `Description` of nets.weights.
        tile: as for `utils.prediction.inference.is_tiled`.
        max_pixels: int, images of more are refused.
        decision: how probabilities become classes.
        mix_type: int, how predictions are drawn unless they are told otherwise.
    """

    network: Callable[[Any], Any]
    description: Any
    tile: bool | None
    max_pixels: int
    decision: Decision
    mix_type: int

    def predict(self, images: Sequence[ImageLike], batch_size: int) -> Iterator[Outcome]:
        """Segments images in batches.

        Args:
            images: paths, PIL images and arrays.
            batch_size: int, images (or tiles) per call of the network.

        Yields:
            Outcome of each image, in order; its value is a Prediction.
        """
        described = self.description
        outcomes: Iterator[Outcome] = predict_all(
            self.network,
            images,
            described.input_shape,
            read=self._read,
            size_of=pixels_of,
            make_mask=_keep_probabilities,
            finish=self._finish,
            batch_size=batch_size,
            tile=self.tile,
            window=described.window,
            decision=self.decision,
        )
        return outcomes

    def _read(self, image: ImageLike) -> Pixels:
        described = self.description
        return read_any(image, described.in_channels, self.max_pixels, described.value_range)

    def _finish(self, image: ImageLike, pixels: Pixels, found: Any) -> Prediction:
        if isinstance(found, tuple):
            mask, probabilities = found
            visit = partial(visit_resized, probabilities, mask.shape)
        else:  # the probabilities of an image in parts may be larger than the memory
            mask, visit = found, partial(self._visit_parts, pixels)
        source = "" if isinstance(image, (np.ndarray, Image.Image)) else str(image)
        names = self.description.name_classes
        return Prediction(pixels, mask, names, visit, self.mix_type, source)

    def _visit_parts(self, pixels: Pixels, each: Each) -> None:
        """Visits the probabilities of an image in tiles or windows."""
        described = self.description
        if is_tiled(pixels.shape[:2], described.network_shape, self.tile):
            predict_tiles(self.network, pixels, described.network_shape, sheet=Visitor(each))
        else:
            visit_windows(self.network, pixels, described.input_shape, described.window, each=each)


def _keep_probabilities(
    probabilities: Floats, box: Box, size: tuple[int, int], sheet: Sheet
) -> tuple[npt.NDArray[np.uint8], Floats]:
    """The mask of a letterboxed image, and what it was made of."""
    # A copy: a part would keep the whole batch in memory.
    return mask_of(probabilities, box, size, sheet), probabilities[box.slices].copy()

"""Many images through the network: read ahead, in batches, finished while it works on."""

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from errors import UserError
from utils.images.header import image_size
from utils.images.reading import read_image
from utils.images.transforms import Box, letterbox_image, normalize
from utils.parallel import worker_count
from utils.prediction.decide import Sheet
from utils.prediction.inference import is_tiled, mask_of
from utils.prediction.tiles import predict_tiles, predict_windows

_HELD = 100_000_000  # pixels of images in memory at a time, unless a single one has more


class Outcome(NamedTuple):
    """What became of an item: the value that `finish` gave, or the error that kept it out."""

    item: object
    value: object
    error: UserError | None


def predict_masks(
    model, paths, input_shape, batch_size, in_channels=3, window=None, value_range=None
):
    """Yields the mask of each image file, in order, as `predict_all` makes them.

    `in_channels` and `value_range` are as for `utils.images.reading.read_image`.

    Raises:
        UserError: for a file that can't be read.
    """

    def keep_mask(_path, _pixels, mask):
        return mask

    read = partial(read_image, in_channels=in_channels, value_range=value_range)
    for outcome in predict_all(
        model,
        paths,
        input_shape,
        finish=keep_mask,
        read=read,
        batch_size=batch_size,
        window=window,
    ):
        if outcome.error:
            raise outcome.error
        yield outcome.value


def predict_all(
    model,
    paths,
    input_shape,
    *,
    finish,
    read=read_image,
    size_of=None,
    make_mask=mask_of,
    batch_size=1,
    tile=None,
    window=None,
    title="",
    progress=False,
    decision=None,
    keep=None,
    weight=1,
):
    """Segments many images: read ahead and finished in threads, the network in batches.

    Every call of the network has the same shape, the last batch too, so that it is compiled
    once. Only a few images are in memory at a time, and of large ones only one.

    Args:
        model, input_shape: as for `utils.prediction.inference.predict_mask`.
        paths: sequence of paths.
        finish: callable of (path, pixels, mask), e.g. to draw and save. It may write over
            both arrays. With `keep`, of (path, pixels, mask, Details).
        read: callable from a path to uint8 (H, W, channels).
        size_of: callable from a path to the image's pixels, counted before it is read; None: by
            the file's header.
        make_mask: callable as `utils.prediction.inference.mask_of`; what it returns is the mask
            that `finish` is given of an image in one piece.
        batch_size: int, images (or tiles) per call.
        tile: as for `utils.prediction.inference.is_tiled`.
        window: (height, width) of overlapping windows in which letterboxed images are predicted;
            None: whole.
        title, progress: of the progress bar.
        decision, keep: of `utils.prediction.decide`: how classes are chosen, and what is kept
            besides them.
        weight: float, how many pixels one pixel counts as in memory, for what is kept.

    Yields:
        Outcome of each path, in order. Errors other than UserError are raised.
    """
    shape = window or input_shape
    batch_size = batch_size if window else min(batch_size, len(paths))

    def predict_tile(pixels, sheet):
        return predict_tiles(model, pixels, shape, batch_size, sheet=sheet)

    def predict_window(pixels, sheet):
        return predict_windows(model, pixels, input_shape, window, batch_size, sheet=sheet)

    def prepare(path):
        try:
            pixels = read(path)
        except UserError as error:
            return _Prepared(path, error=error)
        sheet = Sheet(pixels.shape[:2], decision, keep)
        if is_tiled(pixels.shape[:2], shape, tile):
            return _Prepared(path, pixels, sheet, predict=predict_tile)
        if window:
            return _Prepared(path, pixels, sheet, predict=predict_window)
        return _Prepared(path, pixels, sheet, *letterbox_image(pixels, input_shape))

    def conclude(one, probabilities, mask):
        if one.error:
            return Outcome(one.item, None, one.error)
        if mask is None:
            mask = make_mask(probabilities, one.box, one.pixels.shape[:2], one.sheet)
        more = (one.sheet.details,) if keep else ()
        try:
            return Outcome(one.item, finish(one.item, one.pixels, mask, *more), None)
        except UserError as error:
            return Outcome(one.item, None, error)

    bar = tqdm(desc=title, total=len(paths), disable=None if progress else True, leave=False)
    with _Threads() as reading, _Threads() as finishing, bar:
        left = deque(paths)
        while left or reading:
            while left and len(reading) < 2 * batch_size:
                size = weight * (size_of or _size_of)(left[0])
                held = reading.held + finishing.held
                if held and held + size > _HELD:
                    break
                reading.submit(size, prepare, left.popleft())
            group = [reading.take() for _ in range(min(len(reading), batch_size))]
            prepared = [one for _, one in group]
            results = _predict_group(model, prepared, batch_size)
            for (size, _), result in zip(group, results, strict=True):
                finishing.submit(size, conclude, *result)
            # With nothing more to read for want of memory, what holds it must end.
            while len(finishing) > (2 * batch_size if reading else 0):
                yield finishing.take()[1]
                bar.update()


class _Threads:
    """A pool whose results are taken in order, with the pixels that are in its hands."""

    def __init__(self):
        self._pool = ThreadPoolExecutor(worker_count(0))
        self._waiting = deque()
        self.held = 0

    def __len__(self):
        return len(self._waiting)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pool.shutdown(cancel_futures=True)

    def submit(self, size, function, *args):
        self._waiting.append((size, self._pool.submit(function, *args)))
        self.held += size

    def take(self):
        """(size, result) of what was submitted first."""
        size, future = self._waiting.popleft()
        result = future.result()
        self.held -= size
        return size, result


class _Prepared(NamedTuple):
    """An image that was read: letterboxed, or to be predicted in parts, or not to be read."""

    item: object
    pixels: np.ndarray | None = None
    sheet: Sheet | None = None
    canvas: np.ndarray | None = None
    box: Box | None = None
    error: UserError | None = None
    predict: Callable | None = None


def _size_of(path):
    try:
        return math.prod(image_size(path))
    except UserError:  # reading it tells
        return 0


def _predict_group(model, group, batch_size):
    """Yields (prepared, its probabilities or None, its mask if in tiles or None)."""
    boxed = [one for one in group if one.canvas is not None]
    found = iter(())
    if boxed:
        batch = np.zeros((batch_size, *boxed[0].canvas.shape), np.float32)
        for index, one in enumerate(boxed):
            batch[index] = normalize(one.canvas)
        found = iter(model(batch))
    for one in group:
        if one.canvas is not None:
            yield one, next(found), None
        elif one.error:
            yield one, None, None
        else:
            yield one, None, one.predict(one.pixels, one.sheet)

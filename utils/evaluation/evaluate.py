"""The one validation loop: training, `get_miou.py` and the demo all score with it."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from tqdm import tqdm

from errors import UserError
from utils.data.masks import read_mask
from utils.evaluation.boundary import boundary_counts
from utils.evaluation.metrics import Counts, count_pixels
from utils.labels import VOID, ignored_classes

_THREADS = 2  # that count; as many images again may wait: they can be large


def evaluate(
    samples,
    predictions,
    num_classes,
    ignore_labels=(VOID,),
    *,
    boundary=False,
    on_image=None,
    progress=True,
):
    """Counts the pixels of all samples by true and predicted class.

    True masks are read and pixels counted in threads, while the next prediction is made; a
    few images are in memory at a time.

    Args:
        samples: list of `utils.data.voc.Sample` with masks.
        predictions: iterable of the predicted masks, uint8 (H, W), in the samples' order;
            for instance `map(predict, samples)`.
        num_classes: int.
        ignore_labels: values of the true masks that are left out.
        boundary: bool, whether to count for boundary IoU as well.
        on_image: callable of a sample, its (height, width) and its `Counts`, called in
            the samples' order; None: nothing.
        progress: bool, whether to show a progress bar.

    Returns:
        `utils.evaluation.metrics.Counts` of all samples.

    Raises:
        UserError: for a mask that can't be used or whose size differs from the prediction's,
            and for predicted ids out of range.
    """
    total = Counts.zeros(num_classes, ignored_classes(ignore_labels, num_classes))
    count = partial(_count, num_classes, ignore_labels, boundary)
    pairs = zip(samples, predictions, strict=True)
    with tqdm(
        desc="Evaluating", total=len(samples), disable=None if progress else True, leave=False
    ) as bar:
        for sample, (size, counts) in _in_threads(count, pairs):
            total += counts
            if on_image:
                on_image(sample, size, counts)
            bar.update()
    return total


def _in_threads(count, pairs):
    """Yields (sample, count(sample, predicted)) in order, a few pairs ahead."""
    waiting = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for sample, predicted in pairs:
            if len(waiting) == 2 * _THREADS:
                first, future = waiting.popleft()
                yield first, future.result()
            waiting.append((sample, pool.submit(count, sample, predicted)))
        for sample, future in waiting:
            yield sample, future.result()


def _count(num_classes, ignore_labels, boundary, sample, predicted):
    """((height, width), Counts) of one image."""
    true = read_mask(sample.mask_path, num_classes, ignore_labels)
    if true.shape != predicted.shape:
        raise UserError(
            f"The mask {sample.mask_path} is {true.shape[1]}x{true.shape[0]} pixels, but "
            f"the prediction of {sample.name!r} is {predicted.shape[1]}x"
            f"{predicted.shape[0]}. They must be equal."
        )
    if predicted.max(initial=0) >= num_classes:
        raise UserError(
            f"The prediction of {sample.name!r} holds the class id {predicted.max()}; with "
            f"num_classes={num_classes} the ids are 0 to {num_classes - 1}."
        )
    pixels = count_pixels(true, predicted, num_classes)
    bands = (
        boundary_counts(true, predicted, num_classes)
        if boundary
        else np.zeros((2, num_classes), np.int64)
    )
    ignored = ignored_classes(ignore_labels, num_classes)
    return true.shape, Counts(pixels[:-1], pixels[-1], bands, ignored)

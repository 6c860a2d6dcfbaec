"""Finds faults of the data before a training starts, instead of hours into it."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from tqdm import tqdm

from errors import UserError
from utils.image import image_size
from utils.metrics import VOID
from utils.voc import read_label_ids, read_mask


def check_sizes(sample, mask_shape):
    """Raises UserError unless picture and mask have the same size."""
    size = image_size(sample.image_path)
    if size != mask_shape:
        raise UserError(
            f"The picture {sample.image_path} is {size[1]}x{size[0]} pixels, but its mask "
            f"{sample.mask_path} is {mask_shape[1]}x{mask_shape[0]}. They must be equal; "
            "check that they belong together."
        )


def check_samples(samples, num_classes, ignore_labels, workers=2, progress=True, least_classes=2):
    """Reads every mask, and the size of every picture.

    Args:
        samples: list of `utils.voc.Sample` with masks.
        num_classes, ignore_labels: as in `utils.voc.read_mask`.
        workers: int, threads.
        progress: bool, whether to show a progress bar.
        least_classes: int, how many classes must occur.

    Returns:
        int64 (num_classes,): pixels of each class.

    Raises:
        UserError: for the first fault, naming the file; or if fewer classes occur.
    """
    count = partial(_count_classes, num_classes=num_classes, ignore_labels=ignore_labels)
    histogram = sum(_map(count, samples, workers, progress, "Checking the data"))
    present = np.flatnonzero(histogram)
    if len(present) < least_classes:
        raise UserError(
            f"In all {len(samples)} masks, the only class ids that count are "
            f"{present.tolist()}: there is nothing to learn. Void: {tuple(ignore_labels)}. "
            "Masks with 0 and 255 must be changed to 0 and 1."
        )
    return histogram


def label_histogram(samples, workers=2, progress=True):
    """Reads every mask as it is and compares its size with the picture's.

    Returns:
        int64 (256,): pixels of each value.
    """
    return sum(_map(_count_labels, samples, workers, progress, "Reading the masks"))


def _count_classes(sample, num_classes, ignore_labels):
    mask = read_mask(sample.mask_path, num_classes, ignore_labels)
    check_sizes(sample, mask.shape)
    return np.bincount(mask[mask != VOID], minlength=num_classes)


def _count_labels(sample):
    ids = read_label_ids(sample.mask_path)
    check_sizes(sample, ids.shape)
    return np.bincount(ids.ravel(), minlength=256)


def _map(function, samples, workers, progress, title):
    with ThreadPoolExecutor(workers) as pool:
        try:
            results = pool.map(function, samples)
            yield from tqdm(
                results, title, len(samples), disable=None if progress else True, leave=False
            )
        except UserError:
            pool.shutdown(cancel_futures=True)
            raise

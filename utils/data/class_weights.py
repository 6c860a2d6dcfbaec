"""Class weights from the masks: rare classes count more in the loss."""

import numpy as np

from utils.data.masks import read_mask
from utils.labels import VOID
from utils.parallel import ordered_map


def balanced_weights(samples, num_classes, ignore_labels=(VOID,), workers=0):
    """Weighs classes by median-frequency balancing.

        frequency_c = pixels of c / pixels of the images that hold c
        weight_c    = median of the frequencies of all classes that occur / frequency_c

    Void pixels count nowhere. A class that occurs in no mask has weight 1.

    Args:
        samples: list of `utils.data.voc.Sample`, the training images.
        num_classes: int.
        ignore_labels: mask values that count as void.
        workers: int, threads; 0: one per processor.

    Returns:
        (weights, note): a tuple of num_classes floats, and a line about them for the user.

    Raises:
        UserError: for a mask that can't be used.

    Source: Eigen and Fergus 2015, arXiv:1411.4734.
    """

    def count(sample):
        mask = read_mask(sample.mask_path, num_classes, ignore_labels)
        return np.bincount(mask.ravel(), minlength=256)[:num_classes]

    pixels = np.zeros(num_classes, np.int64)
    of_images = np.zeros(num_classes, np.int64)
    for counts in ordered_map(count, samples, workers, "class weights"):
        pixels += counts
        of_images[counts > 0] += counts.sum()
    weights = median_frequency(pixels, of_images)
    return tuple(weights.tolist()), _describe(weights, pixels > 0)


def median_frequency(pixels, of_images):
    """The weights of classes, by the formula of `balanced_weights`.

    Args:
        pixels: (num_classes,), pixels of each class.
        of_images: (num_classes,), valid pixels of the images that hold it.

    Returns:
        float (num_classes,); 1 for a class that does not occur.
    """
    occurs = pixels > 0
    weights = np.ones(len(pixels))
    if occurs.any():
        frequencies = pixels[occurs] / of_images[occurs]
        weights[occurs] = np.median(frequencies) / frequencies
    return weights


def _describe(weights, occurs):
    note = f"Balanced class weights: {', '.join(f'{weight:.3g}' for weight in weights)}."
    absent = ", ".join(map(str, np.flatnonzero(~occurs)))
    return f"{note} No mask holds class {absent}, which gets weight 1." if absent else note

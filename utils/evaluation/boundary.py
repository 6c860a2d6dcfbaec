"""Boundary IoU: the overlap of the bands along the edges of truth and prediction.

Cheng, Girshick, Dollár, Berg, Kirillov: Boundary IoU: Improving Object-Centric Image
Segmentation Evaluation, CVPR 2021, https://arxiv.org/abs/2103.16562.
"""

import math

import cv2
import numpy as np

from utils.labels import VOID

SHARE = 0.02  # of the image's diagonal: the article's width of the band
_KERNEL = np.ones((3, 3), np.uint8)


def boundary_distance(size, share=SHARE):
    """The width of the band in pixels, at least 1, for an image of `size` (height, width)."""
    return max(1, round(share * math.hypot(*size)))


def boundary_region(ids, distance):
    """Pixels of which a pixel of another class lies within `distance` rows and columns.

    For each class, these are the pixels that `distance` erosions of its mask by 3x3 take
    away, as the authors' code counts them. What is beyond the image is another class.

    Args:
        ids: uint8 (H, W).
        distance: int, at least 1.

    Returns:
        bool (H, W).
    """
    # Erosions of each class alone would cost a pass over the image for every class.
    edge = (cv2.dilate(ids, _KERNEL) != cv2.erode(ids, _KERNEL)).astype(np.uint8)
    edge[[0, -1]] = 1
    edge[:, [0, -1]] = 1
    if distance > 1:
        side = 2 * distance - 1
        edge = cv2.dilate(edge, np.ones((side, side), np.uint8))
    return edge.astype(bool)


def boundary_counts(true, predicted, num_classes, share=SHARE):
    """Counts the pixels by which boundary IoU is scored.

    Void pixels belong to no class on either side: truth and prediction end there alike.

    Args:
        true: uint8 (H, W); ids >= num_classes are void.
        predicted: uint8 (H, W), ids 0..num_classes-1.
        num_classes: int.
        share: float, the band's width as a share of the diagonal.

    Returns:
        int64 (2, num_classes): intersection and union of the two bands of each class.
    """
    valid = true < num_classes
    true, predicted = np.where(valid, true, VOID), np.where(valid, predicted, VOID)
    distance = boundary_distance(true.shape, share)
    in_true = boundary_region(true, distance) & valid
    in_predicted = boundary_region(predicted, distance) & valid
    both = in_true & in_predicted & (true == predicted)
    of_both, of_true, of_predicted = (
        np.bincount(ids[where], minlength=num_classes)
        for ids, where in ((true, both), (true, in_true), (predicted, in_predicted))
    )
    return np.stack([of_both, of_true + of_predicted - of_both])

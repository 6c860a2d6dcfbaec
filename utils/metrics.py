"""Counting pixels and scoring the counts, apart from each other. NumPy only."""

from dataclasses import dataclass

import numpy as np

VOID = 255


def confusion_matrix(true, predicted, num_classes):
    """Counts pixels by true and predicted class; pixels whose truth is void are left out.

    Args:
        true: integer array of class ids; 255, or any id >= num_classes, is void.
        predicted: integer array of the same shape, ids 0..num_classes-1.
        num_classes: int.

    Returns:
        int64 (num_classes, num_classes), indexed [true, predicted].

    Raises:
        ValueError: if the shapes differ or a predicted id is out of range.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"true has shape {true.shape}, predicted {predicted.shape}.")
    valid = true < num_classes
    true = true[valid].astype(np.int32)
    predicted = predicted[valid]
    wrong = predicted[(predicted < 0) | (predicted >= num_classes)]
    if wrong.size:
        raise ValueError(f"A predicted id is {wrong[0]}; num_classes is {num_classes}.")
    counts = np.bincount(true * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Scores:
    """Scores of a confusion matrix, all in 0..1, NaN where they are not defined.

    Attributes:
        iou: (num_classes,) tp / (tp + fp + fn); NaN for a class that occurs neither in the
            truth nor in the prediction.
        recall: (num_classes,) tp / (tp + fn), also called pixel accuracy of the class; NaN
            for a class that the truth does not hold.
        precision: (num_classes,) tp / (tp + fp); NaN for a class that is never predicted.
        accuracy: float, share of pixels that are right.
        pixels: int, pixels scored (void left out).
    """

    iou: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    accuracy: float
    pixels: int

    @property
    def miou(self):
        """Mean IoU over the classes that occur."""
        return _nanmean(self.iou)

    @property
    def mean_recall(self):
        """Mean recall (mPA) over the classes that the truth holds."""
        return _nanmean(self.recall)

    @property
    def mean_precision(self):
        """Mean precision over the classes that are predicted."""
        return _nanmean(self.precision)

    @property
    def absent(self):
        """Ids of the classes that occur neither in the truth nor in the prediction."""
        return [int(index) for index in np.flatnonzero(np.isnan(self.iou))]


def score(matrix):
    """Scores a confusion matrix [true, predicted]."""
    tp = np.diag(matrix).astype(np.float64)
    in_truth, in_prediction = matrix.sum(axis=1), matrix.sum(axis=0)
    total = int(matrix.sum())
    return Scores(
        iou=_ratio(tp, in_truth + in_prediction - tp),
        recall=_ratio(tp, in_truth),
        precision=_ratio(tp, in_prediction),
        accuracy=float(tp.sum() / total) if total else float("nan"),
        pixels=total,
    )


def _ratio(numerator, denominator):
    return np.divide(
        numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0
    )


def _nanmean(values):
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")

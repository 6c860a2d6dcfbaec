"""Counting pixels and scoring the counts, apart from each other. NumPy only."""

from dataclasses import dataclass

import numpy as np

_AT_ONCE = 2**20  # pixels; their indices of 8 bytes stay in the processor's cache


@dataclass
class Counts:
    """What is counted of one image or of many; sums of counts are counts of the whole.

    Attributes:
        matrix: int64 (num_classes, num_classes), pixels indexed [true, predicted].
        void: int64 (num_classes,), pixels left out as void, by predicted class.
        boundary: int64 (2, num_classes), intersection and union of the bands along the
            edges; see `utils.evaluation.boundary`. Zeros where that is not asked for.
        ignored: ids of classes that are void in the truth, which have no scores.
    """

    matrix: np.ndarray
    void: np.ndarray
    boundary: np.ndarray
    ignored: tuple[int, ...] = ()

    @classmethod
    def zeros(cls, num_classes, ignored=()):
        """Counts of nothing."""
        shapes = (num_classes, num_classes), (num_classes,), (2, num_classes)
        return cls(*(np.zeros(shape, np.int64) for shape in shapes), ignored)

    def __iadd__(self, other):
        self.matrix += other.matrix
        self.void += other.void
        self.boundary += other.boundary
        return self


def count_pixels(true, predicted, num_classes):
    """Counts pixels by true and predicted class, void as one more true class.

    Args:
        true: integer array of class ids; 255, or any id >= num_classes, is void.
        predicted: integer array of the same shape, ids 0..num_classes-1.
        num_classes: int, at most 255.

    Returns:
        int64 (num_classes + 1, num_classes), indexed [true, predicted]; the last row is void.

    Raises:
        ValueError: if the shapes differ or a predicted id is out of range.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"true has shape {true.shape}, predicted {predicted.shape}.")
    true, predicted = true.ravel(), predicted.ravel()
    counts = np.zeros((num_classes + 1) * num_classes, np.int64)
    for start in range(0, true.size, _AT_ONCE):
        part = predicted[start : start + _AT_ONCE]
        for extreme in (part.max(), part.min()):
            if not 0 <= extreme < num_classes:
                raise ValueError(f"A predicted id is {extreme}; num_classes is {num_classes}.")
        rows = np.minimum(true[start : start + _AT_ONCE], num_classes).astype(np.intp)
        counts += np.bincount(rows * num_classes + part, minlength=counts.size)
    return counts.reshape(num_classes + 1, num_classes)


@dataclass(frozen=True)
class Scores:
    """Scores of counts, in 0..1, NaN where they are not defined; pixels are integers.

    A class that is ignored has none, and is left out of all means, even where it is predicted.

    Attributes:
        iou: (num_classes,) tp / (tp + fp + fn); NaN for a class that occurs neither in the
            truth nor in the prediction.
        dice: (num_classes,) 2 tp / (2 tp + fp + fn), also called F1; NaN as `iou`.
        recall: (num_classes,) tp / (tp + fn), also called pixel accuracy of the class; NaN
            for a class that the truth does not hold.
        precision: (num_classes,) tp / (tp + fp); NaN for a class that is never predicted.
        boundary_iou: (num_classes,) IoU of the bands along the edges; NaN as `iou`, and
            where they were not counted.
        frequency: (num_classes,) share of the true pixels; NaN if there are none at all.
        accuracy: float, share of pixels that are right.
        pixels: int, pixels scored (void left out).
        counts: Counts that all this comes from.
    """

    iou: np.ndarray
    dice: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    boundary_iou: np.ndarray
    frequency: np.ndarray
    accuracy: float
    pixels: int
    counts: Counts

    @property
    def miou(self):
        """Mean IoU over the classes that occur."""
        return _nanmean(self.iou)

    @property
    def miou_without_background(self):
        """Mean IoU over the classes that occur, class 0 left out."""
        return _nanmean(self.iou[1:])

    @property
    def mean_dice(self):
        """Mean Dice over the classes that occur."""
        return _nanmean(self.dice)

    @property
    def mean_recall(self):
        """Mean recall (mPA) over the classes that the truth holds."""
        return _nanmean(self.recall)

    @property
    def mean_precision(self):
        """Mean precision over the classes that are predicted."""
        return _nanmean(self.precision)

    @property
    def mean_boundary_iou(self):
        """Mean boundary IoU over the classes that occur."""
        return _nanmean(self.boundary_iou)

    @property
    def frequency_weighted_iou(self):
        """Mean IoU in which each class weighs as much as it has true pixels."""
        # A class without true pixels weighs nothing, even where its IoU is not defined.
        return float((self.frequency * np.nan_to_num(self.iou)).sum())

    @property
    def void_pixels(self):
        """Pixels left out as void."""
        return int(self.counts.void.sum())

    @property
    def void_share(self):
        """Void pixels as a share of all pixels; NaN if there are none at all."""
        total = self.pixels + self.void_pixels
        return self.void_pixels / total if total else float("nan")

    @property
    def absent(self):
        """Ids of the classes that occur neither in the truth nor in the prediction."""
        undefined = np.flatnonzero(np.isnan(self.iou)).tolist()
        return [index for index in undefined if index not in self.ignored]

    @property
    def ignored(self):
        """Ids of the classes that are void in the truth."""
        return list(self.counts.ignored)


def sum_counts(parts):
    """Counts of several parts of the images as Counts of all."""
    total = Counts.zeros(len(parts[0].void), parts[0].ignored)
    for part in parts:
        total += part
    return total


def score(counts):
    """Scores `Counts`."""
    matrix = counts.matrix
    tp = np.diag(matrix)
    in_truth, in_prediction = matrix.sum(axis=1), matrix.sum(axis=0)
    total = int(matrix.sum())

    def ratio(numerator, denominator):
        values = _ratio(numerator, denominator)
        values[list(counts.ignored)] = np.nan
        return values

    return Scores(
        iou=ratio(tp, in_truth + in_prediction - tp),
        dice=ratio(2 * tp, in_truth + in_prediction),
        recall=ratio(tp, in_truth),
        precision=ratio(tp, in_prediction),
        boundary_iou=ratio(*counts.boundary),
        frequency=_ratio(in_truth, np.full(len(matrix), total)),
        accuracy=float(tp.sum() / total) if total else float("nan"),
        pixels=total,
        counts=counts,
    )


def _ratio(numerator, denominator):
    return np.divide(
        numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0
    )


def _nanmean(values):
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")

"""What an evaluation has found, in one sentence: the first of these that holds.

1. No pixel is scored, or the masks hold one class only.
2. Every pixel is predicted as one class, though the masks hold more.
3. Classes that the masks hold are never predicted.
4. A class is taken for one other in at least a tenth of its pixels: that with the largest share.
5. All classes have an IoU above 90%.
6. The class with the lowest IoU, and what it suffers from.

From 3 on, only classes with at least a thousandth of the scored pixels count, since the shares
of fewer pixels say little.
"""

from typing import NamedTuple

import numpy as np

from utils.evaluation.score_tables import percent

_ENOUGH = 0.001  # of the scored pixels
_CONFUSED = 0.1  # of a class' pixels
_FINE = 0.9  # IoU
_LISTED = 4  # classes


class Finding(NamedTuple):
    """A headline, and the numbers that it comes from.

    Attributes:
        headline: str, one sentence without its full stop.
        detail: str, one or two sentences.
    """

    headline: str
    detail: str


def find(scores, names):
    """The `Finding` of an evaluation.

    Args:
        scores: `utils.evaluation.metrics.Scores`.
        names: class names.
    """
    matrix = scores.counts.matrix
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    held, made, scored = np.flatnonzero(true), np.flatnonzero(predicted), int(true.sum())
    if len(held) < 2:
        return _of_one_class(matrix, held, names)
    if len(made) == 1:
        name, right = names[made[0]], int(true[made[0]])
        return Finding(
            f"Every scored pixel is predicted as {name}",
            f"The masks hold {len(held)} classes; {_of(right, scored, 'scored pixels')} are "
            f"{name}.",
        )
    enough = held[true[held] >= _ENOUGH * scored]
    return (
        _never_predicted(enough[predicted[enough] == 0], true, names)
        or _confusion(enough, matrix, names)
        or _fine(enough, len(held), scores, names)
        or _weakest(enough, scores, names)
    )


def _of_one_class(matrix, held, names):
    if not len(held):
        return Finding("No pixel is scored", "The true masks hold nothing but void.")
    right, total = int(matrix[held[0], held[0]]), int(matrix.sum())
    name = names[held[0]]
    return Finding(
        f"{name} is found in {format_share(right / total)} of its pixels",
        f"{_of(right, total, 'scored pixels')} are predicted as {name}, and the masks hold no "
        "other class.",
    )


def _never_predicted(missed, true, names):
    """Of classes that are nowhere predicted; the largest first."""
    if not len(missed):
        return None
    missed = missed[np.argsort(-true[missed], kind="stable")]
    verb, them = ("is", "this class") if len(missed) == 1 else ("are", "these classes")
    pixels = _of(int(true[missed].sum()), int(true.sum()), "scored pixels")
    return Finding(
        f"{_join([names[index] for index in missed])} {verb} never predicted",
        f"{pixels} are of {them}.",
    )


def _confusion(classes, matrix, names):
    """Of the largest share of a class' pixels that is predicted as one other class."""
    shares = matrix[classes] / matrix[classes].sum(axis=1, keepdims=True)
    shares[np.arange(len(classes)), classes] = 0
    row, other = np.unravel_index(shares.argmax(), shares.shape)
    if shares[row, other] < _CONFUSED:
        return None
    true = classes[row]
    count, total = int(matrix[true, other]), int(matrix[true].sum())
    return Finding(
        f"{names[true]} is taken for {names[other]} in {format_share(count / total)} of its pixels",
        f"{_of(count, total, f'true pixels of {names[true]}')} are predicted as {names[other]}: "
        f"the largest such share among {_counted(classes)}.",
    )


def _fine(classes, held, scores, names):
    lowest = classes[scores.iou[classes].argmin()]
    if not scores.iou[lowest] > _FINE:
        return None
    detail = f"The lowest is that of {names[lowest]}: {percent(scores.iou[lowest])}%."
    if held == len(classes):
        return Finding(f"All {held} classes have an IoU above {_FINE:.0%}", detail)
    detail += f" Rarer classes don't count here: {held - len(classes)} of {held}."
    return Finding(f"All but rare classes have an IoU above {_FINE:.0%}", detail)


def _weakest(classes, scores, names):
    """Of the lowest IoU; whether pixels of the class are missed, or others taken for it."""
    lowest = classes[scores.iou[classes].argmin()]
    matrix, name = scores.counts.matrix, names[lowest]
    recall, precision = scores.recall[lowest], scores.precision[lowest]
    missed, taken = matrix[lowest].copy(), matrix[:, lowest].copy()
    missed[lowest] = taken[lowest] = 0
    if precision < recall:
        other, total = taken.argmax(), int(matrix[:, lowest].sum())
        why = f"{_of(int(taken[other]), total, f'pixels predicted as {name}')} are {names[other]}"
    else:
        other, total = missed.argmax(), int(matrix[lowest].sum())
        why = (
            f"{_of(int(missed[other]), total, f'true pixels of {name}')} are predicted as "
            f"{names[other]}"
        )
    return Finding(
        f"{name} has the lowest IoU: {percent(scores.iou[lowest])}%",
        f"Among {_counted(classes)}. Its recall is {percent(recall)}%, its precision "
        f"{percent(precision)}%. {why}.",
    )


def _counted(classes):
    plural = "class" if len(classes) == 1 else "classes"
    return f"the {len(classes)} {plural} with at least {_ENOUGH:.1%} of the scored pixels"


def _of(count, total, what):
    """Such as "96 of the 100 scored pixels (96%)"."""
    return f"{count:,} of the {total:,} {what} ({format_share(count / total)})"


def _join(names):
    more = len(names) - _LISTED
    if more > 1:
        names = [*names[:_LISTED], f"{more} more classes"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def format_share(share):
    """0.964 as "96%"; "0%" of none alone, and "100%" of all alone."""
    if 0 < share <= 0.005:
        return "less than 1%"
    if 0.995 <= share < 1:
        return "over 99%"
    return f"{100 * share:.0f}%"

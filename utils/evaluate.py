"""The one validation loop: training, `get_miou.py` and the demo all score with it."""

import numpy as np
from tqdm import tqdm

from errors import UserError
from utils.metrics import VOID, confusion_matrix
from utils.voc import read_mask


def evaluate(predict, samples, num_classes, ignore_labels=(VOID,), progress=True):
    """Counts the pixels of all samples by true and predicted class, one picture at a time.

    Args:
        predict: callable from `utils.lists.Sample` to its predicted mask, uint8 (H, W), of
            the true mask's size.
        samples: list of `utils.lists.Sample` with masks.
        num_classes: int.
        ignore_labels: values of the true masks that are left out.
        progress: bool, whether to show a progress bar.

    Returns:
        int64 (num_classes, num_classes), indexed [true, predicted].

    Raises:
        UserError: for a mask that can't be used or whose size differs from the prediction's.
    """
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for sample in tqdm(samples, "Evaluating", disable=None if progress else True, leave=False):
        true = read_mask(sample.mask_path, num_classes, ignore_labels)
        predicted = predict(sample)
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
        matrix += confusion_matrix(true, predicted, num_classes)
    return matrix


def format_scores(scores, names):
    """A table for the terminal: a line a class, then the means, in percent."""
    width = max(len("mean"), *map(len, names))
    lines = [f"{'class':<{width}}     IoU  recall  precision"]
    columns = zip(names, scores.iou, scores.recall, scores.precision, strict=True)
    lines += [
        f"{name:<{width}}  {_percent(iou, 6)}  {_percent(recall, 6)}  {_percent(precision, 9)}"
        for name, iou, recall, precision in columns
    ]
    lines.append(
        f"{'mean':<{width}}  {_percent(scores.miou, 6)}  {_percent(scores.mean_recall, 6)}"
        f"  {_percent(scores.mean_precision, 9)}"
    )
    lines.append(f"mIoU {_percent(scores.miou)}%, accuracy {_percent(scores.accuracy)}%")
    if scores.absent:
        absent = ", ".join(names[index] for index in scores.absent)
        lines.append(f"neither in the truth nor predicted, left out of the means: {absent}")
    return "\n".join(lines)


def scores_to_dict(scores, names):
    """The scores for a JSON file, 0..1; null where a score is not defined."""
    return {
        "miou": _number(scores.miou),
        "mean_recall": _number(scores.mean_recall),
        "mean_precision": _number(scores.mean_precision),
        "accuracy": _number(scores.accuracy),
        "pixels": scores.pixels,
        "absent": [names[index] for index in scores.absent],
        "classes": [
            {
                "id": index,
                "name": name,
                "iou": _number(scores.iou[index]),
                "recall": _number(scores.recall[index]),
                "precision": _number(scores.precision[index]),
            }
            for index, name in enumerate(names)
        ],
    }


def _percent(value, width=0):
    return f"{'-':>{width}}" if np.isnan(value) else f"{100 * value:{width}.2f}"


def _number(value):
    return None if np.isnan(value) else float(value)

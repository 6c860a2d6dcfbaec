"""Scores as text: the table for the terminal, results.json, and the CSV files."""

import csv
import unicodedata
from typing import NamedTuple

import numpy as np

from utils.data.voc import Sample
from utils.evaluation.metrics import score
from utils.files import csv_text, whole_file

_NAMED = 12  # of the absent classes
_LONGEST_NAME = 26  # columns of a terminal; with the numbers, a line has about 90


class ImageScore(NamedTuple):
    """The scores of one image; its classes are those in its truth or its prediction.

    Attributes:
        sample: `utils.data.voc.Sample`.
        size: (height, width).
        pixels, void_pixels: int, scored and left out.
        accuracy, miou: float, NaN where all is void.
        iou: (num_classes,), NaN for classes that the image does not hold.
    """

    sample: Sample
    size: tuple[int, int]
    pixels: int
    void_pixels: int
    accuracy: float
    miou: float
    iou: np.ndarray


def score_image(sample, size, counts):
    """ImageScore of the counts of one image."""
    one = score(counts)
    return ImageScore(sample, size, one.pixels, one.void_pixels, one.accuracy, one.miou, one.iou)


def format_scores(scores, names):
    """A table for the terminal: a line per class, then the means, in percent."""
    columns = {
        "class": [*names, "mean"],
        "IoU": _percents(scores.iou, scores.miou),
        "Dice": _percents(scores.dice, scores.mean_dice),
        "recall": _percents(scores.recall, scores.mean_recall),
        "precision": _percents(scores.precision, scores.mean_precision),
        "boundary": _percents(scores.boundary_iou, scores.mean_boundary_iou),
        "share": [*map(percent, scores.frequency), ""],
        "void px": [*(f"{count:,}" for count in scores.counts.void.tolist()), ""],
    }
    lines = align(columns)
    lines += [
        f"mIoU {percent(scores.miou)}%, accuracy {percent(scores.accuracy)}%",
        f"mIoU without background {percent(scores.miou_without_background)}%, "
        f"frequency-weighted IoU {percent(scores.frequency_weighted_iou)}%",
        f"left out as void: {scores.void_pixels:,} pixels, {percent(scores.void_share)}%",
    ]
    for ids, why in (
        (scores.ignored, "ignored (ignore_labels), left out of all scores"),
        (scores.absent, "neither in the truth nor predicted, left out of the means"),
    ):
        if ids:
            more = f" and {rest} more" if (rest := len(ids) - _NAMED) > 0 else ""
            lines.append(f"{why}: {', '.join(names[index] for index in ids[:_NAMED])}{more}")
    return "\n".join(lines)


def find_other_classes(scores, names):
    """What tells that the weights were trained for other classes than those of the masks, or "".

    Args:
        scores: `utils.evaluation.metrics.Scores`.
        names: one name per class.
    """
    matrix = scores.counts.matrix
    in_truth, in_prediction = matrix.sum(axis=1), matrix.sum(axis=0)
    held = np.flatnonzero(in_truth)
    foreign = np.flatnonzero((in_truth == 0) & (in_prediction > 0))
    share = in_prediction[foreign].sum() / max(scores.pixels, 1)
    if share > 0.5:
        found = f"{share:.0%} of the pixels are predicted as classes that no mask holds"
    elif len(held) > 1 and scores.accuracy < 0.5 / len(names):
        found = f"{scores.accuracy:.1%} of the pixels are right, far fewer than by guessing"
    else:
        return ""
    most = foreign[np.argsort(-in_prediction[foreign], kind="stable")]
    predicted = most if len(most) else np.flatnonzero(in_prediction)
    return (
        f"WARNING: {found}.\n"
        f"  predicted: {_list_classes(predicted, names)}\n"
        f"  in the masks: {_list_classes(held, names)}\n"
        "Were the weights trained for other classes, or with other ids for them? Then these "
        "scores mean nothing: give the weights of a training with these masks."
    )


def _list_classes(ids, names):
    more = f" and {rest} more" if (rest := len(ids) - _NAMED) > 0 else ""
    return ", ".join(f"{index} {names[index]}" for index in ids[:_NAMED]) + more


def _percents(values, mean):
    return [percent(value) for value in (*values, mean)]


def percent(value):
    """0.5 as "50.00"; "-" where a score is not defined."""
    return "-" if np.isnan(value) else f"{100 * value:.2f}"


def align(columns):
    """Lines of a table: the first column to the left, the others to the right.

    Args:
        columns: dict from a title to a list of texts, one a line.
    """
    (title, names), *numbers = columns.items()
    names = [shorten(name, _LONGEST_NAME) for name in (title, *names)]
    width = max(map(display_width, names))
    lines = [name + " " * (width - display_width(name)) for name in names]
    for title, texts in numbers:
        texts = [title, *texts]
        width = max(map(len, texts))
        lines = [f"{line}  {text:>{width}}" for line, text in zip(lines, texts, strict=True)]
    return [line.rstrip() for line in lines]


def display_width(text):
    """Columns of a terminal that a text takes: Chinese, Japanese and Korean letters take two."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def shorten(text, width):
    """The text, or its start and an ellipsis where it takes more than `width` columns."""
    if display_width(text) <= width:
        return text
    while display_width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def scores_to_dict(scores, names):
    """The scores for a JSON file, 0..1; null where a score is not defined; pixels whole."""
    counts = scores.counts
    columns = {
        "iou": map(number, scores.iou),
        "recall": map(number, scores.recall),
        "precision": map(number, scores.precision),
        "dice": map(number, scores.dice),
        "boundary_iou": map(number, scores.boundary_iou),
        "frequency": map(number, scores.frequency),
        "true_pixels": counts.matrix.sum(axis=1).tolist(),
        "predicted_pixels": counts.matrix.sum(axis=0).tolist(),
        "right_pixels": counts.matrix.diagonal().tolist(),
        "predicted_on_void": counts.void.tolist(),
        "boundary_intersection": counts.boundary[0].tolist(),
        "boundary_union": counts.boundary[1].tolist(),
    }
    rows = zip(names, *columns.values(), strict=True)
    return {
        "miou": number(scores.miou),
        "miou_without_background": number(scores.miou_without_background),
        "frequency_weighted_iou": number(scores.frequency_weighted_iou),
        "mean_recall": number(scores.mean_recall),
        "mean_precision": number(scores.mean_precision),
        "mean_dice": number(scores.mean_dice),
        "mean_boundary_iou": number(scores.mean_boundary_iou),
        "accuracy": number(scores.accuracy),
        "pixels": scores.pixels,
        "void_pixels": scores.void_pixels,
        "void_share": number(scores.void_share),
        "absent": [names[index] for index in scores.absent],
        "ignored": [names[index] for index in scores.ignored],
        "classes": [
            {"id": index, "name": name, **dict(zip(columns, values, strict=True))}
            for index, (name, *values) in enumerate(rows)
        ],
    }


def number(value):
    """A score for a JSON file: a float, or None where it is not defined."""
    return None if np.isnan(value) else float(value)


def write_confusion_matrix(matrix, names, path):
    """Writes the matrix as CSV: a row per true class, a column a predicted one."""
    names = [csv_text(name) for name in names]
    rows = ([name, *row] for name, row in zip(names, matrix.tolist(), strict=True))
    write_csv(["true \\ predicted", *names], rows, path)


def write_images(images, names, path):
    """Writes a CSV of ImageScores, a row per image; what is not defined stays empty."""
    header = ["picture", "height", "width", "pixels", "void_pixels", "accuracy", "miou"]
    rows = (
        [
            csv_text(one.sample.name),
            *one.size,
            one.pixels,
            one.void_pixels,
            *("" if np.isnan(value) else float(value) for value in (one.accuracy, one.miou)),
            *("" if np.isnan(value) else float(value) for value in one.iou),
        ]
        for one in images
    )
    write_csv([*header, *(f"IoU {name}" for name in names)], rows, path)


def write_csv(header, rows, path):
    """Writes a table that Excel opens; `header` is a list of str, `rows` lists of cells."""
    with (
        whole_file(path) as temporary,
        # The BOM is for Excel. File names need not be valid Unicode on Linux.
        open(temporary, "w", newline="", encoding="utf-8-sig", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)

"""The scores of a cross-validation: of each fold, and their mean and standard deviation."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from errors import RunError
from utils.evaluation.score_tables import align, number, percent, write_csv
from utils.files import write_json
from utils.runs.folder import newest_run
from utils.runs.summary import best_row, command

_DEVIATION = "sample standard deviation: divided by the number of folds less 1"


class FoldScores(NamedTuple):
    """What a fold scored on its validation images in its best epoch.

    That is the epoch of the highest mIoU, or of the lowest validation loss where mIoU was not
    scored.

    Attributes:
        folder: Path of the fold.
        run: Path of the run in it.
        epoch: int, from 1.
        miou, val_loss: float, of that epoch; NaN: not known.
        names: class names.
        iou: (num_classes,), NaN: not known, or not defined.
    """

    folder: Path
    run: Path
    epoch: int
    miou: float
    val_loss: float
    names: tuple[str, ...]
    iou: np.ndarray

    @property
    def values(self):
        """(2 + num_classes,): mIoU, validation loss, IoU of each class."""
        return np.array([self.miou, self.val_loss, *self.iou])


def read_fold(folder):
    """FoldScores of a fold's newest run.

    Raises:
        RunError: if it has none, or none of its epochs was validated.
    """
    run, state = newest_run(folder)
    rows = state.facts["callbacks"]["log"]["rows"] if state else []
    best = best_row(rows, "val_miou", max) or best_row(rows, "val_loss", min)
    if best is None:
        raise RunError(f"{folder} holds no epoch that was validated, so that it has no scores.")
    names = tuple(state.facts["description"]["name_classes"])
    known = state.facts["callbacks"].get("scoring", {}).get("best")
    iou = np.full(len(names), np.nan)
    if known and known["epoch"] == best["epoch"]:
        iou = np.array(known["iou"])
    return FoldScores(
        Path(folder), run, best["epoch"], best["val_miou"], best["val_loss"], names, iou
    )


def mean_and_deviation(values):
    """The mean and the sample standard deviation of the folds, for each column.

    Args:
        values: (folds, n); NaN, such as the IoU of a class that a fold does not hold, is left
            out.

    Returns:
        two arrays (n,): the means, NaN without any value; the deviations (divided by the number
        of values less 1), NaN with fewer than two.
    """
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    nothing = np.full(values.shape[1], np.nan)
    sums = np.where(known, values, 0).sum(axis=0)
    means = np.divide(sums, count, out=nothing.copy(), where=count > 0)
    squares = np.where(known, (values - means) ** 2, 0).sum(axis=0)
    return means, np.sqrt(np.divide(squares, count - 1, out=nothing.copy(), where=count > 1))


def format_folds(scores, save_dir):
    """The table of all folds, and what to do next.

    Args:
        scores: list of FoldScores.
        save_dir: Path, which holds the folds and the files of `write_folds`.
    """
    columns = [one.values for one in scores]
    means, deviations = mean_and_deviation(np.array(columns))
    titles = ["mIoU", "val_loss", *(f"IoU {name}" for name in scores[0].names)]
    epochs = [*(str(one.epoch) for one in scores), "", ""]
    heads = [*(one.folder.name for one in scores), "mean", "deviation"]
    table = {"": ["epoch", *titles]}
    for head, epoch, column in zip(heads, epochs, [*columns, means, deviations], strict=True):
        table[head] = [epoch, percent(column[0]), _loss(column[1]), *map(percent, column[2:])]
    scored = not math.isnan(means[0])
    pattern = save_dir / "fold_*" / "best_epoch_weights.weights.h5"
    chosen = "the highest mIoU on" if scored else "the lowest loss of"
    return "\n".join(
        [
            *align(table),
            f"Each fold's epoch is that with {chosen} its own validation images, which flatters "
            "it a little.",
            f"deviation: {_DEVIATION}. IoU in percent.",
            f"These figures: {save_dir / 'folds.csv'}, {save_dir / 'folds.json'}, "
            f"{save_dir / 'folds.png'}.",
            "All folds together, their probabilities averaged:",
            f"  {command('python', 'predict.py', '--model_path', pattern)}",
            "Don't score them on these images: all folds but one have trained on each.",
        ]
    )


def _loss(value):
    return "-" if math.isnan(value) else f"{value:.4f}"


def write_folds(scores, save_dir):
    """Writes folds.csv, folds.json and folds.png into a folder.

    Args:
        scores: list of FoldScores.
        save_dir: Path.
    """
    from utils.plots import plot_folds  # takes a while to load, and train.py --help does without

    values = np.array([one.values for one in scores])
    means, deviations = mean_and_deviation(values)
    names = scores[0].names
    numbers = [[*map(_cell, row)] for row in (*values, means, deviations)]
    heads = [[one.folder.name, one.run.name, one.epoch] for one in scores]
    heads += [["mean", "", ""], ["deviation", "", ""]]
    header = ["fold", "run", "epoch", "miou", "val_loss"]
    rows = [head + row for head, row in zip(heads, numbers, strict=True)]
    write_csv([*header, *(f"IoU {name}" for name in names)], rows, save_dir / "folds.csv")
    titles = ["miou", "val_loss", *names]
    summed = [
        {"mean": number(mean), "deviation": number(deviation), "folds": [*map(number, column)]}
        for mean, deviation, column in zip(means, deviations, values.T, strict=True)
    ]
    write_json(
        save_dir / "folds.json",
        {
            "folds": [
                {"folder": str(one.folder), "run": str(one.run), "epoch": one.epoch}
                for one in scores
            ],
            "deviation": _DEVIATION,
            "miou": summed[0],
            "val_loss": summed[1],
            "classes": [
                {"id": index, "name": name, "iou": column}
                for index, (name, column) in enumerate(zip(names, summed[2:], strict=True))
            ],
        },
    )
    columns = [0, *range(2, len(titles))]
    plot_folds(values[:, columns], means[columns], ("mIoU", *names), save_dir / "folds.png")


def _cell(value):
    return "" if math.isnan(value) else float(value)

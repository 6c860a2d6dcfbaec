"""What is said when a training ends: how good it was, where its files are, what to do next."""

import math
import os
import shlex
import subprocess
from pathlib import Path

import numpy as np

from utils.runs.state import find_states

_NAMED = 12  # classes that are named one by one


def format_summary(
    rows, scores, names, folder, weights_dir, *, data_options=None, cls_weights=(), focal_loss=False
):
    """The last words of a training.

    Args:
        rows: list of dicts, one per epoch, as `utils.runs.callbacks.RunLog` keeps them.
        scores: `utils.evaluation.metrics.Scores` of the epoch scored last; None: none was.
        names: class names.
        folder: Path of the run, with its curves.
        weights_dir: Path of the folder with the best and the last weights.
        data_options: dict from a setting of get_miou.py to its value, for those without
            which it would score other images.
        cls_weights, focal_loss: as trained with; what is in use is not advised.

    Returns:
        str of several lines.
    """
    by_loss, by_miou = best_row(rows, "val_loss", min), best_row(rows, "val_miou", max)
    weights = {}
    if by_miou or by_loss:
        why = "highest mIoU" if by_miou else "lowest validation loss"
        weights["best_epoch_weights"] = f"the best: {why}"
    if by_miou and by_loss:
        weights["lowest_loss_weights"] = "lowest validation loss"
    weights["last_epoch_weights"] = "last epoch"
    paths = {
        str(Path(weights_dir) / f"{name}.weights.h5"): title for name, title in weights.items()
    }
    best = next(iter(paths))
    options = [
        text for name, value in (data_options or {}).items() for text in (f"--{name}", value)
    ]
    lines = [
        *_format_best(by_loss, by_miou),
        *_format_missed(scores, names, cls_weights, focal_loss),
        "Weights:",
        *(f"  {path} ({title})" for path, title in paths.items()),
        "Curves:",
        f"  {Path(folder) / 'curves.png'}, and as numbers {Path(folder) / 'history.csv'}",
        f"  {command('tensorboard', '--logdir', folder)}",
        "Next:",
        f"  {command('python', 'get_miou.py', '--model_path', best, *options)}",
        f"  {command('python', 'predict.py', '--model_path', best)}",
    ]
    return "\n".join(lines)


def format_interruption(folder, resume):
    """What becomes of a training that Ctrl-C has ended.

    Args:
        folder: Path of the run.
        resume: str, the setting: "auto" or "never".
    """
    if not find_states(folder):
        return "No epoch was finished, so that nothing can be resumed."
    if resume == "never":
        return (
            "With resume never, the same command would start anew. To resume after the last "
            "finished epoch: the same command with --resume auto."
        )
    return "The same command resumes after the last finished epoch."


def best_row(rows, name, choose):
    """The row of a history with the best value, the first of equals; None if none is a number."""
    known = [row for row in rows if not math.isnan(row[name])]
    return choose(known, key=lambda row: row[name], default=None)


def _format_best(by_loss, by_miou):
    lines = []
    if by_loss:
        lines.append(
            f"Lowest validation loss: {by_loss['val_loss']:.4f}, in epoch {by_loss['epoch']}."
        )
    if by_miou:
        lines.append(
            f"Highest validation mIoU: {by_miou['val_miou']:.2%}, in epoch {by_miou['epoch']}."
        )
    else:
        lines.append("The validation mIoU was not scored; the first command below does it.")
    return lines


def _format_missed(scores, names, cls_weights, focal_loss):
    """Names the classes that the network misses wholly, and says what helps."""
    if scores is None:
        return []
    counts = scores.counts
    in_truth = counts.matrix.sum(axis=1) > 0
    predicted = counts.matrix.sum(axis=0) + counts.void > 0
    hit = np.diag(counts.matrix) > 0
    lines = []
    for missed, text in (
        (in_truth & ~predicted, "Never predicted, though there in the validation masks"),
        (in_truth & predicted & ~hit, "Predicted, but nowhere where they are (IoU 0)"),
    ):
        if missed.any():
            lines.append(f"{text}: {_enumerate([names[i] for i in np.flatnonzero(missed)])}.")
    if not lines:
        return []
    lines.append("What helps:")
    if not len(cls_weights):
        lines.append("  cls_weights balanced, by which pixels of rare classes weigh more")
    if not focal_loss:
        lines.append("  focal_loss, by which pixels that are still wrong weigh more")
    return [*lines, "  more epochs, and more images that show these classes"]


def _enumerate(names):
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def command(*words):
    """A command line to copy, quoted as the system's usual shell needs it."""
    words = [str(word) for word in words]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)

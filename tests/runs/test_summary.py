"""The last words of a training: best epochs, missed classes, files and commands."""

import math
import os
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from stand_ins import counts_of

from utils.evaluation.metrics import Counts, score
from utils.runs.summary import format_interruption, format_summary

NAN = math.nan
NAMES = ("background", "cat", "dog", "bird")


def row(epoch, val_loss, val_miou=NAN):
    return {"epoch": epoch, "val_loss": val_loss, "val_miou": val_miou}


def summary(rows=None, scores=None, **options):
    rows = [row(1, 1.0)] if rows is None else rows
    return format_summary(rows, scores, NAMES, "logs/run", "logs", **options)


def scores_of(matrix, void=(0, 0, 0, 0)):
    counts = Counts.zeros(4)
    counts.matrix += np.array(matrix)
    counts.void += np.array(void)
    return score(counts)


# True cats are all called background, dogs are called birds and never dogs; there are no birds.
MISSING = scores_of([[9, 0, 0, 0], [5, 0, 0, 0], [1, 0, 0, 2], [0, 0, 0, 0]])
FINE = scores_of(np.eye(4, dtype=int))


def test_best_epochs():
    rows = [row(1, 3.0, 0.125), row(2, NAN), row(3, 1.5), row(4, 1.5, 0.5), row(5, 2.0, 0.5)]
    lines = summary(rows, FINE).splitlines()
    assert lines[:2] == [
        "Lowest validation loss: 1.5000, in epoch 3.",
        "Highest validation mIoU: 50.00%, in epoch 4.",
    ]


def test_the_whole_text():
    text = summary([row(1, 3.0, 0.125)], FINE).replace(os.sep, "/")
    assert text.splitlines() == [
        "Lowest validation loss: 3.0000, in epoch 1.",
        "Highest validation mIoU: 12.50%, in epoch 1.",
        "Weights:",
        "  logs/best_epoch_weights.weights.h5 (the best: highest mIoU)",
        "  logs/lowest_loss_weights.weights.h5 (lowest validation loss)",
        "  logs/last_epoch_weights.weights.h5 (last epoch)",
        "Curves:",
        "  logs/run/curves.png, and as numbers logs/run/history.csv",
        "  tensorboard --logdir logs/run",
        "Next:",
        "  python get_miou.py --model_path logs/best_epoch_weights.weights.h5",
        "  python predict.py --model_path logs/best_epoch_weights.weights.h5",
    ]


def test_nothing_scored():
    text = summary([row(1, 3.0)])
    assert "The validation mIoU was not scored" in text
    assert "best_epoch_weights.weights.h5 (the best: lowest validation loss)" in text
    assert "lowest_loss_weights" not in text
    assert commands(text)[0][-1].endswith("best_epoch_weights.weights.h5")


@pytest.mark.parametrize("rows", [[], [row(1, NAN)]])
def test_nothing_measured(rows):
    text = summary(rows)
    assert "Lowest" not in text
    assert commands(text)[0][-1].endswith("last_epoch_weights.weights.h5")


def test_missed_classes_are_named_with_advice():
    lines = summary(scores=MISSING).splitlines()
    start = lines.index("Never predicted, though there in the validation masks: cat, dog.")
    assert lines[start + 1 : start + 5] == [
        "What helps:",
        "  cls_weights balanced, by which pixels of rare classes weigh more",
        "  focal_loss, by which pixels that are still wrong weigh more",
        "  more epochs, and more images that show these classes",
    ]


def test_a_class_that_is_predicted_elsewhere_only():
    # The dogs are background, and the background is a dog; or void pixels are dogs.
    for scores in (
        scores_of([[9, 0, 1, 0], [0, 1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]]),
        scores_of([[9, 0, 0, 0], [0, 1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]], void=(0, 0, 7, 0)),
    ):
        text = summary(scores=scores)
        assert "Never predicted" not in text
        assert "Predicted, but nowhere where they are (IoU 0): dog." in text


def test_no_advice_without_need():
    assert "What helps" not in summary(scores=FINE)
    # A class that the masks don't hold is not missed.
    assert "What helps" not in summary(scores=scores_of(np.diag([5, 5, 5, 0])))


@pytest.mark.parametrize("cls_weights", ["balanced", (1.0, 2.0, 2.0, 2.0)])
def test_what_is_in_use_is_not_advised(cls_weights):
    text = summary(scores=MISSING, cls_weights=cls_weights, focal_loss=True)
    assert "cls_weights" not in text and "focal_loss" not in text
    assert "more epochs" in text


def test_many_missed_classes():
    names = [f"n{index}" for index in range(21)]
    matrix = np.zeros((21, 21), int)
    matrix[:, 0] = 1
    text = format_summary([row(1, 1.0)], score(counts_of(matrix)), names, "run", "logs")
    shown = ", ".join(f"n{index}" for index in range(1, 13))
    assert f"validation masks: {shown} and 8 more." in text


def commands(text):
    """The words of the two commands under "Next:"."""
    lines = text.split("Next:\n")[1].splitlines()
    return [shlex.split(line) for line in lines]


@pytest.mark.skipif(os.name == "nt", reason="quoted for another shell")
@pytest.mark.parametrize("folder", ["my logs", "it's", '"$HOME"', "a;b&c", "日本 \\x", "new\nline"])
def test_commands_can_be_copied_whatever_the_paths_are(folder):
    data = Path(folder) / "VOC data"
    text = format_summary(
        [row(1, 1.0, 0.5)], FINE, NAMES, "run", Path(folder), data_options={"VOCdevkit_path": data}
    )
    words = shlex.split(text.split("Next:\n")[1])
    weights = str(Path(folder) / "best_epoch_weights.weights.h5")
    assert words == [
        *("python", "get_miou.py", "--model_path", weights, "--VOCdevkit_path", str(data)),
        *("python", "predict.py", "--model_path", weights),
    ]


def test_commands_on_windows(monkeypatch):
    monkeypatch.setattr("utils.runs.summary.os", SimpleNamespace(name="nt"))
    text = format_summary([row(1, 1.0)], None, NAMES, "run", "my logs")
    assert '--model_path "my logs' in text


def test_what_becomes_of_an_interrupted_training(tmp_path):
    nothing = "No epoch was finished, so that nothing can be resumed."
    assert format_interruption(tmp_path, "auto") == nothing
    assert format_interruption(tmp_path, "never") == nothing
    (tmp_path / "state_ep003.h5").write_text("")
    assert format_interruption(tmp_path, "auto").startswith("The same command resumes after the")
    assert format_interruption(tmp_path, "never") == (
        "With resume never, the same command would start anew. To resume after the last finished "
        "epoch: the same command with --resume auto."
    )

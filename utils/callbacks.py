"""The hooks that a training runs after each epoch.

Each one lives over both phases (frozen, then whole), so that best scores and curves go on.
The order matters: scores are added to `logs` first, and what writes them comes after.
"""

import csv
import math
import time
from pathlib import Path

import keras

from utils.files import whole_file
from utils.metrics import score
from utils.plots import plot_curves


class EpochOfDataset(keras.callbacks.Callback):
    """Tells a dataset which epoch it is, before its first batch is drawn.

    Adds `waiting` to the logs: the share of the training time for which a batch was asked
    for and not ready. It is an upper bound of the time for which the network stood still,
    since backends ask for batches ahead.
    """

    def __init__(self, dataset):
        super().__init__()
        self.dataset = dataset

    def on_epoch_begin(self, epoch, logs=None):
        self.dataset.set_epoch(epoch)
        self._start = self._end = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self._end = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["waiting"] = self.dataset.waited / max(self._end - self._start, 1e-9)


class MeanIoU(keras.callbacks.Callback):
    """Scores the validation pictures at their own size; adds `val_miou` to that epoch's logs.

    Args:
        evaluate: callable without arguments that returns a confusion matrix.
        period: int, in epochs; 0 switches it off.
        last_epoch: int, the epoch (from 1) that is scored in any case.
    """

    def __init__(self, evaluate, period, last_epoch):
        super().__init__()
        self.evaluate = evaluate
        self.period = period
        self.last_epoch = last_epoch

    def on_epoch_end(self, epoch, logs=None):
        due = self.period and ((epoch + 1) % self.period == 0 or epoch + 1 == self.last_epoch)
        if due:
            logs["val_miou"] = score(self.evaluate()).miou
            print(f"epoch {epoch + 1}: validation mIoU {100 * logs['val_miou']:.2f}%")


class Checkpoints(keras.callbacks.Callback):
    """Saves the weights: last, best by loss, best by mIoU, and one every `period` epochs.

    Args:
        save: callable that writes the weights to a path, atomically.
        folder: Path.
        period: int, in epochs; 0 switches the numbered files off.
    """

    def __init__(self, save, folder, period):
        super().__init__()
        self.save = save
        self.folder = Path(folder)
        self.period = period
        self.lowest_loss = math.inf
        self.highest_miou = -math.inf

    def on_epoch_end(self, epoch, logs=None):
        names = ["last_epoch_weights"]
        if logs["val_loss"] < self.lowest_loss:
            self.lowest_loss = logs["val_loss"]
            names.append("best_epoch_weights")
        if logs.get("val_miou", -math.inf) > self.highest_miou:
            self.highest_miou = logs["val_miou"]
            names.append("best_miou_weights")
        if self.period and (epoch + 1) % self.period == 0:
            names.append(f"ep{epoch + 1:03d}-loss{logs['loss']:.3f}-val_loss{logs['val_loss']:.3f}")
        for name in names:
            self.save(self.folder / f"{name}.weights.h5")


class RunLog(keras.callbacks.Callback):
    """Writes `history.csv`, a line an epoch, and its curves as `curves.png`.

    Args:
        folder: Path of the run.
    """

    columns = ("epoch", "loss", "val_loss", "batch_miou", "val_miou", "learning_rate", "waiting")

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)
        self.rows = []

    def on_epoch_end(self, epoch, logs=None):
        scores = {name: logs.get(name, math.nan) for name in self.columns[1:]}
        self.rows.append({"epoch": epoch + 1, **scores})
        with (
            whole_file(self.folder / "history.csv") as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)
        panels = {
            "loss": {"training": "loss", "validation": "val_loss"},
            "mean IoU": {"training (augmented batches)": "batch_miou", "validation": "val_miou"},
            "learning rate": {"learning rate": "learning_rate"},
        }
        plot_curves(
            [row["epoch"] for row in self.rows],
            {
                title: {label: [row[name] for row in self.rows] for label, name in curves.items()}
                for title, curves in panels.items()
            },
            self.folder / "curves.png",
        )

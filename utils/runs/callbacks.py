"""The Keras callbacks that a training runs after each epoch.

Each one lives over both phases (frozen, then whole), so that best scores and curves continue.
The order matters: scores are added to `logs` first, and what writes them comes after.
"""

import csv
import math
import time
from pathlib import Path

import keras

from utils.evaluation.metrics import score
from utils.files import whole_file
from utils.plots import plot_curves
from utils.runs.folder import publish, withdraw
from utils.runs.resume import BEST_MIOU
from utils.runs.state import State, save_state


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


class FollowTimeLimit(keras.callbacks.Callback):
    """Leads a training by the clock: its learning rate, and when a phase ends.

    Args:
        limit: `utils.runs.time_limit.TimeLimit`.
        share: float, the share of its time at which this phase ends.
        rate_of_share: callable from a share of the time to the learning rate.
    """

    _step = 0.01  # the rate changes by at least this share of it, which saves most changes

    def __init__(self, limit, share, rate_of_share):
        super().__init__()
        self.limit = limit
        self.share = share
        self.rate_of_share = rate_of_share

    def on_train_begin(self, logs=None):
        self._set(self.rate_of_share(self.limit.share()))

    def on_train_batch_begin(self, batch, logs=None):
        rate = self.rate_of_share(self.limit.share())
        if abs(rate / self.limit.rate - 1) < self._step:
            return
        if hasattr(self.model, "jax_state_sync"):  # amid an epoch JAX keeps the values elsewhere
            self.model.jax_state_sync()
        self._set(rate)

    def _set(self, rate):
        self.model.optimizer.learning_rate = self.limit.rate = rate

    def on_train_batch_end(self, batch, logs=None):
        share = self.limit.share()
        self.limit.over = share >= 1
        if share >= self.share:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = self.limit.rate


class TimeValidation(keras.callbacks.Callback):
    """Tells a `TimeLimit` what validating took, with all that follows it. Comes last of all."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = None

    def on_test_begin(self, logs=None):
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if self._begin is not None:
            self.limit.count_validation(time.perf_counter() - self._begin)
        if self.limit.over:
            self.model.stop_training = True


class DueEpochs(list):
    """For `validation_freq`, of which Keras asks whether an epoch, from 1, is in it."""

    def __init__(self, is_due):
        super().__init__()
        self.is_due = is_due

    def __contains__(self, epoch):
        return self.is_due(epoch)


class ValidationMeanIoU(keras.callbacks.Callback):
    """Scores the validation images at their own size; adds `val_miou` to that epoch's logs.

    Args:
        evaluate: callable without arguments that returns `utils.evaluation.metrics.Counts`.
        period: int, in epochs; 0 switches it off.
        last_epoch: int, the epoch (from 1) that is scored in any case.
        limit: `utils.runs.time_limit.TimeLimit`; with one, each epoch that is validated is scored.

    Attributes:
        scores: utils.evaluation.metrics.Scores of this epoch, or None if it was not scored.
        last_scores: Scores of the last epoch that was, or None.
        state: {"best": the highest mIoU as {"epoch" (from 1), "miou", "iou" of each class}, or
            None}.
    """

    def __init__(self, evaluate, period, last_epoch, limit=None):
        super().__init__()
        self.evaluate = evaluate
        self.period = period
        self.last_epoch = last_epoch
        self.limit = limit
        self.scores = self.last_scores = None
        self.state = {"best": None}

    def on_epoch_end(self, epoch, logs=None):
        due = (epoch + 1) % (self.period or 1) == 0 or epoch + 1 == self.last_epoch
        if self.limit:
            due = "val_loss" in logs
            self.limit.validated = due
        due = due and self.period
        self.scores = score(self.evaluate()) if due else None
        if due:
            logs["val_miou"] = self.scores.miou
            self.last_scores = self.scores
            self._keep_best(epoch + 1)

    def _keep_best(self, epoch):
        best, miou = self.state["best"], self.scores.miou
        if miou > (best["miou"] if best else -math.inf):  # and never where it is NaN
            self.state = {"best": {"epoch": epoch, "miou": miou, "iou": self.scores.iou.tolist()}}


class Checkpoints(keras.callbacks.Callback):
    """Saves the weights: last, best, those of the lowest loss, and one every `period` epochs.

    The best are those of the highest validation mIoU, or of the lowest validation loss as long as
    no mIoU was scored. Differs from upstream, where the loss decides: the mIoU is what is wanted,
    and one name that always exists is what scripts can take.

    Args:
        save: callable that writes the weights to a path, atomically.
        folder: Path of the run.
        period: int, in epochs; 0 switches the numbered files off.
        public: Path of a folder that gets the best and the last weights too, or None.
    """

    names = ("last_epoch_weights", "best_epoch_weights", "lowest_loss_weights")

    def __init__(self, save, folder, period, public=None):
        super().__init__()
        self.save = save
        self.folder = Path(folder)
        self.period = period
        self.public = public
        self.state = {"lowest_loss": math.inf, "highest_miou": -math.inf}
        self._published = False

    def on_epoch_end(self, epoch, logs=None):
        last, best, lowest_loss = (f"{name}.weights.h5" for name in self.names)
        names = [last]
        if logs.get("val_miou", -math.inf) > self.state["highest_miou"]:
            self.state["highest_miou"] = float(logs["val_miou"])
            names.append(best)
        if logs.get("val_loss", math.inf) < self.state["lowest_loss"]:
            self.state["lowest_loss"] = float(logs["val_loss"])
            names += (
                [lowest_loss] if self.state["highest_miou"] > -math.inf else [lowest_loss, best]
            )
        self.save(self.folder / last)
        if self.period and (epoch + 1) % self.period == 0:
            scores = f"loss{logs['loss']:.3f}-val_loss{logs.get('val_loss', math.nan):.3f}"
            publish(self.folder / last, self.folder / f"ep{epoch + 1:03d}-{scores}.weights.h5")
        for name in names[1:]:
            publish(self.folder / last, self.folder / name)
        if self.public:
            self._publish(names)

    def _publish(self, names):
        if not self._published:  # an earlier run's beside this one's would mislead
            self._published = True
            withdraw(self.public / f"{BEST_MIOU}.weights.h5")
            for name in self.names:
                name = f"{name}.weights.h5"
                if (self.folder / name).exists():
                    names.append(name)
                else:
                    withdraw(self.public / name)
        for name in dict.fromkeys(names):
            publish(self.folder / name, self.public / name)


class RunLog(keras.callbacks.Callback):
    """Writes `history.csv`, a line per epoch, and its curves as `curves.png`.

    Args:
        folder: Path of the run.
    """

    columns = ("epoch", "loss", "val_loss", "batch_miou", "val_miou", "learning_rate", "waiting")

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)
        self.state = {"rows": []}

    def on_epoch_end(self, epoch, logs=None):
        scores = {name: float(logs.get(name, math.nan)) for name in self.columns[1:]}
        rows = self.state["rows"]
        rows.append({"epoch": epoch + 1, **scores})
        with (
            whole_file(self.folder / "history.csv") as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)
        panels = {
            "loss": {"training": "loss", "validation": "val_loss"},
            "mean IoU": {"training (augmented batches)": "batch_miou", "validation": "val_miou"},
            "learning rate": {"learning rate": "learning_rate"},
        }
        plot_curves(
            [row["epoch"] for row in rows],
            {
                title: {label: [row[name] for row in rows] for label, name in curves.items()}
                for title, curves in panels.items()
            },
            self.folder / "curves.png",
        )


class AveragedWeights(keras.callbacks.Callback):
    """Puts the optimizer's average of the weights in their place for validation and scoring.

    From the begin of the validation, or from `put` where there is none, until this callback's
    `on_epoch_end`, the network has the averaged weights; so what scores and saves them comes
    before, what saves the run's state after. Only trained weights are averaged; what batch
    normalization stores is an average already. Keras' own `SwapEMAWeights` swaps by adding and
    subtracting, which changes the last digits of the weights.
    """

    def __init__(self):
        super().__init__()
        self._weights = None  # what is trained, while the averages are in its place

    def on_test_begin(self, logs=None):
        self.put()

    def put(self):
        """Puts the averages in place, unless they are."""
        if self._weights is not None:
            return
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        variables = self.model.trainable_variables
        self._weights = [keras.ops.convert_to_numpy(variable) for variable in variables]
        averages = optimizer._model_variables_moving_average
        for variable, average in zip(variables, averages, strict=True):
            # A copy: on JAX both would hold one array, which a step gives up twice.
            variable.assign(keras.ops.convert_to_numpy(average))

    def on_epoch_end(self, epoch, logs=None):
        for variable, value in zip(self.model.trainable_variables, self._weights, strict=True):
            variable.assign(value)
        self._weights = None


class SaveState(keras.callbacks.Callback):
    """Saves what the run needs to resume, after each epoch. Comes last, when all else is saved.

    Args:
        folder: Path of the run.
        is_finished: callable from an epoch (from 1) to whether the run is finished with it.
        facts: dict of what JSON can hold, stored as it is.
        collect: callable from the trainer to a dict of lists of arrays.
        parts: dict from a name to a callback with a `state`, a dict that JSON can hold.
    """

    def __init__(self, folder, is_finished, facts, collect, parts):
        super().__init__()
        self.folder = Path(folder)
        self.is_finished = is_finished
        self.facts = facts
        self.collect = collect
        self.parts = parts

    def on_epoch_end(self, epoch, logs=None):
        finished = self.is_finished(epoch + 1)
        states = {name: part.state for name, part in self.parts.items()}
        facts = self.facts | {"finished": finished, "callbacks": states}
        save_state(self.folder, State(epoch + 1, facts, self.collect(self.model)))

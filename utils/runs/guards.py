"""Keras callbacks that watch the loss: at the start, when it is not a number, when it stays."""

import math

import keras
from tqdm import tqdm

from errors import RunError

_START = 1.5  # times the loss of uniform predictions that a start should not exceed
_FILES = 8  # files of a batch that are named
_ADVICE = "Lower init_lr, or set precision to float32,"


class StartLoss(keras.callbacks.Callback):
    """Prints the loss of a run's first batch, which is computed before the first step.

    What a network says that has learnt nothing is the measure: the same probability for each
    class. A new head should be near it.

    Args:
        uniform: float, the loss of uniform predictions for that batch.
    """

    def __init__(self, uniform):
        super().__init__()
        self.uniform = uniform
        self.done = False

    def on_train_batch_end(self, batch, logs=None):
        if self.done:
            return
        self.done = True
        loss = logs["loss"]  # the epoch's mean, which is that of its first batch alone now
        tqdm.write(
            f"Loss before the first step: {loss:.3f} (uniform predictions: {self.uniform:.3f})."
        )
        if loss > _START * self.uniform:
            tqdm.write(
                "Warning: that is far worse than knowing nothing. Do the images look as the "
                "weights' own did? Without model_path the network starts from scratch."
            )


class FiniteLoss(keras.callbacks.Callback):
    """Stops the run at the first batch, or validation, whose loss is not a finite number.

    It must come before the callbacks that save, so that weights that are not numbers never
    take the place of good ones.

    Args:
        names_of_batch: callable from a batch's index to the names of its files.

    Raises:
        RunError: from `fit`.
    """

    def __init__(self, names_of_batch):
        super().__init__()
        self.names_of_batch = names_of_batch

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        # It is the mean since the epoch began; a batch that spoils it does so for good.
        loss = logs["loss"]
        if math.isfinite(loss):
            return
        names = [str(name) for name in self.names_of_batch(batch)]
        more = f" and {len(names) - _FILES} more" if len(names) > _FILES else ""
        raise RunError(
            f"The loss is not a number ({loss}) in epoch {self._epoch}, step {batch + 1} of "
            f"{self.params['steps']}. {_kept(self._epoch)} The batch: "
            f"{', '.join(names[:_FILES])}{more}. {_ADVICE} or look at these files."
        )

    def on_epoch_end(self, epoch, logs=None):
        loss = logs.get("val_loss", 0)
        if not math.isfinite(loss):
            raise RunError(
                f"The validation loss is not a number ({loss}) in epoch {epoch + 1}. "
                f"{_kept(epoch + 1)} {_ADVICE} or look at the validation files."
            )


def _kept(epoch):
    return f"Nothing of epoch {epoch} is saved; the weights of epochs before it are kept."


class Patience(keras.callbacks.Callback):
    """Stops a phase whose validation loss has not fallen for some epochs; the last one: the run.

    Keras' EarlyStopping starts anew with each `fit`; this one lives over both phases, and
    `state` carries it into a run that resumes.

    Args:
        patience: int, epochs; 0: never stops.
        min_delta: float, what the loss must fall by, below the lowest so far, to count.

    Attributes:
        ends_run: bool, whether the phase of now is the last one.
    """

    def __init__(self, patience, min_delta=0.0):
        super().__init__()
        self.patience = patience
        self.min_delta = min_delta
        self.best = math.inf
        self.waited = 0
        self.ends_run = True

    @property
    def exhausted(self):
        """Whether the phase of now is over."""
        return 0 < self.patience <= self.waited

    @property
    def stopped(self):
        """Whether the run is over, so that no further `fit` should begin."""
        return self.exhausted and self.ends_run

    def start_anew(self):
        """Gives the next phase all the epochs of `patience` to fall below the lowest loss."""
        self.waited = 0

    def on_epoch_end(self, epoch, logs=None):
        if "val_loss" not in logs:  # with a time limit not each epoch is validated
            return
        if logs["val_loss"] < self.best - self.min_delta:
            self.best, self.waited = float(logs["val_loss"]), 0
        else:
            self.waited += 1
        if self.exhausted:
            self.model.stop_training = True

    def __str__(self):
        margin = f" by more than {self.min_delta:g}" if self.min_delta else ""
        return (
            f"In {self.waited} epochs the validation loss did not fall below {self.best:.4g}"
            f"{margin} (early_stopping_patience is {self.patience})."
        )

    @property
    def state(self):
        """{"best": the lowest validation loss, "waited": epochs since then}; may be set."""
        return {"best": self.best, "waited": self.waited}

    @state.setter
    def state(self, state):
        self.best, self.waited = state["best"], state["waited"]

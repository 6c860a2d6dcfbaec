"""What stops a training: a loss that is not a number, and a loss that falls no more."""

import math

import keras
import numpy as np
import pytest

from errors import RunError
from utils.runs.guards import FiniteLoss, Patience

NAN = math.nan


def network():
    """One weight; the pairs of `ones` are learned."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def ones(count=8):
    return np.ones((count, 1), np.float32)


def fit(model, x, val_x, callbacks, epochs):
    model.fit(
        x, x, batch_size=2, epochs=epochs, shuffle=False, verbose=0,
        validation_data=(val_x, val_x), callbacks=callbacks,
    )  # fmt: skip


# Not a number


def files(batch):
    return [f"{batch}_a.jpg", f"{batch}_b.jpg"]


class Seen(keras.callbacks.Callback):
    """A callback after the guard, as one that saves is."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)


@pytest.mark.parametrize("bad", [NAN, math.inf])
@pytest.mark.parametrize("step", [1, 3, 4])
def test_fit_stops_at_the_batch_and_saves_nothing(bad, step):
    x, seen = ones(), Seen()
    x[2 * step - 1] = bad
    with pytest.raises(RunError) as caught:
        fit(network(), x, ones(), [FiniteLoss(files), seen], 2)
    message = str(caught.value)
    assert message.startswith("The loss is not a number (")
    assert f") in epoch 1, step {step} of 4. Nothing of epoch 1 is saved; " in message
    assert f" The batch: {step - 1}_a.jpg, {step - 1}_b.jpg. Lower init_lr" in message
    assert seen.epochs == []


@pytest.mark.parametrize("bad", [NAN, math.inf])
def test_fit_stops_at_the_validation_and_saves_nothing(bad):
    val_x, seen = ones(), Seen()
    val_x[5] = bad
    with pytest.raises(RunError) as caught:
        fit(network(), ones(), val_x, [FiniteLoss(files), seen], 2)
    message = str(caught.value)
    assert message.startswith("The validation loss is not a number (")
    assert ") in epoch 1. Nothing of epoch 1 is saved; " in message
    assert seen.epochs == []


class Spoil(keras.callbacks.Callback):
    """Makes the weight NaN after a step, as a rate that is too high does."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.when = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.when:
            self.model.layers[-1].kernel.assign([[NAN]])


@pytest.mark.parametrize(
    ("batch", "start"),
    [
        (1, "The loss is not a number (nan) in epoch 2, step 3 of 4."),
        # The last step's loss is still a number.
        (3, "The validation loss is not a number (nan) in epoch 2."),
    ],
)
def test_the_epochs_before_are_kept(batch, start):
    seen = Seen()
    with pytest.raises(RunError) as caught:
        fit(network(), ones(), ones(), [Spoil(1, batch), FiniteLoss(files), seen], 3)
    assert str(caught.value).startswith(
        f"{start} Nothing of epoch 2 is saved; the weights of epochs before it are kept. "
    )
    assert seen.epochs == [0]


def test_finite_losses_pass():
    seen = Seen()
    fit(network(), ones(), ones(), [FiniteLoss(files), seen], 3)
    assert seen.epochs == [0, 1, 2]
    FiniteLoss(files).on_epoch_end(0, {"loss": 1.0})  # without a validation


@pytest.mark.parametrize(
    ("count", "end"), [(8, "f7. Lower"), (9, "f7 and 1 more. Lower"), (20, "f7 and 12 more. Lower")]
)
def test_of_a_large_batch_the_first_files_are_named(count, end):
    guard = FiniteLoss(lambda batch: [f"f{index}" for index in range(count)])
    guard.set_params({"steps": 92})
    guard.on_epoch_begin(2)
    guard.on_train_batch_end(15, {"loss": 0.5})
    with pytest.raises(RunError) as caught:
        guard.on_train_batch_end(16, {"loss": NAN})
    message = str(caught.value)
    assert message.startswith("The loss is not a number (nan) in epoch 3, step 17 of 92. ")
    assert f"The batch: f0, f1, f2, f3, f4, f5, f6, {end}" in message


# Patience


class Network:
    stop_training = False


def run(patience, losses):
    """Gives a hook the losses; returns the epoch (from 1) after which it stops, or None."""
    patience.set_model(Network())
    for epoch, loss in enumerate(losses):
        patience.on_epoch_end(epoch, {"val_loss": loss})
        assert patience.model.stop_training is patience.stopped
        if patience.stopped:
            return epoch + 1
    return None


@pytest.mark.parametrize(
    ("patience", "losses", "stop"),
    [
        (0, [1, 2, 3, 4, 5], None),
        (1, [3, 2, 1], None),
        (1, [3, 2, 2], 3),  # no lower is no better
        (2, [3, 4, 2, 3, 2.5], 5),
        (2, [3, 4, 2, 3, 1.9], None),
        (3, [3, 4, 5, 6], 4),
    ],
)
def test_when_patience_ends(patience, losses, stop):
    hook = Patience(patience)
    assert run(hook, losses) == stop
    assert hook.stopped is (stop is not None)
    if stop:
        assert str(hook) == (
            f"In {patience} epochs the validation loss did not fall below {min(losses)} "
            f"(early_stopping_patience is {patience})."
        )


def test_an_improvement_below_the_least_one_does_not_count():
    # 1.0, then 0.9999 and so on: a tenth is reached with the fourth, of 0.85, against 1.0.
    hook = Patience(3, min_delta=0.1)
    assert run(hook, [1.0, 0.9999, 0.95, 0.85, 0.84, 0.83, 0.76]) == 7
    assert str(hook) == (
        "In 3 epochs the validation loss did not fall below 0.85 by more than 0.1 "
        "(early_stopping_patience is 3)."
    )
    assert run(Patience(3), [1.0, 0.9999, 0.95, 0.85, 0.84, 0.83, 0.76]) is None


def test_a_phase_before_the_last_ends_without_the_run():
    hook = Patience(2)
    hook.set_model(Network())
    hook.ends_run = False
    for loss in (1.0, 2.0, 2.0):
        hook.on_epoch_end(0, {"val_loss": loss})
    assert hook.model.stop_training and hook.exhausted
    assert not hook.stopped
    hook.start_anew()
    hook.ends_run = True
    assert not hook.exhausted
    assert run(hook, [1.5, 1.5]) == 2  # the lowest loss stays that of the former phase


def test_patience_lives_over_two_phases():
    patience = Patience(3)
    assert run(patience, [2, 3, 3]) is None
    assert run(patience, [2.5, 1]) == 1


def test_the_state_goes_on_in_another_run():
    first, second = Patience(3), Patience(3)
    run(first, [2, 3, 3])
    assert first.state == {"best": 2.0, "waited": 2}
    second.state = first.state
    assert run(second, [2.5, 1]) == 1


def test_more_patience_lets_a_stopped_run_go_on():
    first, same, more = Patience(2), Patience(2), Patience(4)
    run(first, [1, 2, 2])
    for patience in (same, more):
        patience.state = first.state
    assert same.stopped
    assert not more.stopped
    assert run(more, [2, 2]) == 2


def test_a_new_hook_has_waited_for_nothing():
    assert Patience(1).state == {"best": math.inf, "waited": 0}
    assert not Patience(1).stopped


def test_fit_ends_when_patience_does():
    model, seen = network(), Seen()
    model.layers[-1].kernel.assign([[1.0]])  # as good as can be
    patience = Patience(2)
    fit(model, ones(), ones(), [seen, patience], 9)
    assert seen.epochs == [0, 1, 2]
    assert patience.stopped

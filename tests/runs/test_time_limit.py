"""The clock of a training."""

import os
import subprocess
import sys

import pytest

from errors import UserError
from utils.runs.time_limit import TimeLimit


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, seconds=1000.0):
        self.seconds = seconds

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def test_without_minutes_there_is_no_limit():
    assert not TimeLimit(0)
    assert TimeLimit(1)


def test_the_share_is_of_the_time_between_setup_and_reserve(clock):
    limit = TimeLimit(100, clock)
    limit.reserve = 20
    clock.seconds += 10  # setup
    limit.start_training()
    for after, share in ((0, 0.0), (7, 0.1), (35, 0.5), (70, 1.0), (90, 1.0)):
        clock.seconds = 1010 + after
        assert limit.share() == pytest.approx(share)
    assert limit.left() == 0
    clock.seconds = 1010 + 7
    assert limit.until(0.5) == pytest.approx(28)
    assert limit.until(0.05) == 0


def test_a_run_that_resumes_has_the_time_that_is_left(clock):
    first = TimeLimit(100, clock)
    clock.seconds += 10
    first.start_training()
    first.reserve = 20
    clock.seconds += 35
    second_clock = Clock(5.0)  # of another start of the machine
    second = TimeLimit(100, second_clock)
    second_clock.seconds += 3  # until the state is read
    second.state = first.state
    second_clock.seconds += 7
    assert second.elapsed() == pytest.approx(52)
    second.start_training()
    assert second.share() == pytest.approx(42 / 70)
    assert second.left() == pytest.approx(48)


def test_validation_takes_its_share_and_no_more(clock):
    limit = TimeLimit(1000, clock)
    limit.start_training()
    limit.reserve, validated = 10, 0
    for _ in range(99):
        clock.seconds += 10
        if limit.is_validation_due():
            clock.seconds += 10
            limit.count_validation(10)
            validated += 1
    assert 10 <= validated <= 15  # of 1000 seconds 150 at most


def test_none_is_begun_that_would_leave_nothing_to_train(clock):
    limit = TimeLimit(100, clock)
    limit.reserve = 10
    clock.seconds += 79
    assert limit.is_validation_due()
    clock.seconds += 2
    assert not limit.is_validation_due()


def test_a_limit_that_is_too_short_says_what_is_enough(clock):
    limit = TimeLimit(60, clock)
    clock.seconds += 12
    limit.check(30, "8 images")
    with pytest.raises(UserError) as caught:
        limit.check(90, "101 images")
    assert str(caught.value) == (
        "time_limit is 1 minutes. 0.2 are gone, and to validate and score 101 images takes about "
        "1.5, which leaves nothing to train in. Set time_limit to at least 3.2, or validate fewer "
        "images (val_list) or smaller ones (val_input_shape)."
    )
    enough = TimeLimit(60 * 3.2, clock)
    clock.seconds += 12
    enough.check(90, "101 images")


def test_a_run_is_finished_with_a_validated_epoch_after_its_time(clock):
    limit = TimeLimit(100, clock)
    limit.start_training()
    limit.validated = True
    assert not limit.is_finished()
    clock.seconds += 100
    limit.validated = False
    assert not limit.is_finished()
    limit.validated = True
    assert limit.is_finished() and limit.over


CLOCKED = """
import keras
import numpy as np
from utils.runs.callbacks import FollowTimeLimit
from utils.runs.time_limit import TimeLimit

class Steps:  # a second for each time that it is asked
    seconds = 0.0
    def __call__(self):
        self.seconds += 1
        return self.seconds

model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
model.compile(keras.optimizers.SGD(1.0), "mse")
limit = TimeLimit(40, Steps())
limit.start_training()
lead = FollowTimeLimit(limit, 1.0, lambda share: 1e-9 if share < 0.5 else 0.1)
lead._step = -1.0  # it sets the rate before each step, however little it changes
x = np.ones((1000, 1), "float32")
before = []
see = keras.callbacks.LambdaCallback(
    on_train_batch_begin=lambda batch, logs: before.append(limit.rate),
)
history = model.fit(x, 3 * x, batch_size=1, epochs=9, callbacks=[lead, see], verbose=0)
kernel = float(keras.ops.convert_to_numpy(model.layers[0].kernel)[0, 0])
steps = before.count(0.1)
print(keras.config.backend(), len(before) < 40, len(history.epoch), limit.over)
# Each step of rate 0.1 leaves 1 - 2 x 0.1 x 2 = 0.6 of the error, which is shared with the bias.
print(abs((2 - 2 * (kernel - 1)) - 2 * 0.6 ** steps) < 1e-3, before.count(1e-9) > 3, steps > 3)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_rate_changes_amid_an_epoch_and_the_time_ends_it(backend):
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-c", CLOCKED], env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [f"{backend} True 1 True", "True True True"], done.stderr

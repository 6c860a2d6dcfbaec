"""The progress of a training: its clock, the lines for files, and the bar of a terminal."""

import io
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from utils.runs.progress import Progress, RunClock, format_rate, format_seconds


class Time:
    """A clock that stands still unless it is told."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds

    def __iadd__(self, seconds):
        self.seconds += seconds
        return self


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def now():
    return Time()


def run_epoch(clock, now, epoch, steps, after=0.0):
    """An epoch whose steps of two images take these seconds."""
    clock.start_epoch(epoch, len(steps))
    for seconds in steps:
        now += seconds
        clock.end_step(2)
    now += after
    return clock.end_epoch()


def test_time_left_before_an_epoch_is_over(now):
    clock = RunClock(3, now)
    clock.start_epoch(0, 10)
    assert clock.left() is None
    now += 60.0  # compiles
    clock.end_step(2)
    assert clock.left() is None
    now += 2.0
    clock.end_step(2)
    # 8 steps to come, and two epochs of 10 steps, at 2 s per step.
    assert clock.left() == 16 + 2 * 20
    now += 1.0  # half of the next step
    assert clock.left() == 15 + 2 * 20
    now += 100.0  # and it hangs
    assert clock.left() == 2 * 20


def test_time_left_counts_validation_and_scoring(now):
    clock = RunClock(4, now)
    # The first step takes 58 s more than the others.
    assert run_epoch(clock, now, 0, [60, 2, 2, 2], after=10) == 76
    assert clock.left() == 3 * 18
    clock.start_epoch(1, 4)
    assert clock.left() == 3 * 18
    now += 2.0
    clock.end_step(2)
    assert clock.left() == 16 + 2 * 18
    for _ in range(3):
        now += 2.0
        clock.end_step(2)
    now += 4.0  # in validation
    assert clock.left() == 6 + 2 * 18
    now += 16.0
    assert clock.left() == 2 * 18  # never less than the epochs to come
    clock.end_epoch()
    assert clock.left() == 2 * (18 + 28) / 2


def test_a_slow_epoch_counts_its_steps(now):
    clock = RunClock(2, now)
    run_epoch(clock, now, 0, [1, 1, 1, 1])
    clock.start_epoch(1, 4)
    for _ in range(2):
        now += 3.0
        clock.end_step(2)
    assert clock.left() == 2 * 3


def test_the_last_epoch_leaves_nothing(now):
    clock = RunClock(1, now)
    run_epoch(clock, now, 0, [1, 1])
    assert clock.left() == 0


def test_a_new_phase_has_its_own_speed_but_the_same_rest(now):
    clock = RunClock(5, now)
    run_epoch(clock, now, 0, [1, 1, 1], after=7)
    clock.start_phase()
    clock.start_epoch(1, 4)
    assert clock.left() is None
    for _ in range(2):
        now += 5.0
        clock.end_step(2)
    assert clock.left() == (2 * 5 + 7) + 3 * (4 * 5 + 7)


def test_a_run_that_goes_on_counts_only_its_own_epochs(now):
    clock = RunClock(100, now)
    run_epoch(clock, now, 97, [1, 1])
    assert clock.left() == 2 * 2


def test_epochs_of_one_step(now):
    clock = RunClock(3, now)
    run_epoch(clock, now, 0, [5], after=1)
    assert clock.left() == 2 * 6
    assert clock.images_per_second() == 2 / 5


def test_the_last_ten_epochs_count(now):
    clock = RunClock(13, now)
    run_epoch(clock, now, 0, [500, 500])
    for epoch in range(1, 12):
        run_epoch(clock, now, epoch, [1, 1])
    assert clock.left() == 2


def test_images_per_second_leave_out_the_compiling_step(now):
    clock = RunClock(1, now)
    clock.start_epoch(0, 3)
    for seconds, images in ((60, 4), (2, 4), (1, 2)):
        now += seconds
        clock.end_step(images)
    assert clock.images_per_second() == 6 / 3
    assert clock.training_seconds() == 63


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (125, "2m05s"),
        (3599.6, "1h00m"),
        (11 * 3600 + 58 * 60 + 59, "11h58m"),
        (86400, "1d00h"),
        (3 * 86400 + 4 * 3600 + 3000, "3d04h"),
    ],
)
def test_times(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(1e-4, "1.0e-4"), (0.00996, "1.0e-2"), (1.0, "1.0e0"), (3.2e-11, "3.2e-11")]
)
def test_rates(rate, text):
    assert format_rate(rate) == text


def make_progress(now, stream, last_epoch=100, batch_size=2):
    """A Progress over 6 images to train, 4 to validate, at a rate of 1e-3."""
    progress = Progress(last_epoch, stream, now)
    rate = keras.Variable(1e-3)
    progress.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=rate)))
    train_set, val_set = (FakeDataset(count, batch_size) for count in (6, 4))
    progress.set_phase(train_set, val_set)
    return progress


class FakeDataset:
    def __init__(self, count, batch_size):
        self.count = count
        self.batch_size = batch_size
        self.waited = 0.0

    def __len__(self):
        return math.ceil(self.count / self.batch_size)


def play(progress, now, epoch, step_seconds, logs=None, after=1.0):
    """An epoch as Keras calls it: three steps, two of validation, the end."""
    progress.on_epoch_begin(epoch)
    for batch in range(3):
        now += step_seconds
        progress.on_train_batch_end(batch, {"loss": 0.5, "batch_miou": 0.25})
    progress.on_test_begin()
    for batch in range(2):
        now += 0.5
        progress.on_test_batch_end(batch, {"loss": 9.0})
    progress.on_test_end()
    now += after
    ends = {"loss": 0.5, "val_loss": 0.75, "batch_miou": 0.25, "waiting": 0.125}
    progress.on_epoch_end(epoch, ends | (logs or {}))


def test_a_line_an_epoch_where_there_is_no_terminal(now):
    stream = io.StringIO()
    with make_progress(now, stream) as progress:
        play(progress, now, 8, 1.0)
        play(progress, now, 99, 1.0, {"val_miou": 0.4321})
    assert stream.getvalue().splitlines() == [
        "epoch   9/100: loss 0.5000, val_loss 0.7500, batch mIoU 25.0%, waiting 12%, "
        "lr 1.0e-3, 2.0 img/s, took 5s, left 7m35s",
        "epoch 100/100: loss 0.5000, val_loss 0.7500, batch mIoU 25.0%, val mIoU 43.2%, "
        "waiting 12%, lr 1.0e-3, 2.0 img/s, took 5s, left 0s",
    ]


def test_a_line_a_minute_within_an_epoch(now):
    stream = io.StringIO()
    progress = make_progress(now, stream, last_epoch=2)
    progress._train_set.waited = 10.0
    play(progress, now, 0, 40.0)
    within, _ = stream.getvalue().splitlines()
    # Due from 60 s on: after the second step; the third is at 120 s, the epoch's end at 122 s.
    assert within == (
        "epoch 1/2 step 2/3 loss 0.500 mIoU 25.0% lr 1.0e-3 0.1 img/s left 2m40s wait 12%"
    )


def test_long_validation_has_lines_too(now):
    stream = io.StringIO()
    progress = make_progress(now, stream, last_epoch=1)
    progress.on_epoch_begin(0)
    progress.on_train_batch_end(0, {"loss": 0.5, "batch_miou": 0.25})
    progress.on_test_begin()
    for batch in range(2):
        now += 45
        progress.on_test_batch_end(batch, {})
    assert stream.getvalue().startswith("epoch 1/1 validating 2/2 loss 0.500 ")
    assert len(stream.getvalue().splitlines()) == 1


def test_lines_are_flushed(now):
    flushed = []
    stream = SimpleNamespace(
        isatty=lambda: False, write=lambda text: None, flush=lambda: flushed.append(1)
    )
    play(make_progress(now, stream), now, 0, 1.0)
    assert flushed


def test_the_last_smaller_batch_counts_its_own_images(now):
    stream = io.StringIO()
    progress = make_progress(now, stream, batch_size=4)
    progress.on_epoch_begin(0)
    for batch in range(2):
        now += 1.0
        progress.on_train_batch_end(batch, {"loss": 0.5, "batch_miou": 0.25})
    progress.on_epoch_end(0, {"loss": 0.5, "batch_miou": 0.25})
    assert "2.0 img/s" in stream.getvalue()  # 2 of the 6 are in the second step


@pytest.fixture
def wide(monkeypatch):
    """wide(columns): how wide a terminal is."""

    def set_width(columns):
        monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda stream: (columns, 40))

    return set_width


def test_a_bar_on_a_terminal(now, wide):
    wide(120)
    stream = Terminal()
    progress = make_progress(now, stream)
    play(progress, now, 8, 1.0)
    drawn = stream.getvalue().split("\r")
    states = [text.split(" lr ")[0] for text in drawn if "epoch" in text]
    assert states == [
        "epoch   9/100   0%",
        "epoch   9/100  33% loss 0.500 mIoU 25.0%",
        "epoch   9/100  67% loss 0.500 mIoU 25.0%",
        "epoch   9/100 100% loss 0.500 mIoU 25.0%",
        "epoch   9/100 validating   0% loss 0.500 mIoU 25.0%",
        "epoch   9/100 validating  50% loss 0.500 mIoU 25.0%",
        "epoch   9/100 validating 100% loss 0.500 mIoU 25.0%",
        "epoch   9/100 finishing loss 0.500 mIoU 25.0%",
        states[-1],
    ]
    bars = [text for text in drawn if " 67% loss" in text]
    assert bars[0].startswith(
        "epoch   9/100  67% loss 0.500 mIoU 25.0% lr 1.0e-3 2.0 img/s left 4m34s wait 0% "
    )
    assert max(map(len, drawn[:-1])) <= 120
    # The bar is wiped; a line with the final figures is left.
    assert drawn[-2].strip() == ""
    assert drawn[-1].startswith("epoch   9/100: loss 0.5000, val_loss 0.7500, ")
    assert drawn[-1].endswith("\n")


def test_a_narrow_terminal_cuts_what_matters_least(now, wide):
    wide(60)
    stream = Terminal()
    play(make_progress(now, stream), now, 8, 1.0)
    drawn = [text for text in stream.getvalue().split("\r") if " 67% loss" in text]
    assert drawn[0].rstrip() == "epoch   9/100  67% loss 0.500 mIoU 25.0% lr 1.0e-3 2.0 img/s"


def test_a_bar_is_drawn_ten_times_a_second_at_most(now, wide):
    wide(120)
    stream = Terminal()
    progress = make_progress(now, stream, batch_size=1)
    progress._train_set.count = 1000
    progress.on_epoch_begin(0)
    for batch in range(1000):
        now += 0.001
        progress.on_train_batch_end(batch, {"loss": 0.5, "batch_miou": 0.25})
    assert stream.getvalue().count("loss") in (9, 10)


def test_a_bar_that_breaks_off_stays_and_ends_its_line(now, wide):
    wide(120)
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt), make_progress(now, stream) as progress:
        progress.on_epoch_begin(0)
        now += 1.0
        progress.on_train_batch_end(0, {"loss": 0.5, "batch_miou": 0.25})
        raise KeyboardInterrupt
    last = stream.getvalue().split("\r")[-1]
    assert last.startswith("epoch   1/100  33% loss")
    assert last.endswith("\n")


def test_closing_after_the_last_epoch_draws_nothing(now, wide):
    wide(120)
    stream = Terminal()
    with make_progress(now, stream) as progress:
        play(progress, now, 0, 1.0)
        drawn = stream.getvalue()
    assert stream.getvalue() == drawn


class Pairs(keras.utils.PyDataset):
    """Batches of two numbers and their doubles, with what Progress asks of a data set."""

    waited = 0.0
    batch_size = 2

    def __init__(self, count):
        super().__init__()
        self.count = count
        self.samples = np.arange(count, dtype=np.float32)[:, None]

    def __len__(self):
        return len(self.samples) // 2

    def __getitem__(self, index):
        x = self.samples[2 * index : 2 * index + 2]
        return x, 2 * x


def test_a_training_of_two_phases():
    stream = io.StringIO()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    metric = keras.metrics.MeanSquaredError(name="batch_miou")
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: 10.0 ** -(epoch + 2))
    with Progress(3, stream) as progress:
        for first, last, count in ((0, 1, 4), (1, 3, 8)):
            model.compile("sgd", "mse", metrics=[metric])
            progress.set_phase(Pairs(count), Pairs(2))
            model.fit(
                Pairs(count),
                validation_data=Pairs(2),
                initial_epoch=first,
                epochs=last,
                callbacks=[rates, progress],
                verbose=0,
            )
    lines = stream.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert [line.split("lr ")[1].split(",")[0] for line in lines] == ["1.0e-2", "1.0e-3", "1.0e-4"]

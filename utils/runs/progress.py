"""What a training shows while it runs: a bar on a terminal, plain lines elsewhere.

    epoch 3/100  45% loss 0.512 mIoU 43.2% lr 9.9e-5 8.1 img/s left 11h58m wait 3% ███████

What matters least stands last, where a narrow terminal cuts.
"""

import sys
import time
from collections import deque

import keras
from tqdm import tqdm

_FIGURES = {
    "loss": "loss {:.4f}",
    "val_loss": "val_loss {:.4f}",
    "batch_miou": "batch mIoU {:.1%}",
    "val_miou": "val mIoU {:.1%}",
    "waiting": "waiting {:.0%}",
}
_REMEMBERED = 10  # epochs that the time left is estimated from


class RunClock:
    """Measures a run's epochs and steps, and estimates how long it will still take.

    The estimate comes from the present phase, as each has a speed of its own, without its
    first step, which compiles the network.

    Args:
        last_epoch: int, the run's last epoch, from 1.
        now: callable that gives seconds.
    """

    def __init__(self, last_epoch, now=time.perf_counter):
        self.last_epoch = last_epoch
        self.now = now
        self._after_steps = 0.0  # seconds that an epoch takes beyond its steps, in any phase
        self.start_phase()

    def start_phase(self):
        """Forgets the epochs so far."""
        self._durations = deque(maxlen=_REMEMBERED)

    def start_epoch(self, epoch, steps):
        """Starts epoch `epoch` (from 0) of so many training steps."""
        self._epochs_after = self.last_epoch - epoch - 1
        self._steps, self._done, self._images = steps, 0, 0
        self._start = self._last_end = self.now()
        self._running = True

    def end_step(self, images):
        """Counts a training step of so many images."""
        self._done += 1
        self._last_end = self.now()
        if self._done == 1:
            self._first_end, self._first_images = self._last_end, images
        self._images += images

    def end_epoch(self):
        """Ends the epoch, its validation and scoring included; returns its seconds."""
        end = self.now()
        compiling = 0.0
        if not self._durations and self._done > 1:
            compiling = max(self._first_end - self._start - self._seconds_per_step(), 0.0)
        self._durations.append(end - self._start - compiling)
        self._after_steps = end - self._last_end
        self._running = False
        return end - self._start

    def training_seconds(self):
        """Seconds from the epoch's start to the end of its latest step."""
        return self._last_end - self._start

    def images_per_second(self):
        """Speed of training in this epoch, without the first step if there are more."""
        if self._done > 1:
            later = self._images - self._first_images
            return later / max(self._last_end - self._first_end, 1e-9)
        return self._images / max(self.training_seconds(), 1e-9)

    def left(self):
        """Seconds until the run's end; None while too little is measured."""
        if not self._durations and self._done < 2:
            return None
        now, steps = self.now(), self._seconds_per_step() * (self._steps - self._done)
        if self._durations:
            an_epoch = sum(self._durations) / len(self._durations)
            this_epoch = max(an_epoch - (now - self._start), steps)
        else:  # the time since the epoch's start holds the compiling
            an_epoch = self._seconds_per_step() * self._steps + self._after_steps
            this_epoch = max(steps + self._after_steps - (now - self._last_end), 0.0)
        return an_epoch * self._epochs_after + (this_epoch if self._running else 0.0)

    def _seconds_per_step(self):
        return (self._last_end - self._first_end) / (self._done - 1) if self._done > 1 else 0.0


class Progress(keras.callbacks.Callback):
    """Shows each epoch as it goes, and leaves a line with its figures.

    On a terminal it is a bar; elsewhere a line per epoch, and one per minute within it. It comes
    last among the callbacks: it shows what the others add to the logs, and until then its bar
    stands open. It lives over both phases, with `set_phase` before each. Leaving its `with`
    closes the bar, whatever happened, so that messages start on a line of their own.

    Args:
        last_epoch: int, the run's last epoch, from 1.
        stream: text stream; None: standard output.
        now: callable that gives seconds.
        limit: `utils.runs.time_limit.TimeLimit`; with one, the minutes that are gone stand
            in the place of the last epoch, and what is left is the limit's.
    """

    def __init__(self, last_epoch, stream=None, now=time.perf_counter, limit=None):
        super().__init__()
        stream = stream or sys.stdout
        self._limit = limit
        self._display = _Bar(stream) if stream.isatty() else _Lines(stream)
        self._clock = RunClock(last_epoch, now)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._display.close()

    def set_phase(self, train_set, val_set):
        """Names the `UnetDataset`s that the next epochs train and validate on."""
        self._train_set, self._val_set = train_set, val_set
        self._clock.start_phase()

    def on_epoch_begin(self, epoch, logs=None):
        last = self._clock.last_epoch
        self._epoch = (
            f"epoch {epoch + 1}" if self._limit else f"epoch {epoch + 1:>{len(str(last))}}/{last}"
        )
        # Read once: amid an epoch some backends keep the optimizer's values elsewhere.
        self._epoch_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._logs = None
        self._clock.start_epoch(epoch, len(self._train_set))
        self._display.open(self._clock.now())
        self._show("step", 0, len(self._train_set), change=True)

    def on_train_batch_end(self, batch, logs=None):
        size = self._train_set.batch_size
        self._clock.end_step(min(size, self._train_set.count - batch * size))
        self._logs = logs
        self._show("step", batch + 1, len(self._train_set))

    def on_test_begin(self, logs=None):
        self._show("validating", 0, len(self._val_set), change=True)

    def on_test_batch_end(self, batch, logs=None):
        self._show("validating", batch + 1, len(self._val_set))

    def on_test_end(self, logs=None):
        self._show("finishing", 1, 1, change=True)

    def on_epoch_end(self, epoch, logs=None):
        seconds = self._clock.end_epoch()
        fields = [text.format(logs[name]) for name, text in _FIGURES.items() if name in logs]
        fields += [self._rate, f"{self._clock.images_per_second():.1f} img/s"]
        fields += [f"took {format_seconds(seconds)}", f"left {format_seconds(self._left())}"]
        self._display.show(f"{self._title}: {', '.join(fields)}")

    @property
    def _rate(self):
        """The learning rate, which with a time limit changes within an epoch."""
        return f"lr {format_rate(self._limit.rate if self._limit else self._epoch_rate)}"

    @property
    def _title(self):
        if not self._limit:
            return self._epoch
        return (
            f"{self._epoch}, {self._limit.elapsed() / 60:.1f} of {self._limit.seconds / 60:g} min"
        )

    def _left(self):
        return self._limit.left() if self._limit else self._clock.left()

    def _show(self, state, done, total, change=False):
        if self._display.is_due(self._clock.now(), change):
            place = self._display.format_place(state, done, total)
            self._display.show(f"{self._title} {place} {self._format_step()}", done / total)

    def _format_step(self):
        if not self._logs:
            return self._rate
        clock = self._clock
        waiting = min(self._train_set.waited / max(clock.training_seconds(), 1e-9), 1)
        return (
            f"loss {self._logs['loss']:.3f} mIoU {self._logs['batch_miou']:.1%} {self._rate} "
            f"{clock.images_per_second():.1f} img/s left {format_seconds(self._left())} "
            f"wait {waiting:.0%}"
        )


class _Lines:
    """Lines for a file or a pipe: one per epoch, and within it one per minute."""

    interval = 60.0  # seconds

    def __init__(self, stream):
        self.stream = stream

    def open(self, now):
        """Starts an epoch."""
        self._due = now + self.interval

    def is_due(self, now, change):
        """Whether to show something; `change`: the epoch has come to another state."""
        if now < self._due:
            return False
        self._due = now + self.interval
        return True

    def format_place(self, state, done, total):
        return state if state == "finishing" else f"{state} {done}/{total}"

    def show(self, text, share=None):
        """Shows a text, the last one of an epoch without a share."""
        print(text, file=self.stream, flush=True)

    def close(self):
        """Ends an epoch that broke off."""


class _Bar(_Lines):
    """One line of a terminal, drawn over and over."""

    interval = 0.1  # most steps draw nothing and cost next to nothing
    _bar = None

    def open(self, now):
        super().open(now)
        layout = {"bar_format": "{desc} {bar}", "dynamic_ncols": True, "leave": False}
        self._bar = tqdm(total=1.0, file=self.stream, **layout)

    def is_due(self, now, change):
        return super().is_due(now, change) or change

    def format_place(self, state, done, total):
        if state == "finishing":
            return state
        share = f"{done / total:4.0%}"
        return share if state == "step" else f"{state} {share}"

    def show(self, text, share=None):
        if share is None:
            self._bar.close()
            super().show(text)
        else:
            self._bar.n = share
            self._bar.set_description_str(text)

    def close(self):
        if self._bar is not None:
            self._bar.leave = True  # how far it came
            self._bar.close()


def format_rate(rate):
    """A learning rate: 0.0001 as "1.0e-4"."""
    if rate != rate:
        return "nan"
    digits, exponent = f"{rate:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def format_seconds(seconds):
    """A time in its two largest units: "42s", "2m05s", "11h58m", "3d04h"; "?" for None."""
    if seconds is None:
        return "?"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 1:
        return f"{minutes}m{seconds % 60:02}s"
    return f"{hours}h{minutes % 60:02}m" if days < 1 else f"{days}d{hours % 24:02}h"

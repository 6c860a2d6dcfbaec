"""Which engine a run computes with: as set, as it began, or as a trial on this machine says.

"auto" measures once, and notes what it finds in Keras' folder of the user. It does so for runs that
are long enough to gain by it, on a CPU, in one process, with TensorFlow that is not loaded yet.

Engines differ by rounding. The choice is stored with the run: one that resumes keeps it, and ends
with the weights of an undisturbed run to the bit. A second run on the same machine gets the same
engine from the notes, short ones always the usual one. For the same elsewhere, set the engine that
the run's settings.json names.
"""

import json
import os
import platform
import time
from contextlib import suppress
from dataclasses import asdict, replace

from errors import UserError
from nets.processor import bfloat16_units, count_cores, hardware_names, uses_onednn
from training.engine import (
    AUTO,
    ONEDNN,
    THREADS,
    Engine,
    engine_of_environment,
    is_loaded,
    parse_engine,
    set_environment,
)
from training.engine_notes import keras_folder, note_key, notes_path, read_outcome, write_outcome
from training.engine_trial import run_trial
from utils.messages import note, say
from utils.parallel import worker_count
from utils.runs.memory import available_memory

_BUDGET = 20.0  # seconds that a run spends on trials, all together
_LEAST = 8.0  # of them that a trial needs in any case: a process must load Keras
_LONG = 15 * 60  # seconds of a run from which a trial is worth its time
_OF_A_PLAN = 32, (128, 128), 2  # width, size and batch size of what a plan times
# Seconds of training for a pixel on one core, at width 64: less than any was seen to take, so that
# a run is long if these say so. With units for bfloat16, and without.
_PER_PIXEL = 5e-6, 25e-6
_LIGHT = 0.1  # share of that which encoders other than VGG16 may take
_BYTES = 120  # of memory for a pixel and a filter of the first block, three layers included
_KERAS = 8e8  # bytes of a process that has loaded it


class EngineChoice:
    """The engine of one run, decided in two steps: before Keras is loaded, and after planning.

    Args:
        setting: str, as `training.engine.check_engine` accepts it.
        stored: str, the engine of the run that resumes; None: it is a new run.
        single: bool, whether one process trains on one device.

    Attributes:
        engine: Engine, as far as it is decided.
    """

    def __init__(self, setting, stored=None, single=True):
        self.engine = Engine()
        self._spent = 0.0
        self._is_open = False
        if stored is not None:
            self._take_stored(stored)
        elif setting != AUTO:
            self._take_setting(parse_engine(setting))
        else:
            given = engine_of_environment()
            self.engine = given
            self._is_open = single and given == Engine() and _can_measure()

    def _take_stored(self, text):
        try:
            self.engine = parse_engine(text)
        except (UserError, AttributeError):
            raise UserError(
                f"The run can't resume: its state names the engine {text!r}, and there is none of "
                "that name. Start anew with --resume never, from its last_epoch_weights.weights.h5 "
                "with --model_path; its files stay."
            ) from None
        if self.engine != Engine():
            print(f"engine: {self.engine}, as in the run.")
        set_environment(self.engine)
        now = engine_of_environment()
        if (now.onednn, now.threads) != (self.engine.onednn, self.engine.threads):
            wanted = replace(self.engine, fused=True)
            note(
                f"this run began with the engine {wanted}, and {ONEDNN} or {THREADS} say "
                f"{now} here: it resumes, but its weights will differ in their last digits."
            )

    def _take_setting(self, engine):
        if engine.environment and (backend := _backend()) != "tensorflow":
            raise UserError(
                f"engine is {engine}, which is of TensorFlow, but Keras runs on {backend}. Set "
                f"KERAS_BACKEND=tensorflow, or engine to {AUTO}."
            )
        if others := set_environment(engine):
            values = [f"{name}={engine.environment[name]}" for name in others]
            raise UserError(
                f"engine is {engine}, but the environment says something else, or TensorFlow is "
                f"loaded already. Set {' and '.join(values)} before Python starts, or leave engine "
                f"at {AUTO}."
            )
        given = engine_of_environment()
        self.engine = replace(engine, onednn=given.onednn, threads=given.threads)

    def before_loading(self, parts, images, planned=False):
        """Measures what TensorFlow's environment decides; without a plan also the decoder's form.

        Args:
            parts: `training.settings.TrainingSettings`.
            images: int, how many are trained on.
            planned: bool, whether a plan will choose width and sizes; that of its own timing is
                measured then.
        """
        if not self._is_open or not _is_long(parts, images, planned):
            self._is_open = False
            return
        network, batch_size = parts.network, parts.phases.unfreeze_batch_size
        changes = _changes_of_environment()
        if planned:
            width, size, batch_size = _OF_A_PLAN
            network = network.resized(width, size)
        else:
            changes.append({"fused": False})
            self._is_open = False
        self._measure(network, batch_size, changes)

    def after_planning(self, parts):
        """Measures the decoder's form at the size and width that a plan has chosen."""
        if self._is_open and _BUDGET - self._spent >= _LEAST:
            self._is_open = False
            batch_size = parts.phases.unfreeze_batch_size
            self._measure(parts.network, batch_size, [{"fused": False}])

    def _measure(self, network, batch_size, changes):
        """Takes the fastest engine, from the notes or by a trial."""
        if not changes or not _has_memory(network, batch_size):
            return
        key = note_key(network, batch_size, self.engine, changes)
        outcome, how = read_outcome(key), f"noted in {notes_path()}"
        if outcome is None:
            begin = time.monotonic()
            job = {"network": asdict(network), "batch_size": batch_size}
            outcome = run_trial(job, self.engine, changes, _BUDGET - self._spent)
            if not outcome.seconds and self._spent:  # the next run has more time for it
                return
            write_outcome(key, outcome)
            seconds = time.monotonic() - begin
            self._spent += seconds
            how = f"measured in {seconds:.0f} s, {how}"
        self.engine = outcome.engine
        set_environment(self.engine)
        say(describe(outcome, how))


def describe(outcome, how):
    """A line for the user on what a trial found, and how that is known."""
    if outcome.failed:
        return f"engine: {outcome.engine}, since its trial failed ({how})."
    if not outcome.seconds:
        return (
            f"engine: {outcome.engine}, since a trial would take more than {_BUDGET:g} s ({how})."
        )
    times = "; ".join(f"{name} {seconds:.3g} s" for name, seconds in outcome.seconds.items())
    return f"engine: {outcome.engine} (a training step: {times}; {how})."


def _can_measure():
    has_gpu = len(hardware_names()) > 1
    return not has_gpu and not is_loaded() and _backend() == "tensorflow"


def _backend():
    """The name of Keras' backend, without loading it."""
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    with suppress(OSError, ValueError, AttributeError):
        text = (keras_folder() / "keras.json").read_text(encoding="utf-8")
        return json.loads(text).get("backend", "tensorflow")
    return "tensorflow"


def _changes_of_environment():
    """What to try of it, most promising first: dicts of Engine's fields."""
    changes = []
    if uses_onednn() is False and platform.system() == "Linux":
        changes.append({"onednn": True})
    cores = count_cores()
    if cores and cores < worker_count(0):
        changes.append({"threads": cores})
    return changes


def _is_long(parts, images, planned):
    """Whether a run surely takes so long that a trial is worth its time."""
    phases, network = parts.phases, parts.network
    if phases.time_limit or planned:
        return not phases.time_limit or 60 * phases.time_limit >= _LONG
    seen = (phases.unfreeze_epoch - phases.init_epoch) * images * parts.data.crops_per_image
    pixels = seen * network.input_shape[0] * network.input_shape[1]
    units = network.precision != "float32" and bfloat16_units() != []
    seconds = _PER_PIXEL[0 if units else 1] * (1 if network.backbone == "vgg" else _LIGHT)
    return pixels * seconds * (network.width / 64) ** 1.75 / worker_count(0) >= _LONG


def _has_memory(network, batch_size):
    """Whether two processes can train side by side; where memory isn't known, they may."""
    height, width = network.input_shape
    needed = _KERAS + _BYTES * network.width * batch_size * height * width
    return (available_memory() or float("inf")) >= 2 * needed

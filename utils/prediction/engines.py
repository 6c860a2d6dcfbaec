"""What runs a trained network in prediction: Keras, ONNX Runtime or OpenVINO.

The others run the file of the ONNX export and give Keras' probabilities up to rounding, which is
checked on the first batch. "auto" leaves Keras only for many images, on a CPU, where a measurement
says that another one saves time; it is noted in Keras' folder of the user.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from errors import UserError, check_choice
from utils.files import write_json
from utils.messages import note
from utils.prediction.export_formats import (
    FORMATS,
    open_onnx,
    open_openvino,
    requirements_of,
    write_network,
)
from utils.quiet import quiet

ENGINES = ("auto", "keras", "onnxruntime", "openvino")
_OTHERS = ENGINES[2:]
_CONVERTERS = ("onnx", "tf2onnx")
_MANY_IMAGES = 20
_LONG = 30  # seconds of prediction from which it is worth to measure
_SPEEDUP_WANTED = 1.1
_LARGEST_DIFFERENCE = 1e-3  # of any probability; classes differ at ties only


def check_engine(engine, precision="auto"):
    """Raises UserError unless an engine is known, installed and computes in that precision."""
    check_choice("engine", engine, ENGINES)
    if engine not in _OTHERS:
        return
    if missing := _missing(engine):
        raise UserError(
            f"The engine {engine} needs packages that are not installed ({', '.join(missing)}). "
            f"Install them: pip install -r {requirements_of(missing)}"
        )
    if precision not in ("auto", "float32"):
        raise UserError(
            f"The engine {engine} computes in float32, but precision is {precision}. Leave "
            "precision at auto, or take engine keras."
        )


def _missing(engine):
    packages = (engine, *_CONVERTERS)
    return [name for name in packages if importlib.util.find_spec(name) is None]


class Runner:
    """A network that one of the engines runs; a callable as `keras.Model.predict_on_batch`.

    Args:
        model: keras.Model from float32 (B, H, W, in_channels) to probabilities.
        description: `Description` of nets.weights.
        engine: one of `ENGINES`.

    Attributes:
        name: str, the engine that predicts.

    Raises:
        UserError: for an engine that is not installed, or can't take this network.
    """

    def __init__(self, model, description, engine="auto"):
        policies = {layer.dtype_policy.name for layer in model.layers if layer.weights}
        check_engine(engine, "float32" if policies <= {"float32"} else max(policies))
        self.name = "keras"
        self._lock = threading.Lock()
        self._model, self._description = model, description
        self._run, self._is_checked = model.predict_on_batch, True
        self._is_open = engine == "auto" and policies <= {"float32"}  # still to be chosen
        if engine in _OTHERS:
            _check_backend(engine)
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                self._take(engine, self._start(engine, folder))

    def __call__(self, batch):
        """Probabilities, float32 (B, H, W, num_classes), of float32 (B, H, W, in_channels).

        From several threads, one batch after the other: each takes all processors anyway.
        """
        with self._lock:
            return self._run(batch) if self._is_checked else self._run_checked(batch)

    def _run_checked(self, batch):
        """As Keras computes it; falls back to it if the engine computes something else."""
        self._is_checked = True
        expected = self._model.predict_on_batch(batch)
        found = _attempt(self._run, batch)
        if isinstance(found, Exception):
            self._fall_back(f"it failed ({_first_line(found)})")
        elif not _are_same(found, expected):
            self._fall_back("on the first image it computes something else than Keras")
        return expected

    def consider(self, count):
        """With "auto": takes the engine that predicts `count` images soonest, once."""
        if count < _MANY_IMAGES:
            return  # without waiting for the network's turn
        with self._lock:
            if self._is_open:
                self._is_open = False
                self._choose(count)

    def _choose(self, count):
        names = [name for name in _OTHERS if not _missing(name)]
        if not names or not _is_tensorflow_on_cpu():
            return
        path = notes_path()
        key, notes = self._key(names), _read_notes(path)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            started, seconds = {}, notes.get(key)
            if not _is_note(seconds):
                seconds = self._measure(names, count, folder, started)
                if seconds is None:
                    return
                with suppress(OSError):  # then it is measured again
                    write_json(path, notes | {key: seconds})
            best = min((name for name in names if name in seconds), key=seconds.get, default=None)
            if best is None or not self._is_worth_it(best, seconds, count, started):
                return
            run = started.get(best) or self._start(best, folder)
        self._take(best, run)
        speedup = seconds["keras"] / seconds[best]
        if self.name == best:
            note(f"engine: {best}, {speedup:.1f} times as fast as Keras here (noted in {path}).")

    def _is_worth_it(self, best, seconds, count, started):
        faster = seconds["keras"] >= _SPEEDUP_WANTED * seconds[best]
        saved = count * (seconds["keras"] - seconds[best])
        return faster and (best in started or saved > seconds["start"])

    def _take(self, engine, run):
        self.name, self._run, self._is_checked = engine, run, False
        if isinstance(run, Exception):
            self._fall_back(f"it could not be started ({_first_line(run)})")

    def _fall_back(self, why):
        note(f"Keras predicts instead of {self.name}: {why}.")
        self.name, self._run, self._is_checked = "keras", self._model.predict_on_batch, True

    def _start(self, engine, folder):
        """The network as a callable of this engine, or the exception that kept it from it."""
        return _attempt(lambda: _STARTERS[engine](self._write(folder)))

    def _write(self, folder):
        path = Path(folder) / "network.onnx"
        if not path.exists():
            described = self._description
            shape = (*described.network_shape, described.in_channels)
            write_network(self._model, FORMATS["onnx"], shape, path)
        return path

    def _measure(self, names, count, folder, started):
        """Seconds an image of each engine, and to start one; None if it is not worth the time.

        Those that compute what Keras does are put into `started`.
        """
        described = self._description
        shape = (1, *described.network_shape, described.in_channels)
        image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        expected = self._model.predict_on_batch(image)  # compiles it
        seconds = {"keras": _time(self._model.predict_on_batch, image), "start": 0.0}
        if count * seconds["keras"] < _LONG:
            return None
        for name in names:
            begun = time.perf_counter()
            run = self._start(name, folder)
            seconds["start"] = max(seconds["start"], time.perf_counter() - begun)
            if isinstance(run, Exception):
                continue
            found = _attempt(run, image)
            if not isinstance(found, Exception) and _are_same(found, expected):
                started[name], seconds[name] = run, _time(run, image)
        return seconds

    def _key(self, names):
        """What a measurement is good for: this machine, these versions, this network and size."""
        described = self._description
        versions = [f"{name} {_version(name)}" for name in ("keras", *names)]
        machine = (platform.node(), platform.machine(), f"{os.cpu_count()} processors")
        network = (described.backbone, f"{self._model.count_params()} parameters")
        size = "{}x{}".format(*described.network_shape)
        return " | ".join((*machine, *versions, *network, size))


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # installed by a package of another name
        return "of another package"


def notes_path():
    """Path of the file that keeps what was measured."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "unet_engines.json"


def _read_notes(path):
    with suppress(OSError, ValueError, TypeError):
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return {}


def _is_note(seconds):
    """Whether what was read is a measurement; what is none is measured anew."""
    if not isinstance(seconds, dict) or not {"keras", "start"} <= seconds.keys():
        return False
    return all(type(value) in (int, float) and value >= 0 for value in seconds.values())


_STARTERS = {"onnxruntime": open_onnx, "openvino": open_openvino}


def _attempt(function, *args):
    """What the function returns, or its exception: each program has exceptions of its own."""
    try:
        with quiet():
            return function(*args)
    except Exception as error:
        return error


def _are_same(found, expected):
    # Written so that NaN differs too.
    return found.shape == expected.shape and bool(
        np.abs(found - expected).max() <= _LARGEST_DIFFERENCE
    )


def _time(run, image):
    start = time.perf_counter()
    run(image)
    return time.perf_counter() - start


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _is_tensorflow_on_cpu():
    import keras

    if keras.config.backend() != "tensorflow":
        return False
    return not any(name.startswith("gpu") for name in keras.distribution.list_devices())


def _check_backend(engine):
    import keras

    backend = keras.config.backend()
    if backend != "tensorflow":
        raise UserError(
            f"The engine {engine} is given the network by TensorFlow, but Keras runs on {backend}. "
            "Set KERAS_BACKEND=tensorflow and start again, or take engine keras."
        )

"""Which number format to compute in: by what the machine can do, the same at each start.

With AMX, bfloat16 trains this network about 4.5 times as fast as float32 on a CPU; on an older
CPU, whose instructions can't multiply it, up to 8 times slower. So "auto" asks the processor. A
GPU, and a processor that does not say, is timed at one convolution of the network's own kind; that
is noted, since on a busy machine another measurement might decide otherwise.
"""

import json
import os
import platform
import statistics
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import keras
import numpy as np
from keras import ops

from nets.checks import check_precision
from nets.processor import bfloat16_units, hardware_names
from utils.files import home_folder, write_json

_SPEEDUP_WANTED = 1.5  # below it, the gain isn't worth the coarser numbers
_OFF = ("0", "false", "False")


def choose_precision(precision="auto", trained="", said="as set"):
    """Resolves "auto" to the policy of the training, or to the one that is fast here.

    Args:
        precision: one of `nets.checks.PRECISIONS`.
        trained: str, the policy that weights were trained with, which "auto" takes unless it is
            slow here; "": not known.
        said: str, by whom or what another `precision` than "auto" is asked for.

    Returns:
        (policy, reason): a Keras dtype policy name, and a line for the user.
    """
    check_precision(precision)
    if precision != "auto":
        return precision, f"precision: {precision}, {said}."
    if trained == "float32" or (trained == "mixed_float16" and _has_gpu()):
        return trained, f"precision: {trained}, as in training."
    policy, reason = _choose_fast()
    if policy == trained:
        return trained, f"precision: {trained}, as in training."
    if trained:
        reason = f"{reason} Training was in {trained}, which is slow here."
    return policy, reason


def _choose_fast():
    """The policy that is fast on this machine, and why."""
    if _has_gpu():
        return _measured(("bfloat16", "float16"))
    units = bfloat16_units()
    if units == []:
        return "float32", "precision: float32 (the processor can't multiply bfloat16)."
    backend = keras.config.backend()
    if units is None or backend not in ("tensorflow", "torch"):  # whose kernels use the units
        return _measured(("bfloat16",))
    if backend == "tensorflow" and os.environ.get("TF_ENABLE_ONEDNN_OPTS") in _OFF:
        return "float32", "precision: float32 (TF_ENABLE_ONEDNN_OPTS is 0)."
    return "mixed_bfloat16", f"precision: mixed_bfloat16 (the processor has {', '.join(units)})."


def _measured(candidates):
    """The choice among number formats by a stopwatch; once on each machine."""
    path = notes_path()
    names = hardware_names() if _has_gpu() else hardware_names()[:1]
    key = " | ".join((platform.node(), platform.machine(), *names, keras.config.backend()))
    notes = {}
    with suppress(OSError, ValueError, RecursionError):
        notes = dict(json.loads(path.read_text(encoding="utf-8")))
    with suppress(KeyError, TypeError, ValueError):  # what is no note is measured anew
        policy, reason = notes[key]
        check_precision(policy)
        return policy, f"{reason}; noted in {path})."
    policy, reason = _time(candidates)
    with suppress(OSError):  # then it is measured again
        write_json(path, notes | {key: [policy, reason]})
    return policy, f"{reason})."


def notes_path():
    """Path of the file that keeps what was measured: in Keras' folder of the user."""
    return Path(os.environ.get("KERAS_HOME") or home_folder() / ".keras") / "unet_precision.json"


def _time(candidates):
    """(policy, reason without its end), by the time of a convolution."""
    baseline = time_convolution("float32")
    tried = []
    for dtype in candidates:
        speedup = baseline / time_convolution(dtype)
        tried.append(f"{dtype} {speedup:.1f} times as fast as float32")
        if speedup >= _SPEEDUP_WANTED:
            return f"mixed_{dtype}", f"precision: mixed_{dtype} (a convolution in {tried[-1]}"
    measured = ", ".join(tried)
    return (
        "float32",
        f"precision: float32 (a convolution in {measured}; worth it from {_SPEEDUP_WANTED} on",
    )


@contextmanager
def dtype_policy(policy):
    """Layers made inside use this Keras dtype policy; the former one is put back."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


def _has_gpu():
    try:
        # Asked for GPUs alone, JAX raises where there are none.
        return any(name.startswith("gpu") for name in keras.distribution.list_devices())
    except AttributeError:  # Keras has no distribution for this backend
        return False


def time_convolution(dtype, repeats=7):
    """Seconds of a 3x3 convolution, 64x64 pixels, 256 to 256 channels: block 3's kind."""
    rng = np.random.default_rng(0)
    image = ops.cast(rng.standard_normal((1, 64, 64, 256), np.float32), dtype)
    kernel = ops.cast(rng.standard_normal((3, 3, 256, 256), np.float32), dtype)
    seconds = []
    for _ in range(repeats + 2):  # the first two warm up
        start = time.perf_counter()
        pixel = ops.conv(image, kernel, padding="same")[0, 0, 0, :1]
        ops.convert_to_numpy(ops.cast(pixel, "float32"))  # waits for the result
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])

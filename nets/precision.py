"""Which number format to compute in: measured, not guessed.

With AMX, bfloat16 trains this network about 4.5 times as fast as float32 on a CPU; on an
older CPU it is slower. So "auto" times one convolution of the network's own kind.
"""

import statistics
import time
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from nets.checks import check_precision

_SPEEDUP_WANTED = 1.5  # below it, the gain isn't worth the coarser numbers


def choose_precision(precision="auto"):
    """Resolves "auto" to the precision policy that is fastest here.

    Args:
        precision: one of `nets.checks.PRECISIONS`.

    Returns:
        (policy, reason): a Keras dtype policy name, and a line for the user.
    """
    check_precision(precision)
    if precision != "auto":
        return precision, f"precision: {precision}, as set."
    candidates = ("bfloat16", "float16") if _has_gpu() else ("bfloat16",)
    baseline = time_convolution("float32")
    tried = []
    for dtype in candidates:
        speedup = baseline / time_convolution(dtype)
        tried.append(f"{dtype} {speedup:.1f} times as fast as float32")
        if speedup >= _SPEEDUP_WANTED:
            return f"mixed_{dtype}", f"precision: mixed_{dtype} (a convolution in {tried[-1]})."
    measured = ", ".join(tried)
    return (
        "float32",
        f"precision: float32 (a convolution in {measured}; worth it from {_SPEEDUP_WANTED} on).",
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

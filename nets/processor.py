"""What the processor can compute in, as the system says: the same answer at each start."""

import math
import os
from contextlib import suppress
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_CGROUP = Path("/sys/fs/cgroup")
_GPUS = Path("/proc/driver/nvidia/gpus")
_LISTS = ("flags", "Features")  # of x86 and of ARM
_OF_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # what multiplies bfloat16, of both
# With one of these, TensorFlow on Linux uses oneDNN by itself: `DefaultOneDnnPolicy` in its
# core/util/port.cc.
_OF_ONEDNN = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}


def bfloat16_units():
    """What the processor multiplies bfloat16 with.

    Returns:
        list of str, the names of its features; empty: nothing, so that bfloat16 is slower than
        float32; None: the system does not say.
    """
    features = _features()
    return None if features is None else sorted(_OF_BFLOAT16 & features)


def uses_onednn():
    """Whether TensorFlow uses oneDNN here unless it is told otherwise.

    Returns:
        bool; None: the system does not say.
    """
    features = _features()
    return None if features is None else bool(_OF_ONEDNN & features)


def _features():
    """The names of the first processor's features, a set; None: the system does not say."""
    for name in _LISTS:
        for features in _values(CPUINFO, name):
            return set(features.split())
    return None


def count_cores():
    """Cores that this process can keep busy: each once, whatever threads it has, within the share
    of time that its control group leaves.

    Returns:
        int, at least 1; None: the system does not say.
    """
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    names = ("processor", "physical id", "core id")
    processors, *places = ([*_values(CPUINFO, name)] for name in names)
    if not processors or any(len(place) != len(processors) for place in places):
        return None
    located = zip(processors, *places, strict=True)
    cores = {(socket, core) for number, socket, core in located if int(number) in usable}
    return max(min(len(cores), _quota()), 1) if cores else None


def _quota():
    """Processors' worth of time that the control group may use; infinity without a limit."""
    version1 = _CGROUP / "cpu"
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return math.inf if quota == "max" else math.ceil(int(quota) / int(period))
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (
            int((version1 / f"cpu.cfs_{name}_us").read_text(encoding="ascii"))
            for name in ("quota", "period")
        )
        return math.ceil(quota / period) if quota > 0 else math.inf
    return math.inf


def hardware_names():
    """The names of the processor and of NVIDIA's GPUs, as far as the system says them.

    Returns:
        list of str, the processor's first, maybe "".
    """
    return [
        next(_values(CPUINFO, "model name"), ""),
        *(name for path in sorted(_GPUS.glob("*/information")) for name in _values(path, "Model")),
    ]


def _values(path, wanted):
    """Yields what stands after a name and a colon in the lines of a file; of none, nothing."""
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == wanted:
                yield value.strip()

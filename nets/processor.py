"""What the processor can compute in, as the system says: the same answer at each start."""

from contextlib import suppress
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")
_LISTS = ("flags", "Features")  # of x86 and of ARM
_OF_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # what multiplies bfloat16, of both


def bfloat16_units():
    """What the processor multiplies bfloat16 with.

    Returns:
        list of str, the names of its features; empty: nothing, so that bfloat16 is slower than
        float32; None: the system does not say.
    """
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return None
    for line in text.splitlines():
        name, _, features = line.partition(":")
        if name.strip() in _LISTS:
            return sorted(_OF_BFLOAT16 & set(features.split()))
    return None


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

"""Memory of a training: an estimate before the first step, and advice when it runs out."""

import ctypes
import math
import os
import sys
from pathlib import Path

_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
# Measured on CPUs with TensorFlow; benchmarks/memory.py measures again.
_PROCESS = 0.8e9  # bytes of Python with Keras, where the system doesn't tell
_COMPILED = 0.2e9  # bytes of the compiled step and its libraries' scratch space
_LOSS_TENSORS = 7  # as large as the probabilities, in float32, that the loss holds at once
_POOL = 1.4  # times that, where freed memory is kept for later
_BACKWARD = 1.5  # times what a stage keeps: that and its gradients, while it runs again

_NORMALIZATION = "BatchNormalization"
_ERRORS = {"MemoryError", "_ArrayMemoryError", "ResourceExhaustedError", "OutOfMemoryError"}
_TEXTS = ("RESOURCE_EXHAUSTED", "OOM when allocating", "out of memory", "std::bad_alloc")
_LARGE = 4 * 2**20  # bytes from which memory goes back to the system as soon as it is free
_SYSTEM_ALLOCATOR = "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"
_M_MMAP_THRESHOLD = -3  # glibc's mallopt


def return_free_memory():
    """Has large blocks of memory given back at once, on Linux. Call it before Keras loads.

    TensorFlow keeps freed memory in pieces that often don't fit the next tensor: a fifth of
    the peak. Asking the system anew costs time: 30% and more of a step was measured.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault(_SYSTEM_ALLOCATOR, "1")
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
        if mallopt:
            mallopt(_M_MMAP_THRESHOLD, _LARGE)


def _gives_back():
    return os.environ.get(_SYSTEM_ALLOCATOR) == "1"


def available_memory(root="/"):
    """The memory that this process may still take: the system's, within its control group.

    Args:
        root: folder that holds proc and sys.

    Returns:
        int, bytes; None where the system doesn't tell. A GPU's memory isn't looked at.
    """
    root = Path(root)
    rooms = [_system_memory(root / "proc" / "meminfo")]
    group = root / "sys" / "fs" / "cgroup"
    rooms.append(_room(group / "memory.max", group / "memory.current"))
    group = group / "memory"
    rooms.append(_room(group / "memory.limit_in_bytes", group / "memory.usage_in_bytes"))
    return min((room for room in rooms if room is not None), default=None)


def _system_memory(meminfo):
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _room(limit, usage):
    """What a control group leaves; None if there is none or it has no limit."""
    try:
        room = int(limit.read_text()) - int(usage.read_text())
    except (OSError, ValueError):  # ValueError: the word "max"
        return None
    try:
        lines = (limit.parent / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    # Files that were read lately count as used, and make room when it is needed.
    files = [line.split() for line in lines if line.startswith(("inactive_file", "active_file"))]
    return max(room + sum(int(size) for _, size in files), 0)


def _resident_memory():
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def peak_memory():
    """The most memory that this process held at once so far.

    Returns:
        int, bytes; None where the system doesn't tell. A GPU's memory isn't looked at.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return None


def estimate_training_memory(model, batch_size, input_shape, recompute=False, slots=2):
    """Estimates the peak memory of a training on a CPU, the whole process included.

    That is what the process holds now, the optimizer, the activations that wait for the
    backward pass, and the loss. Call it once the network is built.

    Args:
        model: keras.Model from images to probabilities; layers in the order they run.
        batch_size: int, images per step.
        input_shape: (height, width).
        recompute: bool, whether stages of the network run twice and keep less.
        slots: int, numbers that the optimizer keeps for each weight: 2 for Adam, 1 for SGD
            with momentum, one more with accumulated gradients, one more with averages.

    Returns:
        int, bytes.
    """
    weights = sum(math.prod(variable.shape) * 4 for variable in model.trainable_variables)
    process = _resident_memory() or _PROCESS + weights
    kept, stage, probabilities = _activations(model, batch_size, input_shape, recompute)
    loss = _LOSS_TENSORS * probabilities
    backward = _BACKWARD * stage if recompute else 0
    step = _COMPILED + slots * weights + kept + max(loss, backward)
    return int(process + step * (1 if _gives_back() else _POOL))


def _activations(model, batch_size, input_shape, recompute):
    """Bytes of (what waits for the backward pass, the largest stage, the probabilities)."""
    shapes = {id(model.inputs[0]): (batch_size, *input_shape, model.inputs[0].shape[-1])}
    kept, stages, crossing = {}, {}, {}
    home = {id(model.inputs[0]): None}
    kinds = [type(layer).__name__ for layer in model.layers]
    # What batch normalization needs is kept in any case: its statistics forbid a second run.
    once = len(kinds) - kinds[::-1].index(_NORMALIZATION) if _NORMALIZATION in kinds else 0
    for index, layer in enumerate(model.layers):
        if id(layer.output) in shapes:  # the images
            continue
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        output, stage = layer.output, None if index < once else layer.name.split("_")[0]
        given = [shapes[id(tensor)] for tensor in inputs]
        shapes[id(output)] = layer.compute_output_shape(given if len(given) > 1 else given[0])
        home[id(output)] = stage
        size = _BYTES[layer.compute_dtype]
        for tensor in inputs:
            if home[id(tensor)] != stage:
                dtype = _BYTES[tensor.dtype]
                crossing[id(tensor), dtype] = dtype * math.prod(shapes[id(tensor)])
        if layer.weights:  # gradients of weights need what comes in, of activations what goes out
            needed = {id(tensor): shapes[id(tensor)] for tensor in (*inputs, output)}
            if inner := _inner_shape(layer, given):
                needed[id(layer)] = inner
            for key, shape in needed.items():
                kept[key, size] = size * math.prod(shape)
                if stage is None:
                    crossing[key, size] = kept[key, size]
                else:
                    stages.setdefault(stage, {})[key, size] = kept[key, size]
    probabilities = 4 * math.prod(shapes[id(model.outputs[0])])
    waiting = crossing if recompute else kept
    largest = max(sum(sizes.values()) for sizes in stages.values())
    return sum(waiting.values()) + probabilities, largest, probabilities


def _inner_shape(layer, shapes):
    """What a layer keeps beside its inputs and its output, if it says that it does."""
    inner = getattr(layer, "inner_shape", None)
    return inner and inner(shapes if len(shapes) > 1 else shapes[0])


def describe_memory(
    model, batch_size, input_shape, recompute=False, accumulate_steps=1, slots=2, free=None
):
    """The estimate as text for the user; with advice if less is free.

    Args:
        model, batch_size, input_shape, recompute, slots: see `estimate_training_memory`.
        accumulate_steps: int, steps whose gradients are averaged.
        free: int, bytes that are free for more than the process has now; None: not known.
    """

    def needed(size, again=recompute):
        return estimate_training_memory(model, size, input_shape, again, slots)

    total = needed(batch_size)
    size = "x".join(map(str, input_shape))
    line = f"Memory: about {total / 1e9:.1f} GB for batch size {batch_size} at {size}"
    if free is None:
        return f"{line}."
    room = free + (_resident_memory() or 0)
    line += f" ({room / 1e9:.1f} GB are free)."
    if total <= room:
        return line
    fitting = next((n for n in range(batch_size - 1, 0, -1) if needed(n) <= room), None)
    if fitting:
        steps = -(-batch_size * accumulate_steps // fitting)
        advice = f"batch size {fitting} would fit: set accumulate_steps to {steps} with it"
    else:
        advice = "no batch size would fit: take a smaller input_shape"
    if not recompute:
        again = "would fit" if needed(batch_size, True) <= room else "takes less"
        advice += f"; or set recompute, which {again}"
    return f"{line}\nWarning: that may be too little. By this estimate {advice}."


def explain_out_of_memory(error, batch_size, accumulate_steps=1, recompute=False):
    """What to try after an error, if the error is that memory ran out.

    Args:
        error: the exception; those that it came from are looked at too.
        batch_size, accumulate_steps, recompute: the settings of the run.

    Returns:
        str for a RunError; None if the error is another one.
    """
    if not any(_is_out_of_memory(one) for one in _chain(error)):
        return None
    options = [] if recompute else ["recompute"]
    if batch_size > 1:
        half = batch_size // 2
        steps = -(-batch_size * accumulate_steps // half)
        options.insert(0, f"batch size {half} with accumulate_steps {steps}")
    else:
        options.append("a smaller input_shape")
    return f"Memory ran out at batch size {batch_size}. Try {', or '.join(options)}."


def _chain(error):
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen


def _is_out_of_memory(error):
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & _ERRORS) or any(text.lower() in str(error).lower() for text in _TEXTS)

"""The ONNX export in 8-bit integers: calibrated, and scored, on validation images.

Each convolution's weights become integers, channel by channel, and the features between them, with
ranges that ONNX Runtime finds by running the network on images. The head stays as it is: of
probabilities in 255 steps, many would be equal. What that loses is measured as mIoU before the file
gets its name.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from errors import UserError
from utils.files import whole_file, write_json
from utils.messages import say
from utils.prediction.export import Exported, check_model, check_target, make_note
from utils.prediction.export_formats import (
    FORMATS,
    INT8,
    check_formats,
    named_as_os_errors,
    open_onnx,
    write_network,
)
from utils.prediction.quantize import quantize
from utils.prediction.stream import predict_masks
from utils.quiet import quiet

_MOST_INPUTS, _MOST_BYTES = 64, 2**28  # that the network is calibrated on
_COMPARED = 8  # inputs that both networks are compared and timed on


class Validation(NamedTuple):
    """What a quantized network is calibrated and scored on.

    Attributes:
        paths: list of the images' paths.
        score: callable of an iterable of predicted masks, uint8 (H, W), in the order of the paths;
            returns their mIoU in 0..1.
        max_fall: float, mIoU that the network may lose.
    """

    paths: list
    score: Callable
    max_fall: float


class Int8Exported(NamedTuple):
    """A quantized file and what was measured of it; `file` compares it with float32's file."""

    file: Exported
    images: int  # that both are scored on
    calibrated_on: int  # inputs of the network: images, or windows of them
    miou_float32: float
    miou: float
    max_fall: float
    seconds_float32: float  # an input of the network
    seconds: float

    def __str__(self):
        return (
            f"{self.file.path}: {self.file.megabytes:.1f} MB; mIoU {self.miou:.2%} where float32 "
            f"has {self.miou_float32:.2%}, on {self.images} images; "
            f"{1e3 * self.seconds:.0f} ms an image where float32 takes "
            f"{1e3 * self.seconds_float32:.0f}, both by ONNX Runtime on this machine"
        )


def export_int8(model, description, folder, palette, validation, name="unet"):
    """Exports a network in 8-bit integers, and prints a line on it.

    Args:
        model, description, folder, palette, name: as for `utils.prediction.export.export_model`;
            the model is faster without fused layers, which upsample by transposed convolutions:
            ONNX Runtime has none in 8 bits.
        validation: Validation.

    Returns:
        Int8Exported; the file is `<name>_int8.onnx`, beside it its JSON.

    Raises:
        UserError: as `export_model`; for no images, and one that can't be read or has other
            channels; where no pixel counts; and, with nothing written, where mIoU falls by more
            than `max_fall`.
    """
    check_formats([INT8])
    check_model(model, description, palette)
    if not validation.paths:
        raise UserError(f"There are no validation images to make {INT8} with. Give one or more.")
    path = Path(folder) / f"{name}{FORMATS[INT8].ending}"
    check_target(path, INT8)
    say(f"{INT8}: calibrating and scoring on {len(validation.paths)} validation images.")
    network = _Recorder(model.predict_on_batch)
    before = _score(network, description, validation)
    if np.isnan(before):
        raise UserError(
            f"None of the {len(validation.paths)} validation images has a pixel that counts: all "
            "are void. Give others, or mark classes in their masks."
        )
    with whole_file(path.with_name(f"{path.name}.json")) as note, whole_file(path) as temporary:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            exact = Path(scratch) / "float32.onnx"
            shape = (*description.network_shape, description.in_channels)
            with quiet(), named_as_os_errors(path):
                write_network(model, FORMATS[INT8], shape, exact)
                quantize(exact, temporary, network.kept)
                run_exact, run = open_onnx(exact), open_onnx(temporary)
            after = _score(run, description, validation)
            _check_fall(before, after, validation, path)
            difference, same, *seconds = _compare(run_exact, run, network.kept[:_COMPARED])
        file = Exported(path, temporary.stat().st_size / 1e6, difference, same)
        counts = len(validation.paths), len(network.kept)
        result = Int8Exported(file, *counts, before, after, validation.max_fall, *seconds)
        about = make_note(description, INT8, palette, file, shape)
        write_json(note, about | {"int8": _measured(result)})
    say(result)
    return result


def _score(network, description, validation):
    masks = predict_masks(
        network,
        validation.paths,
        description.input_shape,
        1,  # no batch that is filled up: the network is calibrated on what it sees
        description.in_channels,
        description.window,
        description.value_range,
    )
    return validation.score(masks)


def _check_fall(before, after, validation, path):
    # Written so that NaN is refused too.
    if before - after <= validation.max_fall:
        return
    raise UserError(
        f"The {INT8} export loses {before - after:.4f} of mIoU ({after:.4f}, and float32 has "
        f"{before:.4f}) on {len(validation.paths)} validation images; {validation.max_fall} is "
        f"allowed (int8_max_fall). {path} was not written. Take the format onnx or onnx_float16, "
        "calibrate on more images (int8_images), or allow more."
    )


def _measured(result):
    return {
        "images": result.images,
        "calibrated_on": result.calibrated_on,
        "miou": result.miou,
        "miou_float32": result.miou_float32,
        "max_fall": result.max_fall,
        "milliseconds": 1e3 * result.seconds,
        "milliseconds_float32": 1e3 * result.seconds_float32,
    }


class _Recorder:
    """A network that keeps some of its inputs, spread evenly over all that it was given.

    Args:
        run: callable from float32 (1, height, width, channels) to probabilities.

    Attributes:
        kept: list of inputs.
    """

    def __init__(self, run):
        self.kept, self._run = [], run
        self._seen, self._step = 0, 1

    def __call__(self, batch):
        if self._seen % self._step == 0:
            self.kept.append(batch.copy())
            most = min(_MOST_INPUTS, max(_MOST_BYTES // batch.nbytes, 1))
            if len(self.kept) > most:
                del self.kept[1::2]
                self._step *= 2
        self._seen += 1
        return self._run(batch)


def _compare(exact, coarse, inputs):
    """(largest difference of probabilities, share of pixels of the same class, median seconds of
    the first network an input, and of the second), the networks running in turn."""
    differences, same, seconds = [], [], []
    exact(inputs[0]), coarse(inputs[0])  # the first call of each warms up
    for batch in inputs:
        start = time.perf_counter()
        expected = exact(batch)
        middle = time.perf_counter()
        got = coarse(batch)
        seconds.append((middle - start, time.perf_counter() - middle))
        differences.append(np.abs(got - expected).max())
        same.append((got.argmax(axis=-1) == expected.argmax(axis=-1)).mean())
    return float(np.max(differences)), float(np.mean(same)), *np.median(seconds, axis=0).tolist()

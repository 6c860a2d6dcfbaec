"""The formats of exports: how each is written, run and compared with the network."""

import errno
import importlib.util
import os
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from errors import UserError

INT8 = "onnx_int8"
INPUT, OUTPUT, SIGNATURE = "image", "probabilities", "serving_default"
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)


def _write_savedmodel(named, signature, path):
    import keras

    # Model.export tracks the model too, and then stores every weight twice.
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serve", partial(named, training=False), input_signature=signature)
    archive.write_out(path, verbose=False)


def _write_by_keras(form, named, signature, path):
    named.export(path, format=form, verbose=False, input_signature=signature)


def _write_half(named, signature, path):
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    _write_by_keras("onnx", named, signature, path)
    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)


def _write_openvino(named, signature, path):
    import openvino

    path.mkdir()
    # Its reader of ONNX: that of TensorFlow does not know all operations of the network.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        onnx = Path(folder) / "network.onnx"
        _write_by_keras("onnx", named, signature, onnx)
        network = openvino.Core().read_model(str(onnx))
        openvino.save_model(network, str(path / "model.xml"), compress_to_fp16=False)


def _open_savedmodel(path):
    import keras

    # The layer would round its inputs to a policy such as mixed_bfloat16.
    layer = keras.layers.TFSMLayer(str(path), call_endpoint=SIGNATURE, dtype="float32")
    return lambda images: keras.ops.convert_to_numpy(layer(images)[OUTPUT])


def open_onnx(path):
    """The ONNX file as a callable from images to probabilities."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]


def open_openvino(path):
    """A folder of the format openvino, or an ONNX file, as such a callable, by OpenVINO."""
    import openvino

    path = path / "model.xml" if path.is_dir() else path
    # Where the processor multiplies bfloat16, OpenVINO would round to it unasked.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", options)
    # A copy: the next call writes over what this one returns.
    return lambda images: compiled({INPUT: images})[OUTPUT].copy()


def _open_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(path)).get_signature_runner(SIGNATURE)
    return lambda images: runner(**{INPUT: images})[OUTPUT]


class Format(NamedTuple):
    """One format of exports."""

    ending: str  # of the file's name
    write: Callable  # (keras.Model with a named output, input signature, path)
    open: Callable  # path -> function from images to probabilities
    packages: tuple[str, ...] = ()  # beyond requirements.txt
    batch: int | None = None  # None: any
    any_size: bool = True  # whether height and width can be left open
    device: str | None = "cpu:0"  # where the network it is compared with runs; None: Keras chooses
    signature: str | None = None
    marker: str = ""  # a file in the folder of a format that is one
    largest_difference: float = 1e-3
    smallest_same_class: float = 0.999


# ONNX Runtime, OpenVINO and LiteRT compute on the CPU, in full float32. A GPU may round to TF32,
# and then the network there differs from itself on the CPU.
_ONNX = ("onnx", "tf2onnx", "onnxruntime")
FORMATS = {
    "savedmodel": Format(
        "_savedmodel", _write_savedmodel, _open_savedmodel, device=None, signature=SIGNATURE,
        marker="saved_model.pb",
    ),
    "onnx": Format(".onnx", partial(_write_by_keras, "onnx"), open_onnx, _ONNX),
    # 11 bits of a number are left of 24.
    "onnx_float16": Format(
        "_float16.onnx", _write_half, open_onnx, _ONNX, largest_difference=0.1,
        smallest_same_class=0.99,
    ),
    # What is written is float32: `utils.prediction.export_int8` makes it 8 bits, by images of the
    # size that it then takes.
    INT8: Format(
        "_int8.onnx", partial(_write_by_keras, "onnx"), open_onnx, _ONNX, any_size=False,
    ),
    "openvino": Format(
        "_openvino", _write_openvino, open_openvino, ("onnx", "tf2onnx", "openvino"),
        marker="model.xml",
    ),
    "litert": Format(
        ".tflite", partial(_write_by_keras, "litert"), _open_litert, ("ai_edge_litert",), batch=1,
        any_size=False, signature=SIGNATURE,
    ),
}  # fmt: skip


def requirements_of(packages):
    """The requirements file that brings packages for export and engines."""
    return f"requirements-{'openvino' if 'openvino' in packages else 'export'}.txt"


def check_formats(formats, any_size=False):
    """Raises UserError unless each format is known, its packages are installed, and it can
    leave the size open, if it is to."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        got = repr(unknown[0]) if unknown else "none"
        raise UserError(f"formats must be one or more of {', '.join(FORMATS)}; got {got}.")
    for name in formats:
        missing = [one for one in FORMATS[name].packages if importlib.util.find_spec(one) is None]
        if missing:
            raise UserError(
                f"The format {name} needs packages that are not installed ({', '.join(missing)}). "
                f"Install them: pip install -r {requirements_of(missing)}"
            )
        if any_size and not FORMATS[name].any_size:
            raise UserError(
                f"A file of the format {name} takes images of one size, but export_size is any. "
                "Take export_size fixed, with input_shape for the size, or another format."
            )


def write_network(model, kind, shape, path):
    """Writes a network, unchecked.

    Args:
        model: keras.Model.
        kind: `Format`.
        shape: (H, W, channels) of the images; None for a side: any.
        path: of a file or folder.
    """
    import keras

    # A named output has the same name in every format.
    named = keras.Model(model.inputs[0], {OUTPUT: model.outputs[0]}, name=model.name)
    spec = keras.InputSpec(shape=(kind.batch, *shape), dtype="float32", name=INPUT)
    kind.write(named, [spec], path)


@contextmanager
def named_as_os_errors(path):
    """TensorFlow has errors of its own for a disk that is full: raises OSError for them."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        for code in _DISK_ERRORS:
            if os.strerror(code) in str(error):
                raise OSError(code, os.strerror(code), str(path)) from error
        raise

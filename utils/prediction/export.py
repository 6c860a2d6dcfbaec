"""A trained network as files that other programs run: SavedModel, ONNX, LiteRT.

Every file is run and compared with the network before it gets its name, and has a JSON beside
it that says how images go in and classes come out. Keras is imported where it is used, so
that settings are checked without the seconds that it takes to load.
"""

import errno
import importlib.util
import os
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from errors import UserError
from utils.files import whole_file, whole_folder, write_json
from utils.images.transforms import GREY, letterbox_image, normalize
from utils.quiet import quiet

_INPUT, _OUTPUT, _SIGNATURE = "image", "probabilities", "serving_default"
_SCALE, _OFFSET = 1 / 127.5, -1.0  # what `utils.images.transforms.normalize` computes
_LARGEST_DIFFERENCE = 1e-3
_SMALLEST_SAME_CLASS = 0.999
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)


class Exported(NamedTuple):
    """One exported file (or folder), and how far it is from the network."""

    path: Path
    megabytes: float
    largest_difference: float  # of any probability of any pixel
    same_class: float  # share of pixels, 0..1

    def __str__(self):
        return (
            f"{self.path}: {self.megabytes:.1f} MB; probabilities differ by at most "
            f"{self.largest_difference:.1e}, same class in {self.same_class:.3%} of the pixels"
        )


def _open_savedmodel(path):
    import keras

    # The layer would round its inputs to a policy such as mixed_bfloat16.
    layer = keras.layers.TFSMLayer(str(path), call_endpoint=_SIGNATURE, dtype="float32")
    return lambda images: keras.ops.convert_to_numpy(layer(images)[_OUTPUT])


def _open_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run([_OUTPUT], {_INPUT: images})[0]


def _open_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(path)).get_signature_runner(_SIGNATURE)
    return lambda images: runner(**{_INPUT: images})[_OUTPUT]


class _Format(NamedTuple):
    keras_name: str
    ending: str  # of the file's name
    batch: int | None  # None: any
    device: str | None  # where the network it is compared with runs; None: as Keras chooses
    packages: tuple[str, ...]  # beyond requirements.txt
    open: Callable  # path -> function from images to probabilities


# ONNX Runtime and LiteRT compute on the CPU, in full float32. A GPU may round to TF32, and
# then the network there differs from itself on the CPU.
_ONNX, _LITERT = ("onnx", "tf2onnx", "onnxruntime"), ("ai_edge_litert",)
_FORMATS = {
    "savedmodel": _Format("tf_saved_model", "_savedmodel", None, None, (), _open_savedmodel),
    "onnx": _Format("onnx", ".onnx", None, "cpu:0", _ONNX, _open_onnx),
    "litert": _Format("litert", ".tflite", 1, "cpu:0", _LITERT, _open_litert),
}
FORMATS = tuple(_FORMATS)


def check_formats(formats):
    """Raises UserError unless each format is known and its packages are installed."""
    unknown = [name for name in formats if name not in _FORMATS]
    if unknown or not formats:
        got = repr(unknown[0]) if unknown else "none"
        raise UserError(f"formats must be one or more of {', '.join(FORMATS)}; got {got}.")
    for name in formats:
        missing = [one for one in _FORMATS[name].packages if importlib.util.find_spec(one) is None]
        if missing:
            raise UserError(
                f"The format {name} needs packages that are not installed ({', '.join(missing)}). "
                "Install them: pip install -r requirements-export.txt"
            )


def export_model(model, description, folder, formats, palette, name="unet", examples=None):
    """Exports a network, runs every file and compares it with the network.

    A file gets its name, and replaces an earlier one, only after that. Prints a line per format.

    Args:
        model: keras.Model from float32 (B, H, W, in_channels) in [-1, 1] to probabilities
            (B, H, W, num_classes), with the policy float32.
        description: `Description` of nets.weights; files take images of its `network_shape`.
        folder: where to: `<name>_savedmodel/`, `<name>.onnx`, `<name>.tflite`, and beside
            each a JSON, `<name>.onnx.json` and so on.
        formats: names from `FORMATS`.
        palette: uint8 (num_classes or more, 3), RGB colours.
        name: str, start of the files' names.
        examples: uint8 (H, W, in_channels) arrays of any size to compare on; none: drawn ones.

    Returns:
        list of Exported.

    Raises:
        UserError: before anything is written for an unknown format, a missing package,
            another backend, precision or shape, a short palette, or something else under a
            final name; and for a file that computes something else than the network.
    """
    check_formats(formats)
    _check_model(model, description, palette)
    formats = dict.fromkeys(formats)
    paths = {form: Path(folder) / f"{name}{_FORMATS[form].ending}" for form in formats}
    for form, path in paths.items():
        _check_target(path, form)
    size, results = description.network_shape, []
    examples = examples or draw_images(size, description.in_channels)
    images = np.stack([normalize(letterbox_image(image, size)[0]) for image in examples])
    for form, path in paths.items():
        results.append(_export_one(model, description, form, path, palette, images))
        print(results[-1])
    return results


def _export_one(model, description, form, path, palette, images):
    kind = _FORMATS[form]
    whole = whole_folder if form == "savedmodel" else whole_file
    with whole_file(path.with_name(f"{path.name}.json")) as note, whole(path) as temporary:
        with quiet():
            with _named_as_os_errors(path):
                _write(model, kind, description, temporary)
            difference, same = _compare(model, kind, temporary, images)
        # Written so that NaN is an error too.
        if not (difference <= _LARGEST_DIFFERENCE and same >= _SMALLEST_SAME_CLASS):
            raise UserError(
                f"The {form} export computes something else than the network: probabilities "
                f"differ by up to {difference:.2g} (at most {_LARGEST_DIFFERENCE} is allowed), "
                f"the same class in {same:.2%} of the pixels (at least {_SMALLEST_SAME_CLASS:.1%} "
                f"is needed). {path} was not written. Install the versions of "
                "requirements-export.txt, or choose another format."
            )
        result = Exported(path, _size(temporary) / 1e6, difference, same)
        write_json(note, _note(description, form, palette, result))
    return result


@contextmanager
def _named_as_os_errors(path):
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


def _write(model, kind, description, path):
    import keras

    # A named output has the same name in every format.
    named = keras.Model(model.inputs[0], {_OUTPUT: model.outputs[0]}, name=model.name)
    shape = (kind.batch, *description.network_shape, description.in_channels)
    signature = [keras.InputSpec(shape=shape, dtype="float32", name=_INPUT)]
    if kind.keras_name == "tf_saved_model":
        # Model.export tracks the model too, and then stores every weight twice.
        archive = keras.export.ExportArchive()
        archive.add_endpoint("serve", partial(named, training=False), input_signature=signature)
        archive.write_out(path, verbose=False)
    else:
        named.export(path, format=kind.keras_name, verbose=False, input_signature=signature)


def write_onnx(model, description, path):
    """Writes the network as an ONNX file for images of the description's size, unchecked."""
    _write(model, _FORMATS["onnx"], description, path)


def _compare(model, kind, path, images):
    """(largest difference of probabilities, share of pixels of the same class)."""
    import keras

    run, differences, same = kind.open(path), [], []
    step = kind.batch or 2  # more than one at once, where the file should take it
    for start in range(0, len(images), step):
        batch = images[start : start + step]
        with keras.device(kind.device) if kind.device else nullcontext():
            expected = keras.ops.convert_to_numpy(model(batch, training=False))
        got = run(batch)
        if got.shape != expected.shape:
            return np.inf, 0.0
        differences.append(np.abs(got - expected).max())
        same.append((got.argmax(axis=-1) == expected.argmax(axis=-1)).mean(axis=(1, 2)))
    return float(np.max(differences)), float(np.concatenate(same).mean())


def _note(description, form, palette, result):
    """What a program needs to know to run the file; a batch of null is any."""
    import keras

    batch, size, classes = _FORMATS[form].batch, description.network_shape, description.num_classes
    channels = description.in_channels
    tensor = {"dtype": "float32", "layout": "NHWC"}
    return {
        "file": result.path.name,
        "format": form,
        "signature": None if form == "onnx" else _SIGNATURE,
        "size": {"height": size[0], "width": size[1]},
        "letterbox": {"keep_aspect": True, "centred": True, "fill": [GREY] * channels},
        "channels": channels,
        "color_order": {1: "grey", 3: "RGB"}.get(channels, "as in the image files"),
        # Of numbers of more than 8 bits, which are brought to 0..255 first: black and white.
        "value_range": description.value_range,
        "normalization": {"scale": _SCALE, "offset": _OFFSET},
        "input": {"name": _INPUT, "shape": [batch, *size, channels], **tensor},
        "output": {"name": _OUTPUT, "shape": [batch, *size, classes], **tensor},
        "num_classes": classes,
        "class_names": list(description.name_classes),
        "palette": np.asarray(palette)[:classes].tolist(),
        "backbone": description.backbone,
        "keras_version": keras.__version__,
        "largest_difference": result.largest_difference,
        "same_class": result.same_class,
    }


def draw_images(size, channels=3):
    """Three images to compare on, always the same: noise, coarse and fine, and shapes.

    Channels after the third are the first three again, shifted: no two are alike.

    Returns:
        list of uint8 (height, width, channels).
    """
    rng = np.random.default_rng(0)
    height, width = size
    noises = [rng.integers(0, 256, (coarse, coarse, 3), np.uint8) for coarse in (5, 40)]
    noises = [cv2.resize(noise, (width, height)) for noise in noises]
    sky = np.linspace((90, 140, 230), (120, 110, 90), height)[:, None].repeat(width, axis=1)
    shapes = (sky + rng.normal(0, 6, sky.shape)).astype(np.uint8)
    for reach in np.linspace(0.3, 0.05, 8) * min(size):
        place = rng.integers(0, (width, height)).tolist()
        cv2.circle(shapes, place, int(reach), rng.integers(0, 256, 3).tolist(), cv2.FILLED)
    return [
        np.stack(
            [np.roll(one[..., channel % 3], channel // 3, axis=1) for channel in range(channels)],
            axis=-1,
        )
        for one in (*noises, shapes)
    ]


def _check_model(model, description, palette):
    import keras

    backend = keras.config.backend()
    if backend != "tensorflow":
        raise UserError(
            f"Exports are made and compared with TensorFlow, but Keras runs on {backend}. Set "
            "KERAS_BACKEND=tensorflow and start again; weights files are the same for both."
        )
    for layer in model.layers:
        if layer.weights and layer.dtype_policy.name != "float32":
            raise UserError(
                f"The network computes in {layer.dtype_policy.name} (layer {layer.name}), but "
                "exports are float32. Build it with precision float32 and load its weights."
            )
    expected = (*description.network_shape, description.in_channels), description.num_classes
    got = model.input_shape[1:], model.output_shape[-1]
    fits = all(a in (None, b) for a, b in zip(got[0], expected[0], strict=True))
    if not fits or got[1] != expected[1]:
        raise UserError(
            f"The network has input {got[0]} and {got[1]} classes, but its description says "
            f"{expected[0]} and {expected[1]}. Build it as the description says."
        )
    if len(palette) < description.num_classes:
        raise UserError(
            f"The palette holds {len(palette)} colours, but num_classes is "
            f"{description.num_classes}. Give a colour for every class."
        )


def _check_target(path, form):
    """Never replaces what is not an earlier export."""
    if form == "savedmodel":
        ours = path.is_dir() and ((path / "saved_model.pb").is_file() or not any(path.iterdir()))
    else:
        ours = path.is_file()
    if path.exists() and not ours:
        raise UserError(
            f"{path} exists and is not a {form} export. Move it away, or choose another folder."
        )


def _size(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())

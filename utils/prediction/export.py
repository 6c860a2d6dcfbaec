"""A trained network as files that other programs run: SavedModel, ONNX, OpenVINO, LiteRT.

Every file is run and compared with the network before it gets its name, and has a JSON beside
it that says how images go in and classes come out. Keras is imported where it is used, so
that settings are checked without the seconds that it takes to load.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from errors import UserError
from utils.files import whole_file, whole_folder, write_json
from utils.images.transforms import GREY, letterbox_image, normalize
from utils.messages import say
from utils.prediction.export_formats import FORMATS as _FORMATS
from utils.prediction.export_formats import (
    INPUT,
    INT8,
    OUTPUT,
    check_formats,
    named_as_os_errors,
)
from utils.prediction.export_formats import write_network as _write
from utils.quiet import quiet

FORMATS = tuple(name for name in _FORMATS if name != INT8)
_SCALE, _OFFSET = 1 / 127.5, -1.0  # what `utils.images.transforms.normalize` computes


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


def export_model(
    model, description, folder, formats, palette, name="unet", examples=None, multiple_of=0
):
    """Exports a network, runs every file and compares it with the network.

    A file gets its name, and replaces an earlier one, only after that. Prints a line per format.

    Args:
        model: keras.Model from float32 (B, H, W, in_channels) in [-1, 1] to probabilities
            (B, H, W, num_classes), with the policy float32.
        description: `Description` of nets.weights; files take images of its `network_shape`.
        folder: where to: `<name>_savedmodel/`, `<name>.onnx`, `<name>_openvino/` and so on, and
            beside each a JSON, `<name>.onnx.json` and so on.
        formats: names from `FORMATS`.
        palette: uint8 (num_classes or more, 3), RGB colours.
        name: str, start of the files' names.
        examples: uint8 (H, W, in_channels) arrays of any size to compare on; none: drawn ones.
        multiple_of: int. Files take images whose height and width are any multiples of it, for
            which the model must be built without a size; 0: of one size.

    Returns:
        list of Exported.

    Raises:
        UserError: before anything is written for an unknown format, a missing package,
            another backend, precision or shape, a short palette, or something else under a
            final name; and for a file that computes something else than the network.
    """
    check_formats(formats, bool(multiple_of))
    if INT8 in formats:
        raise UserError(
            f"export_model makes no {INT8}, which needs validation images: call export_int8 of "
            "utils.prediction.export_int8."
        )
    check_model(model, description, palette)
    if multiple_of and model.input_shape[1:3] != (None, None):
        raise UserError(
            f"The network is built for images of {model.input_shape[1:3]}, but the files are to "
            "take any size. Build it with height and width None."
        )
    formats = dict.fromkeys(formats)
    paths = {form: Path(folder) / f"{name}{_FORMATS[form].ending}" for form in formats}
    for form, path in paths.items():
        check_target(path, form)
    sizes = _sizes_to_compare(description.network_shape, multiple_of)
    batches, results = [], []
    for size in sizes:
        drawn = examples or draw_images(size, description.in_channels)
        batches.append(np.stack([normalize(letterbox_image(one, size)[0]) for one in drawn]))
    for form, path in paths.items():
        results.append(_export_one(model, description, form, path, palette, batches, multiple_of))
        say(results[-1])
    return results


def _sizes_to_compare(size, multiple_of):
    """The described (height, width); if any is taken, with the next multiples, and another."""
    if not multiple_of:
        return [size]
    height, width = (-(-side // multiple_of) * multiple_of for side in size)
    return [
        (height, width),
        (height + multiple_of, max(width // 2, 1) // multiple_of * multiple_of or multiple_of),
    ]


def _export_one(model, description, form, path, palette, batches, multiple_of):
    kind = _FORMATS[form]
    sides = (None, None) if multiple_of else description.network_shape
    shape = (*sides, description.in_channels)
    whole = whole_folder if kind.marker else whole_file
    with whole_file(path.with_name(f"{path.name}.json")) as note, whole(path) as temporary:
        with quiet():
            with named_as_os_errors(path):
                _write(model, kind, shape, temporary)
            compared = [_compare(model, kind, temporary, images) for images in batches]
        differences, shares = zip(*compared, strict=True)
        difference, same = float(np.max(differences)), float(np.min(shares))
        # Written so that NaN is an error too.
        if not (difference <= kind.largest_difference and same >= kind.smallest_same_class):
            raise UserError(
                f"The {form} export computes something else than the network: probabilities "
                f"differ by up to {difference:.2g} (at most {kind.largest_difference} is allowed), "
                f"the same class in {same:.2%} of the pixels (at least "
                f"{kind.smallest_same_class:.1%} is needed). {path} was not written. Install the "
                "versions of requirements-export.txt, or choose another format."
            )
        result = Exported(path, _size(temporary) / 1e6, difference, same)
        write_json(note, make_note(description, form, palette, result, shape, multiple_of))
    return result


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


def make_note(description, form, palette, result, shape, multiple_of=0):
    """What a program needs to know to run the file; a batch or side of null is any."""
    import keras

    kind, size, classes = _FORMATS[form], description.network_shape, description.num_classes
    channels = description.in_channels
    tensor = {"dtype": "float32", "layout": "NHWC"}
    return {
        "file": result.path.name,
        "format": form,
        "signature": kind.signature,
        "size": {"height": size[0], "width": size[1]},
        # Of height and width, in a file that takes other sizes than that of the training.
        "multiple_of": multiple_of or None,
        "letterbox": {"keep_aspect": True, "centred": True, "fill": [GREY] * channels},
        "channels": channels,
        "color_order": {1: "grey", 3: "RGB"}.get(channels, "as in the image files"),
        # Of numbers of more than 8 bits, which are brought to 0..255 first: black and white.
        "value_range": description.value_range,
        "normalization": {"scale": _SCALE, "offset": _OFFSET},
        "input": {"name": INPUT, "shape": [kind.batch, *shape], **tensor},
        "output": {"name": OUTPUT, "shape": [kind.batch, *shape[:2], classes], **tensor},
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


def check_model(model, description, palette):
    """Raises UserError unless the network can be exported, and is what its description says."""
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


def check_target(path, form):
    """Never replaces what is not an earlier export."""
    if marker := _FORMATS[form].marker:
        ours = path.is_dir() and ((path / marker).is_file() or not any(path.iterdir()))
    else:
        ours = path.is_file()
    if path.exists() and not ours:
        raise UserError(
            f"{path} exists and is not a {form} export. Move it away, or choose another folder."
        )


def _size(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())

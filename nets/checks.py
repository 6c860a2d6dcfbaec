"""What a network may look like. Needs no Keras, so settings are checked at once."""

import difflib
from pathlib import Path

from errors import UserError, check_choice
from nets.backbones import BACKBONES
from nets.encoders.catalogue import UNFIT
from nets.encoders.widths import FULL

UPSAMPLINGS = ("nearest", "bilinear")
DECODER_NORMS = ("none", "batch", "group")
_NAMED = 3  # weights files that are named where one is missing
_OTHER_NAMES = {"vgg16": "vgg"}  # as Keras calls what has another name here
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


def check_backbone(backbone):
    """Raises UserError unless `backbone` names a known encoder; names the nearest ones."""
    if backbone in BACKBONES:
        return
    typed = str(backbone).lower()
    if typed in UNFIT:
        layer, made = UNFIT[typed]
        raise UserError(
            f"backbone {backbone!r} can't serve: its layer {layer} leaves out the border and makes "
            f"{made} pixels of 256, no half or fourth of them, so its features lie beside those of "
            f"the decoder. {_name_nearest(typed)}Known: {', '.join(BACKBONES)}."
        )
    raise UserError(
        f"backbone must be one of {', '.join(BACKBONES)}; got {backbone!r}. "
        f"{_name_nearest(typed)}".rstrip()
    )


def _name_nearest(typed):
    """A sentence with the names that are most like what was typed, or ""."""
    nearest = difflib.get_close_matches(_OTHER_NAMES.get(typed, typed), BACKBONES)
    return f"Nearest: {', '.join(nearest)}. " if nearest else ""


def check_input_shape(input_shape, backbone="vgg"):
    """Raises UserError unless height and width are pixels; the network pads those that don't fit.

    Args:
        input_shape: (height, width) or longer; None stands for any size.
        backbone: str, a key of `BACKBONES`.
    """
    check_backbone(backbone)
    size = tuple(input_shape[:2])
    if any(side is not None and side < 1 for side in size):
        raise UserError(f"input_shape must be at least 1 pixel high and wide; got {size}.")


def fits_stride(input_shape, backbone):
    """Whether the encoder can halve images of (height, width) as often as it does, unpadded."""
    stride = BACKBONES[backbone].stride
    return all(side % stride == 0 for side in input_shape[:2])


def check_window(window, input_shape, backbone="vgg"):
    """Raises UserError unless a network can predict `input_shape` in windows of this size.

    Args:
        window, input_shape: (height, width).
        backbone: str, a key of `BACKBONES`.
    """
    check_input_shape(window, backbone)
    if any(part > whole for part, whole in zip(window, input_shape, strict=True)):
        raise UserError(
            f"val_window {window} is larger than val_input_shape {input_shape}, which it is to be "
            "cut from. Leave val_window out to predict images whole."
        )


def check_num_classes(num_classes):
    """Raises UserError unless there are 2 to 255 classes (255 itself is the void label)."""
    if not 2 <= num_classes <= 255:
        raise UserError(
            f"num_classes must be 2 to 255 and counts the background too; got {num_classes}. "
            "One kind of object on a background is num_classes=2."
        )


def check_in_channels(in_channels):
    """Raises UserError unless images have at least one channel."""
    if in_channels < 1:
        raise UserError(
            f"in_channels must be at least 1; got {in_channels}. 3 is a colour image, 1 a grey "
            "one; a TIFF may have any number of channels."
        )


def check_decoder_width(decoder_width):
    """Raises UserError unless the decoder's last stage has at least one filter, or the default."""
    if decoder_width < 0:
        raise UserError(
            f"decoder_width must be 0 (the encoder's own) or at least 1; got {decoder_width}. "
            f"{FULL} is the article's decoder; light encoders have 16 to 32."
        )


def check_upsampling(upsampling):
    """Raises UserError unless `upsampling` is one of `UPSAMPLINGS`."""
    check_choice("upsampling", upsampling, UPSAMPLINGS)


def check_decoder_norm(decoder_norm):
    """Raises UserError unless `decoder_norm` is one of `DECODER_NORMS`."""
    check_choice("decoder_norm", decoder_norm, DECODER_NORMS)


def check_precision(precision):
    """Raises UserError unless `precision` is one of `PRECISIONS`."""
    check_choice("precision", precision, PRECISIONS)


def check_weights_file(path):
    """Raises UserError unless there is such a file; names weights that lie beside it."""
    path = Path(path)
    if path.is_file():
        return
    message = f"No weights file {path}. Train first, or give the path of one."
    folder = path if path.is_dir() else path.parent
    if others := sorted(one.name for one in folder.glob("*.weights.h5") if one.is_file()):
        message += f" In {folder} there are: {', '.join(others[:_NAMED])}."
    raise UserError(message)

"""The images of a report: which ones, and truth, prediction and errors made visible."""

import base64
import io

import numpy as np
from PIL import Image

from utils.data.masks import read_label_ids, read_mask
from utils.images.reading import read_to_show
from utils.images.transforms import letterbox_box, resize_image, resize_mask
from utils.labels import VOID, voc_palette, void_white_palette

GROUP = 6  # images shown of the worst, and as many around the median
_SIDE = 480  # of an image in a report, at most: a few dozen kilobytes each
RIGHT, WRONG, LEFT_OUT = (231, 236, 239), (200, 0, 90), (150, 150, 150)


def choose(images, count=GROUP):
    """Chooses the worst images by mIoU, and those around the median; none is in both.

    Args:
        images: list of `ImageScore`; those of void alone are passed over.
        count: int, how many of each.

    Returns:
        (list of the worst, the very worst first; list around the median, the lower first).
    """
    ranked = sorted((one for one in images if not np.isnan(one.miou)), key=lambda one: one.miou)
    start = max((len(ranked) - count) // 2, 0)
    return ranked[:count], ranked[max(start, count) : start + count]


def error_map(true, predicted):
    """Colours each pixel as right, wrong, or left out as void.

    Args:
        true, predicted: uint8 (H, W); 255 in `true` is void.

    Returns:
        uint8 (H, W, 3).
    """
    kinds = np.where(true == VOID, 2, true != predicted)
    return np.array((RIGHT, WRONG, LEFT_OUT), np.uint8)[kinds]


def thumbnails(sample, prediction, num_classes, ignore_labels):
    """Draws a sample small enough for a page.

    Args:
        sample: `utils.data.voc.Sample`.
        prediction: path of its predicted mask.
        num_classes, ignore_labels: as in `utils.data.masks.read_mask`.

    Returns:
        dict from a title to a data: URI of the image, the truth, the prediction, and the
        map of errors.
    """
    true = read_mask(sample.mask_path, num_classes, ignore_labels)
    predicted = read_label_ids(prediction)
    image = read_to_show(sample.image_path, true.size)  # of the mask's size, so not too large
    box = letterbox_box(true.shape, (_SIDE, _SIDE))
    size = min((box.height, box.width), true.shape)  # what is small stays as it is
    return {
        "image": data_uri(Image.fromarray(resize_image(image, size))),
        "truth": data_uri(_palette_image(resize_mask(true, size))),
        "prediction": data_uri(_palette_image(resize_mask(predicted, size))),
        # Averaging shows thin errors, which the nearest pixel would miss.
        "errors": data_uri(Image.fromarray(resize_image(error_map(true, predicted), size)), "PNG"),
    }


def class_colors(num_classes):
    """The colours of classes in the gallery, as in CSS: "#rrggbb"."""
    return ["#{:02x}{:02x}{:02x}".format(*color) for color in voc_palette(num_classes).tolist()]


def _palette_image(ids):
    image = Image.fromarray(ids)
    image.putpalette(void_white_palette().tobytes())
    return image


def data_uri(image, kind=None):
    """A PIL image as a data: URI: JPEG for RGB, PNG for the rest, unless `kind` says."""
    kind = kind or ("JPEG" if image.mode == "RGB" else "PNG")
    data = io.BytesIO()
    image.save(data, kind, quality=85, optimize=True)
    return bytes_uri(data.getvalue(), kind)


def bytes_uri(data, kind="PNG"):
    """The bytes of an image file as a data: URI."""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode('ascii')}"

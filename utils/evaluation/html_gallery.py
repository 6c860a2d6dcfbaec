"""The images of a report as HTML: image, truth, prediction and errors side by side."""

from html import escape

from utils.evaluation.gallery import LEFT_OUT, RIGHT, WRONG, class_colors, thumbnails
from utils.evaluation.html import swatch
from utils.evaluation.score_tables import percent


def legend(names):
    """What the colours of errors and of classes stand for.

    Args:
        names: class names.
    """
    rgb = "rgb({}, {}, {})".format
    kinds = {"right": rgb(*RIGHT), "wrong": rgb(*WRONG), "left out as void": rgb(*LEFT_OUT)}
    kinds = "".join(swatch(color, name) for name, color in kinds.items())
    colors = zip(class_colors(len(names)), names, strict=True)
    classes = "".join(swatch(color, name) for color, name in colors)
    return (
        f'<p class="legend">Errors: {kinds}</p>\n'
        f'<p class="legend">Classes: {classes}{swatch("#fff", "void")}</p>'
    )


def figure(image, predictions, num_classes, ignore_labels):
    """One image with its scores; reads it, its mask and its prediction.

    Args:
        image: `utils.evaluation.score_tables.ImageScore`.
        predictions: Path of the folder of predicted masks.
        num_classes, ignore_labels: as in `utils.data.masks.read_mask`.
    """
    name = image.sample.name
    uris = thumbnails(image.sample, predictions / f"{name}.png", num_classes, ignore_labels)
    images = "".join(
        f'<div><img{"" if title == "image" else sharp} src="{uri}" '
        f'alt="{escape(f"{name}: {title}")}">{title}</div>'
        for sharp in [' class="sharp"']
        for title, uri in uris.items()
    )
    height, width = image.size
    return (
        f"<figure><figcaption><b>{escape(name)}</b> mean IoU {percent(image.miou)}%, accuracy "
        f"{percent(image.accuracy)}% <small>{width} x {height} pixels, "
        f"{image.void_pixels:,} of them void</small></figcaption>"
        f'<div class="row">{images}</div></figure>'
    )

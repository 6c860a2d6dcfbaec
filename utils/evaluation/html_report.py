"""The report of an evaluation: one HTML file that opens from disk, whatever it is moved to."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from utils.evaluation.gallery import (
    LEFT_OUT,
    RIGHT,
    WRONG,
    bytes_uri,
    choose,
    class_colors,
    thumbnails,
)
from utils.evaluation.html import confusion_table, histogram, page, swatch
from utils.evaluation.metrics import Scores
from utils.evaluation.score_tables import ImageScore, percent
from utils.files import whole_file


@dataclass(frozen=True)
class Evaluation:
    """What a report tells of.

    Attributes:
        facts: dict from a title to a text, for the head of the page.
        names: class names.
        ignore_labels: values of the true masks that were left out.
        scores: `utils.evaluation.metrics.Scores` of all images.
        images: list of `utils.evaluation.score_tables.ImageScore`.
        predictions: Path of the folder of predicted masks.
    """

    facts: dict[str, str]
    names: tuple[str, ...]
    ignore_labels: tuple[int, ...]
    scores: Scores
    images: list[ImageScore]
    predictions: Path


def find_curves(model_path):
    """The newest `loss_*/curves.png` beside a weights file, or None."""
    found = Path(model_path).parent.glob("loss_*/curves.png")
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path), default=None)


def write_html_report(evaluation, curves, path):
    """Writes the page; reads the few images that it shows and their predictions again.

    Args:
        evaluation: Evaluation.
        curves: Path of the training's curves, a PNG file; None: there are none.
        path: HTML file to write.
    """
    one = evaluation
    body = [
        "<h1>Evaluation</h1>",
        _facts(one.facts),
        _tiles(one.scores),
        "<h2>Classes</h2>",
        _class_table(one.scores, one.names),
        "<h2>Images by their mean IoU</h2>",
        histogram([image.miou for image in one.images], "Images by their mean IoU"),
        "<h2>Confusion matrix</h2>",
        '<p class="dim">Each row in percent of its true pixels; an empty cell holds none.</p>',
        confusion_table(one.scores.counts.matrix, one.names),
        *_curves(curves),
        *_gallery(one),
    ]
    text = page(f"Evaluation: mIoU {percent(one.scores.miou)}%", "\n".join(body))
    with whole_file(path) as temporary:
        # A path may hold bytes that are not UTF-8.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _facts(facts):
    lines = (f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in facts.items())
    return f"<dl>{''.join(lines)}</dl>"


def _tiles(scores):
    values = {
        "mIoU": scores.miou,
        "mIoU without background": scores.miou_without_background,
        "frequency-weighted IoU": scores.frequency_weighted_iou,
        "mean Dice": scores.mean_dice,
        "mean boundary IoU": scores.mean_boundary_iou,
        "mean recall": scores.mean_recall,
        "mean precision": scores.mean_precision,
        "accuracy": scores.accuracy,
    }
    tiles = [f"<div><b>{_shown(value)}</b>{title}</div>" for title, value in values.items()]
    tiles.append(f"<div><b>{scores.pixels:,}</b>pixels scored</div>")
    share = "" if np.isnan(scores.void_share) else f" ({percent(scores.void_share)}%)"
    tiles.append(f"<div><b>{scores.void_pixels:,}</b>pixels left out as void{share}</div>")
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _shown(value):
    return percent(value) + ("" if np.isnan(value) else "%")


def _class_table(scores, names):
    titles = ["class", "IoU", "Dice", "boundary IoU", "recall", "precision", "share"]
    titles += ["true pixels", "predicted", "on void"]
    counts = scores.counts
    columns = (scores.iou, scores.dice, scores.boundary_iou, scores.recall, scores.precision)
    whole = (counts.matrix.sum(axis=1), counts.matrix.sum(axis=0), counts.void)
    rows = [
        f'<tr><th scope="row">{swatch(color, name)}{" (ignored)" * (index in scores.ignored)}</th>'
        + "".join(_bar_cell(column[index]) for column in columns[:3])
        + "".join(f"<td>{percent(column[index])}</td>" for column in columns[3:])
        + f"<td>{percent(scores.frequency[index])}</td>"
        + "".join(f"<td>{column[index]:,}</td>" for column in whole)
        + "</tr>"
        for index, (name, color) in enumerate(zip(names, class_colors(len(names)), strict=True))
    ]
    means = (scores.miou, scores.mean_dice, scores.mean_boundary_iou)
    means += (scores.mean_recall, scores.mean_precision)
    foot = "".join(f"<td>{percent(mean)}</td>" for mean in means)
    foot += "<td></td>" + "".join(f"<td>{column.sum():,}</td>" for column in whole)
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return (
        f'<div class="wide"><table class="scores"><thead><tr>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody><tfoot><tr><th scope="row">mean, or sum of pixels</th>'
        f'{foot}</tr></tfoot></table></div><p class="dim">In percent. "-": not defined, and left '
        "out of the means. share: of the true pixels. on void: pixels predicted as the class "
        "where the truth is void; they count nowhere else.</p>"
    )


def _bar_cell(value):
    width = "" if np.isnan(value) else f' class="bar" style="--v:{100 * value:.2f}"'
    return f"<td{width}>{percent(value)}</td>"


def _curves(path):
    if path is None:
        return []
    uri = bytes_uri(path.read_bytes())
    run = escape(path.parent.name)
    return [
        "<h2>Training</h2>",
        f'<img class="curves" src="{uri}" alt="Loss, mean IoU and learning rate over the epochs '
        f'of the run {run}">',
        f'<p class="dim">{run}</p>',
    ]


def _gallery(evaluation):
    worst, median = choose(evaluation.images)
    rgb = "rgb({}, {}, {})".format
    kinds = {"right": rgb(*RIGHT), "wrong": rgb(*WRONG), "left out as void": rgb(*LEFT_OUT)}
    kinds = "".join(swatch(color, name) for name, color in kinds.items())
    colors = zip(class_colors(len(evaluation.names)), evaluation.names, strict=True)
    classes = "".join(swatch(color, name) for color, name in colors)
    parts = [
        "<h2>Images</h2>",
        f'<p class="legend">Errors: {kinds}</p>',
        f'<p class="legend">Classes: {classes}{swatch("#fff", "void")}</p>',
    ]
    first = "The worst, by mean IoU" if median else "All images, the worst first"
    for title, group in ((first, worst), ("Around the median", median)):
        if group:
            parts += [f"<h3>{title}</h3>", '<div class="gallery">']
            parts += [_figure(evaluation, image) for image in group]
            parts.append("</div>")
    return parts


def _figure(evaluation, image):
    name = image.sample.name
    uris = thumbnails(
        image.sample,
        evaluation.predictions / f"{name}.png",
        len(evaluation.names),
        evaluation.ignore_labels,
    )
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

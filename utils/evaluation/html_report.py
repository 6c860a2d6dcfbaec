"""The report of an evaluation: one HTML file that opens from disk, whatever it is moved to."""

import json
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from utils.evaluation.finding import find
from utils.evaluation.gallery import bytes_uri, choose
from utils.evaluation.html import histogram, page
from utils.evaluation.html_gallery import figure, legend
from utils.evaluation.html_tables import class_table, confusion_table
from utils.evaluation.metrics import Scores
from utils.evaluation.score_tables import ImageScore, find_other_classes, percent
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
        settings: dict from a setting of this evaluation to its value, which JSON can hold.
    """

    facts: dict[str, str]
    names: tuple[str, ...]
    ignore_labels: tuple[int, ...]
    scores: Scores
    images: list[ImageScore]
    predictions: Path
    settings: dict = field(default_factory=dict)


def find_run(model_path):
    """The folder of the training that weights come from, or None.

    Its own folder, if it has curves; else of the runs beside the weights that which holds the
    same file, else the newest.

    Args:
        model_path: str or Path of a weights file, which need not be there.
    """
    weights = Path(model_path)
    if (weights.parent / "curves.png").is_file():
        return weights.parent
    runs = [path.parent for path in weights.parent.glob("loss_*/curves.png")]
    same = [run for run in runs if _is_same(run / weights.name, weights)]
    return max(
        same or runs, key=lambda run: ((run / "curves.png").stat().st_mtime_ns, run), default=None
    )


def _is_same(path, other):
    if not (path.is_file() and other.is_file()):
        return False
    one, two = path.stat(), other.stat()
    return (one.st_size, one.st_mtime_ns) == (two.st_size, two.st_mtime_ns)


def write_html_report(evaluation, run, path):
    """Writes the page; reads the few images that it shows and their predictions again.

    Args:
        evaluation: Evaluation.
        run: Path of the training's folder, with its curves.png and settings.json; None: not
            known.
        path: HTML file to write.
    """
    one = evaluation
    settings = {"This evaluation": one.settings} if one.settings else {}
    if run and (of_training := _read_settings(run)):
        settings[f"The training {run.name}"] = of_training
    body = [
        *_headline(one),
        _facts(one.facts, settings),
        _tiles(one.scores),
        "<h2>Classes</h2>",
        class_table(one.scores, one.names),
        "<h2>Images by their mean IoU</h2>",
        histogram([image.miou for image in one.images], "Images by their mean IoU"),
        "<h2>Confusion matrix</h2>",
        '<p class="dim">Each row in percent of its true pixels; an empty cell holds none.</p>',
        confusion_table(one.scores.counts.matrix, one.names),
        *(_curves(run) if run else ()),
        *_gallery(one),
        *_settings(settings),
    ]
    text = page(f"Evaluation: mIoU {percent(one.scores.miou)}%", "\n".join(body))
    with whole_file(path) as temporary:
        # A path may hold bytes that are not UTF-8.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _headline(evaluation):
    finding = find(evaluation.scores, evaluation.names)
    parts = [f"<h1>{escape(finding.headline)}</h1>", f"<p>{escape(finding.detail)}</p>"]
    if warning := find_other_classes(evaluation.scores, evaluation.names):
        parts.append(f'<p class="warning">{escape(warning)}</p>')
    return parts


def _facts(facts, settings):
    lines = [f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in facts.items()]
    if settings:
        titles = escape(", ".join(settings).lower())
        lines.append(f'<dt>settings</dt><dd><a href="#settings">{titles}</a></dd>')
    return f"<dl>{''.join(lines)}</dl>"


def _read_settings(run):
    """The settings of a training, a dict; empty where the file is missing or of another kind."""
    try:
        settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _settings(settings):
    if not settings:
        return []
    parts = ['<h2 id="settings">Settings</h2>']
    for title, values in settings.items():
        lines = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(json.dumps(value, ensure_ascii=False))}</dd>"
            for name, value in values.items()
        )
        parts.append(f"<details><summary>{escape(title)}</summary><dl>{lines}</dl></details>")
    return parts


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


def _curves(run):
    uri, name = bytes_uri((run / "curves.png").read_bytes()), escape(run.name)
    return [
        "<h2>Training</h2>",
        f'<img class="curves" src="{uri}" alt="Loss, mean IoU and learning rate over the epochs '
        f'of the run {name}">',
        f'<p class="dim">{name}</p>',
    ]


def _gallery(evaluation):
    one = evaluation
    worst, median = choose(one.images)
    parts = ["<h2>Images</h2>", legend(one.names)]
    first = "The worst, by mean IoU" if median else "All images, the worst first"
    for title, group in ((first, worst), ("Around the median", median)):
        if group:
            parts += [f"<h3>{title}</h3>", '<div class="gallery">']
            parts += [
                figure(image, one.predictions, len(one.names), one.ignore_labels) for image in group
            ]
            parts.append("</div>")
    return parts

"""An evaluation as get_miou.py has written it: its report, and more of its worst images."""

import csv
import json
import math
from html import escape
from pathlib import Path

import numpy as np

from errors import UserError
from utils.checking.pairs import find_pairs
from utils.evaluation.gallery import choose
from utils.evaluation.html import page
from utils.evaluation.html_gallery import figure, legend
from utils.evaluation.score_tables import ImageScore
from utils.files import csv_text
from webapp.check_folder import check_links, find_folders, open_dataset, shorten

MOST = 48  # images that are shown at a time
LOOK = """
iframe { width: 100%; height: 85vh; border: 1px solid var(--border-color-primary);
  border-radius: 8px }
"""
_PREDICTIONS = "detection-results"
_REPORT = "report.html"
PARTS = ("", _PREDICTIONS)  # of the folder of an evaluation


def find_evaluations(served):
    """Folders with a report, sorted, as texts.

    Args:
        served: `webapp.served.Served`.
    """

    def choice(path, is_top, names, files):
        return path if _REPORT in files else None

    return find_folders(served, choice)


def show_report(served, text):
    """The report of an evaluation, as HTML for a page.

    Args:
        served: `webapp.served.Served`.
        text: str, the folder that a visitor named.

    Raises:
        UserError: if it lies outside the served folders, or holds no evaluation.
    """
    folder = _open(served, text)
    return _frame((folder / _REPORT).read_text("utf-8", errors="replace"), "The report")


def show_worst(served, text, dataset, count):
    """The worst images of an evaluation with their maps of errors, as HTML for a page.

    Args:
        served: `webapp.served.Served`.
        text: str, the folder that a visitor named.
        dataset: str, the VOCdevkit_path that a visitor named, of the images.
        count: int, how many.

    Raises:
        UserError: as `show_report`, and if its images or predictions are not there.
    """
    folder = _open(served, text)
    dataset = open_dataset(served, dataset)
    names, ignore_labels = _read_results(folder / "results.json")
    samples = {csv_text(one.name): one for one in find_pairs(dataset)[0]}
    worst, _ = choose(_read_images(folder / "pictures.csv"), min(int(count), MOST))
    lacking = [image.sample for image in worst if image.sample not in samples]
    if lacking:
        raise UserError(
            f"{dataset} holds no image {lacking[0]!r} with a mask, which this evaluation scored. "
            "Choose the dataset that it was made with."
        )
    figures = [
        figure(
            image._replace(sample=samples[image.sample]),
            folder / _PREDICTIONS,
            len(names),
            ignore_labels,
        )
        for image in worst
    ]
    title = f"The {len(worst)} worst images, by mean IoU"
    body = [f"<h1>{title}</h1>", legend(names), '<div class="gallery">', *figures, "</div>"]
    return _frame(page(title, "\n".join(body)), title)


def _open(served, text):
    """Path of an evaluation's folder."""
    if not (text or "").strip():
        raise UserError("Choose the folder of an evaluation, or type its path.")
    folder = Path(shorten(served.resolve(text)))
    check_links(served, folder, PARTS)
    if not (folder / _REPORT).is_file():
        raise UserError(
            f"{folder} holds no evaluation: there is no {_REPORT}. Evaluate weights below, or "
            "choose a folder that get_miou.py has written."
        )
    return folder


def _frame(text, title):
    """A whole page in a frame of its own: what it holds has no part in the page around it."""
    text = escape(text.encode("utf-8", "backslashreplace").decode())
    return f'<iframe title="{title}" sandbox="allow-scripts" srcdoc="{text}"></iframe>'


def _read_results(path):
    """(class names, ignore_labels) of an evaluation."""
    try:
        results = json.loads(path.read_text("utf-8"))
        names = [str(one["name"]) for one in results["classes"]]
        return names, tuple(map(int, results["ignore_labels"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error


def _read_images(path):
    """list of ImageScore, with the names of the table in the place of samples."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            images = [_read_image(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise _damaged(path) from error
    if not images:
        raise _damaged(path)
    return images


def _read_image(row):
    """An ImageScore of a row, by which images are ranked and named; it lacks the classes."""
    return ImageScore(
        row["picture"],
        (int(row["height"]), int(row["width"])),
        int(row["pixels"]),
        int(row["void_pixels"]),
        float(row["accuracy"] or math.nan),
        float(row["miou"] or math.nan),
        np.empty(0),
    )


def _damaged(path):
    return UserError(f"{path} is missing or damaged. Evaluate the weights again.")

"""The tables of a report: the scores of the classes, and the confusion matrix."""

from html import escape

import numpy as np
from PIL import Image

from utils.evaluation.gallery import class_colors, data_uri
from utils.evaluation.html import swatch
from utils.evaluation.score_tables import percent

_MOST_CELLS = 40  # classes up to which a confusion matrix is a table
_DARK = 0.7  # share from which a cell is so blue that its number is white
_UPRIGHT = 8  # columns up to which their names have room from left to right
_CELL, _NAME = 90, 200  # pixels that a cell and a name may be wide


def class_table(scores, names):
    """The scores of each class, to be sorted by a click on a column's title.

    Columns of scores that are nowhere defined, and of pixels that are all 0, are left out.
    """
    columns = _score_columns(scores) + _pixel_columns(scores)
    titles = ["class", *(column[0] for column in columns)]
    head = "".join(
        f'<th scope="col"><button type="button">{title}</button></th>' for title in titles
    )
    rows = []
    for index, (name, color) in enumerate(zip(names, class_colors(len(names)), strict=True)):
        note = " (ignored)" if index in scores.ignored else ""
        cells = "".join(cell(values[index]) for _, values, cell, _ in columns)
        first = f'<th scope="row" data-v="{index}">{swatch(color, name)}{note}</th>'
        rows.append(f"<tr>{first}{cells}</tr>")
    foot = "".join(f"<td>{foot}</td>" for *_, foot in columns)
    return (
        f'<div class="wide"><table class="scores"><thead><tr>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody><tfoot><tr><th scope="row">mean, or sum of pixels</th>'
        f'{foot}</tr></tfoot></table></div><p class="dim">{_legend(titles)}</p>'
    )


def _score_columns(scores):
    """[(title, values, function that makes a cell, foot)] of the scores."""
    columns = [
        ("IoU", scores.iou, _bar_cell, percent(scores.miou)),
        ("Dice", scores.dice, _bar_cell, percent(scores.mean_dice)),
        ("boundary IoU", scores.boundary_iou, _bar_cell, percent(scores.mean_boundary_iou)),
        ("recall", scores.recall, _percent_cell, percent(scores.mean_recall)),
        ("precision", scores.precision, _percent_cell, percent(scores.mean_precision)),
        ("share", scores.frequency, _percent_cell, ""),
    ]
    # IoU stays: that it is nowhere defined is worth a look.
    return [column for column in columns if column[0] == "IoU" or not np.isnan(column[1]).all()]


def _pixel_columns(scores):
    """As `_score_columns`, of the pixels."""
    counts = scores.counts
    columns = {
        "true pixels": counts.matrix.sum(axis=1),
        "predicted": counts.matrix.sum(axis=0),
        "on void": counts.void,
    }
    return [
        (title, values, _count_cell, f"{values.sum():,}")
        for title, values in columns.items()
        if values.any()
    ]


def _legend(titles):
    """What stands below the table, of the columns that are there."""
    meanings = {
        "share": "share: of the true pixels.",
        "on void": "on void: pixels predicted as the class where the truth is void; they count "
        "nowhere else.",
    }
    words = [meanings[title] for title in titles if title in meanings]
    return " ".join(
        ['In percent. "-": not defined, and left out of the means.', *words,
         "A click on a column's title sorts by it."]
    )  # fmt: skip


def _bar_cell(value):
    if np.isnan(value):
        return "<td>-</td>"
    style = f' class="bar" style="--v:{100 * value:.2f}"'
    return f'<td{style} data-v="{value:.9g}">{percent(value)}</td>'


def _percent_cell(value):
    return "<td>-</td>" if np.isnan(value) else f'<td data-v="{value:.9g}">{percent(value)}</td>'


def _count_cell(value):
    return f'<td data-v="{value}">{value:,}</td>'


def confusion_table(matrix, names):
    """A confusion matrix [true, predicted], each row in percent of its true pixels.

    Rows and columns that are all 0 are left out, and named below.
    """
    totals = matrix.sum(axis=1)
    shares = np.divide(
        matrix, totals[:, None], out=np.zeros(matrix.shape), where=totals[:, None] > 0
    )
    if len(names) > _MOST_CELLS:
        return _confusion_image(shares)
    rows, columns = np.flatnonzero(totals).tolist(), np.flatnonzero(matrix.sum(axis=0)).tolist()
    head = "".join(f"<th><span>{escape(names[column])}</span></th>" for column in columns)
    lines = [f"<thead><tr><th>true \\ predicted</th>{head}</tr></thead><tbody>"]
    for row in rows:
        cells = "".join(_cell(matrix, shares, row, column, names) for column in columns)
        lines.append(f'<tr><th scope="row">{escape(names[row])}</th>{cells}</tr>')
    table = "\n".join(lines)
    # As wide as the page, but where a few cells would be stretched out of shape.
    style = f"max-width:{_CELL * len(columns) + _NAME}px"
    kind = "matrix turned" if len(columns) > _UPRIGHT else "matrix"
    return (
        f'<div class="wide"><table class="{kind}" style="{style}">{table}</tbody></table></div>'
        + _left_out("Not in the true masks, so without a row", rows, names)
        + _left_out("Never predicted, so without a column", columns, names)
    )


def _left_out(why, kept, names):
    rest = [name for index, name in enumerate(names) if index not in kept]
    return f'<p class="dim">{why}: {escape(", ".join(rest))}.</p>' if rest else ""


def _cell(matrix, shares, row, column, names):
    """One cell: whole percent, and the real numbers where the mouse rests."""
    count, total, share = int(matrix[row, column]), int(matrix[row].sum()), shares[row, column]
    meaning = escape(f"{names[row]}, predicted as {names[column]}: {count:,} of {total:,} pixels")
    kinds = [name for name, is_so in (("full", share > _DARK), ("same", row == column)) if is_so]
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    if not count:
        return f'<td{kind} title="{meaning}"></td>'
    return (
        f'<td{kind} style="--s:{share:.3f}" title="{meaning}, {percent(share)}%">'
        f"{100 * share:.0f}</td>"
    )


def _confusion_image(shares):
    """A table of so many cells could not be read: an image of it."""
    blue = np.array((37, 99, 235))
    pixels = np.rint(255 + shares[..., None] * (blue - 255)).astype(np.uint8)
    scale = max(1, 900 // len(shares))
    image = Image.fromarray(pixels.repeat(scale, axis=0).repeat(scale, axis=1))
    return (
        f'<img src="{data_uri(image, "PNG")}" alt="Confusion matrix, true classes from top to '
        'bottom, predicted ones from left to right"><p class="dim">Rows are true classes, '
        "columns predicted ones, by id; the numbers are in confusion_matrix.csv.</p>"
    )

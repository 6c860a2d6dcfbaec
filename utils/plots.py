"""Charts and contact sheets as PNG files. Never opens a window, so it works on servers."""

import warnings

import numpy as np
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from utils.files import whole_file
from utils.fonts import installed_fonts, writable_names
from utils.labels import void_white_palette

rcParams["text.parse_math"] = False  # a dollar in a class name is not a formula
_MAX_NUMBERED = 25  # classes up to which a confusion matrix shows its numbers
_DPI = 140  # of 8 inches: as wide as the page of the report
_LONGEST_NAME = 32  # letters: a longer name would leave no room for what it names


def _figure(width, height):
    rcParams["font.family"] = list(installed_fonts())
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path):
    with whole_file(path) as temporary, warnings.catch_warnings():
        # Letters of file names that no font has; of class names a note has told.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(temporary, dpi=_DPI)


def _labels(names):
    """Class names as a chart has room for them and a font has letters."""
    return [
        name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
        for name in writable_names(names)
    ]


def plot_curves(epochs, panels, path):
    """Draws curves over epochs, one panel above the other.

    Args:
        epochs: sequence of N epoch numbers.
        panels: dict from a panel's title to a dict from a curve's name to N values; NaN
            values (epochs without a measurement) are left out.
        path: PNG file to write.
    """
    edge = 0.5 if len(epochs) == 1 else 0.03 * (epochs[-1] - epochs[0])
    figure = _figure(8, 2.6 * len(panels))
    all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (title, curves) in zip(all_axes, panels.items(), strict=True):
        for name, values in curves.items():
            points = [(e, v) for e, v in zip(epochs, values, strict=True) if np.isfinite(v)]
            if points:
                marker = "o" if len(points) < 40 else None
                axes.plot(*zip(*points, strict=True), label=name, marker=marker, markersize=3)
        axes.set_title(title)
        axes.grid(alpha=0.3)
        axes.set_xlim(epochs[0] - edge, epochs[-1] + edge)
        axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        if len(curves) > 1 and axes.lines:
            axes.legend()
    all_axes[-1].set_xlabel("epoch")
    _save(figure, path)


def plot_bars(values, names, title, path):
    """Draws one horizontal bar a class, the first class on top.

    Args:
        values: (num_classes,) in 0..1; NaN is labelled as not defined.
        names: class names.
        title: str.
        path: PNG file to write.
    """
    figure, axes = _bar_chart(_labels(names), title)
    positions = np.arange(len(names))
    axes.barh(positions, np.nan_to_num(values), color="royalblue")
    for position, value in zip(positions, values, strict=True):
        axes.text(np.nan_to_num(value) + 0.01, position, _percent(value), va="center", fontsize=9)
    _save(figure, path)


def plot_folds(values, means, names, path):
    """Draws the IoU of each fold as a dot, and their mean as a bar, a row for each class.

    Args:
        values: (folds, rows) in 0..1; NaN is left out.
        means: (rows,); NaN is labelled as not defined.
        names: what the rows are: str.
        path: PNG file to write.
    """
    first, *classes = names
    figure, axes = _bar_chart([first, *_labels(classes)], f"IoU of {len(values)} folds")
    positions = np.arange(len(names))
    axes.barh(positions, np.nan_to_num(means), color="lightsteelblue", label="mean")
    for index, fold in enumerate(values):
        axes.plot(
            fold, positions, "o", markersize=5, color="royalblue", markeredgecolor="white",
            label="folds" if index == 0 else None,
        )  # fmt: skip
    for position, mean in zip(positions, means, strict=True):
        place = 0.01 if np.isnan(mean) else 1.01
        axes.text(place, position, _percent(mean), va="center", fontsize=9)
    figure.legend(loc="outside lower center", ncols=2)
    _save(figure, path)


def _bar_chart(labels, title):
    """(figure, axes) with a row a label, the first on top, and percents to the right."""
    figure = _figure(8, 1.2 + 0.32 * len(labels))
    axes = figure.subplots()
    axes.set_yticks(np.arange(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(0, 1.12)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{100 * tick:.0f}%" for tick in np.linspace(0, 1, 6)])
    axes.set_title(title)
    return figure, axes


def _percent(value):
    return "not defined" if np.isnan(value) else f"{100 * value:.1f}"


def plot_confusion(matrix, names, path):
    """Draws a confusion matrix [true, predicted], each row in percent of its true pixels.

    A cell without a pixel is empty; one of less than half a percent holds a 0.
    """
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    labels = _labels(names)
    side = 2.5 + min(0.42 * len(names), 12)
    figure = _figure(side + 0.8, side)
    axes = figure.subplots()
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), labels, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("share of the true class, in percent")
    if len(names) <= _MAX_NUMBERED:
        _number_cells(axes, matrix, shares)
    bar = figure.colorbar(shown, ax=axes, shrink=0.75)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    _save(figure, path)


def _number_cells(axes, matrix, shares):
    for (row, column), share in np.ndenumerate(shares):
        if matrix[row, column]:
            color = "white" if share > 0.6 else "black"
            text = f"{100 * share:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=color, size=10)
    for edge in range(1, len(shares)):  # lines that lead the eye from a number to its labels
        axes.axhline(edge - 0.5, color="0.9", linewidth=0.5)
        axes.axvline(edge - 0.5, color="0.9", linewidth=0.5)


def plot_scores(scores, names, folder):
    """Draws the charts of an evaluation: IoU, recall, precision, and the confusion matrix.

    Args:
        scores: `utils.evaluation.metrics.Scores`.
        names: class names.
        folder: Path, where the PNG files go.
    """
    for file, title, mean, values in (
        ("mIoU", "mIoU", scores.miou, scores.iou),
        ("Recall", "mean recall", scores.mean_recall, scores.recall),
        ("Precision", "mean precision", scores.mean_precision, scores.precision),
    ):
        plot_bars(values, names, f"{title} {mean:.2%}", folder / f"{file}.png")
    plot_confusion(scores.counts.matrix, names, folder / "confusion_matrix.png")


def contact_sheet(rows, names, path):
    """Draws image, truth and prediction side by side, one row per sample, with a legend.

    Args:
        rows: list of (title, uint8 (H, W, 3) RGB, true mask (H, W), predicted mask (H, W)).
        names: class names; masks are coloured by the VOC palette, void (255) is white.
        path: PNG file to write.
    """
    palette = void_white_palette()
    patches = [
        Patch(facecolor=palette[index] / 255, edgecolor="grey", label=name)
        for index, name in enumerate(_labels(names))
    ]
    _draw_grid(
        [
            (image, palette[true], palette[predicted], (title, "truth", "prediction"))
            for title, image, true, predicted in rows
        ],
        path,
        patches,
    )


def _draw_grid(rows, path, patches=()):
    """Rows of three images with headings, and a legend below."""
    height, width = rows[0][0].shape[:2]
    figure = _figure(9, 0.6 + len(rows) * (3 * min(height / width, 2) + 0.25))
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for axes_row, (*images, headings) in zip(grid, rows, strict=True):
        for axes, image, heading in zip(axes_row, images, headings, strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set_title(heading, fontsize=9)
            axes.set_axis_off()
    if patches:
        figure.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 6))
    _save(figure, path)


def before_after_sheet(rows, path):
    """Draws image, the mask as it was, and the mask in VOC's colours side by side.

    Args:
        rows: list of (title, uint8 (H, W, 3) RGB, uint8 (h, w, 3) of the old mask, class
            ids (H, W)); 255 is white.
        path: PNG file to write.
    """
    palette = void_white_palette()
    _draw_grid(
        [
            (image, before, palette[ids], (title, "mask before", "mask after"))
            for title, image, before, ids in rows
        ],
        path,
    )

"""Charts and contact sheets: readable PNG files that show what they were given."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from stand_ins import counts_of

from utils.evaluation.metrics import score
from utils.labels import voc_palette
from utils.plots import (
    contact_sheet,
    plot_bars,
    plot_confusion,
    plot_curves,
    plot_folds,
    plot_scores,
)

BLUE = (65, 105, 225)  # royalblue, of the bars
FIRST, SECOND = (31, 119, 180), (255, 127, 14)  # Matplotlib's first colours of curves
MANY = [f"class_{index}" for index in range(30)]


@pytest.fixture
def drawn(tmp_path):
    """drawn(plot, *args): uint8 (H, W, 3), the PNG that `plot(*args, path)` writes.

    A warning is an error: it would show on the user's terminal.
    """

    def draw(plot, *args):
        path = tmp_path / "plot.png"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plot(*args, path)
        with Image.open(path) as image:
            assert image.format == "PNG"
            pixels = np.array(image.convert("RGB"))
        assert min(pixels.shape[:2]) >= 150
        assert max(pixels.shape[:2]) <= 3000
        return pixels

    return draw


def count(pixels, color):
    """How many pixels have exactly this colour."""
    return np.count_nonzero((pixels == color).all(axis=-1))


# Curves


def test_curves_of_each_panel(drawn):
    curves = {"training": [1.0, 0.5, 0.2], "validation": [1.0, 0.7, 0.6]}
    one = drawn(plot_curves, [1, 2, 3], {"loss": curves})
    three = drawn(plot_curves, [1, 2, 3], {"loss": curves, "mIoU": curves, "rate": curves})
    for color in (FIRST, SECOND):
        assert 2 * count(one, color) < count(three, color) < 4 * count(one, color)
    assert (three.shape[0] / one.shape[0], three.shape[1]) == (pytest.approx(3, 0.01), one.shape[1])


def test_epochs_without_a_measurement_are_left_out(drawn):
    gaps = drawn(plot_curves, [1, 2, 3, 4, 5], {"loss": {"a": [1, np.nan, 3, np.inf, 2]}})
    short = drawn(plot_curves, [1, 3, 5], {"loss": {"a": [1, 3, 2]}})
    np.testing.assert_array_equal(gaps, short)


def test_a_curve_without_any_measurement(drawn):
    pixels = drawn(plot_curves, [1, 2], {"mIoU": {"training": [0.1, 0.2], "none": [np.nan] * 2}})
    assert count(pixels, FIRST) > 100
    assert count(pixels, SECOND) == 0


def test_a_panel_without_any_measurement(drawn):
    nothing = {"training": [np.nan] * 2, "validation": [np.nan] * 2}
    assert count(drawn(plot_curves, [1, 2], {"loss": nothing}), FIRST) == 0


@pytest.mark.parametrize("epochs", [1, 300])
def test_any_number_of_epochs(drawn, epochs):
    values = np.linspace(1, 0, epochs)
    pixels = drawn(plot_curves, list(range(1, epochs + 1)), {"loss": {"a": values}})
    assert count(pixels, FIRST) >= 5


@pytest.mark.parametrize("epochs", [[1], [1, 2], [3, 4, 5], list(range(1, 101))])
def test_ticks_are_whole_epochs(tmp_path, monkeypatch, epochs):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kw: (figures.append(self), save(self, *args, **kw))
    )
    plot_curves(epochs, {"loss": {"a": [1.0] * len(epochs)}}, tmp_path / "curves.png")
    low, high = figures[0].axes[0].get_xlim()
    ticks = [tick for tick in figures[0].axes[0].get_xticks() if low <= tick <= high]
    assert 1 <= len(ticks) <= 12
    assert all(tick == int(tick) for tick in ticks)
    assert low < epochs[0] <= epochs[-1] < high


# Bars


def test_bars_are_as_long_as_their_values(drawn):
    whole = count(drawn(plot_bars, [1.0, 1.0], ["cat", "dog"], "recall"), BLUE)
    assert whole > 10_000
    for values in ([0.5, 0.5], [1.0, 0.0], [0.25, 0.5]):
        part = count(drawn(plot_bars, values, ["cat", "dog"], "recall"), BLUE)
        assert part / whole == pytest.approx(sum(values) / 2, abs=0.01)


def test_the_first_class_is_on_top(drawn):
    pixels = drawn(plot_bars, [1.0, 0.0], ["cat", "dog"], "recall")
    rows = np.flatnonzero((pixels == BLUE).all(axis=-1).any(axis=1))
    assert rows.max() < 0.6 * len(pixels)


def test_nan_has_no_bar_and_is_said(drawn):
    nothing = drawn(plot_bars, np.array([np.nan, np.nan]), ["cat", "dog"], "recall")
    zero = drawn(plot_bars, np.array([0.0, 0.0]), ["cat", "dog"], "recall")
    assert count(nothing, BLUE) == 0
    # "not defined" is far longer than "0.0" and "nan"
    differ = np.flatnonzero((nothing != zero).any(axis=(0, 2)))
    assert np.ptp(differ) > 50


@pytest.mark.parametrize("names", [["cell"], MANY])
def test_bars_of_one_class_and_of_many(drawn, names):
    pixels = drawn(plot_bars, np.ones(len(names)), names, "IoU")
    rows = (pixels == BLUE).all(axis=-1).any(axis=1)
    assert np.count_nonzero(np.diff(rows.astype(int)) == 1) == len(names)


# Folds


def test_each_fold_is_a_dot_and_their_mean_a_bar(drawn):
    light = (176, 196, 222)  # lightsteelblue
    values = np.array([[0.25, np.nan], [0.75, np.nan], [0.5, np.nan]])
    pixels = drawn(plot_folds, values, np.array([0.5, np.nan]), ("mIoU", "cat"))
    whole = drawn(plot_folds, values, np.array([1.0, np.nan]), ("mIoU", "cat"))
    assert count(pixels, light) / count(whole, light) == pytest.approx(0.5, abs=0.03)
    columns = np.flatnonzero((pixels == BLUE).all(axis=-1)[: len(pixels) // 2].any(axis=0))
    assert np.count_nonzero(np.diff(columns) > 1) == 2  # three dots
    assert not (pixels == BLUE).all(axis=-1)[len(pixels) // 2 : 3 * len(pixels) // 4].any()


# The confusion matrix


def test_confusion_is_shown_in_shares_of_the_true_class(drawn):
    names = ["cat", "dog"]
    shares = drawn(plot_confusion, np.array([[3, 1], [0, 5]]), names)
    np.testing.assert_array_equal(
        shares, drawn(plot_confusion, np.array([[300, 100], [0, 1]]), names)
    )
    turned = drawn(plot_confusion, np.array([[3, 0], [1, 5]]), names)
    assert not np.array_equal(shares, turned)


def test_a_class_that_the_truth_does_not_hold(drawn):
    with np.errstate(all="raise"):
        drawn(plot_confusion, np.array([[3, 1], [0, 0]]), ["cat", "dog"])


def test_a_cell_without_a_pixel_holds_no_number(drawn, monkeypatch):
    texts = []
    monkeypatch.setattr("matplotlib.axes.Axes.text", lambda *args, **_: texts.append(args[3]))
    drawn(plot_confusion, np.array([[999, 1, 0], [0, 0, 0], [0, 0, 7]]), ["cat", "dog", "cow"])
    assert texts == ["100", "0", "100"]


@pytest.mark.parametrize("names", [["cell"], MANY])
def test_confusion_of_one_class_and_of_many(drawn, names):
    pixels = drawn(plot_confusion, np.eye(len(names), dtype=np.int64), names)
    darkest = (8, 48, 107)  # of "Blues", which the diagonal and the top of the scale have
    assert count(pixels, darkest) > 500 * len(names)


def test_confusion_of_255_classes_stays_within_a_screen_or_two(drawn):
    names = [f"class_{index}" for index in range(255)]
    drawn(plot_confusion, np.eye(255, dtype=np.int64), names)


def test_charts_of_an_evaluation(tmp_path, drawn):
    scores, names = (
        score(counts_of(np.array([[3, 1, 0], [2, 5, 0], [0, 0, 0]]))),
        ["cat", "dog", "cow"],
    )
    plot_scores(scores, names, tmp_path / "out")
    for file, plot, *args in (
        ("mIoU", plot_bars, [3 / 6, 5 / 8, np.nan], names, "mIoU 56.25%"),
        ("Recall", plot_bars, [3 / 4, 5 / 7, np.nan], names, "mean recall 73.21%"),
        ("Precision", plot_bars, [3 / 5, 5 / 6, np.nan], names, "mean precision 71.67%"),
        ("confusion_matrix", plot_confusion, scores.counts.matrix, names),
    ):
        with Image.open(tmp_path / "out" / f"{file}.png") as image:
            np.testing.assert_array_equal(np.array(image.convert("RGB")), drawn(plot, *args))


# The contact sheet


def panels(pixels):
    """The panels of a sheet's one row: image, truth, prediction."""
    height = int(pixels.shape[0] * 0.8)
    third = pixels.shape[1] // 3
    return [pixels[:height, index * third : (index + 1) * third] for index in range(3)]


def test_panels_of_a_contact_sheet_have_the_palette_s_colours(drawn):
    image = np.full((30, 40, 3), (200, 100, 50), np.uint8)
    true = np.zeros((30, 40), np.uint8)
    true[:15, :20] = 1  # a quarter
    true[:, 30:] = 2  # a quarter
    predicted = np.full((30, 40), 2, np.uint8)
    pixels = drawn(contact_sheet, [("one", image, true, predicted)], ["nothing", "cat", "dog"])
    black, red, green = (tuple(color) for color in voc_palette(3).tolist())
    shown, truth, prediction = panels(pixels)
    area = count(shown, (200, 100, 50))
    assert area > 30_000
    assert count(truth, (200, 100, 50)) == count(prediction, (200, 100, 50)) == 0
    assert count(truth, red) / area == pytest.approx(0.25, abs=0.02)
    assert count(truth, green) / area == pytest.approx(0.25, abs=0.02)
    assert count(truth, black) / area == pytest.approx(0.5, abs=0.02)
    assert count(prediction, green) / area == pytest.approx(1, abs=0.02)
    assert count(shown, red) == count(shown, green) == count(prediction, red) == 0


def test_void_is_white_in_a_contact_sheet(drawn):
    image = np.zeros((30, 40, 3), np.uint8)
    void = np.full((30, 40), 255, np.uint8)
    pixels = drawn(contact_sheet, [("one", image, void, void)], ["nothing", "cat"])
    shown, truth, _ = panels(pixels)
    assert count(truth, (255, 255, 255)) > 0.9 * truth[..., 0].size
    assert count(shown, (255, 255, 255)) < 0.5 * shown[..., 0].size


def test_every_class_stands_in_the_legend(drawn):
    image, mask = np.zeros((30, 40, 3), np.uint8), np.zeros((30, 40), np.uint8)
    names = ["_background_", *MANY[1:]]
    pixels = drawn(contact_sheet, [("one", image, mask, mask)], names)
    for color in voc_palette(len(names))[1:]:
        assert count(pixels, color) > 50


def test_rows_of_a_contact_sheet(drawn, rng):
    """Each sample has its row, whatever its size."""
    colors = [(200, 100, 50), (50, 200, 100), (100, 50, 200)]
    rows = [
        (f"sample {size}", np.full((*size, 3), color, np.uint8), *np.zeros((2, *size), np.uint8))
        for size, color in zip(((30, 40), (40, 30), (1, 7)), colors, strict=True)
    ]
    pixels = drawn(contact_sheet, rows, ["nothing", "cat"])
    tops = [np.flatnonzero((pixels == color).all(axis=-1).any(axis=1)).min() for color in colors]
    assert tops == sorted(tops)
    assert pixels.shape[0] > 2 * drawn(contact_sheet, rows[:1], ["nothing"]).shape[0]


def test_a_contact_sheet_of_slender_images_stays_within_a_screen_or_two(drawn):
    image, mask = np.zeros((300, 20, 3), np.uint8), np.zeros((300, 20), np.uint8)
    drawn(contact_sheet, [("one", image, mask, mask)], ["nothing", "cat"])


# Names


def plot_all(names, folder):
    """Draws every kind of plot with these two names."""
    image, mask = np.zeros((30, 40, 3), np.uint8), np.eye(30, 40, dtype=np.uint8)
    plot_curves([1, 2], {names[0]: {name: [1, 2] for name in names}}, folder / "curves.png")
    plot_bars([0.5, np.nan], names, names[0], folder / "bars.png")
    plot_confusion(np.array([[1, 2], [0, 3]]), names, folder / "confusion.png")
    contact_sheet([(names[1], image, mask, mask)], names, folder / "sheet.png")
    for name in ("curves", "bars", "confusion", "sheet"):
        with Image.open(folder / f"{name}.png") as file:
            file.load()
            assert min(file.size) >= 150


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "names",
    [
        ("猫", "狗"),
        ("naïve café", "кошка"),
        ("a$5", "100% {x}"),
        ("a" * 60, ""),
        ("same", "same"),
    ],
)
def test_any_names_can_be_drawn(tmp_path, names):
    plot_all(names, tmp_path)


def test_names_are_no_formulas(tmp_path):
    plot_all((r"$\cat$", "$_^$"), tmp_path)


def test_an_old_plot_is_replaced(tmp_path, drawn):
    first = drawn(plot_bars, [0.5], ["cat"], "IoU")
    assert not np.array_equal(first, drawn(plot_bars, [0.7], ["cat"], "IoU"))
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_no_window_is_ever_made(drawn, monkeypatch):
    # What opens windows is pyplot; None makes its import fail.
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    drawn(plot_bars, [0.5], ["cat"], "IoU")
    drawn(plot_confusion, np.eye(2, dtype=int), ["cat", "dog"])


def test_a_plot_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "plot.png"
    path.write_text("of an earlier run")

    def savefig(figure, path, **options):
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", savefig)
    with pytest.raises(OSError, match="No space left"):
        plot_bars([0.5], ["cat"], "IoU", path)
    assert [one.name for one in tmp_path.iterdir()] == ["plot.png"]
    assert path.read_text() == "of an earlier run"

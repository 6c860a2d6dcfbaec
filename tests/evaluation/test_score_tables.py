"""Scores as text, as JSON and as CSV."""

import csv
import json

import numpy as np
import pytest
from stand_ins import counts_of

from utils.data.voc import Sample
from utils.evaluation.metrics import Counts, score
from utils.evaluation.score_tables import (
    display_width,
    find_other_classes,
    format_scores,
    percent,
    score_image,
    scores_to_dict,
    shorten,
    write_confusion_matrix,
    write_images,
)

NAMES = ("background", "cat", "dog")


@pytest.fixture
def scores():
    """IoU 6/8, 1/3, -; recall and precision 6/7, 1/2, -; Dice 12/14, 2/4, -."""
    return score(
        Counts(
            np.array([[6, 1, 0], [1, 1, 0], [0, 0, 0]]),
            np.array([1234, 0, 2]),
            np.array([[2, 1, 0], [4, 5, 0]]),
        )
    )


def test_scores_as_text(scores):
    # fw IoU 7/9 of 75 + 2/9 of 33.33; 7 of 9 pixels are right; 1236 of 1245 are void
    assert format_scores(scores, NAMES).splitlines() == [
        "class         IoU   Dice  recall  precision  boundary  share  void px",
        "background  75.00  85.71   85.71      85.71     50.00  77.78    1,234",
        "cat         33.33  50.00   50.00      50.00     20.00  22.22        0",
        "dog             -      -       -          -         -   0.00        2",
        "mean        54.17  67.86   67.86      67.86     35.00",
        "mIoU 54.17%, accuracy 77.78%",
        "mIoU without background 33.33%, frequency-weighted IoU 65.74%",
        "left out as void: 1,236 pixels, 99.28%",
        "neither in the truth nor predicted, left out of the means: dog",
    ]


def test_scores_as_text_line_up_up_to_100_percent_and_short_names():
    lines = format_scores(score(counts_of(np.diag([5, 5]))), ("a", "b")).splitlines()
    assert lines == [
        "class     IoU    Dice  recall  precision  boundary  share  void px",
        "a      100.00  100.00  100.00     100.00         -  50.00        0",
        "b      100.00  100.00  100.00     100.00         -  50.00        0",
        "mean   100.00  100.00  100.00     100.00         -",
        "mIoU 100.00%, accuracy 100.00%",
        "mIoU without background 100.00%, frequency-weighted IoU 100.00%",
        "left out as void: 0 pixels, 0.00%",
    ]


def test_a_table_of_wide_letters_lines_up():
    names = ("背景", "naïve café", "кошка", "한국어", "e\u0301" * 3, "very long name " * 9)
    lines = format_scores(score(counts_of(np.diag([10**9] * 6))), names).splitlines()[:8]
    # Without the last columns, which the line of the means leaves empty.
    assert len({display_width(line[: line.rindex("-") + 1]) for line in lines[1:]}) == 1
    assert max(map(display_width, lines)) <= 90


def test_only_some_absent_classes_are_named():
    names = [f"c{index}" for index in range(20)]
    line = format_scores(score(counts_of(np.diag([1, 1] + [0] * 18))), names).splitlines()[-1]
    assert line.endswith(": " + ", ".join(names[2:14]) + " and 6 more")


def test_scores_of_nothing_as_text():
    lines = format_scores(score(counts_of(np.zeros((2, 2), int))), ("cat", "dog")).splitlines()
    assert lines[-5].split() == ["mean", *"-----"]
    assert lines[-4:] == [
        "mIoU -%, accuracy -%",
        "mIoU without background -%, frequency-weighted IoU -%",
        "left out as void: 0 pixels, -%",
        "neither in the truth nor predicted, left out of the means: cat, dog",
    ]


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("cat", 3), ("猫", 2), ("한국", 4), ("ｶﾅ", 2), ("e\u0301", 1)]
)
def test_columns_of_a_terminal(text, width):
    assert display_width(text) == width


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("cat", 3, "cat"), ("cats", 3, "ca…"), ("猫犬鳥", 6, "猫犬鳥"), ("猫犬鳥", 5, "猫犬…"),
     ("猫犬鳥", 4, "猫…")],
)  # fmt: skip
def test_names_are_shortened_to_columns(text, width, expected):
    assert shorten(text, width) == expected


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00"), (1, "100.00"), (1 / 3, "33.33"), (np.nan, "-")]
)
def test_percent(value, text):
    assert percent(value) == text


def test_scores_for_json(scores):
    values = scores_to_dict(scores, (*NAMES[:2], "猫"))
    assert json.loads(json.dumps(values, allow_nan=False)) == {
        "miou": (6 / 8 + 1 / 3) / 2,
        "miou_without_background": 1 / 3,
        "frequency_weighted_iou": 7 / 9 * 6 / 8 + 2 / 9 * (1 / 3),
        "mean_recall": (6 / 7 + 1 / 2) / 2,
        "mean_precision": (6 / 7 + 1 / 2) / 2,
        "mean_dice": (12 / 14 + 2 / 4) / 2,
        "mean_boundary_iou": (2 / 4 + 1 / 5) / 2,
        "accuracy": 7 / 9,
        "pixels": 9,
        "void_pixels": 1236,
        "void_share": 1236 / 1245,
        "absent": ["猫"],
        "ignored": [],
        "classes": [
            {
                "id": 0, "name": "background", "iou": 6 / 8, "recall": 6 / 7, "precision": 6 / 7,
                "dice": 12 / 14, "boundary_iou": 2 / 4, "frequency": 7 / 9, "true_pixels": 7,
                "predicted_pixels": 7, "right_pixels": 6, "predicted_on_void": 1234,
                "boundary_intersection": 2, "boundary_union": 4,
            },
            {
                "id": 1, "name": "cat", "iou": 1 / 3, "recall": 1 / 2, "precision": 1 / 2,
                "dice": 2 / 4, "boundary_iou": 1 / 5, "frequency": 2 / 9, "true_pixels": 2,
                "predicted_pixels": 2, "right_pixels": 1, "predicted_on_void": 0,
                "boundary_intersection": 1, "boundary_union": 5,
            },
            {
                "id": 2, "name": "猫", "iou": None, "recall": None, "precision": None,
                "dice": None, "boundary_iou": None, "frequency": 0, "true_pixels": 0,
                "predicted_pixels": 0, "right_pixels": 0, "predicted_on_void": 2,
                "boundary_intersection": 0, "boundary_union": 0,
            },
        ],
    }  # fmt: skip


def test_counts_are_whole_numbers(scores):
    values = scores_to_dict(scores, NAMES)
    for one in (values, *values["classes"]):
        for name in one:
            if "pixels" in name or name in ("predicted_on_void", "boundary_union"):
                assert type(one[name]) is int, name


def test_scores_of_nothing_for_json():
    values = scores_to_dict(score(counts_of(np.zeros((2, 2), int))), ("cat", "dog"))
    json.dumps(values, allow_nan=False)
    assert values["absent"] == ["cat", "dog"]
    for name in ("miou", "mean_dice", "accuracy", "frequency_weighted_iou", "void_share"):
        assert values[name] is None


def test_a_confusion_matrix_by_hand(tmp_path):
    path = tmp_path / "matrix.csv"
    write_confusion_matrix(np.array([[10, 2], [0, 3]]), ("猫", "dog, small"), path)
    # Excel takes a file for UTF-8 only with this mark.
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert path.read_text(encoding="utf-8-sig").splitlines() == [
        'true \\ predicted,猫,"dog, small"',
        "猫,10,2",
        '"dog, small",0,3',
    ]


def test_images_by_hand(tmp_path):
    def counts(matrix, void):
        return Counts(np.array(matrix), np.array(void), np.zeros((2, 2), int))

    half = counts([[1, 0], [1, 0]], [3, 0])
    nothing = counts([[0, 0], [0, 0]], [0, 6])
    images = [
        score_image(Sample("a, b", None, None), (1, 5), half),
        score_image(Sample("猫", None, None), (2, 3), nothing),
    ]
    write_images(images, ("nothing", "cat"), tmp_path / "pictures.csv")
    data = (tmp_path / "pictures.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(data.decode("utf-8-sig").splitlines()))
    assert rows == [
        ["picture", "height", "width", "pixels", "void_pixels", "accuracy", "miou",
         "IoU nothing", "IoU cat"],
        ["a, b", "1", "5", "2", "3", "0.5", "0.25", "0.5", "0.0"],
        ["猫", "2", "3", "0", "6", "", "", "", ""],
    ]  # fmt: skip


def test_ignored_classes_are_named():
    matrix = np.array([[0, 0, 0], [2, 6, 1], [0, 0, 0]])
    scores = score(Counts(matrix, np.array([9, 0, 0]), np.zeros((2, 3), int), (0,)))
    lines = format_scores(scores, NAMES).splitlines()
    assert "ignored (ignore_labels), left out of all scores: background" in lines
    assert "neither in the truth nor predicted" not in "\n".join(lines)
    values = scores_to_dict(scores, NAMES)
    assert (values["ignored"], values["absent"]) == (["background"], [])
    assert values["classes"][0]["iou"] is None


OTHERS = ("sky", "road", "car", "cow", "person")


@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        # 70 of 100 pixels are cows and persons, of which the masks hold none.
        (
            [[10, 0, 0, 30, 0], [0, 10, 0, 0, 40], [0, 0, 10, 0, 0], [0] * 5, [0] * 5],
            "70% of the pixels are predicted as classes that no mask holds.\n"
            "  predicted: 4 person, 3 cow\n  in the masks: 0 sky, 1 road, 2 car\n",
        ),
        # All are interchanged: one in five would be right by guessing.
        (
            [[1, 50, 0, 0, 0], [50, 1, 0, 0, 0], [0] * 5, [0] * 5, [0] * 5],
            "2.0% of the pixels are right, far fewer than by guessing.\n"
            "  predicted: 0 sky, 1 road\n  in the masks: 0 sky, 1 road\n",
        ),
        # A poor network, a good one, a mask of one class that is missed, and nothing at all.
        ([[30, 0, 0, 40, 0], [20, 0, 0, 0, 10], [0] * 5, [0] * 5, [0] * 5], ""),
        (np.diag([5, 4, 3, 2, 1]), ""),
        ([[0] * 5, [7, 0, 0, 0, 0], [0] * 5, [0] * 5, [0] * 5], "100% of the pixels"),
        (np.zeros((5, 5), int), ""),
    ],
)
def test_weights_for_other_classes_are_found_out(matrix, found):
    text = find_other_classes(score(counts_of(np.array(matrix))), OTHERS)
    assert text.startswith(f"WARNING: {found}" if found else "")
    assert bool(text) == bool(found)
    if found:
        assert text.endswith("give the weights of a training with these masks.")

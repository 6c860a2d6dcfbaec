"""The headline of a report: which finding it takes, and that it counts what it says."""

import numpy as np
import pytest
from stand_ins import counts_of

from utils.evaluation.finding import find, format_share
from utils.evaluation.metrics import Counts, score

NAMES = ("background", "cell", "nucleus", "debris", "vessel", "fibre")


def finding(matrix, ignored=()):
    counts = counts_of(np.array(matrix))
    counts = Counts(counts.matrix, counts.void, counts.boundary, ignored)
    return find(score(counts), NAMES[: len(counts.void)])


def test_the_largest_confusion():
    assert finding([[8000, 100, 0], [200, 800, 0], [960, 0, 40]]) == (
        "nucleus is taken for background in 96% of its pixels",
        "960 of the 1,000 true pixels of nucleus (96%) are predicted as background: the largest "
        "such share among the 3 classes with at least 0.1% of the scored pixels.",
    )


def test_the_largest_share_counts_and_not_the_most_pixels():
    headline, _ = finding([[7000, 3000], [6, 4]])
    assert headline == "background is taken for cell in 30% of its pixels"  # cell: 0.1% - too few
    headline, _ = finding([[7000, 3000], [12, 8]])
    assert headline == "cell is taken for background in 60% of its pixels"


@pytest.mark.parametrize(
    ("wrong", "headline"),
    [
        (100, "cell is taken for background in 10% of its pixels"),
        (99, "All 2 classes have an IoU above 90%"),
    ],
)
def test_a_confusion_is_a_tenth_of_a_class(wrong, headline):
    assert finding([[9000, 0], [wrong, 1000 - wrong]]).headline == headline


@pytest.mark.parametrize(
    ("matrix", "headline"),
    [
        ([[90, 0, 2], [5, 0, 3], [0, 0, 9]], "cell is never predicted"),
        (
            [[90, 0, 0, 2], [1, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 9]],
            "nucleus and cell are never predicted",
        ),
    ],
)
def test_classes_that_are_never_predicted_come_before_a_confusion(matrix, headline):
    assert finding(matrix).headline == headline


def test_never_predicted_counts_their_pixels():
    assert finding([[90, 0, 2], [5, 0, 3], [0, 0, 9]]).detail == (
        "8 of the 109 scored pixels (7%) are of this class."
    )
    matrix = np.zeros((6, 6), int)
    matrix[:, 0] = (50, 10, 5, 8, 9, 3)
    matrix[0, 1] = 15
    matrix[1, 1] = 0
    assert finding(matrix) == (
        "vessel, debris, nucleus and fibre are never predicted",
        "25 of the 100 scored pixels (25%) are of these classes.",
    )


def test_many_classes_that_are_never_predicted_are_counted():
    matrix = np.zeros((12, 12), int)
    matrix[:, 0] = range(20, 8, -1)
    matrix[0, 1] = 1
    matrix[1, 1] = 1
    names = [f"c{index}" for index in range(12)]
    assert find(score(counts_of(matrix)), names).headline == (
        "c2, c3, c4, c5 and 6 more classes are never predicted"
    )


def test_a_rare_class_is_no_headline():
    matrix = [[9990, 0, 0], [0, 9990, 0], [9, 0, 0]]
    assert finding(matrix) == (
        "All but rare classes have an IoU above 90%",
        "The lowest is that of background: 99.91%. Rarer classes don't count here: 1 of 3.",
    )


def test_a_network_that_predicts_one_class_everywhere():
    assert finding([[90, 0, 0], [6, 0, 0], [4, 0, 0]]) == (
        "Every scored pixel is predicted as background",
        "The masks hold 3 classes; 90 of the 100 scored pixels (90%) are background.",
    )


def test_all_classes_are_fine():
    assert finding([[940, 60], [0, 1000]]) == (
        "All 2 classes have an IoU above 90%",
        "The lowest is that of background: 94.00%.",
    )


def test_the_lowest_iou_and_what_is_missed():
    # cell: 72 right, 8 missed, none taken; IoU 90%, which is not above
    assert finding([[1000, 0, 0], [7, 72, 1], [0, 0, 100]]) == (
        "cell has the lowest IoU: 90.00%",
        "Among the 3 classes with at least 0.1% of the scored pixels. Its recall is 90.00%, its "
        "precision 100.00%. 7 of the 80 true pixels of cell (9%) are predicted as background.",
    )


def test_the_lowest_iou_and_what_is_taken_for_it():
    assert finding([[1000, 40, 0], [0, 60, 0], [0, 20, 300]]) == (
        "cell has the lowest IoU: 50.00%",
        "Among the 3 classes with at least 0.1% of the scored pixels. Its recall is 100.00%, its "
        "precision 50.00%. 40 of the 120 pixels predicted as cell (33%) are background.",
    )


def test_masks_of_one_class():
    assert finding([[0, 0], [25, 75]]) == (
        "cell is found in 75% of its pixels",
        "75 of the 100 scored pixels (75%) are predicted as cell, and the masks hold no other "
        "class.",
    )


def test_nothing_is_scored():
    assert finding([[0, 0], [0, 0]]) == (
        "No pixel is scored", "The true masks hold nothing but void."
    )  # fmt: skip


def test_ignored_classes_are_no_finding_of_their_own_but_a_confusion_with_them_is():
    assert finding([[0, 0, 0], [30, 70, 0], [0, 0, 100]], ignored=(0,)).headline == (
        "cell is taken for background in 30% of its pixels"
    )


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"), (1e-9, "less than 1%"), (0.005, "less than 1%"), (0.0051, "1%"), (0.496, "50%"),
        (0.9949, "99%"), (0.995, "over 99%"), (1 - 1e-9, "over 99%"), (1, "100%"),
    ],
)  # fmt: skip
def test_shares_are_whole_percents_that_never_lie_at_the_ends(share, text):
    assert format_share(share) == text

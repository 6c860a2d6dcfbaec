"""The confusion matrix and its scores, against plain loops and hand arithmetic."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stand_ins import confusion_matrix, counts_of

from utils.evaluation.metrics import Counts, count_pixels, score, sum_counts
from utils.labels import VOID


def counted(true, predicted, num_classes):
    """The confusion matrix, one pixel at a time."""
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for one_true, one_predicted in zip(true.ravel(), predicted.ravel(), strict=True):
        if one_true < num_classes:
            matrix[one_true][one_predicted] += 1
    return matrix


def scored(matrix):
    """(iou, recall, precision, miou, accuracy) by plain loops over Python numbers."""

    def ratio(top, bottom):
        return top / bottom if bottom else math.nan

    classes = range(len(matrix))
    rows = [sum(matrix[c]) for c in classes]
    columns = [sum(row[c] for row in matrix) for c in classes]
    iou = [ratio(matrix[c][c], rows[c] + columns[c] - matrix[c][c]) for c in classes]
    recall = [ratio(matrix[c][c], rows[c]) for c in classes]
    precision = [ratio(matrix[c][c], columns[c]) for c in classes]
    known = [value for value in iou if not math.isnan(value)]
    right = sum(matrix[c][c] for c in classes)
    return iou, recall, precision, ratio(sum(known), len(known)), ratio(right, sum(rows))


@given(st.integers(1, 6), st.data())
def test_any_masks_against_plain_loops(num_classes, data):
    ids = st.one_of(st.integers(0, num_classes + 1), st.just(VOID))
    true = data.draw(arrays(np.uint8, (3, 5), elements=ids))
    predicted = data.draw(arrays(np.uint8, (3, 5), elements=st.integers(0, num_classes - 1)))
    matrix = confusion_matrix(true, predicted, num_classes)
    assert matrix.tolist() == counted(true, predicted, num_classes)
    assert matrix.sum() == np.count_nonzero(true < num_classes)
    scores = score(counts_of(matrix))
    iou, recall, precision, miou, accuracy = scored(matrix.tolist())
    np.testing.assert_allclose(scores.iou, iou, rtol=1e-12)
    np.testing.assert_allclose(scores.recall, recall, rtol=1e-12)
    np.testing.assert_allclose(scores.precision, precision, rtol=1e-12)
    np.testing.assert_allclose(scores.miou, miou, rtol=1e-12)
    np.testing.assert_allclose(scores.accuracy, accuracy, rtol=1e-12)


@pytest.mark.parametrize("num_classes", [2, 21])
def test_against_scikit_learn(rng, num_classes):
    # No class is missing, for which scikit-learn has a convention of its own.
    true = rng.integers(0, num_classes, (60, 70)).astype(np.uint8)
    predicted = np.where(rng.random(true.shape) < 0.6, true, rng.integers(0, num_classes, (60, 70)))
    true[rng.random(true.shape) < 0.1] = VOID
    matrix = confusion_matrix(true, predicted, num_classes)
    scores = score(counts_of(matrix))
    pairs = true[true != VOID], predicted[true != VOID]
    assert matrix.tolist() == sklearn.metrics.confusion_matrix(*pairs).tolist()
    for found, reference in (
        (scores.iou, sklearn.metrics.jaccard_score),
        (scores.dice, sklearn.metrics.f1_score),
        (scores.recall, sklearn.metrics.recall_score),
        (scores.precision, sklearn.metrics.precision_score),
    ):
        np.testing.assert_array_equal(found, reference(*pairs, average=None))
    assert scores.miou == sklearn.metrics.jaccard_score(*pairs, average="macro")
    weighted = sklearn.metrics.jaccard_score(*pairs, average="weighted")
    assert scores.frequency_weighted_iou == pytest.approx(weighted, rel=1e-14)
    assert scores.accuracy == sklearn.metrics.accuracy_score(*pairs)


def test_by_hand():
    true = np.array([[0, 0, 0, 1], [1, 1, 255, 255]], np.uint8)
    predicted = np.array([[0, 0, 1, 1], [1, 0, 0, 1]], np.uint8)
    matrix = confusion_matrix(true, predicted, 3)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    scores = score(counts_of(matrix))
    np.testing.assert_array_equal(scores.iou, [2 / 4, 2 / 4, np.nan])
    np.testing.assert_array_equal(scores.recall, [2 / 3, 2 / 3, np.nan])
    np.testing.assert_array_equal(scores.precision, [2 / 3, 2 / 3, np.nan])
    assert (scores.miou, scores.accuracy, scores.pixels) == (0.5, 4 / 6, 6)
    assert scores.absent == [2]


def test_all_scores_by_hand():
    counts = Counts(
        np.array([[6, 1, 0], [1, 1, 0], [0, 0, 0]]),
        np.array([3, 0, 2]),
        np.array([[2, 1, 0], [4, 5, 0]]),
    )
    scores = score(counts)
    np.testing.assert_array_equal(scores.iou, [6 / 8, 1 / 3, np.nan])
    np.testing.assert_array_equal(scores.dice, [12 / 14, 2 / 4, np.nan])
    np.testing.assert_array_equal(scores.boundary_iou, [2 / 4, 1 / 5, np.nan])
    np.testing.assert_array_equal(scores.frequency, [7 / 9, 2 / 9, 0])
    assert scores.mean_dice == (12 / 14 + 2 / 4) / 2
    assert scores.mean_boundary_iou == 0.35
    assert scores.miou_without_background == 1 / 3
    assert scores.frequency_weighted_iou == pytest.approx(7 / 9 * 6 / 8 + 2 / 9 * 1 / 3)
    assert (scores.void_pixels, scores.void_share) == (5, 5 / 14)
    assert scores.counts is counts


def test_a_matrix_alone_has_no_void_and_no_boundaries():
    scores = score(counts_of(np.diag([3, 4])))
    assert (scores.void_pixels, scores.void_share) == (0, 0)
    assert np.isnan(scores.boundary_iou).all()
    assert math.isnan(scores.mean_boundary_iou)


def test_the_background_alone_has_no_mean_without_it():
    assert math.isnan(score(counts_of(np.array([[3, 0], [0, 0]]))).miou_without_background)


def test_void_is_counted_by_predicted_class():
    true = np.array([[0, 1, 255, 255, 7]], np.uint8)
    predicted = np.array([[0, 0, 1, 1, 2]], np.uint8)
    assert count_pixels(true, predicted, 3).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 2, 1]]


def test_counts_add_up():
    total = Counts.zeros(2)
    for _ in range(2):
        total += Counts(np.array([[1, 2], [3, 4]]), np.array([5, 6]), np.array([[7, 8], [9, 10]]))
    assert total.matrix.tolist() == [[2, 4], [6, 8]]
    assert total.void.tolist() == [10, 12]
    assert total.boundary.tolist() == [[14, 16], [18, 20]]


@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 2**20 + 1, 2**21 + 3])
def test_images_of_millions_of_pixels(rng, size):
    true = rng.choice(np.array([0, 1, 2, 254, VOID], np.uint8), size)
    predicted = rng.integers(0, 255, size).astype(np.uint8)
    counts = count_pixels(true, predicted, 255)
    rows = np.where(true == VOID, 255, true).astype(np.int64)
    expected = np.zeros((256, 255), np.int64)
    np.add.at(expected, (rows, predicted), 1)
    np.testing.assert_array_equal(counts, expected)


def test_rows_are_the_truth():
    matrix = confusion_matrix(np.array([0, 0, 0]), np.array([1, 1, 0]), 2)
    assert matrix.tolist() == [[1, 2], [0, 0]]


def test_a_class_only_predicted_has_iou_0_and_no_recall():
    scores = score(counts_of(np.array([[3, 1], [0, 0]])))
    np.testing.assert_array_equal(scores.iou, [0.75, 0])
    np.testing.assert_array_equal(scores.recall, [0.75, np.nan])
    np.testing.assert_array_equal(scores.precision, [1, 0])
    assert scores.absent == []
    assert (scores.miou, scores.mean_recall, scores.mean_precision) == (0.375, 0.75, 0.5)


def test_a_class_only_in_the_truth_has_no_precision():
    scores = score(counts_of(np.array([[3, 0], [1, 0]])))
    np.testing.assert_array_equal(scores.iou, [0.75, 0])
    np.testing.assert_array_equal(scores.recall, [1, 0])
    np.testing.assert_array_equal(scores.precision, [0.75, np.nan])
    assert (scores.miou, scores.mean_recall, scores.mean_precision) == (0.375, 0.5, 0.75)


def test_void_alone_gives_nan_without_a_warning():
    matrix = confusion_matrix(np.full((2, 3), VOID, np.uint8), np.zeros((2, 3), np.uint8), 2)
    assert matrix.tolist() == [[0, 0], [0, 0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score(counts_of(matrix))
        means = [scores.miou, scores.mean_recall, scores.mean_precision, scores.accuracy]
        means += [scores.mean_dice, scores.miou_without_background, scores.mean_boundary_iou]
        means += [scores.frequency_weighted_iou, scores.void_share]
    assert all(math.isnan(value) for value in means)
    assert (scores.absent, scores.pixels) == ([0, 1], 0)


def test_the_prediction_at_void_pixels_does_not_count(rng):
    true = rng.choice([0, 1, 2, VOID], (9, 9)).astype(np.uint8)
    first, second = rng.integers(0, 3, (2, 9, 9))
    second = np.where(true == VOID, second, first)
    assert (first != second).any()
    np.testing.assert_array_equal(
        confusion_matrix(true, first, 3), confusion_matrix(true, second, 3)
    )


def test_counts_of_parts_are_counts_of_all():
    parts = [
        Counts(np.full((2, 2), n), np.array([n, 10 * n]), np.full((2, 2), 100 * n)) for n in (1, 2)
    ]
    total = sum_counts(parts)
    assert total.matrix.tolist() == [[3, 3], [3, 3]]
    assert total.void.tolist() == [3, 30]
    assert total.boundary.tolist() == [[300, 300], [300, 300]]
    assert parts[0].matrix.tolist() == [[1, 1], [1, 1]]


def test_matrices_of_parts_add_up(rng):
    true, predicted = rng.integers(0, 4, (2, 8, 8)).astype(np.uint8)
    parts = confusion_matrix(true[:3], predicted[:3], 4) + confusion_matrix(
        true[3:], predicted[3:], 4
    )
    np.testing.assert_array_equal(parts, confusion_matrix(true, predicted, 4))


def test_ids_of_eight_bits_do_not_overflow():
    true, predicted = np.array([199], np.uint8), np.array([198], np.uint8)
    assert np.argwhere(confusion_matrix(true, predicted, 200)).tolist() == [[199, 198]]


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"true has shape \(2, 3\), predicted \(3, 2\)\."):
        confusion_matrix(np.zeros((2, 3), int), np.zeros((3, 2), int), 2)


def test_a_prediction_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"A predicted id is 2; num_classes is 2\."):
        confusion_matrix(np.array([0, 1]), np.array([0, 2]), 2)


def test_a_negative_prediction_is_refused():
    with pytest.raises(ValueError, match=r"A predicted id is -1; num_classes is 2\."):
        confusion_matrix(np.array([0, 1]), np.array([0, -1]), 2)


def test_an_ignored_class_is_in_no_mean_even_where_it_is_predicted():
    matrix = np.array([[0, 0, 0], [2, 6, 1], [1, 0, 3]])  # class 0 is void in the truth
    counts = Counts(matrix, np.array([9, 0, 0]), np.array([[1, 2, 3], [4, 4, 4]]), ignored=(0,))
    scores = score(counts)
    np.testing.assert_array_equal(scores.iou, [np.nan, 6 / 9, 3 / 5])
    assert scores.miou == (6 / 9 + 3 / 5) / 2
    assert scores.mean_dice == (12 / 15 + 6 / 8) / 2
    np.testing.assert_array_equal(scores.precision, [np.nan, 1, 3 / 4])
    np.testing.assert_array_equal(scores.boundary_iou, [np.nan, 2 / 4, 3 / 4])
    assert scores.accuracy == 9 / 13  # what is predicted as it is wrong all the same
    assert (scores.ignored, scores.absent) == ([0], [])
    assert sum_counts([counts, counts]).ignored == (0,)

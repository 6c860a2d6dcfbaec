"""The confusion matrix and its scores, against plain loops and hand arithmetic."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from utils.metrics import VOID, confusion_matrix, score


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
    scores = score(matrix)
    iou, recall, precision, miou, accuracy = scored(matrix.tolist())
    np.testing.assert_allclose(scores.iou, iou, rtol=1e-12)
    np.testing.assert_allclose(scores.recall, recall, rtol=1e-12)
    np.testing.assert_allclose(scores.precision, precision, rtol=1e-12)
    np.testing.assert_allclose(scores.miou, miou, rtol=1e-12)
    np.testing.assert_allclose(scores.accuracy, accuracy, rtol=1e-12)


def test_by_hand():
    true = np.array([[0, 0, 0, 1], [1, 1, 255, 255]], np.uint8)
    predicted = np.array([[0, 0, 1, 1], [1, 0, 0, 1]], np.uint8)
    matrix = confusion_matrix(true, predicted, 3)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    scores = score(matrix)
    np.testing.assert_array_equal(scores.iou, [2 / 4, 2 / 4, np.nan])
    np.testing.assert_array_equal(scores.recall, [2 / 3, 2 / 3, np.nan])
    np.testing.assert_array_equal(scores.precision, [2 / 3, 2 / 3, np.nan])
    assert (scores.miou, scores.accuracy, scores.pixels) == (0.5, 4 / 6, 6)
    assert scores.absent == [2]


def test_rows_are_the_truth():
    matrix = confusion_matrix(np.array([0, 0, 0]), np.array([1, 1, 0]), 2)
    assert matrix.tolist() == [[1, 2], [0, 0]]


def test_a_class_only_predicted_has_iou_0_and_no_recall():
    scores = score(np.array([[3, 1], [0, 0]]))
    np.testing.assert_array_equal(scores.iou, [0.75, 0])
    np.testing.assert_array_equal(scores.recall, [0.75, np.nan])
    np.testing.assert_array_equal(scores.precision, [1, 0])
    assert scores.absent == []
    assert (scores.miou, scores.mean_recall, scores.mean_precision) == (0.375, 0.75, 0.5)


def test_a_class_only_in_the_truth_has_no_precision():
    scores = score(np.array([[3, 0], [1, 0]]))
    np.testing.assert_array_equal(scores.iou, [0.75, 0])
    np.testing.assert_array_equal(scores.recall, [1, 0])
    np.testing.assert_array_equal(scores.precision, [0.75, np.nan])
    assert (scores.miou, scores.mean_recall, scores.mean_precision) == (0.375, 0.5, 0.75)


def test_void_alone_gives_nan_without_a_warning():
    matrix = confusion_matrix(np.full((2, 3), VOID, np.uint8), np.zeros((2, 3), np.uint8), 2)
    assert matrix.tolist() == [[0, 0], [0, 0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score(matrix)
        means = scores.miou, scores.mean_recall, scores.mean_precision, scores.accuracy
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

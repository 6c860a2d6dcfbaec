"""The validation loop against a plain NumPy loop, and the scores as text and as JSON."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from errors import UserError
from utils.evaluate import evaluate, format_scores, scores_to_dict
from utils.lists import Sample, read_samples
from utils.metrics import score

NAMES = ("background", "cat", "dog")


@pytest.fixture
def sample(tmp_path, write_mask):
    """sample(ids, name): a sample with this mask; its picture is never opened."""

    def make(ids, name="one"):
        path = write_mask(tmp_path / f"{name}.png", np.array(ids, np.uint8))
        return Sample(name, tmp_path / f"{name}.jpg", path)

    return make


def predicting(masks):
    """A function that looks up a sample's prediction by its name."""
    return lambda sample: np.array(masks[sample.name], np.uint8)


@pytest.mark.parametrize("ignore_labels", [(255,), (1, 255)])
def test_all_pixels_of_a_folder_against_a_plain_loop(voc_dir, rng, ignore_labels):
    samples = read_samples(voc_dir, "train")
    masks = {one.name: np.array(Image.open(one.mask_path)) for one in samples}
    predicted = {name: rng.integers(0, 3, mask.shape) for name, mask in masks.items()}
    expected = np.zeros((3, 3), int)
    for name, mask in masks.items():
        for pixel in np.ndindex(mask.shape):
            if mask[pixel] not in ignore_labels:
                expected[mask[pixel], predicted[name][pixel]] += 1
    matrix = evaluate(predicting(predicted), samples, 3, ignore_labels, progress=False)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, expected)
    assert expected[[0, 2]].all()
    assert expected[1].any() == (1 not in ignore_labels)


def test_by_hand(sample):
    samples = [sample([[0, 0, 1, 255]]), sample([[2], [1]], "two")]
    predict = predicting({"one": [[0, 1, 1, 2]], "two": [[2], [0]]})
    assert evaluate(predict, samples, 3).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_each_sample_is_predicted_once_in_order(sample):
    samples = [sample([[0, 1]], name) for name in "cab"]
    seen = []

    def predict(one):
        seen.append(one)
        return np.zeros((1, 2), np.uint8)

    evaluate(predict, samples, 2)
    assert seen == samples


def test_pixels_count_alike_in_small_and_large_pictures(sample):
    samples = [sample(np.zeros((1, 2))), sample(np.ones((10, 10)), "large")]
    predict = predicting({"one": np.ones((1, 2)), "large": np.ones((10, 10))})
    assert evaluate(predict, samples, 2).tolist() == [[0, 2], [0, 100]]


def test_the_prediction_at_void_pixels_does_not_count(sample):
    samples = [sample([[0, 1, 255, 7]])]
    for void in (0, 1):
        predict = predicting({"one": [[0, 1, void, void]]})
        assert evaluate(predict, samples, 2, (7, 255)).tolist() == [[1, 0], [0, 1]]


def test_masks_of_void_alone(sample):
    matrix = evaluate(predicting({"one": [[0, 1]]}), [sample([[255, 255]])], 2)
    assert matrix.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("shape", "found"), [((3, 2), "2x3"), ((2, 4), "4x2"), ((1, 1), "1x1")])
def test_sizes_that_differ_are_named(sample, shape, found):
    one = sample(np.zeros((2, 3)))
    with pytest.raises(UserError) as caught:
        evaluate(predicting({"one": np.zeros(shape)}), [one], 2)
    assert str(caught.value) == (
        f"The mask {one.mask_path} is 3x2 pixels, but the prediction of 'one' is {found}. "
        "They must be equal."
    )


@pytest.mark.parametrize("value", [2, 4, 255])
def test_a_prediction_out_of_range_is_named(sample, value):
    samples = [sample([[0, 1]], "good"), sample([[0, 1]])]
    predict = predicting({"good": [[0, 1]], "one": [[1, value]]})
    with pytest.raises(UserError) as caught:
        evaluate(predict, samples, 2)
    assert str(caught.value) == (
        f"The prediction of 'one' holds the class id {value}; with num_classes=2 the ids are "
        "0 to 1."
    )


def test_a_mask_value_out_of_range_is_named(sample):
    one = sample([[0, 1, 2]])
    with pytest.raises(UserError, match=r"one\.png holds the value 2 in 1 pixels"):
        evaluate(predicting({"one": [[0, 1, 1]]}), [one], 2)


def test_progress_is_shown_on_a_terminal_if_asked_for(sample, monkeypatch):
    samples = [sample([[0, 1]])]

    def shown(terminal, **options):
        screen = io.StringIO()
        screen.isatty = lambda: terminal
        monkeypatch.setattr("sys.stderr", screen)
        evaluate(predicting({"one": [[0, 1]]}), samples, 2, **options)
        return screen.getvalue()

    assert "Evaluating" in shown(True)
    assert shown(True, progress=False) == ""
    assert shown(False) == ""  # a log file wants no bar


def test_scores_as_text():
    # IoU 6/8, 1/3, -; recall 6/7, 1/2, -; precision 6/7, 1/2, -; 7 of 9 pixels are right
    scores = score(np.array([[6, 1, 0], [1, 1, 0], [0, 0, 0]]))
    assert format_scores(scores, NAMES).splitlines() == [
        "class          IoU  recall  precision",
        "background   75.00   85.71      85.71",
        "cat          33.33   50.00      50.00",
        "dog              -       -          -",
        "mean         54.17   67.86      67.86",
        "mIoU 54.17%, accuracy 77.78%",
        "neither in the truth nor predicted, left out of the means: dog",
    ]


def test_scores_as_text_line_up_up_to_100_percent_and_short_names():
    lines = format_scores(score(np.diag([5, 7])), ("a", "b")).splitlines()
    assert lines == [
        "class     IoU  recall  precision",
        "a     100.00  100.00     100.00",
        "b     100.00  100.00     100.00",
        "mean  100.00  100.00     100.00",
        "mIoU 100.00%, accuracy 100.00%",
    ]


def test_scores_for_json():
    # Class 1 is never predicted, class 2 is only predicted, class 3 is absent.
    matrix = np.array([[2, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    values = scores_to_dict(score(matrix), (*NAMES, "猫"))
    assert json.loads(json.dumps(values, allow_nan=False)) == {
        "miou": (2 / 4 + 0 + 0) / 3,
        "mean_recall": (2 / 3 + 0) / 2,
        "mean_precision": (2 / 3 + 0) / 2,
        "accuracy": 2 / 4,
        "pixels": 4,
        "absent": ["猫"],
        "classes": [
            {"id": 0, "name": "background", "iou": 0.5, "recall": 2 / 3, "precision": 2 / 3},
            {"id": 1, "name": "cat", "iou": 0, "recall": 0, "precision": None},
            {"id": 2, "name": "dog", "iou": 0, "recall": None, "precision": 0},
            {"id": 3, "name": "猫", "iou": None, "recall": None, "precision": None},
        ],
    }


def test_scores_of_nothing():
    scores = score(np.zeros((2, 2), int))
    assert format_scores(scores, ("cat", "dog")).splitlines()[-3:] == [
        "mean       -       -          -",
        "mIoU -%, accuracy -%",
        "neither in the truth nor predicted, left out of the means: cat, dog",
    ]
    values = json.loads(json.dumps(scores_to_dict(scores, ("cat", "dog")), allow_nan=False))
    assert [values[name] for name in ("miou", "mean_recall", "mean_precision", "accuracy")] == [
        None
    ] * 4
    assert (values["pixels"], values["absent"]) == (0, ["cat", "dog"])

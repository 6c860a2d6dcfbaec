"""The validation loop against a plain NumPy loop."""

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

import utils.evaluation.evaluate
from errors import UserError
from utils.data.voc import Sample, read_samples
from utils.evaluation.boundary import boundary_counts
from utils.evaluation.evaluate import evaluate


@pytest.fixture
def sample(tmp_path, write_mask):
    """sample(ids, name): a sample with this mask; its image is never opened."""

    def make(ids, name="one"):
        path = write_mask(tmp_path / f"{name}.png", np.array(ids, np.uint8))
        return Sample(name, tmp_path / f"{name}.jpg", path)

    return make


def predicting(masks, samples):
    """An iterator of the samples' predictions, looked up by name."""
    return (np.array(masks[sample.name], np.uint8) for sample in samples)


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
    predictions = predicting(predicted, samples)
    counts = evaluate(samples, predictions, 3, ignore_labels, progress=False)
    assert counts.matrix.dtype == np.int64
    np.testing.assert_array_equal(counts.matrix, expected)
    void = [np.isin(mask, ignore_labels) for mask in masks.values()]
    assert counts.void.sum() == sum(one.sum() for one in void)
    expected = sum(
        np.bincount(predicted[name][one], minlength=3)
        for name, one in zip(masks, void, strict=True)
    )
    assert counts.void.tolist() == expected.tolist()
    assert not counts.boundary.any()  # it was not asked for
    assert counts.matrix[[0, 2]].all()
    assert counts.matrix[1].any() == (1 not in ignore_labels)


def test_by_hand(sample):
    samples = [sample([[0, 0, 1, 255]]), sample([[2], [1]], "two")]
    predictions = predicting({"one": [[0, 1, 1, 2]], "two": [[2], [0]]}, samples)
    counts = evaluate(samples, predictions, 3)
    assert counts.matrix.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert counts.void.tolist() == [0, 0, 1]


def test_each_sample_is_predicted_once_in_order(sample):
    samples = [sample([[0, 1]], name) for name in "cab"]
    seen = []

    def predict(one):
        seen.append(one)
        return np.zeros((1, 2), np.uint8)

    evaluate(samples, map(predict, samples), 2)
    assert seen == samples


def test_images_are_told_of_in_order_with_their_counts(sample, rng):
    sizes = {f"{index:02d}": (1 + index, 20 - index) for index in range(20)}
    masks = {name: rng.integers(0, 2, size) for name, size in sizes.items()}
    samples = [sample(np.where(mask, 1, 255), name) for name, mask in masks.items()]
    told = []
    total = evaluate(
        samples,
        predicting(masks, samples),
        2,
        boundary=True,
        on_image=lambda *image: told.append(image),
    )
    assert [(one, size) for one, size, _ in told] == list(zip(samples, sizes.values(), strict=True))
    for one, _, counts in told:
        mask = masks[one.name]
        assert counts.matrix.tolist() == [[0, 0], [0, mask.sum()]]
        assert counts.void.tolist() == [mask.size - mask.sum(), 0]
        true = np.where(mask, 1, 255).astype(np.uint8)
        expected = boundary_counts(true, mask.astype(np.uint8), 2)
        assert counts.boundary.tolist() == expected.tolist()
    assert total.boundary.tolist() == sum(counts.boundary for *_, counts in told).tolist()


def test_counting_goes_on_while_the_next_image_is_predicted(sample, monkeypatch):
    """Were they done in turn, the second prediction would wait for ever."""
    counted = threading.Event()
    real = utils.evaluation.evaluate.read_mask

    def read_mask(*args):
        counted.set()
        return real(*args)

    monkeypatch.setattr(utils.evaluation.evaluate, "read_mask", read_mask)

    def predictions():
        yield np.zeros((1, 2), np.uint8)
        assert counted.wait(10)
        yield np.zeros((1, 2), np.uint8)

    samples = [sample([[0, 1]], name) for name in "ab"]
    assert evaluate(samples, predictions(), 2).matrix.sum() == 4


def test_few_images_wait_to_be_counted(sample, monkeypatch):
    """Memory does not grow with the set, however slowly images are counted."""
    done, ahead = [], []
    real = utils.evaluation.evaluate.read_mask

    def read_mask(*args):
        time.sleep(0.01)
        done.append(1)
        return real(*args)

    monkeypatch.setattr(utils.evaluation.evaluate, "read_mask", read_mask)

    def predictions():
        for index in range(30):
            ahead.append(index - len(done))
            yield np.zeros((1, 2), np.uint8)

    samples = [sample([[0, 1]], f"{index}") for index in range(30)]
    evaluate(samples, predictions(), 2)
    assert 1 <= max(ahead) <= 6


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_predictions_as_samples(sample, count):
    samples = [sample([[0, 1]], name) for name in "ab"]
    with pytest.raises(ValueError, match=r"argument 2 is (shorter|longer)"):
        evaluate(samples, [np.zeros((1, 2), np.uint8)] * count, 2)


def test_what_goes_wrong_with_a_prediction_is_passed_on(sample):
    def predictions():
        yield np.zeros((1, 2), np.uint8)
        raise UserError("the image is broken")

    with pytest.raises(UserError, match="the image is broken"):
        evaluate([sample([[0, 1]], name) for name in "abc"], predictions(), 2)


def test_pixels_count_alike_in_small_and_large_images(sample):
    samples = [sample(np.zeros((1, 2))), sample(np.ones((10, 10)), "large")]
    predictions = predicting({"one": np.ones((1, 2)), "large": np.ones((10, 10))}, samples)
    assert evaluate(samples, predictions, 2).matrix.tolist() == [[0, 2], [0, 100]]


def test_the_prediction_at_void_pixels_does_not_count(sample):
    samples = [sample([[0, 1, 255, 7]])]
    for void in (0, 1):
        predictions = predicting({"one": [[0, 1, void, void]]}, samples)
        counts = evaluate(samples, predictions, 2, (7, 255))
        assert counts.matrix.tolist() == [[1, 0], [0, 1]]
        assert counts.void[void] == 2


def test_masks_of_void_alone(sample):
    counts = evaluate([sample([[255, 255]])], [np.array([[0, 1]], np.uint8)], 2)
    assert counts.matrix.tolist() == [[0, 0], [0, 0]]
    assert counts.void.tolist() == [1, 1]


@pytest.mark.parametrize(("shape", "found"), [((3, 2), "2x3"), ((2, 4), "4x2"), ((1, 1), "1x1")])
def test_sizes_that_differ_are_named(sample, shape, found):
    one = sample(np.zeros((2, 3)))
    with pytest.raises(UserError) as caught:
        evaluate([one], [np.zeros(shape, np.uint8)], 2)
    assert str(caught.value) == (
        f"The mask {one.mask_path} is 3x2 pixels, but the prediction of 'one' is {found}. "
        "They must be equal."
    )


@pytest.mark.parametrize("value", [2, 4, 255])
def test_a_prediction_out_of_range_is_named(sample, value):
    samples = [sample([[0, 1]], "good"), sample([[0, 1]])]
    predictions = predicting({"good": [[0, 1]], "one": [[1, value]]}, samples)
    with pytest.raises(UserError) as caught:
        evaluate(samples, predictions, 2)
    assert str(caught.value) == (
        f"The prediction of 'one' holds the class id {value}; with num_classes=2 the ids are "
        "0 to 1."
    )


def test_a_mask_value_out_of_range_is_named(sample):
    one = sample([[0, 1, 2]])
    with pytest.raises(UserError, match=r"one\.png holds the value 2 in 1 pixels"):
        evaluate([one], [np.array([[0, 1, 1]], np.uint8)], 2)


def test_progress_is_shown_on_a_terminal_if_asked_for(sample, monkeypatch):
    samples = [sample([[0, 1]])]

    def shown(terminal, **options):
        screen = io.StringIO()
        screen.isatty = lambda: terminal
        monkeypatch.setattr("sys.stderr", screen)
        evaluate(samples, [np.array([[0, 1]], np.uint8)], 2, **options)
        return screen.getvalue()

    assert "Evaluating" in shown(True)
    assert shown(True, progress=False) == ""
    assert shown(False) == ""  # a log file wants no bar

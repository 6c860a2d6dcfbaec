"""Faults of the data that are found before a training starts."""

import io
from functools import partial

import numpy as np
import pytest

from errors import UserError
from utils.check import check_samples, check_sizes, label_histogram
from utils.voc import Sample, read_label_ids, read_samples


@pytest.fixture
def sample(tmp_path, write_mask, write_picture):
    """sample(ids, size, name): a picture of `size`, or the mask's size, and its mask."""

    def make(ids, size=None, name="one"):
        ids = np.array(ids, np.uint8)
        picture = np.zeros((*(size or ids.shape), 3), np.uint8)
        return Sample(
            name,
            write_picture(tmp_path / f"{name}.jpg", picture),
            write_mask(tmp_path / f"{name}_mask.png", ids),
        )

    return make


@pytest.mark.parametrize("workers", [1, 3])
def test_histograms_count_the_pixels_of_every_mask(voc_dir, workers):
    samples = read_samples(voc_dir, "train")
    ids = np.concatenate([read_label_ids(one.mask_path).ravel() for one in samples])
    counts = [np.count_nonzero(ids == value) for value in range(256)]
    assert label_histogram(samples, workers, progress=False).tolist() == counts
    histogram = check_samples(samples, 4, (255,), workers, progress=False)
    assert histogram.dtype == np.int64
    assert histogram.tolist() == counts[:4]
    assert counts[255] > 0
    assert histogram[3] == 0


def test_histograms_by_hand(sample):
    samples = [sample([[0, 0, 1, 255]]), sample([[2, 2], [2, 254]], name="two")]
    assert check_samples(samples, 3, (254, 255)).tolist() == [2, 1, 3]
    assert check_samples(samples, 3, (0, 254, 255)).tolist() == [0, 1, 3]
    counts = label_histogram(samples)
    assert counts.shape == (256,)
    assert {int(v): int(counts[v]) for v in np.flatnonzero(counts)} == {
        0: 2, 1: 1, 2: 3, 254: 1, 255: 1,
    }  # fmt: skip


def test_progress_is_shown_on_a_terminal_if_asked_for(sample, monkeypatch):
    samples = [sample([[0, 1]])]

    def shown(function, terminal, **options):
        screen = io.StringIO()
        screen.isatty = lambda: terminal
        monkeypatch.setattr("sys.stderr", screen)
        function(samples, **options)
        return screen.getvalue()

    check = partial(check_samples, num_classes=2, ignore_labels=())
    assert "Checking the data" in shown(check, True)
    assert "Reading the masks" in shown(label_histogram, True)
    assert shown(check, True).endswith("\r")  # the bar is wiped away
    for function in (check, label_histogram):
        assert shown(function, True, progress=False) == ""
        assert shown(function, False) == ""  # a log file wants no bar


@pytest.mark.parametrize(
    "function", [label_histogram, lambda samples: check_samples(samples, 2, ())]
)
def test_sizes_that_differ_are_named(sample, function):
    one = sample(np.eye(4, 6), size=(6, 4))
    with pytest.raises(UserError) as caught:
        function([sample([[0, 1]], name="good"), one])
    assert str(caught.value) == (
        f"The picture {one.image_path} is 4x6 pixels, but its mask {one.mask_path} is 6x4. "
        "They must be equal; check that they belong together."
    )


def test_check_sizes_accepts_equal_sizes(sample):
    one = sample(np.eye(4, 6))
    check_sizes(one, (4, 6))
    with pytest.raises(UserError, match="is 6x4 pixels"):
        check_sizes(one, (6, 4))


def test_a_broken_picture_is_named(sample):
    one = sample([[0, 1]])
    one.image_path.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"The picture .*one\.jpg can't be read"):
        check_samples([one], 2, ())


def test_a_broken_mask_is_named(sample):
    one = sample([[0, 1]])
    one.mask_path.write_bytes(one.mask_path.read_bytes()[:40])
    for function in (label_histogram, lambda samples: check_samples(samples, 2, ())):
        with pytest.raises(UserError, match=r"The mask .*one_mask\.png can't be read"):
            function([one])


def test_a_value_beyond_the_classes_is_named(sample):
    samples = [sample([[0, 1]], name="good"), sample([[0, 1, 5, 5]])]
    with pytest.raises(UserError, match=r"The mask .*one_mask\.png holds the value 5 in 2 pixels"):
        check_samples(samples, 2, (255,), progress=False)


def test_the_first_fault_in_the_list_s_order_is_reported(sample):
    samples = [sample([[0, 9]], name=f"s{number}") for number in range(20)]
    with pytest.raises(UserError, match="s0_mask"):
        check_samples(samples, 2, (255,), workers=4, progress=False)


@pytest.mark.parametrize(
    ("ids", "ignore_labels", "found"),
    [
        ([[0, 0]], (255,), "[0]"),
        ([[0, 255]], (255,), "[0]"),
        ([[1, 1]], (255,), "[1]"),
        ([[0, 1]], (0,), "[1]"),
        ([[255, 255]], (255,), "[]"),
    ],
)
def test_fewer_than_two_classes_are_refused(sample, ids, ignore_labels, found):
    samples = [sample(ids), sample(ids, name="two")]
    with pytest.raises(UserError) as caught:
        check_samples(samples, 2, ignore_labels)
    assert str(caught.value) == (
        f"In all 2 masks, the only class ids that count are {found}: there is nothing to learn. "
        f"Void: {ignore_labels}. Masks with 0 and 255 must be changed to 0 and 1."
    )


@pytest.mark.parametrize(("least_classes", "enough"), [(1, True), (2, True), (3, False)])
def test_how_many_classes_must_occur_can_be_chosen(sample, least_classes, enough):
    samples = [sample([[0, 1]])]
    if enough:
        check_samples(samples, 4, (), least_classes=least_classes)
    else:
        with pytest.raises(UserError, match=r"class ids that count are \[0, 1\]"):
            check_samples(samples, 4, (), least_classes=least_classes)


def test_classes_may_stand_in_different_masks(sample):
    samples = [sample([[0, 0]]), sample([[1]], name="two")]
    assert check_samples(samples, 2, (255,)).tolist() == [2, 1]

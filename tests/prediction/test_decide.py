"""From probabilities to classes: thresholds, and what is kept besides."""

import re

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import ColorNet, blocks

from errors import UserError
from utils.images.transforms import letterbox_image
from utils.prediction.decide import (
    Decision,
    Details,
    Keep,
    Sheet,
    parse_thresholds,
    resolve_thresholds,
)
from utils.prediction.inference import predict_mask
from utils.prediction.stream import predict_all
from utils.prediction.tiles import predict_tiles, predict_windows

NAMES = ("background", "cell", "nucleus")


def decide(rows, *thresholds):
    """The classes of probabilities in tenths, e.g. (7, 3)."""
    probabilities = np.array(rows, np.float32) / 10
    return Decision(thresholds).classes_of(probabilities).tolist()


def test_without_thresholds_the_most_probable():
    assert decide([(5, 4, 1), (3, 3, 4), (2, 4, 4)]) == [0, 2, 1]


def test_of_two_classes_a_low_threshold_makes_more_and_a_high_one_fewer():
    rows = [(8, 2), (7, 3), (6, 4), (4, 6), (3, 7), (2, 8)]
    assert decide(rows) == [0, 0, 0, 1, 1, 1]
    assert decide(rows, (1, 0.3)) == [0, 1, 1, 1, 1, 1]
    assert decide(rows, (1, 0.7)) == [0, 0, 0, 0, 1, 1]
    # Of the background, it is the other way round.
    assert decide(rows, (0, 0.3)) == [0, 0, 0, 0, 0, 1]


def test_below_its_threshold_the_next_best_is_taken():
    rows = [(1, 3, 6), (3, 1, 6), (0, 2, 8), (4, 4, 2)]
    assert decide(rows, (2, 0.7)) == [1, 0, 2, 0]


def test_above_its_threshold_a_class_is_taken_even_if_another_is_more_probable():
    assert decide([(1, 6, 3), (1, 7, 2)], (2, 0.3)) == [2, 1]


def test_of_several_that_reach_theirs_the_most_probable():
    rows = [(1, 5, 4), (1, 4, 5), (5, 3, 2), (2, 4, 4)]
    assert decide(rows, (1, 0.4), (2, 0.3)) == [1, 2, 0, 1]


def test_the_background_where_all_classes_have_thresholds_and_none_reaches_its():
    assert decide([(2, 4, 4), (2, 3, 5)], (0, 0.9), (1, 0.5), (2, 0.5)) == [0, 2]


def decide_by_hand(row, thresholds):
    reached = [class_id for class_id in thresholds if row[class_id] >= thresholds[class_id]]
    others = [class_id for class_id in range(len(row)) if class_id not in thresholds]
    candidates = reached or others or [0]
    return max(sorted(candidates), key=lambda class_id: row[class_id])


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 5))
def test_it_is_the_rule(seed, classes):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), (6, 7)).astype(np.float32)
    chosen = rng.permutation(classes)[: rng.integers(0, classes + 1)].tolist()
    # As float32, so that both compare the same numbers.
    thresholds = {class_id: float(np.float32(rng.uniform(0.1, 0.9))) for class_id in chosen}
    found = Decision(tuple(sorted(thresholds.items()))).classes_of(probabilities)
    assert (found.shape, found.dtype) == ((6, 7), np.uint8)
    for place in np.ndindex(6, 7):
        assert found[place] == decide_by_hand(probabilities[place].tolist(), thresholds)


def test_a_threshold_in_decimals_is_reached_by_the_same_number():
    assert Decision(((1, 0.7),)).classes_of(np.float32([[0.3, 0.7]])).tolist() == [1]


def test_words_for_a_decision():
    assert Decision().describe(NAMES) == Decision((), 1).describe(NAMES) == ""
    assert Decision(((2, 0.3),), 1200).describe(NAMES) == (
        "nucleus from 0.3 on, regions of at least 1,200 pixels"
    )


# Thresholds as users give them


def test_thresholds_are_read():
    assert parse_thresholds(()) == {}
    assert parse_thresholds(("nucleus:0.3", " a : b : 1", "2:.5")) == {
        "nucleus": 0.3, "a : b": 1.0, "2": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["nucleus", "nucleus:", ":0.3", "0.3", "a:0", "a:1.1", "a:-1", "a:nan", "a:x", " :1"]
)
def test_other_texts_are_refused(text):
    message = (
        f"threshold has the part {text!r}. Expected a class, by name or id, and a probability above"
        " 0 and up to 1: nucleus:0.3, or 2:0.3."
    )
    with pytest.raises(UserError, match=re.escape(message)):
        parse_thresholds((text,))


def test_a_class_that_is_typed_twice_is_refused():
    with pytest.raises(UserError, match=r"threshold names 'a' twice\. Give each class once"):
        parse_thresholds(("a:0.3", "a:0.4"))


def test_classes_are_found_by_name_or_id():
    assert resolve_thresholds({"nucleus": 0.3, "0": 0.5}, NAMES) == ((0, 0.5), (2, 0.3))
    assert resolve_thresholds({1: 0.3}, NAMES) == ((1, 0.3),)
    # A name comes first.
    assert resolve_thresholds({"2": 0.5}, ("2", "1", "0")) == ((0, 0.5),)
    assert resolve_thresholds({"2": 0.5}, ["a", "b", "a"]) == ((2, 0.5),)


@pytest.mark.parametrize(
    ("thresholds", "names", "message"),
    [
        ({"nuclei": 0.5}, NAMES, "threshold names the class 'nuclei'. Expected one of: 0 backgr"),
        ({"3": 0.5}, NAMES, "threshold names the class '3'. Expected one of: 0 background, 1 cell"),
        ({"2": 0.5, "nucleus": 0.4}, NAMES, "threshold names the class 'nucleus' twice."),
        ({"a": 0.5}, ("a", "b", "a"), "several have that name. Give its id, one of 0, 2."),
        ({"cell": 0}, NAMES, "The threshold of 'cell' must be above 0 and up to 1; got 0."),
        ({"cell": 70}, NAMES, "The threshold of 'cell' must be above 0 and up to 1; got 70."),
    ],
)
def test_thresholds_that_mean_nothing_are_refused(thresholds, names, message):
    with pytest.raises(UserError, match=re.escape(message)):
        resolve_thresholds(thresholds, names)


# What is kept

ALL = Keep(True, "float32")


def test_what_is_kept_takes_memory():
    assert Keep().bytes_of_pixel(5) == 0
    assert Keep(True).bytes_of_pixel(5) == 1
    assert Keep(True, "float16").bytes_of_pixel(5) == 11
    assert ALL.bytes_of_pixel(5) == 21


def test_probabilities_of_a_huge_image_are_refused():
    Keep(True).check_size((10**5, 10**5), 21)
    Keep(False, "float16").check_size((10_000, 9_000), 21)
    message = (
        "The probabilities of an image of 10000x9600 pixels and 21 classes take 4.0 GB; at most 4 "
        "GB are kept. Cut the image, or leave out probabilities."
    )
    with pytest.raises(UserError, match=re.escape(message)):
        Keep(False, "float16").check_size((9_600, 10_000), 21)


def test_nothing_is_kept_unless_asked_for():
    image, mask = blocks(48, 64, side=8)
    sheet = Sheet((48, 64))
    np.testing.assert_array_equal(predict_mask(ColorNet(), image, (48, 64), sheet=sheet), mask)
    assert sheet.details == Details(None, None)


def kept(way, image, keep=ALL, decision=None):
    """(mask, Details) of an image, predicted in one of the ways; the network's size is 64x64."""
    sheet = Sheet(image.shape[:2], decision, keep)
    if way == "tiles":
        mask = predict_tiles(ColorNet(), image, (64, 64), 2, sheet=sheet)
    elif way == "windows":
        mask = predict_windows(ColorNet(), image, (96, 128), (64, 64), 2, sheet=sheet)
    else:
        mask = predict_mask(ColorNet(), image, (64, 64), sheet=sheet)
    assert mask is sheet.mask
    return mask, sheet.details


@pytest.mark.parametrize("size", [(100, 150), (64, 64), (30, 41), (200, 90)])
@pytest.mark.parametrize("way", ["whole", "tiles", "windows"])
def test_probabilities_and_confidence_fit_the_mask(way, size):
    image, _ = blocks(*size, side=11)
    mask, (confidence, probabilities) = kept(way, image)
    assert (probabilities.shape, probabilities.dtype) == ((*size, 3), np.float32)
    assert (confidence.shape, confidence.dtype) == (size, np.uint8)
    np.testing.assert_array_equal(probabilities.argmax(axis=-1), mask)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    highest = np.minimum(probabilities.max(axis=-1), 1)
    np.testing.assert_array_equal(confidence, np.rint(255 * highest))
    # What is kept changes nothing of the mask.
    np.testing.assert_array_equal(kept(way, image, keep=None)[0], mask)


def test_half_as_many_bytes():
    image, _ = blocks(100, 150, side=11)
    whole, half = (kept("whole", image, Keep(False, kind))[1] for kind in ("float32", "float16"))
    assert half.confidence is None
    assert half.probabilities.dtype == np.float16
    np.testing.assert_array_equal(half.probabilities, whole.probabilities.astype(np.float16))


@pytest.mark.parametrize("way", ["whole", "tiles", "windows"])
def test_thresholds_and_small_regions_hold_in_each_way(way):
    image = cv2.blur(blocks(100, 150, side=11)[0], (9, 9))
    _, (confidence, probabilities) = kept(way, image)
    low = Decision(((2, 0.1),))
    mask, details = kept(way, image, ALL, low)
    np.testing.assert_array_equal(mask, low.classes_of(probabilities))
    assert np.count_nonzero(mask == 2) > np.count_nonzero(probabilities.argmax(axis=-1) == 2)
    # Neither changes what is kept.
    for decision in (low, Decision((), 10**6)):
        mask, details = kept(way, image, ALL, decision)
        np.testing.assert_array_equal(details.confidence, confidence)
        np.testing.assert_array_equal(details.probabilities, probabilities)
    assert len(np.unique(mask)) == 1


def test_a_canvas_is_enlarged_as_its_mask_is():
    image, _ = blocks(50, 120, side=7)
    _, box = letterbox_image(image, (96, 128))
    rng = np.random.default_rng(0)
    canvas, sheet = Sheet((96, 128), keep=ALL), Sheet((50, 120), keep=ALL)
    canvas.put(slice(0, 96), slice(0, 128), rng.dirichlet(np.ones(4), (96, 128)))
    sheet.enlarge(canvas, box)
    np.testing.assert_array_equal(sheet.details.probabilities.argmax(axis=-1), sheet.finish())


@pytest.mark.parametrize("settings", [{"tile": None}, {"tile": True}, {"window": (64, 64)}])
def test_many_images_are_kept_as_each_alone(settings):
    images = {name: blocks(60 + 40 * index, 90, side=9)[0] for index, name in enumerate("abc")}
    window = settings.get("window")
    shape = (96, 128) if window else (64, 64)
    decision = Decision(((1, 0.2),), 30)
    outcomes = list(
        predict_all(
            ColorNet(),
            list(images),
            shape,
            finish=lambda name, pixels, mask, details: (mask, details),
            read=images.get,
            batch_size=2,
            decision=decision,
            keep=ALL,
            weight=5,
            **settings,
        )
    )
    way = "windows" if window else "tiles" if settings["tile"] else "whole"
    for outcome, image in zip(outcomes, images.values(), strict=True):
        mask, details = kept(way, image, ALL, decision)
        np.testing.assert_array_equal(outcome.value[0], mask)
        for found, expected in zip(outcome.value[1], details, strict=True):
            np.testing.assert_array_equal(found, expected)

"""Which images a report shows, and what they look like."""

import base64
import io

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from utils.data.voc import Sample
from utils.evaluation.gallery import (
    LEFT_OUT,
    RIGHT,
    WRONG,
    choose,
    class_colors,
    error_map,
    thumbnails,
)
from utils.evaluation.score_tables import ImageScore


def images(mious):
    return [ImageScore(None, (1, 1), 1, 0, 0.5, miou, None) for miou in mious]


def mious(group):
    return [one.miou for one in group]


def decoded(uri):
    head, data = uri.split(",")
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert head == f"data:image/{image.format.lower()};base64"
    return image


def test_the_worst_and_those_around_the_median(rng):
    values = [index / 100 for index in range(100)]
    worst, median = choose(images(rng.permutation(values)))
    assert mious(worst) == values[:6]
    assert mious(median) == values[47:53]


@pytest.mark.parametrize(
    ("count", "around"),
    # The six about the middle of 8 are 1 to 6, of 10 2 to 7, of 13 3 to 8.
    [(1, []), (6, []), (7, []), (8, [6]), (10, [6, 7]), (13, [6, 7, 8]), (18, list(range(6, 12)))],
)
def test_few_images(count, around):
    worst, median = choose(images(range(count)))
    assert mious(worst) == list(range(min(count, 6)))
    assert mious(median) == around


@given(st.lists(st.one_of(st.floats(0, 1), st.just(np.nan)), max_size=30), st.integers(1, 8))
def test_no_image_is_shown_twice(values, count):
    given = images(values)
    worst, median = choose(given, count)
    known = [one for one in given if not np.isnan(one.miou)]
    assert len(worst) == min(count, len(known))
    assert len({id(one) for one in worst + median}) == len(worst) + len(median)
    assert mious(worst + median) == sorted(mious(worst + median))
    if len(known) >= 3 * count:
        assert len(median) == count


def test_errors_by_hand():
    colors = error_map(np.array([[0, 1, 255]], np.uint8), np.array([[0, 0, 0]], np.uint8))
    assert colors.dtype == np.uint8
    assert colors.tolist() == [[list(RIGHT), list(WRONG), list(LEFT_OUT)]]


def test_colors_of_classes():
    assert class_colors(4) == ["#000000", "#800000", "#008000", "#808000"]


@pytest.fixture
def drawn(tmp_path, write_mask, write_image):
    """drawn(image, true, predicted, **options): the thumbnails, decoded."""

    def draw(image, true, predicted, num_classes=3, ignore_labels=(255,)):
        sample = Sample(
            "one", write_image(tmp_path / "p.png", image), write_mask(tmp_path / "t.png", true)
        )
        path = write_mask(tmp_path / "one.png", predicted)
        uris = thumbnails(sample, path, num_classes, ignore_labels)
        return {title: decoded(uri) for title, uri in uris.items()}

    return draw


def test_a_small_image_is_shown_as_it_is(drawn, rng):
    image = np.full((9, 7, 3), (200, 100, 50), np.uint8)
    true = rng.choice([0, 1, 2, 3, 255], (9, 7)).astype(np.uint8)
    predicted = rng.integers(0, 3, (9, 7)).astype(np.uint8)
    shown = drawn(image, true, predicted, 3, (3, 255))
    assert list(shown) == ["image", "truth", "prediction", "errors"]
    assert shown["image"].format == "JPEG"
    np.testing.assert_allclose(np.array(shown["image"]), image, atol=4)
    true = np.where(true == 3, 255, true)
    colors = np.zeros((256, 3), np.uint8)
    colors[1], colors[2], colors[255] = (128, 0, 0), (0, 128, 0), (255, 255, 255)
    for title, ids in (("truth", true), ("prediction", predicted)):
        np.testing.assert_array_equal(np.array(shown[title].convert("RGB")), colors[ids])
    np.testing.assert_array_equal(np.array(shown["errors"]), error_map(true, predicted))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((960, 1920), (240, 480)),
        ((1920, 960), (480, 240)),
        ((700, 3), (480, 2)),
        ((1, 481), (1, 480)),
    ],
)
def test_a_large_image_is_shown_small(drawn, size, expected):
    mask = np.zeros(size, np.uint8)
    shown = drawn(np.zeros((*size, 3), np.uint8), mask, mask)
    assert {(one.height, one.width) for one in shown.values()} == {expected}


def test_thin_errors_show_in_a_small_image(drawn):
    true = np.zeros((1440, 1440), np.uint8)
    predicted = true.copy()
    predicted[::7] = 1  # rows; a third of the rows are shown
    errors = np.array(drawn(np.zeros((1440, 1440, 3), np.uint8), true, predicted)["errors"])
    rows = (errors != RIGHT).any(axis=(1, 2)).sum()
    assert rows == len(range(0, 1440, 7))


def test_an_image_of_five_bands_shows_its_first_three(drawn, tmp_path, write_mask):
    pixels = np.full((9, 7, 5), (200, 100, 50, 0, 255), np.uint8)
    path = tmp_path / "five.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
    mask = write_mask(tmp_path / "m.png", np.zeros((9, 7), np.uint8))
    shown = decoded(thumbnails(Sample("one", path, mask), mask, 2, ())["image"])
    np.testing.assert_allclose(np.array(shown), pixels[..., :3], atol=4)

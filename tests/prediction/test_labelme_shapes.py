"""labelme's shapes: their order, their pixels by Pillow's rule, and by their centres."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from random_masks import random_mask

from utils.convert.rasterize import fill_polygon
from utils.prediction import labelme_shapes
from utils.prediction.labelme_shapes import find_labelme_shapes


def as_labelme_does(points, size):
    """labelme's own shape_to_mask, of a polygon."""
    canvas = Image.fromarray(np.zeros(size, np.uint8))
    ImageDraw.Draw(canvas).polygon(xy=list(map(tuple, points)), outline=1, fill=1)
    return np.array(canvas, dtype=bool)


def by_centres(points, size):
    return fill_polygon(list(map(tuple, points.tolist())), size)


def paint(shapes, size, draw):
    ids, covered = np.zeros(size, np.uint8), np.zeros(size, bool)
    for class_id, points in shapes:
        inside = draw(points, size)
        ids[inside] = class_id
        covered |= inside
    return ids, covered


@pytest.mark.parametrize("number", range(60))
@pytest.mark.parametrize("draw", [as_labelme_does, by_centres])
def test_both_rules_give_the_mask(number, draw):
    mask = random_mask(number, most=30)
    ids, _ = paint(find_labelme_shapes(mask, 0), mask.shape, draw)
    np.testing.assert_array_equal(ids, mask)


def test_what_is_in_a_hole_comes_after_it():
    mask = np.zeros((20, 20), np.uint8)
    mask[1:19, 1:19], mask[3:17, 3:17], mask[5:9, 5:9], mask[10:12, 10:12] = 1, 0, 2, 1
    mask[6, 6] = 0
    classes = [class_id for class_id, _ in find_labelme_shapes(mask, 0)]
    assert classes == [1, 0, 2, 1, 0]


def test_the_background_is_written_only_in_holes():
    mask = np.zeros((9, 9), np.uint8)
    mask[4] = 1  # from edge to edge
    mask[2, :3] = mask[:3, 2] = 2  # with the image's corner
    assert [class_id for class_id, _ in find_labelme_shapes(mask, 0)] == [1, 2]
    assert find_labelme_shapes(np.zeros((3, 3), np.uint8), 1) == []


def test_between_two_regions_there_is_no_hole():
    # Together they surround some background, which neither of them covers.
    mask = np.zeros((7, 8), np.uint8)
    mask[1:6, 1:4], mask[1:6, 4:7], mask[3, 3:5] = 1, 2, 0
    assert [class_id for class_id, _ in find_labelme_shapes(mask, 0)] == [1, 2]


def test_a_single_pixel_is_a_square():
    mask = np.zeros((3, 4), np.uint8)
    mask[1, 2] = 1
    [(_, points)] = find_labelme_shapes(mask, 1)
    assert points.tolist() == [[2.01, 1.01], [2.99, 1.01], [2.99, 1.99], [2.01, 1.99]]


@pytest.mark.parametrize("tolerance", [0.5, 1, 4])
def test_neighbours_leave_hardly_a_gap(rng, tolerance):
    fields = [cv2.GaussianBlur(rng.normal(size=(150, 200)), (0, 0), 8) for _ in range(4)]
    mask = 1 + np.argmax(fields, axis=0).astype(np.uint8)  # no background
    shapes = find_labelme_shapes(mask, tolerance)
    assert len(shapes) > 10
    _, covered = paint(shapes, mask.shape, as_labelme_does)
    assert np.count_nonzero(~covered) < mask.size / 500


@pytest.mark.parametrize(("drawn", "tolerance"), [(0, 0), (0, 1), (1, 0)])
def test_what_pillow_would_draw_wrongly_is_a_mask(monkeypatch, drawn, tolerance):
    mask = np.zeros((30, 40), np.uint8)
    mask[10:20, 12:30] = 3
    mask[12, 14] = 0
    monkeypatch.setattr(
        labelme_shapes, "_paint", lambda points, size: np.full(size, drawn, np.uint8) > 0
    )
    shapes = find_labelme_shapes(mask, tolerance)
    class_id, (left, top, crop) = shapes[0]
    assert (class_id, left, top, crop.shape) == (3, 12, 10, (10, 18))
    assert crop.all()  # the hole is painted over
    assert shapes[1][0] == 0

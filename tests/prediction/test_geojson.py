"""GeoJSON: as RFC 7946 wants it, and the mask again for another reader."""

import json
from itertools import pairwise

import numpy as np
import pytest
import shapely
from random_masks import distance_from_outlines, random_mask
from shapely import geometry

from utils.prediction.geojson import find_polygons, write_geojson
from utils.prediction.polygons import is_valid

NAMES = ("cell", 'a "b"', "猫", "tree")


@pytest.fixture
def write(tmp_path):
    """write(mask, tolerance): the features of the file."""

    def run(mask, tolerance=0):
        path = tmp_path / "geojson" / "a.geojson"
        write_geojson(path, mask, NAMES, tolerance)
        content = json.loads(path.read_text(encoding="utf-8"))
        assert set(content) == {"type", "features"}
        assert content["type"] == "FeatureCollection"
        return content["features"]

    return run


def rings_of(feature):
    """Lists of rings, one for each polygon."""
    kind, coordinates = feature["geometry"]["type"], feature["geometry"]["coordinates"]
    assert kind in ("Polygon", "MultiPolygon")
    assert kind == "Polygon" or len(coordinates) > 1
    return [coordinates] if kind == "Polygon" else coordinates


def signed_area(ring):
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring)) / 2


def assert_rfc_7946(feature):
    assert set(feature) == {"type", "geometry", "properties"}
    assert feature["type"] == "Feature"
    for outer, *holes in rings_of(feature):
        for ring in (outer, *holes):
            assert len(ring) >= 4
            assert ring[0] == ring[-1]
            assert all(len(position) == 2 for position in ring)
        assert signed_area(outer) > 0  # anticlockwise, y up
        assert all(signed_area(hole) < 0 for hole in holes)


def read_mask(features, size):
    """The mask by shapely: each pixel by its centre."""
    y, x = np.indices(size) + 0.5
    found = np.zeros(size, np.uint8)
    for feature in features:
        shape = geometry.shape(feature["geometry"])
        assert shape.is_valid, shapely.is_valid_reason(shape)
        name = feature["properties"]["classification"]["name"]
        inside = shapely.contains_xy(shape, x, y)
        assert not found[inside].any()  # no two in one place
        found[inside] = 1 + NAMES.index(name)
    return found


@pytest.mark.parametrize("number", range(100))
def test_masks_come_back_by_another_reader(write, number):
    mask = random_mask(number)
    features = write(mask)
    for feature in features:
        assert_rfc_7946(feature)
    np.testing.assert_array_equal(read_mask(features, mask.shape), mask)


@pytest.mark.parametrize("tolerance", [0.5, 1, 3.5])
@pytest.mark.parametrize("number", range(200, 225))
def test_simplified_outlines_are_polygons_within_the_tolerance(write, number, tolerance):
    mask = random_mask(number, 20, 60)
    y, x = np.indices(mask.shape) + 0.5
    for feature in write(mask, tolerance):
        assert_rfc_7946(feature)
        shape = geometry.shape(feature["geometry"])
        assert shape.is_valid, shapely.is_valid_reason(shape)
        inside = shapely.contains_xy(shape, x, y)
        class_id = 1 + NAMES.index(feature["properties"]["classification"]["name"])
        outside = inside & (mask != class_id)
        assert np.all(distance_from_outlines(mask)[outside] <= tolerance + 1e-4)


def test_simplifying_leaves_out_points(write):
    y, x = np.indices((60, 60)) - 30
    mask = (np.hypot(x, y) < 25).astype(np.uint8)
    counts = [len(write(mask, tolerance)[0]["geometry"]["coordinates"][0]) for tolerance in (0, 1)]
    assert counts[1] < counts[0] / 3


def test_by_hand(write):
    mask = np.zeros((4, 5), np.uint8)
    mask[0:3, 1:4] = 1
    mask[1, 2] = 0
    mask[3, 4] = 4
    first, second = write(mask)
    assert first["geometry"] == {
        "type": "Polygon",
        "coordinates": [
            [[1, 0], [4, 0], [4, 3], [1, 3], [1, 0]],
            [[2, 2], [3, 2], [3, 1], [2, 1], [2, 2]],
        ],
    } or shapely.equals(
        geometry.shape(first["geometry"]),
        geometry.box(1, 0, 4, 3) - geometry.box(2, 1, 3, 2),
    )
    assert first["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "cell", "color": [128, 0, 0]},  # as VOC colours class 1
    }
    assert second["properties"]["classification"] == {"name": "tree", "color": [0, 0, 128]}


def test_parts_that_touch_by_a_corner_are_a_multipolygon(write):
    [feature] = write(np.eye(3, dtype=np.uint8))
    assert feature["geometry"]["type"] == "MultiPolygon"
    squares = [geometry.Polygon(outer) for [outer] in rings_of(feature)]
    assert [square.bounds for square in squares] == [(0, 0, 1, 1), (1, 1, 2, 2), (2, 2, 3, 3)]


def test_a_hole_that_touches_the_outline_by_a_corner(write):
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint8)
    [feature] = write(mask)
    assert_rfc_7946(feature)
    [[_, _]] = rings_of(feature)
    np.testing.assert_array_equal(read_mask([feature], mask.shape), mask)


def test_a_mask_without_regions_is_an_empty_collection(write):
    assert write(np.zeros((3, 4), np.uint8)) == []


def test_a_failure_leaves_no_file(tmp_path):
    with pytest.raises(IndexError):
        write_geojson(tmp_path / "a.geojson", np.full((3, 4), 9, np.uint8), NAMES, 0)
    assert list(tmp_path.iterdir()) == []


# Which rings are a polygon

SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]
HOLE = [(2, 2), (2, 4), (4, 4), (4, 2)]


def moved(ring, x, y):
    return [(a + x, b + y) for a, b in ring]


@pytest.mark.parametrize(
    ("rings", "expected"),
    [
        ([SQUARE], True),
        ([SQUARE, HOLE, moved(HOLE, 4, 0)], True),
        ([SQUARE[:2]], False),
        ([SQUARE[::-1]], False),
        ([SQUARE, HOLE[::-1]], False),
        ([[(0, 0), (10, 10), (10, 0), (0, 9)]], False),  # crosses itself
        ([[(0, 0), (10, 0), (10, 10), (5, 0), (0, 10)]], False),  # a point on an edge
        ([[(0, 0), (10, 0), (10, 10), (10, 4), (5, 3)]], False),  # turns back along an edge
        ([[(0, 0), (4, 0), (2, 2), (4, 4), (0, 4), (2, 2)]], False),  # a point twice
        ([[(0, 0), (4, 0), (8, 0), (8, 8)]], True),  # a point on the way
        ([SQUARE, moved(HOLE, 7, 0)], False),  # a hole that crosses the outline
        ([SQUARE, moved(HOLE, -2, 0)], False),  # one that lies along it
        ([SQUARE, moved(HOLE, 20, 0)], False),  # one outside
        ([SQUARE, [(1, 1), (1, 9), (9, 9), (9, 1)], HOLE], False),  # one in another
        ([SQUARE, HOLE, moved(HOLE, 2, 2)], False),  # two that touch
    ],
)
def test_rings_of_a_polygon(rings, expected):
    assert is_valid([np.array(ring) for ring in rings]) == expected


def test_it_is_what_shapely_says():
    """Random rings of few points, of which some cross."""
    rng, seen = np.random.default_rng(0), set()
    for _ in range(1500):
        ring = rng.integers(0, 9, (rng.integers(3, 7), 2))
        if np.any((ring == np.roll(ring, 1, axis=0)).all(axis=1)):
            continue
        shape = geometry.Polygon(ring)
        expected = shape.is_valid and signed_area([*ring.tolist(), ring[0].tolist()]) > 0
        assert is_valid([ring]) == expected, ring
        seen.add(expected)
    assert seen == {True, False}


def test_a_polygon_of_each_region(rng):
    mask = rng.integers(0, 3, (9, 9)).astype(np.uint8)
    assert {class_id for class_id, _ in find_polygons(mask, 0)} == {1, 2}

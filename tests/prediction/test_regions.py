"""Regions: found as a plain flood fill finds them, and written as a table."""

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from utils.prediction import measures
from utils.prediction.regions import (
    Region,
    check_pixel_size,
    find_regions,
    number_regions,
    write_regions,
)

NAMES = ("background", "cell", "tree")


def flood_fill(mask, num_classes):
    """The regions, each filled from its first pixel, neighbour by neighbour."""
    seen = np.zeros(mask.shape, bool)
    found = []
    for start in np.ndindex(mask.shape):
        if seen[start] or mask[start] >= num_classes:
            continue
        seen[start], queue, pixels = True, [start], []
        while queue:
            row, column = queue.pop()
            pixels.append((row, column))
            for y in range(max(0, row - 1), min(row + 2, mask.shape[0])):
                for x in range(max(0, column - 1), min(column + 2, mask.shape[1])):
                    if not seen[y, x] and mask[y, x] == mask[start]:
                        seen[y, x] = True
                        queue.append((y, x))
        found.append((int(mask[start]), np.array(pixels)))
    regions, numbers = [], [0] * num_classes
    for class_id, pixels in sorted(found, key=lambda pair: pair[0]):
        numbers[class_id] += 1
        (top, left), (bottom, right) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
        y, x = pixels.mean(axis=0).tolist()
        box = left, top, right - left + 1, bottom - top + 1
        perimeter = count_sides(pixels.tolist())
        regions.append(Region(class_id, numbers[class_id], len(pixels), x, y, *box, perimeter))
    return regions


def count_sides(pixels):
    """The perimeter by its definition: the ways out of each pixel in all eight directions."""
    inside, straight, slanted = set(map(tuple, pixels)), 0, 0
    for row, column in inside:
        for y, x in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            straight += (row + y, column + x) not in inside
        for y, x in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
            slanted += (row + y, column + x) not in inside
    return math.pi / 8 * (straight + slanted / math.sqrt(2))


def assert_same(regions, expected):
    for region, other in zip(regions, expected, strict=True):
        assert region[:3] + region[5:9] == other[:3] + other[5:9]
        assert region[3:5] == pytest.approx(other[3:5], abs=1e-9)
        assert region.perimeter == pytest.approx(other.perimeter, rel=1e-12)
        assert region.intensity is None


@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    background=st.floats(0, 0.95),
)
def test_regions_are_those_of_a_flood_fill(seed, height, width, background):
    rng = np.random.default_rng(seed)
    mask = rng.choice([1, 2, 3, 255], (height, width)).astype(np.uint8)
    mask[rng.random((height, width)) < background] = 0
    regions = find_regions(mask, 4)
    assert_same(regions, flood_fill(mask, 4))
    assert sum(region.area for region in regions) == mask.size - (mask == 255).sum()


def test_regions_of_a_larger_image(rng):
    coarse = rng.integers(0, 3, (12, 17)).astype(np.uint8)
    mask = coarse.repeat(9, axis=0).repeat(11, axis=1)
    mask[rng.random(mask.shape) < 0.02] = 1
    assert_same(find_regions(mask, 3), flood_fill(mask, 3))
    # A view whose rows lie apart.
    assert_same(find_regions(mask[:, 3:-5], 3), flood_fill(mask[:, 3:-5], 3))


def test_regions_by_hand():
    mask = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1]], np.uint8)
    regions = find_regions(mask, 3)
    # Corners join: the diagonal is one region, and so is the background around it.
    assert [region.class_id for region in regions] == [0, 1, 1]
    # The diagonal is left sideways twelve times, and along diagonals twice by its ends and six
    # times across. A single pixel is left four times of each.
    diagonal, pixel = (math.pi / 8 * (a + b / math.sqrt(2)) for a, b in ((12, 8), (4, 4)))
    assert regions[1] == Region(1, 1, 3, 1.0, 1.0, 0, 0, 3, 3, pytest.approx(diagonal))
    assert regions[2] == Region(1, 2, 1, 2.0, 3.0, 2, 3, 1, 1, pytest.approx(pixel))


def test_values_from_num_classes_on_are_no_regions():
    mask = np.array([[0, 1, 2, 255]], np.uint8)
    assert [region.class_id for region in find_regions(mask, 2)] == [0, 1]
    assert find_regions(np.full((2, 2), 255, np.uint8), 2) == []


def test_centroids_of_large_regions_are_exact():
    mask = np.zeros((3000, 4001), np.uint8)
    # As of a rectangle: 2 (a + b) sideways and 4 (a + b - 1) along diagonals.
    perimeter = pytest.approx(math.pi / 8 * (2 * 7001 + 4 * 7000 / math.sqrt(2)))
    expected = Region(0, 1, 12_003_000, 2000.0, 1499.5, 0, 0, 4001, 3000, perimeter)
    assert find_regions(mask, 1) == [expected]


# What is measured


def measured(mask):
    return [region.perimeter for region in find_regions(mask.astype(np.uint8), 2)]


@pytest.mark.parametrize("place", [(0, 0), (4, 5), (17, 14)])
def test_the_perimeter_of_a_rectangle(place):
    mask = np.zeros((20, 20))
    mask[place[0] : place[0] + 3, place[1] : place[1] + 6] = 1
    # The image's edge is outline too: the place makes no difference.
    assert measured(mask)[1] == pytest.approx(math.pi / 8 * (2 * 9 + 4 * 8 / math.sqrt(2)))


@pytest.mark.parametrize("radius", [10, 40, 150])
def test_the_perimeter_of_a_disc_is_right(radius):
    y, x = np.indices((2 * radius + 9,) * 2) - (radius + 4.3)
    found = measured(np.hypot(x, y) <= radius)[1]
    assert found == pytest.approx(2 * math.pi * radius, rel=0.02)


def test_the_perimeter_of_a_square_on_its_corner():
    side = 200
    y, x = np.abs(np.indices((320, 320)) - 160)
    found = measured(x + y <= side / math.sqrt(2))[1]
    assert found == pytest.approx(4 * side * 0.95, rel=0.01)  # 5% short, as along the rows


def test_a_hole_counts():
    mask = np.ones((9, 12))
    mask[3:5, 4:8] = 0
    alone = measured(np.zeros((2, 4)))[0]
    background, ring = measured(mask)
    assert background == pytest.approx(alone)
    assert ring == pytest.approx(measured(np.ones((9, 12)))[0] + alone)


@pytest.mark.parametrize("strip", [1, 40, 57, 10**6])
def test_strips_do_not_matter(rng, monkeypatch, strip):
    mask = rng.integers(0, 3, (19, 13)).astype(np.uint8)
    image = rng.integers(0, 65536, (19, 13, 2))
    expected = find_regions(mask, 3, image)
    monkeypatch.setattr(measures, "_STRIP", strip)
    for one, other in zip(find_regions(mask, 3, image), expected, strict=True):
        assert one == pytest.approx(other)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_intensity_is_the_mean_of_all_channels(rng, dtype):
    mask = rng.integers(0, 3, (30, 41)).astype(np.uint8)
    image = (rng.random((30, 41, 3)) * 200).astype(dtype)
    numbers, parts = number_regions(mask, 3)
    for index, region in enumerate(find_regions(mask, 3, image), 1):
        assert region.intensity == pytest.approx(image[numbers == index].astype(float).mean())
        assert parts[index - 1].area == region.area == (numbers == index).sum()


def test_numbers_follow_the_regions(rng):
    mask = rng.integers(0, 4, (12, 15)).astype(np.uint8)
    numbers, parts = number_regions(mask, 3)
    assert np.all(numbers[mask == 3] == 0)
    for index, (part, region) in enumerate(zip(parts, find_regions(mask, 3), strict=True), 1):
        assert part.class_id == region.class_id
        assert np.all(mask[numbers == index] == part.class_id)
        assert tuple(np.argwhere(numbers == index)[0]) == part.first


# The table


def read_table(path):
    text = path.read_bytes().decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


REGION = Region(1, 2, 40, 5.25, 7 + 2 / 3, 3, 4, 10, 8, 30.5, 1 / 3)


def test_the_table(tmp_path):
    path = tmp_path / "out" / "regions.csv"
    write_regions(path, [("a.jpg", [REGION, REGION]), ("b.jpg", []), ("c.jpg", [REGION])], NAMES)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfpicture,class_id,")
    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n") == 4
    row = ["40", "5.25", "7.667", "3", "4", "10", "8", "30.5", "0.333333333"]
    header = (
        "picture class_id class region label area_px centroid_x_px centroid_y_px left_px top_px"
    )
    assert read_table(path) == [
        [*header.split(), "width_px", "height_px", "perimeter_px", "mean_intensity"],
        ["a.jpg", "1", "cell", "2", "1", *row],
        ["a.jpg", "1", "cell", "2", "2", *row],
        ["c.jpg", "1", "cell", "2", "1", *row],
    ]


def test_labels_leave_out_the_background(tmp_path):
    mask = np.array([[0, 1, 0, 2], [0, 1, 0, 0]], np.uint8)
    write_regions(tmp_path / "a.csv", [("a.jpg", find_regions(mask, 3))], NAMES)
    header, *rows = read_table(tmp_path / "a.csv")
    picked = [header.index(name) for name in ("class", "region", "label", "mean_intensity")]
    assert [[row[column] for column in picked] for row in rows] == [
        ["background", "1", "0", ""],
        ["background", "2", "0", ""],
        ["cell", "1", "1", ""],
        ["tree", "1", "2", ""],
    ]


def test_lengths_and_areas_in_units(tmp_path):
    path = tmp_path / "regions.csv"
    write_regions(path, [("a.jpg", [REGION])], NAMES, pixel_size=0.5)
    header, row = read_table(path)
    lengths = ("centroid_x", "centroid_y", "left", "top", "width", "height", "perimeter")
    assert header[14:] == [
        "pixel_size_units", "area_units2", *(f"{length}_units" for length in lengths),
    ]  # fmt: skip
    # 40 pixels of 0.5 x 0.5; the others are halves.
    assert row[5:12] == ["40", "5.25", "7.667", "3", "4", "10", "8"]
    assert row[14:] == ["0.5", "10", "2.625", "3.83333333", "1.5", "2", "5", "4", "15.25"]


def test_the_unit_is_in_the_names_of_columns(tmp_path):
    path = tmp_path / "regions.csv"
    write_regions(path, [("a.jpg", [REGION])], NAMES, 0.5, "um")
    assert read_table(path)[0][14:17] == ["pixel_size_um", "area_um2", "centroid_x_um"]


@given(size=st.floats(1e-9, 1e9))
def test_units_are_kept_to_nine_digits(tmp_path, size):
    path = tmp_path / "regions.csv"
    write_regions(path, [("a.jpg", [REGION])], NAMES, size)
    row = [float(value) for value in read_table(path)[1][14:]]
    lengths = [length * size for length in REGION[3:10]]
    assert row == pytest.approx([size, 40 * size * size, *lengths], rel=1e-8)


def test_any_name_can_be_written(tmp_path):
    path = tmp_path / "regions.csv"
    names = ("背景", 'a, "b"\nc', "tree")
    write_regions(path, [("路.jpg", [REGION]), ("no\udce9l.jpg", [REGION])], names)
    rows = read_table(path)
    assert [row[0] for row in rows[1:]] == ["路.jpg", r"no\udce9l.jpg"]
    assert [row[2] for row in rows[1:]] == [names[1]] * 2


def test_images_are_taken_one_by_one_and_a_failure_leaves_the_old_table(tmp_path):
    path = tmp_path / "regions.csv"
    path.write_text("old")
    taken = []

    def images():
        for name in "ab":
            taken.append(name)
            yield name, iter([REGION])
        assert path.read_text() == "old"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_regions(path, images(), NAMES)
    assert taken == ["a", "b"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["regions.csv"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("size", [0, 0.0, -1.5, float("nan"), float("inf")])
def test_a_pixel_size_must_be_above_0(tmp_path, size):
    with pytest.raises(UserError, match=f"pixel_size must be above 0; got {size}"):
        write_regions(tmp_path / "regions.csv", [], NAMES, size)
    assert list(tmp_path.iterdir()) == []
    check_pixel_size(None)
    check_pixel_size(1e-6)

"""Regions: found as a plain flood fill finds them, and written as a table."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from utils.prediction.regions import Region, check_pixel_size, find_regions, write_regions

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
        regions.append(Region(class_id, numbers[class_id], len(pixels), x, y, *box))
    return regions


def assert_same(regions, expected):
    for region, other in zip(regions, expected, strict=True):
        assert region[:3] + region[5:] == other[:3] + other[5:]
        assert region[3:5] == pytest.approx(other[3:5], abs=1e-9)


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
    assert regions[1] == Region(1, 1, 3, 1.0, 1.0, 0, 0, 3, 3)
    assert regions[2] == Region(1, 2, 1, 2.0, 3.0, 2, 3, 1, 1)


def test_values_from_num_classes_on_are_no_regions():
    mask = np.array([[0, 1, 2, 255]], np.uint8)
    assert [region.class_id for region in find_regions(mask, 2)] == [0, 1]
    assert find_regions(np.full((2, 2), 255, np.uint8), 2) == []


def test_centroids_of_large_regions_are_exact():
    mask = np.zeros((3000, 4001), np.uint8)
    assert find_regions(mask, 1) == [Region(0, 1, 12_003_000, 2000.0, 1499.5, 0, 0, 4001, 3000)]


# The table


def read_table(path):
    text = path.read_bytes().decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


REGION = Region(1, 2, 40, 5.25, 7 + 2 / 3, 3, 4, 10, 8)


def test_the_table(tmp_path):
    path = tmp_path / "out" / "regions.csv"
    write_regions(path, [("a.jpg", [REGION, REGION]), ("b.jpg", []), ("c.jpg", [REGION])], NAMES)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfpicture,class_id,")
    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n") == 4
    row = ["1", "cell", "2", "40", "5.25", "7.667", "3", "4", "10", "8"]
    header = "picture class_id class region area_px centroid_x_px centroid_y_px left_px top_px"
    assert read_table(path) == [
        [*header.split(), "width_px", "height_px"],
        ["a.jpg", *row],
        ["a.jpg", *row],
        ["c.jpg", *row],
    ]


def test_lengths_and_areas_in_units(tmp_path):
    path = tmp_path / "regions.csv"
    write_regions(path, [("a.jpg", [REGION])], NAMES, pixel_size=0.5)
    header, row = read_table(path)
    measures = ("centroid_x", "centroid_y", "left", "top", "width", "height")
    assert header[11:] == ["area_units2", *(f"{measure}_units" for measure in measures)]
    # 40 pixels of 0.5 x 0.5; the others are halves.
    assert row[4:11] == ["40", "5.25", "7.667", "3", "4", "10", "8"]
    assert row[11:] == ["10", "2.625", "3.83333333", "1.5", "2", "5", "4"]


@given(size=st.floats(1e-9, 1e9))
def test_units_are_kept_to_nine_digits(tmp_path, size):
    path = tmp_path / "regions.csv"
    write_regions(path, [("a.jpg", [REGION])], NAMES, size)
    row = [float(value) for value in read_table(path)[1][11:]]
    lengths = [length * size for length in REGION[3:]]
    assert row == pytest.approx([40 * size * size, *lengths], rel=1e-8)


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

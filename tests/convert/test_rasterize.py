"""Polygons and run-length codes as pixels, against hand counts and pycocotools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from utils.convert.rasterize import decode_rle, fill_polygon

COORDINATES = st.integers(-8, 40).map(lambda value: value / 2) | st.floats(-4, 20)
POINTS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=8)


def rows(text):
    """bool (H, W) from lines of dots and hashes."""
    return np.array([[letter == "#" for letter in line] for line in text.split()])


def encode(mask):
    """The runs down the columns, from a loop over the pixels."""
    counts, current = [0], False
    for pixel in mask.T.ravel():
        if pixel != current:
            counts.append(0)
            current = pixel
        counts[-1] += 1
    return counts


# Polygons


def test_a_pixel_belongs_where_its_centre_is():
    # Columns 1 to 3 and rows 1 and 2: [1, 4) by [1, 3) are 6 pixels of area 1.
    square = [(1, 1), (4, 1), (4, 3), (1, 3)]
    assert np.array_equal(fill_polygon(square, (4, 5)), rows("..... .###. .###. ....."))
    # The centres lie at .5: from 1.4 to 3.6 are those of columns 1 to 3 still.
    near = [(1.4, 1.4), (3.6, 1.4), (3.6, 2.6), (1.4, 2.6)]
    assert np.array_equal(fill_polygon(near, (4, 5)), fill_polygon(square, (4, 5)))
    # The diagonal passes x = 0.5, 1.5, 2.5 in rows 0, 1, 2.
    assert np.array_equal(fill_polygon([(0, 0), (3, 3), (0, 3)], (3, 3)), rows("... #.. ##."))


def test_even_odd():
    ring = [(0, 0), (5, 0), (5, 5), (0, 5), (0, 0), (1, 1), (4, 1), (4, 4), (1, 4), (1, 1)]
    assert np.array_equal(fill_polygon(ring, (5, 5)), rows("##### #...# #...# #...# #####"))


def test_polygons_beyond_the_edges_are_cut():
    around = [(-9, -9), (99, -9), (99, 99), (-9, 99)]
    assert fill_polygon(around, (3, 4)).all()
    assert not fill_polygon([(5, 0), (9, 0), (9, 3)], (3, 4)).any()
    assert not fill_polygon([(0, -5), (4, -5), (4, -1)], (3, 4)).any()
    assert np.array_equal(fill_polygon([(-5, 1), (2, 1), (2, 9), (-5, 9)], (3, 4))[1:, :2].sum(), 4)


@pytest.mark.parametrize(
    "points", [[(1, 1)] * 3, [(0, 2), (4, 2), (2, 2)], [(2, 0), (2, 4), (2, 2)]]
)
def test_a_polygon_without_area_covers_nothing(points):
    assert not fill_polygon(points, (5, 5)).any()


@given(POINTS, st.integers(0, 7))
def test_the_first_point_and_the_direction_do_not_matter(points, start):
    mask = fill_polygon(points, (16, 16))
    start %= len(points)
    assert np.array_equal(fill_polygon(points[start:] + points[:start], (16, 16)), mask)
    assert np.array_equal(fill_polygon(points[::-1], (16, 16)), mask)


@given(POINTS, st.tuples(COORDINATES, COORDINATES), st.tuples(COORDINATES, COORDINATES))
def test_pieces_neither_overlap_nor_leave_a_gap(points, first, last):
    """A polygon cut along any line of corners: each pixel is in just one piece (even-odd)."""
    cut = len(points) // 2
    left = [first, *points[:cut], last]
    right = [last, *points[cut:], first]
    whole = fill_polygon([first, *points[:cut], last, *points[cut:]], (16, 16))
    assert np.array_equal(fill_polygon(left, (16, 16)) ^ fill_polygon(right, (16, 16)), whole)


@given(POINTS)
def test_every_pixel_as_the_winding_of_its_centre_says(points):
    """The textbook test, pixel by pixel: how many edges lie to the left of the centre."""
    mask = fill_polygon(points, (12, 12))
    for row, column in np.ndindex(12, 12):
        y, inside = row + 0.5, False
        for ends in zip(points, points[1:] + points[:1], strict=True):
            (x0, y0), (x1, y1) = sorted(ends, key=lambda point: (point[1], point[0]))
            if y0 <= y < y1 and x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= column + 0.5:
                inside = not inside
        assert mask[row, column] == inside


def test_polygons_are_close_to_pycocotools(rng):
    """It rounds corners to a fifth of a pixel: a few pixels along the edge may differ."""
    coco = pytest.importorskip("pycocotools.mask")
    for _ in range(100):
        height, width = (int(side) for side in rng.integers(5, 80, 2))
        points = rng.uniform(-10, 90, (int(rng.integers(3, 9)), 2))
        codes = coco.frPyObjects([points.ravel().tolist()], height, width)
        expected = coco.decode(coco.merge(codes)).astype(bool)
        mask = fill_polygon([tuple(point) for point in points.tolist()], (height, width))
        length = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum()
        assert (mask != expected).sum() <= 0.2 * length


def test_polygons_at_whole_pixels_are_those_of_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    ell = [(1, 2), (6, 2), (6, 4), (3, 4), (3, 7), (1, 7)]
    codes = coco.frPyObjects([np.ravel(ell).tolist()], 9, 10)
    assert np.array_equal(fill_polygon(ell, (9, 10)), coco.decode(codes)[..., 0])


# Run-length codes

MASK = rows(".#. ##. .#.")  # down the columns: .#. ### ...


def test_rle_by_hand():
    rle = {"size": [3, 3], "counts": [1, 1, 1, 3, 3]}
    assert np.array_equal(decode_rle(rle, (3, 3), "x"), MASK)
    # The fourth run is 3 - 1 = 2 more than the second, the fifth 3 - 1 = 2 than the third.
    rle = {"size": [3, 3], "counts": "11122"}
    assert np.array_equal(decode_rle(rle, (3, 3), "x"), MASK)
    # 30 needs two characters: 30 & 31 | 32 = 62 -> "n", then 0 -> "0", as bit 16 is a sign.
    assert decode_rle({"size": [5, 6], "counts": "0n0"}, (5, 6), "x").all()
    # 4, 20, 4, 2: the last is 2 - 20 = -18, in two's complement 14 | 32 -> "^", then -1 -> "O".
    rle = {"size": [5, 6], "counts": "4d04^O"}
    assert decode_rle(rle, (5, 6), "x").T.ravel().tolist() == (
        [False] * 4 + [True] * 20 + [False] * 4 + [True] * 2
    )


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
def test_rle_of_any_mask(height, width, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    rle = {"size": [height, width], "counts": encode(mask)}
    assert np.array_equal(decode_rle(rle, (height, width), "x"), mask)


def test_compressed_rle_is_that_of_pycocotools(rng):
    coco = pytest.importorskip("pycocotools.mask")
    for share in np.linspace(0, 1, 60):
        size = tuple(int(side) for side in rng.integers(1, 120, 2))
        mask = np.repeat(rng.random(size), 3, axis=0) < share
        rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        rle["counts"] = rle["counts"].decode("ascii")
        assert np.array_equal(decode_rle(rle, mask.shape, "x"), mask)


@pytest.mark.parametrize("size", [[3, 4], [4, 3], None, 3, "3x3", [3], [3, 3, 1]])
def test_rle_of_another_size(size):
    with pytest.raises(
        UserError, match=r"^here has an RLE mask of size .*, but the image has \[3, 3"
    ):
        decode_rle({"size": size, "counts": [9]}, (3, 3), "here")


@pytest.mark.parametrize(
    "counts",
    [
        [],
        [8],
        [10],
        [4, 4],
        [-1, 10],
        [1.5, 7.5],
        [True, 8],
        ["9"],
        None,
        9,
        "",
        "8",
        "Y",
        "9\0",
        "猫",
        "11123",
    ],
    ids=repr,
)
def test_a_broken_rle(counts):
    with pytest.raises(UserError, match=r"^here has a broken RLE mask: its runs must be"):
        decode_rle({"size": [3, 3], "counts": counts}, (3, 3), "here")


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_any_text_is_an_error_or_fills_the_image(text):
    try:
        mask = decode_rle({"size": [3, 3], "counts": text}, (3, 3), "here")
    except UserError:
        return
    assert mask.shape == (3, 3)
    assert mask.dtype == bool

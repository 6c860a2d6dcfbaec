"""Supervisely's projects: outlines, holes, bitmaps, classes in the project's order, problems."""

import base64
import io
import json
import struct
import zlib

import brute_force
import numpy as np
import pytest
from PIL import Image

from errors import UserError
from utils.convert.annotated_images import ImageFinder
from utils.convert.scan import Options
from utils.convert.source import Source
from utils.convert.supervisely import is_supervisely, scan_supervisely_files

SIZE = (14, 20)
CLASSES = ("background", "cat", "dog")


def polygon(exterior, *interior, label="cat", kind="polygon"):
    points = {"exterior": exterior, "interior": list(interior)}
    return {"classTitle": label, "geometryType": kind, "points": points}


def encode(image, compressed=True, **options):
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    data = zlib.compress(stream.getvalue()) if compressed else stream.getvalue()
    return base64.b64encode(data).decode("ascii")


def bitmap(data, origin, label="cat"):
    own = {"data": data, "origin": origin}
    return {"classTitle": label, "geometryType": "bitmap", "bitmap": own}


def content(*objects, size=SIZE):
    return {
        "description": "",
        "tags": [],
        "size": {"height": size[0], "width": size[1]},
        "objects": list(objects),
    }


@pytest.fixture
def folder(tmp_path):
    """A project with ds/img/a.jpg and ds/img/b.jpg."""
    (tmp_path / "ds" / "img").mkdir(parents=True)
    (tmp_path / "ds" / "ann").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "ds" / "img" / name)
    return tmp_path


def scan(folder, data, name="a.jpg", strict=True, root=None):
    (folder / "ds" / "ann" / f"{name}.json").write_text(json.dumps(data))
    return scan_supervisely_files(Source(root or folder), Options(ImageFinder(), strict))


def mask_of(folder, *objects):
    (item,) = scan(folder, content(*objects)).items
    return item.load(CLASSES)[1]


def rows(text):
    return np.array([[letter == "#" for letter in line] for line in text.split()])


def test_an_outline_belongs_to_its_polygon_and_that_of_a_hole_to_the_hole(folder):
    exterior = [[1, 1], [6, 1], [6, 5], [1, 5]]
    hole = [[3, 2], [4, 2], [4, 3], [3, 3]]
    expected = rows("........ .######. .##..##. .##..##. .######. .######. ........")
    mask = mask_of(folder, polygon(exterior, hole))
    assert np.array_equal(mask[:7, :8], expected)
    assert not mask[7:].any()
    assert not mask[:, 8:].any()


def test_polygons_differ_from_exact_ones_at_their_outlines_alone(folder, rng):
    for _ in range(20):
        points = [tuple(point) for point in rng.integers(-4, 24, (5, 2)).tolist()]
        mask = mask_of(folder, polygon([list(point) for point in points])).astype(bool)
        # Points are indices of pixels: their centres are half a pixel further.
        centres = [(x + 0.5, y + 0.5) for x, y in points]
        inside = brute_force.polygon(centres, SIZE)
        ends = np.array(centres)
        edges = np.concatenate(
            [np.linspace(a, b, 400) for a, b in zip(ends, np.roll(ends, 1, 0), strict=True)]
        )
        different = np.argwhere(mask != inside)[:, ::-1] + 0.5
        distances = [np.abs(edges - one).max(axis=1).min() for one in different]
        assert max(distances, default=0) <= 1


def test_a_rectangle_holds_both_corners(folder):
    mask = mask_of(folder, polygon([[6, 2], [2, 1]], kind="rectangle"))
    expected = np.zeros(SIZE, bool)
    expected[1:3, 2:7] = True
    assert np.array_equal(mask, expected)
    expected[:] = False
    expected[:3, :2] = True
    mask = mask_of(folder, polygon([[-5, -9], [1.4, 2.4]], kind="rectangle"))
    assert np.array_equal(mask, expected)


def bitmaps(crop):
    """The ways in which a bitmap may be encoded, by name."""
    grey = Image.fromarray((crop * 255).astype(np.uint8))
    palette = Image.fromarray(crop.astype(np.uint8))
    palette.putpalette([0, 0, 0, 255, 255, 255])
    alpha = np.dstack([np.zeros((*crop.shape, 3), np.uint8), (crop * 255).astype(np.uint8)])
    return {
        "of the web editor": encode(Image.fromarray(alpha)),
        "of the Python package": encode(palette, transparency=0),
        "grey": encode(grey),
        "one bit": encode(Image.fromarray(crop)),
        "not compressed": encode(Image.fromarray(alpha), compressed=False),
    }


@pytest.mark.parametrize("kind", bitmaps(np.eye(2, dtype=bool)))
@pytest.mark.parametrize(("left", "top"), [(3, 2), (17, 12), (-2, -1)])
def test_bitmaps(left, top, kind, folder, rng):
    crop = rng.random((4, 5)) < 0.5
    wide = np.zeros((40, 40), bool)
    wide[top + 10 : top + 14, left + 10 : left + 15] = crop
    mask = mask_of(folder, bitmap(bitmaps(crop)[kind], [left, top]))
    assert np.array_equal(mask, wide[10:24, 10:30])


def test_later_objects_paint_over_earlier_ones(folder):
    first = polygon([[0, 0], [5, 0]], kind="rectangle", label="dog")
    second = polygon([[3, 0], [8, 0]], kind="rectangle")
    assert mask_of(folder, first, second)[0, :10].tolist() == [2] * 3 + [1] * 6 + [0]


def test_classes_stand_in_the_order_of_the_project(folder):
    classes = [("zebra", "polygon"), ("way", "line"), ("cat", "any"), ("ant", "bitmap")]
    meta = {"classes": [{"title": name, "shape": shape} for name, shape in classes]}
    (folder / "meta.json").write_text(json.dumps(meta))
    (folder / "key_id_map.json").write_text("{}")
    data = content(
        polygon([[0, 0], [9, 9]], kind="rectangle"),
        polygon([[0, 0]], label="dot", kind="point"),
        polygon([[0, 0], [1, 1]], label="new", kind="rectangle"),
    )
    for root in (folder, folder / "ds", folder / "ds" / "ann"):
        found = scan(folder, data, root=root)
        assert found.labels == ["zebra", "cat", "ant", "new"]
        assert found.notes == [
            "1 objects of the type point were left out: they cover no area.",
            "2 boxes were filled. A box is rarely what an object covers.",
        ]
        (item,) = found.items
        assert (item.name, item.labels) == ("a", {"cat", "new"})
        assert (
            item.load(("background", "new", "cat"))[0].data
            == (folder / "ds" / "img" / "a.jpg").read_bytes()
        )


def test_without_a_project_file_labels_are_sorted(folder):
    data = content(*(polygon([[0, 0], [1, 1]], kind="rectangle", label=name) for name in "ba"))
    assert scan(folder, data).labels == ["a", "b"]


def test_a_file_with_a_broken_object_is_left_out(folder):
    scan(folder, content())
    found = scan(folder, content(polygon([[0, 0]])), name="b.jpg", strict=False)
    assert [item.name for item in found.items] == ["a"]
    ((origin, reason),) = found.skipped
    assert origin == str(folder / "ds" / "ann" / "b.jpg.json")
    assert reason == (
        f"{origin}, object 1 (cat) has an outline of 1 points. Expected at least 3. Delete it."
    )


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (5, r"a\.jpg\.json, object 1 is 5\. Expected braces"),
        ({}, r"object 1 has the geometryType None\. Known are polygon, rectangle, bitmap"),
        (polygon([], kind="star"), r"object 1 has the geometryType 'star'\. Known are"),
        (polygon([], label=3), r"object 1 has the label 3\. Expected a name"),
        (polygon([[0, 0], [9, 9], [9, 0]], [[1, 1]]), r"has an outline of 1 points\. Expected"),
        (polygon([[0, 0], [9, float("nan")]]), r"has the point \[9, nan\]\. Expected"),
        (polygon(5), r"\(cat\) has the point 5\. Expected"),
        (polygon([]) | {"points": 5}, r"has the points 5\. Expected exterior and interior"),
        (
            polygon([]) | {"points": {"interior": 5}},
            r"has the interior 5\. Expected a list of outlines",
        ),
        (polygon([[0, 0]], kind="rectangle"), r"is a rectangle of 1 points\. Expected 2\."),
        (bitmap("", [0, 0]) | {"bitmap": 5}, r"has the bitmap 5\. Expected data and origin"),
        (bitmap("", 5), r"\(cat\), origin, has the point 5\. Expected"),
        (bitmap(5, [0, 0]), r"The bitmap of .*\(cat\) is not base64 text"),
        (bitmap("AAAA", [0, 0]), r"The bitmap of .*\(cat\) can't be read: Error -3 while"),
        (
            bitmap(base64.b64encode(zlib.compress(b"no PNG")).decode(), [0, 0]),
            r"The bitmap of .*\(cat\) can't be read: it is no image\.",
        ),
        (
            bitmap(encode(Image.new("RGB", (2, 2))), [0, 0]),
            r"The bitmap of .*\(cat\) has 3 channels and none of them is alpha\. Expected one",
        ),
    ],
)
def test_faulty_objects(one, message, folder):
    with pytest.raises(UserError, match=message):
        mask_of(folder, one)


def test_a_bitmap_that_claims_to_be_huge(folder):
    data = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0), b"IDAT"):
        data += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(UserError, match=r"of the bitmap of .*\(cat\) has 40000x40000 = 1,600,0"):
        mask_of(folder, bitmap(base64.b64encode(data).decode(), [0, 0]))


@pytest.mark.parametrize("classes", [5, [5]])
def test_a_faulty_project_file(classes, folder):
    (folder / "meta.json").write_text(json.dumps({"classes": classes}))
    with pytest.raises(UserError, match=r"meta\.json has the classes .* Expected a list of them\."):
        scan(folder, content())


def test_an_image_that_is_missing_or_of_another_size(folder):
    with pytest.raises(UserError, match=r"c\.jpg\.json names the image 'c\.jpg', which is not in"):
        scan(folder, content(), name="c.jpg")
    (folder / "ds" / "ann" / "c.jpg.json").unlink()
    (item,) = scan(folder, content(size=(5, 6))).items
    with pytest.raises(UserError, match=r"says that the image is 6x5 pixels, but"):
        item.load(CLASSES)


@pytest.mark.parametrize("data", [[], {}, {"objects": []}, {"objects": [], "size": 5}])
def test_what_is_not_supervisely(data, folder):
    assert not is_supervisely(data)
    with pytest.raises(UserError, match=r"is not Supervisely's: it lacks the list 'objects' or"):
        scan(folder, data)

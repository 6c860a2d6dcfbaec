"""labelme files: every kind of shape to the pixel, every version, every problem by its message."""

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from errors import UserError
from utils.convert.annotated_images import ImageFinder, save_annotated_image
from utils.convert.labelme import is_labelme, load_labelme, scan_labelme
from utils.convert.labelme_shapes import draw_shape, read_shapes
from utils.images.reading import read_image

CLASSES = ("background", "cat", "dog")
SIZE = (30, 40)
NUMBERS = st.floats(-20, 60) | st.integers(-20, 60)


def to_base64(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def shape(kind, *points, label="cat", **fields):
    return {"label": label, "points": [list(point) for point in points]} | (
        {"shape_type": kind} | fields
    )


def drawn(kind, *points, size=SIZE, **fields):
    """The pixels of one shape: bool (H, W)."""
    (one,) = read_shapes({"shapes": [shape(kind, *points, **fields)]}, "one.json")
    return draw_shape(one, size)


def rows(text):
    """bool (H, W) from lines of dots and hashes."""
    return np.array([[letter == "#" for letter in line] for line in text.split()])


@pytest.fixture
def write(tmp_path):
    """write(shapes, name, **fields): a labelme file, with an embedded grey 40x30 image."""

    def make(shapes=(), name="one.json", **fields):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": list(shapes),
            "imagePath": "one.png",
            "imageData": to_base64(Image.new("RGB", SIZE[::-1], (9, 99, 199))),
            "imageHeight": SIZE[0],
            "imageWidth": SIZE[1],
        } | fields
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return make


def scan(path, image_dir=""):
    return scan_labelme(path, json.loads(path.read_bytes()), ImageFinder(str(image_dir)))


def load(path, classes=CLASSES, image_dir=""):
    """(Image, mask) of a labelme file, the way json_to_dataset.py reads it."""
    return scan(path, image_dir).load(classes)


# Shapes by hand


def test_a_rectangle_holds_both_corners():
    expected = rows("..... .###. .###. .....")
    assert np.array_equal(drawn("rectangle", (1, 1), (3, 2), size=(4, 5)), expected)
    assert np.array_equal(drawn("rectangle", (3, 1), (1, 2), size=(4, 5)), expected)
    assert np.array_equal(drawn("rectangle", (3.9, 2.9), (1.9, 1.9), size=(4, 5)), expected)
    corners = [(1, 1), (3, 1), (3, 2), (1, 2)]
    assert np.array_equal(drawn("rectangle", *corners, size=(4, 5)), expected)
    assert np.array_equal(drawn("oriented_rectangle", *corners, size=(4, 5)), expected)


def test_a_polygon_holds_its_outline():
    mask = drawn("polygon", (0, 0), (4, 0), (4, 4), size=(5, 6))
    assert np.array_equal(mask, rows("#####. .####. ..###. ...##. ....#."))


def test_a_point_is_a_disc_of_radius_5():
    mask = drawn("point", (20, 15))
    assert np.flatnonzero(mask.any(0)).tolist() == list(range(15, 26))
    assert np.flatnonzero(mask.any(1)).tolist() == list(range(10, 21))
    assert mask[15, 15:26].all()
    assert not mask[10, 15]


def test_a_circle_is_its_centre_and_a_point_of_its_rim():
    mask = drawn("circle", (20, 15), (23, 19))  # radius 5 = hypot(3, 4)
    assert np.array_equal(mask, drawn("point", (20, 15)))


def test_a_line_is_10_pixels_wide():
    mask = drawn("line", (5, 15), (34, 15))
    assert mask.sum(0)[6:34].tolist() == [10] * 28
    assert not mask[:, :5].any()
    assert not mask[:, 35:].any()


def test_a_linestrip_is_its_lines():
    corner = drawn("linestrip", (5, 10), (25, 10), (25, 25))
    lines = drawn("line", (5, 10), (25, 10)) | drawn("line", (25, 10), (25, 25))
    assert np.array_equal(corner, lines)


@pytest.mark.parametrize("kind", ["rotation", "quadrilateral", "oriented_rectangle"])
def test_four_corners_of_other_editors_are_a_polygon(kind):
    corners = [(9, 9), (40, 14), (38, 30), (8, 25)]
    mask = drawn(kind, *corners, size=(64, 64))
    assert np.array_equal(mask, drawn("polygon", *corners, size=(64, 64)))
    assert 495.5 <= mask.sum() <= 495.5 + 47  # Gauss' formula, and up to half the outline


# Shapes as labelme draws them


def reference(kind, points, size):
    """What labelme 5 exports for a shape, from its documentation of each kind."""
    image = Image.fromarray(np.zeros(size, np.uint8))
    draw = ImageDraw.Draw(image)
    if kind == "circle":
        (x, y), (u, v) = points
        distance = ((x - u) ** 2 + (y - v) ** 2) ** 0.5
        draw.ellipse((x - distance, y - distance, x + distance, y + distance), 1, 1)
    elif kind == "point":
        ((x, y),) = points
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), 1, 1)
    elif kind == "rectangle":
        (x, y), (u, v) = points
        draw.rectangle(((min(x, u), min(y, v)), (max(x, u), max(y, v))), 1, 1)
    elif kind == "polygon":
        draw.polygon(points, fill=1, outline=1)
    else:
        draw.line(points, 1, 10)
    return np.array(image, bool)


@given(st.data())
@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("polygon", 3, 9),
        ("rectangle", 2, 2),
        ("circle", 2, 2),
        ("line", 2, 2),
        ("linestrip", 2, 6),
        ("point", 1, 1),
    ],
)
def test_shapes_are_those_of_labelme(kind, least, most, data):
    points = data.draw(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=least, max_size=most))
    assert np.array_equal(drawn(kind, *points), reference(kind, points, SIZE))


# Mask shapes


CROP = rows("#.. ##.")


def test_a_mask_shape_fills_its_box_both_corners_included():
    expected = np.zeros((5, 6), bool)
    expected[1:3, 2:5] = CROP
    for value in (1, 255):
        text = to_base64(Image.fromarray((CROP * value).astype(np.uint8)))
        assert np.array_equal(drawn("mask", (2, 1), (4, 2), size=(5, 6), mask=text), expected)
    text = to_base64(Image.fromarray(CROP))
    assert np.array_equal(drawn("mask", (2, 1), (4, 2), size=(5, 6), mask=text), expected)
    # Moved by part of a pixel: it keeps its size, and lies at the nearest pixel.
    moved = drawn("mask", (2.3, 0.6), (4.3, 1.6), size=(5, 6), mask=text)
    assert np.array_equal(moved, expected)


@pytest.mark.parametrize("inside", [1, 255, True])
def test_a_mask_may_be_lists(inside):
    lists = [[inside, 0, 0], [inside, inside, 0]]
    mask = drawn("mask", (2, 1), (4, 2), size=(5, 6), mask=lists)
    text = to_base64(Image.fromarray(CROP))
    assert np.array_equal(mask, drawn("mask", (2, 1), (4, 2), size=(5, 6), mask=text))


@given(st.integers(-5, 8), st.integers(-4, 7))
def test_a_mask_shape_is_cut_at_the_edges(left, top):
    text = to_base64(Image.fromarray(CROP))
    mask = drawn("mask", (left, top), (left + 2, top + 1), size=(5, 6), mask=text)
    wide = np.zeros((25, 26), bool)
    wide[top + 10 : top + 12, left + 10 : left + 13] = CROP
    assert np.array_equal(mask, wide[10:15, 10:16])


# Painting


def test_later_shapes_paint_over_earlier_ones(write):
    path = write(
        [
            shape("rectangle", (0, 0), (9, 9), label="dog"),
            shape("rectangle", (2, 0), (9, 9), label="cat"),
            shape("rectangle", (4, 0), (9, 9), label="__ignore__"),
            shape("rectangle", (6, 0), (9, 9), label="_background_"),
            shape("rectangle", (8, 0), (9, 9), label=" dog "),
        ]
    )
    assert scan(path).labels == {"dog", "cat", "__ignore__", "_background_"}
    _, mask = load(path)
    assert mask.dtype == np.uint8
    assert mask[0, :12].tolist() == [2, 2, 1, 1, 255, 255, 0, 0, 2, 2, 0, 0]
    assert not mask[10:].any()
    assert load(path, ("background", "dog", "cat"))[1][0, :4].tolist() == [1, 1, 2, 2]


def test_no_shapes_are_background_only(write):
    path = write()
    assert scan(path).labels == frozenset()
    _, mask = load(path)
    assert mask.shape == SIZE
    assert not mask.any()


def test_a_label_that_is_not_in_the_list(write):
    path = write([shape("point", (5, 5)), shape("point", (5, 5), label="bird")])
    with pytest.raises(UserError, match=r"one\.json, shape 2 \(bird\) has the label 'bird', which"):
        load(path)


# Versions

V3_0 = {
    "version": "3.0.0",
    "flags": {},
    "shapes": [
        {"label": "cat", "line_color": None, "fill_color": None, "points": [[1, 1], [8, 1], [8, 8]]}
    ],
    "lineColor": [0, 255, 0, 128],
    "fillColor": [255, 0, 0, 128],
    "imagePath": "one.png",
}
V3_16 = V3_0 | {
    "version": "3.16.7",
    "shapes": [V3_0["shapes"][0] | {"shape_type": "polygon", "flags": {}}],
    "imageHeight": SIZE[0],
    "imageWidth": SIZE[1],
}
V4 = {key: value for key, value in V3_16.items() if not key.endswith("Color")} | {
    "version": "4.5.6",
    "shapes": [shape("polygon", (1, 1), (8, 1), (8, 8), group_id=None, flags={})],
}
V5 = V4 | {
    "version": "5.8.1",
    "shapes": [
        shape("polygon", (1, 1), (8, 1), (8, 8), group_id=3, description="", flags={}, mask=None)
    ],
}
NULLS = V4 | {
    "shapes": [shape(None, (1, 1), (8, 1), (8, 8))],
    "imageHeight": None,
    "imageWidth": None,
}


@pytest.mark.parametrize("content", [V3_0, V3_16, V4, V5, NULLS], ids=lambda one: one["version"])
@pytest.mark.parametrize("embedded", [True, False])
def test_every_version(content, embedded, tmp_path, write_image):
    image = np.full((*SIZE, 3), 7, np.uint8)
    write_image(tmp_path / "one.png", image)
    text = to_base64(Image.fromarray(image)) if embedded else None
    path = tmp_path / "a.b 猫.json"
    path.write_text(json.dumps(content | {"imageData": text}), encoding="utf-8")
    assert is_labelme(content)
    item = scan(path)
    assert (item.name, item.origin, item.labels) == ("a.b 猫", str(path), {"cat"})
    _, mask = item.load(CLASSES)
    expected = reference("polygon", [(1, 1), (8, 1), (8, 8)], SIZE)
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize("data", [None, [], "shapes", {}, {"shapes": 3}, {"shapes": {}}])
def test_what_is_not_labelme(data, tmp_path):
    assert not is_labelme(data)
    with pytest.raises(UserError, match=r"a\.json is not labelme's: it has no list 'shapes'\."):
        scan_labelme(tmp_path / "a.json", data, ImageFinder())


# Images


@pytest.fixture
def photo(rng):
    """uint8 (30, 40, 3)."""
    return rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def shown(image, folder):
    """What the written image looks like to the trainer."""
    save_annotated_image(image, folder, "written")
    (path,) = folder.glob("written.*")
    return read_image(path)


@pytest.mark.parametrize(
    "name", ["one.png", "..\\pics\\ONE.PNG", "C:\\a\\one.png", "../pics/one.png"]
)
@pytest.mark.parametrize("data", [None, ""])
def test_an_image_beside_the_file(name, data, write, photo, tmp_path, write_image):
    folder = "pics" if "pics" in name else "json"
    source = write_image(tmp_path / folder / "one.png", photo)
    path = write(name="json/other.json", imagePath=name, imageData=data)
    image, _ = load(path)
    assert image.data == source.read_bytes()
    assert np.array_equal(shown(image, tmp_path), photo)


def test_the_embedded_image_comes_first(write, photo, tmp_path, write_image):
    write_image(tmp_path / "one.png", 255 - photo)
    text = to_base64(Image.fromarray(photo))
    for data in (text, f"data:image/png;base64,{text}", text[:50] + "\n" + text[50:]):
        image, _ = load(write(imageData=data))
        assert np.array_equal(shown(image, tmp_path), photo)


def test_a_folder_of_images(write, photo, tmp_path, write_image):
    write_image(tmp_path / "far" / "one.png", photo)
    path = write(imagePath="C:\\images\\one.png", imageData=None)
    with pytest.raises(UserError) as caught:
        scan(path)
    assert str(caught.value) == (
        f"{path} belongs to the image 'C:\\\\images\\\\one.png', which is not in {tmp_path}, "
        "nor inside the file as imageData. Put it there, or set image_dir."
    )
    image, _ = load(path, image_dir=tmp_path / "far")
    assert np.array_equal(shown(image, tmp_path), photo)
    with pytest.raises(UserError, match=r"'gone\.png', which is not in .*far, nor inside"):
        scan(write(imagePath="gone.png", imageData=None), image_dir=tmp_path / "far")


@pytest.mark.parametrize("name", [None, "", 3])
def test_no_image_at_all(name, write):
    with pytest.raises(UserError, match=r"one\.json has neither imageData nor imagePath: it names"):
        scan(write(imagePath=name, imageData=None))


@pytest.mark.parametrize("declared", [True, False])
def test_an_image_by_path_is_turned_upright(declared, write, photo, tmp_path):
    """labelme turns images upright before it shows them: shapes are in those pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned to the right: 40 high, 30 wide
    Image.fromarray(photo).save(tmp_path / "one.png", exif=exif)
    size = {"imageHeight": 40, "imageWidth": 30} if declared else dict.fromkeys(
        ("imageHeight", "imageWidth")
    )  # fmt: skip
    path = write([shape("rectangle", (25, 35), (29, 39))], imageData=None, **size)
    image, mask = load(path)
    assert np.array_equal(shown(image, tmp_path), np.rot90(photo, -1))
    assert mask.shape == (40, 30)
    assert mask[35:, 25:].all()


@pytest.mark.parametrize("data", [None, "embedded"])
def test_an_image_that_an_old_labelme_did_not_turn(data, write, photo, tmp_path):
    """Before 3.7, or with a stale tag in what it embedded: the declared size says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(tmp_path / "one.png", exif=exif)
    if data:
        data = to_base64(Image.fromarray(photo), exif=exif)
    image, mask = load(write(imageData=data))
    assert np.array_equal(shown(image, tmp_path), photo)
    assert mask.shape == SIZE


def test_an_embedded_image_without_size_is_as_stored(write, photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    text = to_base64(Image.fromarray(photo), exif=exif)
    image, _ = load(write(imageData=text, imageHeight=None, imageWidth=None))
    assert np.array_equal(shown(image, tmp_path), photo)


def test_an_image_with_transparency_and_one_with_16_bits(write, photo, tmp_path):
    alpha = Image.fromarray(np.dstack([photo, photo[..., 0]]))
    image, _ = load(write(imageData=to_base64(alpha)))
    assert np.array_equal(shown(image, tmp_path), photo)
    deep = Image.fromarray(photo[..., 0].astype(np.uint16) * 257)
    image, _ = load(write(imageData=to_base64(deep)))
    assert np.array_equal(shown(image, tmp_path)[..., 0], photo[..., 0])


@pytest.mark.parametrize("size", [{"imageHeight": 31}, {"imageWidth": 4}, {"imageWidth": "40"}])
def test_a_size_that_contradicts_the_image(size, write):
    with pytest.raises(UserError, match=r"one\.json says that the image is .* but the image in"):
        load(write(**size))


@pytest.mark.parametrize("data", ["AAAA", "nopicture123", "iVBORw0KGgo="])
def test_broken_image_data(data, write):
    with pytest.raises(UserError, match=r"one\.json: the image in .*one\.json can't be read: "):
        load(write(imageData=data))


@pytest.mark.parametrize("data", ["A", "猫", 3, {"a": 1}])
def test_image_data_that_is_no_base64(data, write):
    with pytest.raises(
        UserError, match=r"imageData of .*one\.json is not base64 text: .* Save the"
    ):
        load(write(imageData=data))


# Problems of shapes


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ("cat", r", shape 2 is 'cat'\. Expected label and points in braces\."),
        ({"points": [[1, 1]]}, r", shape 2 has the label None\. Expected a name\."),
        (
            {"label": "cat"},
            r", shape 2 \(cat\) has the point None\. Expected \[x, y\], two numbers",
        ),
        (
            shape("polygon", (1, 1), (2, 2)),
            r"\(cat\) is a polygon of 2 points\. Expected at least 3",
        ),
        (
            shape(None),
            r"shape 2 \(cat\) is a polygon of 0 points\. Expected at least 3\. Draw it an",
        ),
        (shape("linestrip", (1, 1)), r"is a linestrip of 1 points\. Expected at least 2\."),
        (shape("line", (1, 1)), r"is a line of 1 points\. Expected 2\."),
        (shape("circle", (1, 1)), r"is a circle of 1 points\. Expected 2\."),
        (shape("point", (1, 1), (2, 2)), r"is a point of 2 points\. Expected 1\."),
        (shape("rectangle", *[(1, 1)] * 3), r"is a rectangle of 3 points\. Expected 2\."),
        (shape("mask", (1, 1), mask=""), r"is a mask of 1 points\. Expected 2\."),
        (shape("points", (1, 1)), r"has the shape_type 'points'\. Known are polygon, rectangle, "),
        (shape(["line"], (1, 1)), r"has the shape_type \['line'\]\. Known are"),
        (shape("line", (1, 1), (float("nan"), 1)), r"has the point \[nan, 1\]\. Expected"),
        (shape("mask", (0, 0), (2, 1)), r"The mask of .*\(cat\) is not base64 text: "),
        (shape("mask", (0, 0), (2, 1), mask="AAAA"), r"The mask of .*\(cat\) can't be read: "),
        (
            shape("mask", (0, 0), (3, 1), mask=to_base64(Image.fromarray(CROP))),
            r"has the shape \(2, 3\), but its points make a box of \(2, 4\) \(height, width\)",
        ),
        (shape("rotation", *[(1, 1)] * 3), r"is a rotation of 3 points\. Expected 4\."),
        (
            shape("mask", (0, 0), (2, 1), mask=[[0, 1, 0]]),
            r"has the shape \(1, 3\), but its points make a box of \(2, 3\)",
        ),
        (shape("mask", (0, 0), (2, 1), mask=[]), r"is \[\]\. Expected rows of one length, lis"),
        (shape("mask", (0, 0), (2, 1), mask=[[0], [0, 1]]), r"is \[\[0\], \[0, 1\]\]\. Expect"),
        (shape("mask", (0, 0), (2, 1), mask=[1, 0]), r"is \[1, 0\]\. Expected rows of one"),
        (
            shape("mask", (0, 0), (2, 1), mask=[[0, 2, 0], [0, 0, 0]]),
            r"holds the value 2\. Expected 0 outside, and 1, 255 or true inside\. Draw",
        ),
        (
            shape("mask", (0, 0), (2, 1), mask=[[0, "1", 0]] * 2),
            r"holds the value '1'\. Expected 0",
        ),
        (
            shape("mask", (0, 0), (2, 1), mask=[[0, [1], 0]] * 2),
            r"holds the value \[1\]\. Expected",
        ),
        (
            shape("mask", (0, 0), (2, 1), mask=to_base64(Image.new("RGB", (3, 2)))),
            r"has the shape \(2, 3, 3\), but its points make a box of \(2, 3\)",
        ),
    ],
)
def test_faulty_shapes_are_named(one, message, write):
    path = write([shape("point", (5, 5)), one])
    with pytest.raises(UserError, match=message) as caught:
        scan(path)
    assert str(path) in str(caught.value)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = ("label", "points", "shape_type", "mask", "imageData", "imagePath", "imageHeight")


@given(st.dictionaries(st.sampled_from(FIELDS), JUNK, min_size=1))
def test_any_value_is_an_error_that_names_the_file_or_changes_nothing(write, fields):
    one = shape("rectangle", (1, 1), (5, 5))
    one |= {key: value for key, value in fields.items() if not key.startswith("image")}
    rest = {key: value for key, value in fields.items() if key.startswith("image")}
    path = write([one], **rest)
    try:
        item = scan(path)
        _, mask = item.load(("background", *item.labels))
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert mask.shape == SIZE
        assert set(np.unique(mask)) <= {0, 1, 255}


def test_a_file_is_read_anew_when_its_turn_comes(write):
    """So that the images of all files together need not fit into memory."""
    path = write([shape("rectangle", (0, 0), (9, 9))])
    item = scan(path)
    write([shape("rectangle", (0, 0), (9, 9), label="dog")])
    assert item.load(CLASSES)[1].max() == 2
    assert load_labelme(path, None, CLASSES)[1].max() == 2

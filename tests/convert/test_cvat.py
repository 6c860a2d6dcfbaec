"""CVAT's XML: every shape against drawing pixel by pixel, z_order, notes, problems."""

import brute_force
import numpy as np
import pytest
from PIL import Image

from errors import UserError
from utils.convert.annotated_images import ImageFinder
from utils.convert.cvat import guess_cvat, scan_cvat_files
from utils.convert.scan import Options
from utils.convert.source import Source

SIZE = (14, 20)
CLASSES = ("background", "cat", "dog")
BOX = '<box label="{}" xtl="{}" ytl="0" xbr="6" ybr="2" z_order="{}"/>'
META = (
    "<meta><task><labels><label><name>dog</name><type>any</type></label><label><name>cat</name>"
    "</label><label><name>way</name><type>polyline</type></label></labels></task></meta>"
)


@pytest.fixture
def folder(tmp_path):
    """A folder with images/a.png and images/b.png."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "images" / name)
    return tmp_path


def image(*shapes, name="a.png", size='width="20" height="14"'):
    return f'<image id="0" name="{name}" {size}>{"".join(shapes)}</image>'


def scan(folder, *images, strict=True, meta=META, image_dir="", encoding="utf-8"):
    text = f'<?xml version="1.0" encoding="{encoding}"?><annotations>{meta}{"".join(images)}'
    (folder / "annotations.xml").write_bytes(f"{text}</annotations>".encode(encoding))
    return scan_cvat_files(Source(folder), Options(ImageFinder(image_dir), strict))


def mask_of(folder, *shapes):
    """The mask of one image."""
    (item,) = scan(folder, image(*shapes)).items
    return item.load(CLASSES)[1]


def runs_of(mask):
    """CVAT's runs of a mask, counted pixel by pixel along its rows."""
    runs, inside = [0], False
    for value in mask.ravel():
        if bool(value) != inside:
            runs.append(0)
            inside = not inside
        runs[-1] += 1
    return ", ".join(map(str, runs))


# Shapes


def test_polygons(folder, rng):
    for _ in range(20):
        points = [tuple(point) for point in np.round(rng.uniform(-3, 22, (5, 2)), 2).tolist()]
        text = ";".join(f"{x},{y}" for x, y in points)
        mask = mask_of(folder, f'<polygon label="cat" points="{text}"/>')
        assert np.array_equal(mask, brute_force.polygon(points, SIZE))


@pytest.mark.parametrize("degrees", [0, 17.5, 90, 201, -40])
def test_boxes(degrees, folder):
    rotation = f'rotation="{degrees}"' if degrees else ""
    shape = f'<box label="cat" xtl="4.2" ytl="3" xbr="15.7" ybr="8.9" {rotation}/>'
    expected = brute_force.box(4.2, 3, 15.7, 8.9, SIZE, degrees)
    assert np.array_equal(mask_of(folder, shape), expected)


@pytest.mark.parametrize("degrees", [0, 30, 90, -75.5])
@pytest.mark.parametrize("center", [(9.3, 6.1), (1, 13), (-20, 5)])
def test_ellipses(degrees, center, folder):
    shape = (
        f'<ellipse label="cat" cx="{center[0]}" cy="{center[1]}" rx="8.25" ry="3.5" '
        f'rotation="{degrees}"/>'
    )
    expected = brute_force.ellipse(center, (8.25, 3.5), SIZE, degrees)
    assert np.array_equal(mask_of(folder, shape), expected)


def test_an_ellipse_without_extent_is_nothing(folder):
    assert not mask_of(folder, '<ellipse label="cat" cx="9" cy="6" rx="0" ry="3"/>').any()


@pytest.mark.parametrize(("left", "top"), [(3, 2), (0, 0), (17, 12), (-2, -1)])
def test_masks(left, top, folder, rng):
    crop = rng.random((4, 5)) < 0.5
    shape = (
        f'<mask label="cat" rle="{runs_of(crop)}" left="{left}" top="{top}" width="5" height="4"/>'
    )
    wide = np.zeros((40, 40), bool)
    wide[top + 10 : top + 14, left + 10 : left + 15] = crop
    assert np.array_equal(mask_of(folder, shape), wide[10:24, 10:30])


def test_a_higher_z_order_paints_over_a_lower_one_and_later_over_earlier(folder):
    shapes = [BOX.format("cat", 0, 1), BOX.format("dog", 2, 0), BOX.format("dog", 4, 1)]
    assert mask_of(folder, *shapes)[0, :8].tolist() == [1, 1, 1, 1, 2, 2, 0, 0]
    assert mask_of(folder, BOX.format("cat", 0, -1), BOX.format("dog", 3, -2))[0, 4] == 1
    assert mask_of(folder, BOX.format("cat", 0, 10), BOX.format("dog", 3, 9))[0, 4] == 1


# Files


def test_labels_and_notes(folder):
    line = '<polyline label="way" points="1,1;2,2"/>'
    found = scan(folder, image(BOX.format("ant", 0, 0), line, line, '<tag label="x"/>'))
    assert found.labels == ["dog", "cat", "ant"]
    assert found.notes == [
        "2 polyline elements were left out: they cover no area.",
        "1 tag elements were left out: they cover no area.",
        "1 boxes were filled. A box is rarely what an object covers.",
    ]
    (item,) = found.items
    assert item.name == "a"
    assert item.origin == f"a.png in {folder / 'annotations.xml'}"
    assert item.labels == {"ant"}
    assert guess_cvat(Source(folder)) == "<annotations> in annotations.xml"


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1"])
def test_other_encodings(encoding, folder):
    found = scan(folder, image(BOX.format("Käfer", 0, 0)), encoding=encoding)
    assert found.items[0].labels == {"Käfer"}
    assert guess_cvat(Source(folder)) == "<annotations> in annotations.xml"


@pytest.mark.parametrize(
    ("stored", "name", "subset"),
    [("images/train/c.png", "c.png", 'subset="train"'), ("images/s/c.png", "s/c.png", "")],
)
def test_where_images_are(stored, name, subset, folder):
    (folder / stored).parent.mkdir()
    Image.new("RGB", SIZE[::-1], (1, 2, 3)).save(folder / stored)
    (item,) = scan(folder, image(name=name, size=subset)).items
    assert item.load(CLASSES)[0].data == (folder / stored).read_bytes()


def test_an_image_with_a_broken_shape_is_left_out(folder):
    bad = image('<box label="cat" xtl="a"/>', BOX.format("cat", 0, 0), name="b.png")
    found = scan(folder, image(BOX.format("cat", 0, 0)), bad, image(name="c.png"), strict=False)
    assert [item.name for item in found.items] == ["a"]
    xml = folder / "annotations.xml"
    assert [one.origin for one in found.skipped] == [f"b.png in {xml}", f"c.png in {xml}"]
    assert f"c.png in {xml} names the image 'c.png', which is not in {folder}, " in (
        found.skipped[1].reason
    )
    # The boxes of what is left out are not counted.
    assert found.notes == ["1 boxes were filled. A box is rarely what an object covers."]


# Problems


MASK = '<mask label="cat" left="0" top="0" width="2" height="2" rle="{}"/>'


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            "<star/>",
            r"a\.png in .*xml, shape 1 is a <star>\. Known are polygon, box, ellip",
        ),
        ('<box xtl="1"/>', r"shape 1 has the label None\. Expected a name"),
        ('<box label="cat" z_order="up"/>', r"shape 1 has the z_order 'up'\. Expected a whole"),
        ('<box label="cat" xtl="1"/>', r"shape 1 \(cat\) has '' in ytl\. Expected numbers"),
        ('<polygon label="cat"/>', r"\(cat\) has '' in points\. Expected numbers"),
        ('<polygon label="cat" points="1,1;2,2"/>', r"is a polygon of 2 points\. Expected at lea"),
        (
            '<polygon label="cat" points="1,1;2;3,3"/>',
            r"has the point \[2\.0\]\. Expected",
        ),
        ('<polygon label="cat" points="1,1;nan,1;3,3"/>', r"has the point \[nan, 1\.0\]\. Expec"),
        ('<polygon label="cat" points="1,1;1e308,1;3,3"/>', r"has the point \[1e\+308, 1\.0\]"),
        ('<polygon label="cat" points="1_0,1;2,2;3,3"/>', r"has '1_0' in points\. Expected numb"),
        (
            '<ellipse label="cat" cx="1" cy="1" rx="-2" ry="3"/>',
            r"has the radius -2\.0\. Expected none below 0",
        ),
        (
            '<ellipse label="cat" cx="1" cy="1" rx="2" ry="3" rotation="inf"/>',
            r"has the rotation inf\. Expected degrees\.",
        ),
        (MASK.format("1, 2"), r"has a broken RLE mask: .* fill its 2x2 pixels exactly\. Export"),
        (MASK.format("1, x, 3"), r"has a broken RLE mask: its runs must be whole numbers"),
        (MASK.format("5, -1"), r"has a broken RLE mask"),
        (MASK.format("4").replace("2", "90000"), r"has 90000x90000 = 8,100,000,000 pixels; max_"),
    ],
)
def test_faulty_shapes(shape, message, folder):
    with pytest.raises(UserError, match=message):
        scan(folder, image(shape))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<annotations>", r"annotations\.xml can't be read as XML: .* Export it again"),
        (b'<?xml version="1.0" encoding="no"?><annotations/>', r"can't be read as XML"),
        (b"<annotation/>", r"is not CVAT's: its root is <annotation>, not <annotations>\. Move"),
        (b"<annotations><track/></annotations>", r"it is 'CVAT for video'\. Export the task as"),
    ],
)
def test_faulty_files(content, message, folder):
    (folder / "annotations.xml").write_bytes(content)
    with pytest.raises(UserError, match=message):
        scan_cvat_files(Source(folder), Options(ImageFinder(), strict=True))


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (image(name=""), r"image 1 in .*xml has the image name ''\. Expected a text"),
        (image(size='width="x" height="1"'), r"a\.png in .* has the width 'x'\. Expected a numb"),
        (image(size='width="7" height="14"'), r"says that the image is 7x14 pixels, but"),
    ],
)
def test_faulty_images(one, message, folder):
    with pytest.raises(UserError, match=message):
        scan(folder, one).items[0].load(CLASSES)


def test_a_label_that_has_no_name(folder):
    meta = "<meta><task><labels><label/></labels></task></meta>"
    with pytest.raises(UserError, match=r"annotations\.xml, labels has the label None\. Expected"):
        scan(folder, image(), meta=meta)

"""VIA's JSON: regions against drawing pixel by pixel, attributes, projects, problems."""

import json
import math

import brute_force
import numpy as np
import pytest
from PIL import Image

from errors import UserError
from utils.convert.annotated_images import ImageFinder
from utils.convert.scan import Options
from utils.convert.source import Source
from utils.convert.via import is_via, scan_via_files

SIZE = (14, 20)
CLASSES = ("background", "cat", "dog")
RECT = {"name": "rect", "x": 0, "y": 0, "width": 6, "height": 2}


def region(shape=RECT, label="cat", **attributes):
    named = {} if label is None else {"class": label}
    return {"shape_attributes": shape, "region_attributes": named | attributes}


def image(*regions, name="a.png"):
    return {"filename": name, "size": 99, "regions": list(regions), "file_attributes": {}}


@pytest.fixture
def folder(tmp_path):
    """A folder with a.png and b.png."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / name)
    return tmp_path


def scan(folder, *images, data=None, strict=True, **options):
    keyed = {f"{number}.png99": one for number, one in enumerate(images)}
    (folder / "via.json").write_text(json.dumps(keyed if data is None else data))
    return scan_via_files(
        Source(folder / "via.json"), Options(ImageFinder(), strict=strict, **options)
    )


def mask_of(folder, *regions):
    (item,) = scan(folder, image(*regions)).items
    return item.load(CLASSES)[1]


# Regions


def outline(points, name="polygon"):
    return {
        "name": name,
        "all_points_x": [x for x, _ in points],
        "all_points_y": [y for _, y in points],
    }


def test_polygons_and_closed_polylines(folder, rng):
    for _ in range(20):
        points = [tuple(point) for point in np.round(rng.uniform(-3, 22, (5, 2)), 1).tolist()]
        expected = brute_force.polygon(points, SIZE)
        assert np.array_equal(mask_of(folder, region(outline(points))), expected)
        closed = outline([*points, points[0]], "polyline")
        assert np.array_equal(mask_of(folder, region(closed)), expected)


def test_rectangles_and_circles(folder):
    shape = {"name": "rect", "x": 3, "y": 2, "width": 7, "height": 5}
    assert np.array_equal(mask_of(folder, region(shape)), brute_force.box(3, 2, 10, 7, SIZE))
    shape = {"name": "circle", "cx": 9, "cy": 6.5, "r": 4.2}
    expected = brute_force.ellipse((9, 6.5), (4.2, 4.2), SIZE)
    assert np.array_equal(mask_of(folder, region(shape)), expected)


@pytest.mark.parametrize("theta", [None, 0, 0.6, -2])
def test_ellipses(theta, folder):
    shape = {"name": "ellipse", "cx": 9, "cy": 6.5, "rx": 8, "ry": 3, "theta": theta}
    expected = brute_force.ellipse((9, 6.5), (8, 3), SIZE, math.degrees(theta or 0))
    assert np.array_equal(mask_of(folder, region(shape)), expected)


def test_later_regions_paint_over_earlier_ones(folder):
    second = region(RECT | {"x": 4}, "dog")
    assert mask_of(folder, region(), second)[0, :11].tolist() == [1] * 4 + [2] * 6 + [0]


def test_what_has_no_area_is_left_out_and_said(folder):
    line = region(outline([(0, 0), (9, 9)], "polyline"), label=None)
    found = scan(
        folder,
        image(region(), line, region({"name": "point", "cx": 1, "cy": 1})),
        image(name="b.png"),
    )
    assert found.notes == [
        "1 regions of the shape polyline were left out: they cover no area.",
        "1 regions of the shape point were left out: they cover no area.",
        "1 boxes were filled. A box is rarely what an object covers.",
        "1 images without regions became background only.",
    ]
    first, second = found.items
    assert (first.name, first.labels) == ("a", {"cat"})
    assert first.origin == f"a.png in {folder / 'via.json'}"
    assert not second.load(CLASSES)[1].any()


# Files


def test_projects_give_the_order_of_classes(folder):
    attributes = {"region": {"class": {"type": "dropdown", "options": {"zebra": "", "cat": ""}}}}
    data = {
        "_via_settings": {},
        "_via_img_metadata": {"a": image(region(label="new"), region())},
        "_via_attributes": attributes,
    }
    found = scan(folder, data=data)
    assert found.labels == ["zebra", "cat", "new"]
    assert found.items[0].labels == {"cat", "new"}


def test_files_of_version_1(folder):
    old = image() | {"regions": {"0": region(), "1": region(label="dog")}}
    assert scan(folder, old).items[0].labels == {"cat", "dog"}


def test_an_image_with_a_broken_region_is_left_out(folder):
    found = scan(folder, image(region()), image(region(label=""), name="b.png"), strict=False)
    assert [item.name for item in found.items] == ["a"]
    ((origin, reason),) = found.skipped
    assert origin == f"b.png in {folder / 'via.json'}"
    assert reason == (f"{origin}, region 1 has no class, which would be its class. Give it one.")


# Attributes


def test_of_several_attributes_one_is_asked_for(folder):
    one = image(region(label="good", kind="cat"))
    with pytest.raises(UserError) as caught:
        scan(folder, one)
    assert str(caught.value) == (
        "Regions have 2 attributes: class (such as 'good'), kind (such as 'cat'). Set "
        "class_attribute to the one that names their class."
    )
    assert scan(folder, one, class_attribute="kind").labels == ["cat"]


def test_checkboxes(folder):
    one = region(label={"cat": True, "dog": False})
    assert scan(folder, image(one)).items[0].labels == {"cat"}
    with pytest.raises(UserError, match=r"region 1 has 2 values, \['a', 'b'\], for class, and a p"):
        scan(folder, image(region(label={"a": True, "b": True})))
    with pytest.raises(UserError, match=r"region 1 has no class, which would be its class"):
        scan(folder, image(region(label={"a": False})))


def test_regions_without_attributes(folder):
    with pytest.raises(UserError, match=r"region 1 has no attribute, which would be its class"):
        scan(folder, image(region(label=None)))


# Problems


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (5, r"a\.png in .*via\.json, region 1 is 5\. Expected shape_attributes in braces"),
        (region({"name": "star"}), r"has the shape 'star'\. Known are polygon, rect, circle, el"),
        (region({}), r"has the shape None\. Known are"),
        (region(outline([(1, 1), (2, 2)])), r"is a polygon of 2 points\. Expected at least 3"),
        (region({"name": "polygon"}), r"has the points None and None\. Expected two lists "),
        (
            region({"name": "polygon", "all_points_x": [1], "all_points_y": [1, 2]}),
            r"has the points \[1\] and \[1, 2\]\. Expected two lists",
        ),
        (region(RECT | {"x": "1"}), r"has the point \['1', 0\]\. Expected"),
        (region({"name": "circle", "cx": 1, "cy": 1}), r"has the point \[None, None\]\. Expected"),
        (
            region({"name": "circle", "cx": 1, "cy": 1, "r": -1}),
            r"has the radius -1\. Expected none below 0",
        ),
        (
            region({"name": "ellipse", "cx": 1, "cy": 1, "rx": 1, "ry": 1, "theta": "x"}),
            r"region 1, theta, has the point \['x', 0\]",
        ),
        (region(label=3), r"has the label 3\. Expected a name"),
    ],
)
def test_faulty_regions(one, message, folder):
    with pytest.raises(UserError, match=message):
        scan(folder, image(one))


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (5, r"image 2 in .*via\.json is 5\. Expected filename and regions in braces"),
        (image() | {"regions": 5}, r"a\.png in .* has the regions 5\. Expected a list of them"),
        (image(name=""), r" in .*via\.json has the image name ''\. Expected a text"),
        (image(name="c.png"), r"c\.png in .* names the image 'c\.png', which is not in "),
    ],
)
def test_faulty_images(one, message, folder):
    with pytest.raises(UserError, match=message):
        scan(folder, image(), one)


@pytest.mark.parametrize(
    "data", [[], {}, {"a": 5}, {"a": {"filename": 1}}, {"_via_img_metadata": 5}]
)
def test_what_is_not_via(data, folder):
    assert not is_via(data)
    with pytest.raises(UserError, match=r"via\.json is not VIA's: it has no 'regions' of images"):
        scan(folder, data=data)


def test_a_project_without_images(folder):
    assert scan(folder, data={"_via_img_metadata": {}}).items == []

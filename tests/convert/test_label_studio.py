"""Label Studio's JSON: regions against drawing pixel by pixel, brushes, tasks, problems."""

import json

import brute_force
import numpy as np
import pytest
from PIL import Image

from errors import UserError
from utils.convert.annotated_images import ImageFinder
from utils.convert.label_studio import is_label_studio, scan_label_studio_files
from utils.convert.label_studio_regions import unpack_rle
from utils.convert.scan import Options
from utils.convert.source import Source

SIZE = (14, 20)
CLASSES = ("background", "cat", "dog")


def result(kind="rectanglelabels", label="cat", value=None, **fields):
    value = value or {"x": 0, "y": 0, "width": 30, "height": 50, "rotation": 0}
    labels = {kind: [label]} if label else {}
    return {
        "id": "r1",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": SIZE[1],
        "original_height": SIZE[0],
        "image_rotation": 0,
        "value": value | labels,
    } | fields


def task(*results, image="/data/upload/3/a.png", key=7, **fields):
    annotation = {"id": 70, "result": list(results), "was_cancelled": False}
    return {"id": key, "data": {"image": image}, "annotations": [annotation]} | fields


@pytest.fixture
def folder(tmp_path):
    """A folder with images/a.png and images/b.png."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "images" / name)
    return tmp_path


def scan(folder, *tasks, strict=True):
    (folder / "project.json").write_text(json.dumps(tasks))
    return scan_label_studio_files(Source(folder / "project.json"), Options(ImageFinder(), strict))


def mask_of(folder, *results):
    (item,) = scan(folder, task(*results)).items
    return item.load(CLASSES)[1]


# Regions


def test_polygons(folder, rng):
    for _ in range(20):
        points = np.round(rng.uniform(-10, 110, (5, 2)), 3).tolist()
        mask = mask_of(folder, result("polygonlabels", value={"points": points, "closed": True}))
        pixels = [(x * 0.2, y * 0.14) for x, y in points]
        assert np.array_equal(mask, brute_force.polygon(pixels, SIZE))


@pytest.mark.parametrize("degrees", [0, 17.5, 91, -40, None])
def test_rectangles_are_turned_about_their_first_corner(degrees, folder):
    value = {"x": 33, "y": 26.1, "width": 41, "height": 52, "rotation": degrees}
    left, top = 33 * 0.2, 26.1 * 0.14
    corners = (left, top, left + 41 * 0.2, top + 52 * 0.14)
    expected = brute_force.box(*corners, SIZE, degrees or 0, pivot=(left, top))
    assert np.array_equal(mask_of(folder, result(value=value)), expected)


@pytest.mark.parametrize("degrees", [0, 30, -75])
def test_ellipses(degrees, folder):
    value = {"x": 47, "y": 52, "radiusX": 38, "radiusY": 21, "rotation": degrees}
    expected = brute_force.ellipse((9.4, 7.28), (7.6, 2.94), SIZE, degrees)
    assert np.array_equal(mask_of(folder, result("ellipselabels", value=value)), expected)


def pack(values, lengths=(3, 4, 8, 16), width=8, runs=True):
    """Packs numbers as thi.ng's rle-pack lays them out, a bit at a time.

    Args:
        values: sequence of int.
        lengths: the four counts of bits of a length.
        width: bits of a value.
        runs: whether equal values become one block; otherwise all blocks list values.
    """
    text = f"{len(values):032b}{width - 1:05b}" + "".join(f"{one - 1:04b}" for one in lengths)
    start = 0
    while start < len(values):
        end = start + 1
        while runs and end < len(values) and values[end] == values[start]:
            end += 1
        if end - start == 1:
            end = min(start + 5, len(values))
            repeats, listed = 0, values[start:end]
        else:
            end = min(end, start + 2 ** lengths[-1])
            repeats, listed = 1, [values[start]]
        which = next(n for n, bits in enumerate(lengths) if end - start <= 2**bits)
        text += f"{repeats}{which:02b}{end - start - 1:0{lengths[which]}b}"
        text += "".join(f"{value:0{width}b}" for value in listed)
        start = end
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("width", [8, 5, 1])
@pytest.mark.parametrize("lengths", [(3, 4, 8, 16), (1, 2, 3, 4)])
def test_packed_numbers(lengths, width, runs, rng):
    values = np.repeat(rng.integers(0, 2**width, 60), rng.integers(1, 9, 60))
    assert np.array_equal(unpack_rle(bytes(pack(values, lengths, width, runs))), values)


def brush(mask, **fields):
    """A brush region whose alpha is 255 inside, in a colour."""
    pixels = np.zeros((*SIZE, 4), int)
    pixels[mask] = (10, 200, 30, 255)
    value = {"format": "rle", "rle": pack(pixels.ravel())}
    return result("brushlabels", value=value, **fields)


def test_brushes(folder, rng):
    mask = rng.random(SIZE) < 0.4
    assert np.array_equal(mask_of(folder, brush(mask)), mask)
    soft = brush(mask)
    alpha = np.where(mask, 128, 127)
    soft["value"]["rle"] = pack(np.repeat(alpha[..., None], 4, axis=2).ravel())
    assert np.array_equal(mask_of(folder, soft), mask)


def test_later_regions_paint_over_earlier_ones(folder):
    narrow = result(label="dog", value={"x": 0, "y": 0, "width": 10, "height": 50})
    assert mask_of(folder, result(), narrow)[0, :8].tolist() == [2, 2, 1, 1, 1, 1, 0, 0]
    assert mask_of(folder, narrow, result())[0, :8].tolist() == [1] * 6 + [0, 0]


def test_the_rotation_of_the_view_changes_nothing(folder):
    turned = [result(image_rotation=90), result()]
    first, second = (mask_of(folder, one) for one in turned)
    assert np.array_equal(first, second)


def test_labels_that_stand_apart_from_their_regions(folder):
    """The tags <Labels> and <Rectangle>: two results of one id, or one."""
    geometry = {"x": 0, "y": 0, "width": 10, "height": 50}
    bare = result("rectangle", label=None, value=geometry)
    assert np.array_equal(mask_of(folder, bare, result("labels"))[0, :4], [1, 1, 0, 0])
    only_name = result("labels", value={"from": 0})
    assert np.array_equal(mask_of(folder, only_name, bare)[0, :4], [1, 1, 0, 0])
    alone = [
        result("labels", "dog", value=geometry),
        result("labels", value={"points": [[50, 0], [100, 0], [100, 50]]}, id="r2"),
    ]
    mask = mask_of(folder, *alone)
    assert mask[0, :4].tolist() == [2, 2, 0, 0]
    assert mask[0, -3:].tolist() == [1, 1, 1]


# Tasks


def test_tasks_and_notes(folder):
    found = scan(
        folder,
        task(result(label="dog"), result("choices", value={"choices": ["good"]})),
        task(image="s3://bucket/b.png?token=1", key=8),
        {"id": 9, "data": {"image": "c.png"}, "annotations": []},
        task(annotations=[{"id": 1, "result": [], "was_cancelled": True}]),
    )
    assert found.labels == ["dog"]
    assert found.notes == [
        "1 results of the type choices were left out: they cover no area.",
        "1 boxes were filled. A box is rarely what an object covers.",
        "2 tasks were left out: nobody has annotated them.",
    ]
    first, second = found.items
    assert first.origin == f"{folder / 'project.json'}, task 7 (/data/upload/3/a.png)"
    assert (first.name, first.labels, second.name) == ("a", {"dog"}, "b")
    assert not second.load(CLASSES)[1].any()


def test_the_annotation_of_ground_truth_counts(folder):
    annotations = [
        {"id": 1, "result": [result(label="dog")]},
        {"id": 2, "result": [result()], "ground_truth": True},
    ]
    (item,) = scan(folder, task(annotations=annotations)).items
    assert item.labels == {"cat"}
    del annotations[1]["ground_truth"]
    with pytest.raises(UserError, match=r"task 7 has 2 annotations, 1, 2, and a mask shows one"):
        scan(folder, task(annotations=annotations))


def test_one_task_and_one_annotation_a_file(folder):
    """Of the second kind are the files in a storage of the cloud."""
    whole = task(result())
    stored = {"id": 1, "result": [result(label="dog")], "task": {"id": 7, "data": whole["data"]}}
    for content, label in ((whole, "cat"), (stored, "dog")):
        (folder / "one.json").write_text(json.dumps(content))
        assert is_label_studio(content)
        source = Source(folder / "one.json")
        (item,) = scan_label_studio_files(source, Options(ImageFinder(), True)).items
        assert item.labels == {label}
        assert item.origin == f"{folder / 'one.json'}, task 7 (/data/upload/3/a.png)"


def test_a_brush_without_a_size_takes_that_of_the_image(folder, rng):
    mask = rng.random(SIZE) < 0.4
    one = brush(mask, original_width=None, original_height=None)
    assert np.array_equal(mask_of(folder, one), mask)


def test_files_of_old_versions(folder):
    old = {"id": 1, "data": {"image": "a.png"}, "completions": [{"result": [result()]}]}
    assert is_label_studio([old])
    assert scan(folder, old).items[0].labels == {"cat"}


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"image": "a.png", "url": "b.png"}, {}),
        ({"photo": "a.png", "text": "some words"}, {}),
        ({"photo": "/data/local-files/?d=images/a.png"}, {}),
        ({"first": "b.png", "second": "a.png"}, {"source": "$second"}),
        ({"image": "/data/upload/1/0a1b2c3d-a.png"}, {}),  # uploaded as a.png
    ],
)
def test_which_text_names_the_image(data, fields, folder):
    (item,) = scan(folder, task(result(**fields), data=data)).items
    assert item.name == "a"


def test_a_task_with_a_broken_region_is_left_out(folder):
    found = scan(folder, task(result()), task(result(label=""), image="b.png", key=8), strict=False)
    assert [item.name for item in found.items] == ["a"]
    ((origin, reason),) = found.skipped
    assert origin == f"{folder / 'project.json'}, task 8"
    assert reason == f"{origin} (b.png), result 1 has no label. Give it one, or delete it."


def test_sizes_must_agree(folder):
    other = result(original_width=21)
    with pytest.raises(UserError, match=r"image of 21x14 pixels, those before it of one of 20x14"):
        scan(folder, task(result(), other))
    with pytest.raises(UserError, match=r"says that the image is 21x14 pixels, but"):
        mask_of(folder, other)


# Problems


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (3, r"task 7 has the result 3\. Expected a value in braces"),
        (result(type=3), r"task 7 has a result of the type 3\. Expected a text"),
        (result("bitmasklabels"), r"a result of the type 'bitmasklabels'\. Known are polygonla"),
        (result(label=None), r"task 7 \(.*a\.png\), result 1 has no label\. Give it one"),
        (
            result(value={"x": 0, "y": 0, "width": 1, "height": 1}, label=None)
            | {"value": {"rectanglelabels": ["a", "b"]}},
            r"result 1 has 2 labels, \['a', 'b'\], and a pixel one class\. Leave one",
        ),
        (result(label=5), r"result 1 has the label 5\. Expected a name"),
        (result(original_width="20"), r"result 1 has the size \(14, '20'\)\. Expected whole"),
        (result(value={"x": 0}), r"\(cat\) has the point \[0, None\]\. Expected \[x, y\]"),
        (
            result(value={"x": 0, "y": 0, "width": 5, "height": 5, "rotation": "a"}),
            r"\(cat\), rotation, has the point \['a', 0\]",
        ),
        (result("polygonlabels", value={"points": 5}), r"\(cat\) has the point 5\. Expected"),
        (
            result("polygonlabels", value={"points": [[1, 2], [3, 4]]}),
            r"is a polygon of 2 points\. Expected at least 3",
        ),
        (
            result("ellipselabels", value={"x": 0, "y": 0, "radiusX": -1, "radiusY": 5}),
            r"has the radius -1\. Expected none below 0",
        ),
        (result("brushlabels", value={"rle": "x"}), r"broken brush mask: rle is 'x', no list of"),
        (result("brushlabels", value={"rle": [256]}), r"broken brush mask: rle is \[256\], no"),
    ],
)
def test_faulty_results(one, message, folder):
    with pytest.raises(UserError, match=message):
        scan(folder, task(one))


def header(width=8):
    return f"{4 * SIZE[0] * SIZE[1]:032b}{width - 1:05b}" + "1111" * 4


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (header(), r"\(cat\) has a broken brush mask: it ends too early\. Export it"),
        (header() + "000" + "0" * 15 + "1", r"it ends too early"),
        ("0" * 16, r"it has 0 values, not the 1120 of the red, green, blue and alpha of 20x14 "),
        (header(9), r"its values have 9 bits"),
        (header() + "100" + "1" * 16 + "0" * 8, r"its runs are too long"),
    ],
)
def test_faulty_brushes(bits, message, folder):
    bits += "0" * (-len(bits) % 8)
    numbers = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    with pytest.raises(UserError, match=message):
        mask_of(folder, result("brushlabels", value={"rle": numbers}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": 5}, r"task 7 has the data 5\. Expected names in braces"),
        ({"data": {"a": "x.png", "b": "y.png"}}, r"has the data \{.*\}\. Expected one text that"),
        ({"data": {"image": ["a.png"]}}, r"Expected one text that names its image"),
        ({"data": {"image": "gone.png"}}, r"names the image 'gone\.png', which is not in "),
        ({"annotations": 5}, r"task 7 has the annotations 5\. Expected a list of them"),
        ({"annotations": [5]}, r"task 7 has the annotations \[5\]\. Expected a list of them"),
        ({"annotations": [{"result": 5}]}, r"task 7 has the result 5\. Expected a list"),
    ],
)
def test_faulty_tasks(changes, message, folder):
    with pytest.raises(UserError, match=message):
        scan(folder, task(), task(key=7) | changes)


def test_regions_of_two_images(folder):
    with pytest.raises(UserError, match=r"has regions of 2 images\. Annotate one a task"):
        scan(folder, task(result(), result(to_name="other")))


def test_what_is_not_label_studio(folder):
    with pytest.raises(UserError, match=r"task 2 is 5\. Expected braces"):
        scan(folder, task(), 5)
    with pytest.raises(UserError, match=r"as JSON, not as JSON-MIN, or move it away"):
        scan(folder, {"image": "a.png", "label": []})

"""COCO panoptic: the ids in a PNG's colours, what of them is void, what does not fit together."""

import json

import numpy as np
import pytest
from PIL import Image

from errors import UserError
from utils.convert.annotated_images import ImageFinder
from utils.convert.coco_panoptic import is_panoptic, read_segment_ids, scan_panoptic_files
from utils.convert.scan import Options
from utils.convert.source import Source

SIZE = (6, 8)
CLASSES = ("background", "cat", "sky")
LARGE = 70_000  # needs the blue channel: 1 * 65536 + 17 * 256 + 112


def segment_ids():
    """int (6, 8): 0, a cat (5), a cat (300), the sky."""
    ids = np.zeros(SIZE, int)
    ids[0], ids[2, :3], ids[4, 2:5] = LARGE, 5, 300
    return ids


def colors_of(ids):
    """uint8 (H, W, 3), each id in its bytes, the lowest first."""
    flat = [int(value).to_bytes(3, "little") for value in ids.ravel()]
    return np.frombuffer(b"".join(flat), np.uint8).reshape(*ids.shape, 3)


def content(**changes):
    segments = [
        {"id": 5, "category_id": 1, "iscrowd": 0},
        {"id": 300, "category_id": 1, "iscrowd": 0},
        {"id": LARGE, "category_id": 9, "iscrowd": 0},
    ]
    one = {"image_id": 3, "file_name": "a.png", "segments_info": segments}
    return {
        "images": [{"id": 3, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [one],
        "categories": [
            {"id": 9, "name": "sky", "isthing": 0},
            {"id": 1, "name": "cat", "isthing": 1},
        ],
    } | changes


@pytest.fixture
def folder(tmp_path):
    """A folder with images/a.jpg, and the PNG in panoptic_val/."""
    for name in ("images", "panoptic_val"):
        (tmp_path / name).mkdir()
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "images" / "a.jpg")
    Image.fromarray(colors_of(segment_ids())).save(tmp_path / "panoptic_val" / "a.png")
    return tmp_path


def scan(folder, data, strict=True, **options):
    (folder / "panoptic_val.json").write_text(json.dumps(data))
    return scan_panoptic_files(
        Source(folder / "panoptic_val.json"), Options(ImageFinder(), strict, **options)
    )


def expected(rest):
    mask = np.full(SIZE, rest, np.uint8)
    mask[0], mask[2, :3], mask[4, 2:5] = 2, 1, 1
    return mask


def test_the_ids_of_a_png(folder):
    assert np.array_equal(read_segment_ids(folder / "panoptic_val" / "a.png"), segment_ids())


@pytest.mark.parametrize(
    ("unlabeled", "rest", "said"),
    [
        ("auto", 255, "void (unlabeled='auto': some category is stuff, isthing=0)"),
        ("void", 255, "void (unlabeled='void')"),
        ("background", 0, "background (unlabeled='background')"),
    ],
)
def test_a_panoptic_file(unlabeled, rest, said, folder):
    found = scan(folder, content(), unlabeled=unlabeled)
    assert found.labels == ["cat", "sky"]
    assert found.notes == [f"Pixels of no segment became {said}."]
    assert found.skipped == []
    (item,) = found.items
    assert (item.name, item.labels) == ("a", {"cat", "sky"})
    image, mask = item.load(CLASSES)
    assert image.data == (folder / "images" / "a.jpg").read_bytes()
    assert np.array_equal(mask, expected(rest))


def test_without_stuff_the_rest_is_background(folder):
    data = content()
    del data["categories"][0]["isthing"]
    found = scan(folder, data)
    assert "became background (unlabeled='auto': no category is stuff, isthing=0)" in found.notes[0]
    assert np.array_equal(found.items[0].load(CLASSES)[1], expected(0))


@pytest.mark.parametrize(("crowd", "value"), [("auto", 255), ("class", 1)])
def test_crowds(crowd, value, folder):
    data = content()
    data["annotations"][0]["segments_info"][1]["iscrowd"] = 1
    found = scan(folder, data, crowd=crowd)
    mask = found.items[0].load(CLASSES)[1]
    assert (mask[4, 2:5] == value).all()
    assert (mask[2, :3] == 1).all()
    assert f"1 regions with iscrowd=1 became {'void' if value == 255 else 'their cl'}" in str(
        found.notes
    )


def test_what_is_not_panoptic():
    assert is_panoptic(content())
    assert not is_panoptic(content(annotations=[{"image_id": 3, "segmentation": []}]))
    assert not is_panoptic(content(annotations=[]))
    assert not is_panoptic([])


def change_annotation(**fields):
    return lambda data: data["annotations"][0].update(fields)


def change_segment(**fields):
    return lambda data: data["annotations"][0]["segments_info"][0].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("images"), r"is not COCO panoptic: it lacks 'segments_info'\. Mo"),
        (change_annotation(file_name=3), r"annotation 1 has no file_name, which names its PNG"),
        (change_annotation(file_name="b.png"), r"the PNG of segments 'b\.png', which is not in "),
        (change_annotation(segments_info=5), r"annotation 1 has the segments_info 5\. Expected"),
        (change_annotation(image_id="3"), r"has the image_id '3', a text, but the file lists 3,"),
        (change_annotation(image_id=4), r"annotation 1 has the image_id 4, which the file does"),
        (change_segment(id="5"), r"annotation 1, segment 5: its id is a text\. Expected a numb"),
        (change_segment(id=300), r"segments_info: the id 300 stands twice"),
        (change_segment(category_id=2), r"segment 5 has the category_id 2, which the file do"),
        (change_segment(id=6), r"a\.png holds the segment 5, which segments_info of a\.jpg in "),
        (
            lambda data: data["annotations"].append(data["annotations"][0]),
            r"has 2 annotations of the image a\.jpg\. Expected one, with all",
        ),
        (
            lambda data: data["images"].append({"id": 4, "file_name": "images/a.jpg"}),
            r"has 0 annotations of the image images/a\.jpg\. Expected one",
        ),
    ],
)
def test_problems(change, message, folder):
    data = content()
    change(data)
    with pytest.raises(UserError, match=message):
        [item.load(CLASSES) for item in scan(folder, data).items]


def test_a_png_of_another_size_or_without_colours(folder):
    path = folder / "panoptic_val" / "a.png"
    Image.new("RGB", (3, 2)).save(path)
    with pytest.raises(UserError, match=r"a\.png has 3x2 pixels, but its image .*a\.jpg 8x6\. Th"):
        scan(folder, content()).items[0].load(CLASSES)
    Image.new("L", SIZE[::-1]).save(path)
    with pytest.raises(UserError, match=r"a\.png is of the mode L\. Expected RGB, whose colours"):
        scan(folder, content()).items[0].load(CLASSES)


def test_an_image_with_a_broken_segment_is_left_out(folder):
    data = content()
    Image.new("RGB", SIZE[::-1]).save(folder / "images" / "b.jpg")
    Image.new("RGB", SIZE[::-1]).save(folder / "panoptic_val" / "b.png")
    data["images"].append({"id": 4, "file_name": "b.jpg"})
    broken = [{"id": 5, "category_id": 7}]
    data["annotations"] += [
        {"image_id": 4, "file_name": "b.png", "segments_info": broken},
        {"image_id": 5, "file_name": "c.png", "segments_info": []},
    ]
    found = scan(folder, data, strict=False)
    assert [item.name for item in found.items] == ["a"]
    assert [one.origin for one in found.skipped] == [
        f"{folder / 'panoptic_val.json'}, annotation 3",
        f"b.jpg in {folder / 'panoptic_val.json'}",
    ]

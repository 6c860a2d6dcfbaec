"""COCO files of CVAT, Label Studio and Roboflow: regions, categories, images, problems."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from errors import UserError
from utils.convert.annotated_images import ImageFinder
from utils.convert.coco import is_coco, scan_coco
from utils.convert.scan import Skips

SIZE = (6, 8)
SQUARE = [1, 1, 4, 1, 4, 3, 1, 3]  # columns 1 to 3, rows 1 and 2
CLASSES = ("background", "cat", "dog")


def annotation(segmentation=(SQUARE,), category=1, image=1, **fields):
    if not isinstance(segmentation, dict):
        segmentation = list(segmentation)
    return {
        "id": 1,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "bbox": [1, 1, 3, 2],
        "area": 6,
        "iscrowd": 0,
    } | fields


def image(key=1, file_name="a.png", size=SIZE):
    return {"id": key, "file_name": file_name, "height": size[0], "width": size[1]}


def coco(annotations=(), images=None, categories=None):
    return {
        "images": [image()] if images is None else list(images),
        "annotations": list(annotations),
        "categories": list(categories or [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}]),
    }


@pytest.fixture
def folder(tmp_path):
    """A folder with the images a.png and b.png."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / name)
    return tmp_path


def scan(data, folder, image_dir="", **options):
    data = json.loads(json.dumps(data))
    return scan_coco(folder / "coco.json", data, ImageFinder(str(image_dir)), **options)


def mask_of(data, folder, classes=CLASSES, **options):
    """The mask of the first image."""
    return scan(data, folder, **options).items[0].load(classes)[1]


def square(value=1):
    mask = np.zeros(SIZE, np.uint8)
    mask[1:3, 1:4] = value
    return mask


# Regions


def test_a_polygon(folder):
    file = scan(coco([annotation()]), folder)
    assert file.categories == {"cat": 1, "dog": 5}
    assert file.crowds == (0, 0)
    (item,) = file.items
    assert (item.name, item.labels) == ("a", {"cat"})
    assert item.origin == f"a.png in {folder / 'coco.json'}"
    image, mask = item.load(CLASSES)
    assert image.data == (folder / "a.png").read_bytes()
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, square())


def test_the_parts_of_an_object_are_joined(folder):
    parts = [SQUARE, [3, 1, 6, 1, 6, 3, 3, 3]]
    expected = square()
    expected[1:3, 3:6] = 1
    assert np.array_equal(mask_of(coco([annotation(parts)]), folder), expected)


def test_later_annotations_paint_over_earlier_ones(folder):
    small = annotation([[1, 1, 3, 1, 3, 3, 1, 3]], category=5)
    mask = mask_of(coco([annotation(), small]), folder)
    assert mask[1].tolist() == [0, 2, 2, 1, 0, 0, 0, 0]
    assert np.array_equal(mask_of(coco([small, annotation()]), folder), square())


@pytest.mark.parametrize("counts", [[7, 2, 4, 2, 4, 2, 27], "724000g0"])
def test_run_length_codes(counts, folder):
    rle = {"size": list(SIZE), "counts": counts}
    assert np.array_equal(mask_of(coco([annotation(rle)]), folder), square())


def test_a_broken_run_length_code_is_named(folder):
    data = coco([annotation(), annotation({"size": list(SIZE), "counts": [5]})])
    with pytest.raises(UserError, match=r"annotation 2 \(cat\) of a\.png has a broken RLE mask"):
        mask_of(data, folder)


def test_images_without_annotations_are_background_only(folder):
    data = coco([annotation(image=2)], images=[image(), image(2, "b.png")])
    first, second = scan(data, folder).items
    assert first.labels == frozenset()
    assert not first.load(CLASSES)[1].any()
    assert np.array_equal(second.load(CLASSES)[1], square())


@pytest.mark.parametrize("empty", [[], None])
def test_only_a_box(empty, folder):
    data = coco([annotation() | {"segmentation": empty}])
    with pytest.raises(UserError) as caught:
        scan(data, folder)
    assert str(caught.value) == (
        f"{folder / 'coco.json'}, annotation 1 (cat) of a.png has only a box, no outline, and "
        "a box is rarely what the object covers. Draw an outline, or set fill_boxes to take "
        "the whole box."
    )
    assert np.array_equal(mask_of(data, folder, fill_boxes=True), square())


def test_a_polygon_without_a_list_around_it(folder):
    assert np.array_equal(
        mask_of(coco([annotation() | {"segmentation": SQUARE}]), folder), square()
    )


# What is left out


def skipped(data, folder, **options):
    """(file, [(origin, reason), ...]) of a scan that goes on."""
    skips = Skips()
    return scan(data, folder, skips=skips, **options), skips.found


def two_images(*annotations):
    return coco(annotations, images=[image(), image(2, "b.png")])


@pytest.mark.parametrize(
    "fields",
    [{"category_id": 9}, {"segmentation": [[1]]}, {"segmentation": []}, {"image_id": "2"}],
    ids=str,
)
def test_an_image_with_one_broken_annotation_is_left_out(fields, folder):
    good, broken = annotation(image=2), annotation(image=2) | fields
    file, found = skipped(two_images(annotation(), good, broken), folder)
    assert [item.name for item in file.items] == ["a"]
    assert np.array_equal(file.items[0].load(CLASSES)[1], square())
    ((origin, reason),) = found
    assert origin == f"b.png in {folder / 'coco.json'}"
    assert f"{folder / 'coco.json'}, annotation 3" in reason


def test_an_annotation_of_no_image_is_left_out_alone(folder):
    file, found = skipped(two_images(annotation(), annotation(image=7)), folder)
    assert [item.name for item in file.items] == ["a", "b"]
    ((origin, reason),) = found
    assert origin == f"{folder / 'coco.json'}, annotation 2"
    assert "has the image_id 7, which the file does not list. Export it again, or" in reason
    _, found = skipped(two_images(annotation(), *[annotation(image=7)] * 3), folder)
    assert [one.reason for one in found] == [f"{reason} So do 2 more annotations."]


def test_an_annotation_of_any_image_stops_the_file(folder):
    data = two_images(annotation(), annotation() | {"image_id": None})
    with pytest.raises(UserError, match=r"annotation 2 has no image_id\."):
        skipped(data, folder)


def test_images_that_are_missing_are_left_out_if_some_are_there(folder):
    data = coco([annotation()], images=[image(), image(2, "gone.png"), image(3, None)])
    file, found = skipped(data, folder, image_dir=folder)
    assert [item.name for item in file.items] == ["a"]
    assert [reason for _, reason in found] == [
        f"{folder / 'coco.json'}: the image with id 3 has no file_name. Add it.",
        f"{folder / 'coco.json'} names gone.png, which is not in {folder}.",
    ]
    with pytest.raises(UserError, match=r"names 1 images that are not there: gone\.png\. Looked"):
        skipped(coco(images=[image(2, "gone.png")]), folder)


def test_crowds_of_images_that_are_left_out_are_not_counted(folder):
    rle = {"size": list(SIZE), "counts": [7, 2, 4, 2, 4, 2, 27]}
    crowds = [annotation(rle, image=key, iscrowd=1) for key in (1, 2)]
    file, _ = skipped(two_images(*crowds, annotation([[1]], image=2)), folder)
    assert file.crowds == (1, 0)


def test_the_content_of_another_format(folder):
    with pytest.raises(UserError, match=r"coco\.json is not COCO's: it lacks the list 'images', "):
        scan({"images": []}, folder)


# iscrowd


@pytest.mark.parametrize(
    ("crowd", "from_cvat", "is_void"),
    [
        ("auto", False, True),
        ("auto", True, False),  # CVAT marks every painted mask so
        ("void", True, True),
        ("void", False, True),
        ("class", True, False),
        ("class", False, False),
    ],
)
def test_crowds(crowd, from_cvat, is_void, folder):
    one = annotation({"size": list(SIZE), "counts": [7, 2, 4, 2, 4, 2, 27]}, iscrowd=1)
    if from_cvat:
        one["attributes"] = {"occluded": False}
    file = scan(coco([one]), folder, crowd=crowd)
    assert file.crowds == ((1, 0) if is_void else (0, 1))
    (item,) = file.items
    assert item.labels == (set() if is_void else {"cat"})
    assert np.array_equal(item.load(CLASSES)[1], square(255 if is_void else 1))


# Categories


def test_classes_stand_in_the_order_of_their_ids(folder):
    categories = [{"id": 90, "name": "z"}, {"id": 3, "name": " b  c "}, {"id": 17, "name": "a"}]
    file = scan(coco(categories=categories), folder)
    assert list(file.categories.items()) == [("b c", 3), ("a", 17), ("z", 90)]


ROBOFLOW = [
    {"id": 0, "name": "pets", "supercategory": "none"},
    {"id": 1, "name": "cat", "supercategory": "pets"},
    {"id": 2, "name": "dog", "supercategory": "pets"},
]


def test_the_placeholder_of_roboflow_is_no_class(folder):
    assert list(scan(coco([annotation()], categories=ROBOFLOW), folder).categories) == [
        "cat",
        "dog",
    ]


def test_a_first_category_that_is_used_or_nobodys_parent_is_a_class(folder):
    data = coco([annotation(category=0)], categories=ROBOFLOW)
    assert list(scan(data, folder).categories) == ["pets", "cat", "dog"]
    # Label Studio counts from 0 and knows no parents.
    data = coco([annotation()], categories=[{"id": 0, "name": "a"}, {"id": 1, "name": "b"}])
    assert list(scan(data, folder).categories) == ["a", "b"]
    data = coco(categories=[{"id": 0, "name": "a", "supercategory": "a"}])
    assert list(scan(data, folder).categories) == ["a"]


def test_background_and_ignore_keep_their_ids(folder):
    categories = [{"id": 0, "name": "__ignore__"}, {"id": 1, "name": "background"}]
    over = annotation([[1, 1, 3, 1, 3, 3, 1, 3]])
    mask = mask_of(coco([annotation(category=0), over], categories=categories), folder)
    assert mask[1].tolist() == [0, 0, 0, 255, 0, 0, 0, 0]


def test_a_label_that_is_not_in_the_list(folder):
    with pytest.raises(
        UserError, match=r"annotation 1 \(cat\) of a\.png has the label 'cat', whic"
    ):
        mask_of(coco([annotation()]), folder, classes=("background", "dog"))


# Images


@pytest.mark.parametrize(
    ("json_folder", "stored", "file_name"),
    [
        ("", "a.jpg", "a.jpg"),  # Roboflow
        ("", "images/a.jpg", "images/a.jpg"),  # Label Studio
        ("", "images/a.jpg", "images\\a.jpg"),
        ("", "images/a b.jpg", "/data/upload/3/a%20b.jpg"),
        ("", "images/a.jpg", "http://localhost:8080/data/upload/3/a.jpg"),
        ("annotations", "images/train/b/a.jpg", "b/a.jpg"),  # CVAT
        ("annotations", "images/a.jpg", "a.jpg"),
        ("annotations", "a.jpg", "a.jpg"),
        ("annotations", "images/sub/a.JPG", "sub/a.jpg"),
    ],
)
def test_where_exports_keep_their_images(json_folder, stored, file_name, tmp_path):
    path = tmp_path / stored
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (9, 99, 199)).save(path)
    data = coco([annotation()], images=[image(file_name=file_name)])
    json_path = tmp_path / json_folder / "instances_train.json"
    (item,) = scan_coco(json_path, data, ImageFinder()).items
    assert item.name == path.stem
    assert item.load(CLASSES)[0].data == path.read_bytes()


def test_a_folder_of_images(folder):
    (folder / "far").mkdir()
    Image.new("RGB", SIZE[::-1]).save(folder / "far" / "a.png", compress_level=1)
    (item,) = scan(coco(), folder, image_dir=folder / "far").items
    assert item.load(CLASSES)[0].data == (folder / "far" / "a.png").read_bytes()


def test_missing_images_are_named_together(folder):
    images = [image(key, f"gone/{key}.jpg") for key in range(1, 8)]
    with pytest.raises(UserError) as caught:
        scan(coco(images=[*images, image(9)]), folder, image_dir=folder)
    assert str(caught.value) == (
        f"{folder / 'coco.json'} names 7 images that are not there: gone/1.jpg, gone/2.jpg, "
        f"gone/3.jpg, gone/4.jpg, gone/5.jpg, .... Looked in {folder}. Put them there, or set "
        "image_dir."
    )
    with pytest.raises(UserError, match=r"not there: gone/1\.jpg\. Looked in .*images, .*Put them"):
        scan(coco(images=images[:1]), folder)


def test_sizes_must_agree_where_they_are_given(folder):
    data = coco(images=[image(size=(8, 6))])
    with pytest.raises(UserError, match=r"^a\.png in .*coco\.json says that the image is 6x8 pi"):
        mask_of(data, folder)
    # Label Studio gives none for images that it could not open.
    assert mask_of(coco(images=[image(size=(None, None))]), folder).shape == SIZE


def test_a_turned_image_must_be_declared_upright(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE[::-1]).save(folder / "a.png", exif=exif)
    assert mask_of(coco(images=[image(size=SIZE[::-1])]), folder).shape == SIZE[::-1]
    with pytest.raises(UserError, match=r"when its EXIF orientation is applied\. Turn the file"):
        mask_of(coco(), folder)


# Problems


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["images"].append(3), r"images: entry 2 has no id\. Export"),
        (lambda data: data["images"].append({"id": None}), r"images: entry 2 has no id"),
        (lambda data: data["images"].append({"id": True}), r"images: entry 2 has no id"),
        (lambda data: data["images"].append(image()), r"images: the id 1 stands twice\. Export"),
        (lambda data: data["images"][0].pop("file_name"), r"the image with id 1 has no file_name"),
        (lambda data: data["images"][0].update(file_name=""), r"the image with id 1 has no file_n"),
        (lambda data: data["categories"].append({}), r"categories: entry 3 has no id"),
        (lambda data: data["categories"].append({"id": 5}), r"categories: the id 5 stands twice"),
        (lambda data: data["categories"].append({"id": 6}), r"categories has the label None\. Ex"),
        (lambda data: data["annotations"].append([]), r"annotation 2 is \[\]\. Expected braces"),
    ],
)
def test_faulty_lists(change, message, folder):
    data = coco([annotation()])
    change(data)
    with pytest.raises(UserError, match=message) as caught:
        scan(data, folder)
    assert str(folder / "coco.json") in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_id": 2}, r"has the image_id 2, which the file does not list\."),
        ({"image_id": None}, r"annotation 2 has no image_id\. Export"),
        ({"image_id": True}, r"has the image_id True, which"),
        ({"image_id": [1]}, r"has the image_id \[1\], which"),
        ({"category_id": 2}, r"has the category_id 2, which the file does not list\."),
        ({"segmentation": "x"}, r"\(cat\) of a\.png has the segmentation 'x'\. Expected polyg"),
        ({"segmentation": [[]]}, r"has the polygon \[\]\. Expected a list of at least three"),
        ({"segmentation": [[1, 1, 2, 2]]}, r"has the polygon \[1, 1, 2, 2\]\. Expected a list"),
        ({"segmentation": [[1, 1, 2, 2, 3, 3, 4]]}, r"of 7 numbers\. Expected an even count: x1"),
        ({"segmentation": [1, 1, 2, 2, 3, 3, 4]}, r"of 7 numbers\. Expected an even count: x1"),
        ({"segmentation": [1, 1, 2, 2]}, r"has the polygon \[1, 1, 2, 2\]\. Expected a list"),
        ({"segmentation": [1, 1, 2, 2, "3", 3]}, r"has the polygon 1\. Expected a list of at"),
        ({"image_id": "1"}, r"image_id '1', a text, but the file lists 1, a number\. Write both"),
        ({"category_id": "1"}, r"category_id '1', a text, but the file lists 1, a number\. Wr"),
        ({"category_id": None}, r"annotation 2 has no category_id\. Export the file again, or"),
        ({"segmentation": [SQUARE, 3]}, r"has the polygon 3\. Expected a list of at"),
        ({"segmentation": [[1, 1, "2", 2, 3, 3]]}, r"has the point \['2', 2\]\. Expected"),
        ({"segmentation": [[1, 1, None, 2, 3, 3]]}, r"has the point \[None, 2\]\. Expected"),
        ({"segmentation": [], "bbox": None}, r"has neither a segmentation nor a bbox\. Delete"),
        ({"segmentation": [], "bbox": [1, 2]}, r"has neither a segmentation nor a bbox"),
        ({"segmentation": [], "bbox": [1, 2, "3", 4]}, r"has the point \['3', 4\]\. Expected"),
    ],
)
def test_faulty_annotations(fields, message, folder):
    data = coco([annotation(), annotation() | fields])
    with pytest.raises(UserError, match=message) as caught:
        scan(data, folder, fill_boxes=True)
    assert f"{folder / 'coco.json'}, annotation 2" in str(caught.value)


@pytest.mark.parametrize(
    "data", [None, [], [{"annotations": []}], {}, {"images": [], "annotations": []}, {"shapes": []}]
)
def test_what_is_not_coco(data):
    assert not is_coco(data)
    assert is_coco(coco())


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.data())
def test_any_value_is_an_error_that_names_the_file_or_a_mask_of_known_ids(folder, data):
    content = copy.deepcopy(coco([annotation(), annotation(category=5)]))
    for _ in range(data.draw(st.integers(1, 3))):
        record = content[data.draw(st.sampled_from(list(content)))][0]
        record[data.draw(st.sampled_from(sorted(record)))] = data.draw(JUNK)
    crowd = data.draw(st.sampled_from(["auto", "void", "class"]))
    try:
        finder = ImageFinder()
        file = scan_coco(folder / "coco.json", content, finder, crowd, data.draw(st.booleans()))
        masks = [item.load(("background", *file.categories))[1] for item in file.items]
    except UserError as error:
        assert str(folder / "coco.json") in str(error)
    else:
        assert all(mask.shape == SIZE for mask in masks)
        assert all(set(np.unique(mask)) <= {0, 1, 2, 255} for mask in masks)

"""Annotation files of whole runs: they come back as the masks, and nothing is overwritten."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from random_masks import distance_from_outlines, random_mask

import json_to_dataset
from errors import UserError
from json_to_dataset import ConvertConfig
from utils.data.masks import mask_to_image, read_label_ids
from utils.prediction import labelme_shapes
from utils.prediction.annotate import check_annotations, make_annotations
from utils.prediction.output_paths import plan_results

NAMES = ("background", "zebra", "apple", "traffic light", "4", "ß & <b>")
FILES = {
    "coco": "coco/annotations/instances_default.json",
    "cvat": "cvat/annotations/annotations.xml",
}


@pytest.fixture
def images(tmp_path):
    """images(masks): writes an image for each {name: mask}; returns their Results."""

    def write(masks):
        for name, mask in masks.items():
            path = tmp_path / "img" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", mask.shape[::-1]).save(path)
        return plan_results(tmp_path / "img", tmp_path / "out")

    return write


@pytest.fixture
def annotate(tmp_path, images):
    """annotate(kind, masks, tolerance): what a run over a folder leaves; the file or folder."""

    def write(kind, masks, tolerance=0.0, names=NAMES):
        results = images(masks)
        annotations = make_annotations(kind, tmp_path / "out", tolerance, tmp_path / "img")
        annotations.check_new(results)
        with annotations.writing(names):
            for result in results:
                mask = masks[result.image.relative_to(tmp_path / "img").as_posix()]
                if annotations.per_image:
                    annotations.add(result, mask)
                else:
                    result.mask.parent.mkdir(parents=True, exist_ok=True)
                    mask_to_image(mask).save(result.mask)
            if not annotations.per_image:
                annotations.add_saved(results)
        return tmp_path / "out" / FILES.get(kind, "labelme")

    return write


@pytest.fixture
def convert(tmp_path):
    """convert(path): what json_to_dataset.py makes of annotations, as {name: mask}."""

    def run(path, **settings):
        folder = path if path.is_dir() else path.parent
        config = ConvertConfig(
            annotations=str(path),
            classes=str(folder / "classes.txt"),
            VOCdevkit_path=str(tmp_path / "voc"),
            **settings,
        )
        json_to_dataset.main(config)
        masks = (tmp_path / "voc" / "VOC2007" / "SegmentationClass").glob("*.png")
        return {f"{path.stem}.png": read_label_ids(path) for path in masks}

    return run


def numbered(count, start=0):
    """{name: random mask} with the images' names in the order of the masks' numbers."""
    return {f"{number:03}.png": random_mask(number) for number in range(start, start + count)}


# There and back


def test_labelme_gives_200_masks_back(annotate, convert):
    masks = numbered(200)
    found = convert(annotate("labelme", masks))
    assert sorted(found) == sorted(masks)
    for name, mask in masks.items():
        np.testing.assert_array_equal(found[name], mask, name)


def test_labelme_gives_masks_back_that_pillow_would_draw_wrongly(annotate, convert, monkeypatch):
    monkeypatch.setattr(labelme_shapes, "_paint", lambda points, size: np.zeros(size, bool))
    masks = numbered(20)
    folder = annotate("labelme", masks)
    content = json.loads((folder / "003.json").read_text(encoding="utf-8"))
    assert {shape["shape_type"] for shape in content["shapes"]} == {"mask"}
    found = convert(folder)
    for name, mask in masks.items():
        np.testing.assert_array_equal(found[name], mask, name)


def test_coco_gives_200_masks_back(annotate, convert, tmp_path):
    masks = numbered(200)
    found = convert(annotate("coco", masks), image_dir=str(tmp_path / "img"))
    for name, mask in masks.items():
        np.testing.assert_array_equal(found[name], mask, name)


def test_coco_is_what_pycocotools_reads(annotate, capsys):
    masks = numbered(200)
    coco = COCO(annotate("coco", masks))
    assert [coco.cats[value]["name"] for value in sorted(coco.cats)] == list(NAMES[1:])
    kinds = set()
    for image in coco.imgs.values():
        mask, found = masks[image["file_name"]], np.zeros((image["height"], image["width"]), int)
        for annotation in coco.imgToAnns[image["id"]]:
            inside = coco.annToMask(annotation)
            assert annotation["area"] == inside.sum()
            box = coco_masks.toBbox(coco.annToRLE(annotation))
            np.testing.assert_array_equal(annotation["bbox"], box)
            assert annotation["iscrowd"] == 0
            assert not found[inside == 1].any()  # no two in one place
            found[inside == 1] = annotation["category_id"]
            kinds.add(type(annotation["segmentation"]))
        np.testing.assert_array_equal(found, mask)
    assert kinds == {list, dict}


def read_cvat(path):
    """{name: int (H, W)}, with the class of each pixel by its place in the list of labels."""
    root = ElementTree.parse(path).getroot()
    labels = [label.findtext("name") for label in root.iterfind("meta/task/labels/label")]
    assert labels == list(NAMES[1:])
    for image in root.iterfind("image"):
        size = int(image.get("height")), int(image.get("width"))
        ids = np.zeros(size, int)
        for shape in image:
            assert (shape.get("occluded"), shape.get("z_order")) == ("0", "0")
            inside = draw_polygon(shape, size) if shape.tag == "polygon" else draw_runs(shape, size)
            ids[inside] = 1 + labels.index(shape.get("label"))
        yield image.get("name"), ids


def draw_polygon(shape, size):
    numbers = list(map(float, shape.get("points").replace(";", ",").split(",")))
    return coco_masks.decode(coco_masks.frPyObjects([numbers], *size))[..., 0] == 1


def draw_runs(shape, size):
    left, top, width, height = (int(shape.get(x)) for x in ("left", "top", "width", "height"))
    flat, value = [], 0
    for run in shape.get("rle").split(", "):
        flat += [value] * int(run)
        value = 1 - value
    inside = np.zeros(size, bool)
    inside[top : top + height, left : left + width] = np.reshape(flat, (height, width))
    return inside


def test_cvat_gives_200_masks_back(annotate):
    masks = numbered(200)
    path = annotate("cvat", masks)
    found = dict(read_cvat(path))
    assert list(found) == sorted(masks)
    for name, mask in masks.items():
        np.testing.assert_array_equal(found[name], mask, name)
    assert {"polygon", "mask"} <= {one.tag for one in ElementTree.parse(path).iter()}


@pytest.mark.parametrize(("kind", "more"), [("labelme", 1.25), ("coco", 0)])
@pytest.mark.parametrize("tolerance", [0.5, 1, 3.5])
def test_a_tolerance_is_kept(annotate, convert, tmp_path, kind, more, tolerance):
    masks = numbered(40, start=200)
    found = convert(annotate(kind, masks, tolerance), image_dir=str(tmp_path / "img"))
    changed = 0
    for name, mask in masks.items():
        differs = found[name] != mask
        assert np.all(distance_from_outlines(mask)[differs] <= tolerance + more + 1e-4)
        changed += differs.sum()
    assert changed or tolerance < 1


# Names and places


def test_names_keep_their_folders_and_order(annotate, convert, tmp_path):
    masks = {"sub/b.png": random_mask(0), "a.png": random_mask(1), "sub/ü x.png": random_mask(2)}
    path = annotate("coco", masks)
    names = [image["file_name"] for image in json.loads(path.read_text())["images"]]
    assert names == ["a.png", "sub/b.png", "sub/ü x.png"]
    found = convert(path, image_dir=str(tmp_path / "img"))
    assert set(found) == {"a.png", "b.png", "ü x.png"}


def test_labelme_finds_the_image(annotate):
    folder = annotate("labelme", {"sub/a.png": random_mask(0)})
    content = json.loads((folder / "sub" / "a.json").read_text(encoding="utf-8"))
    assert content["imagePath"] == "../../../img/sub/a.png"
    assert content["imageData"] is None
    assert [content["imageHeight"], content["imageWidth"]] == list(random_mask(0).shape)
    assert content["version"].startswith("5.")


def test_an_image_is_never_sought_where_the_results_are(annotate, convert, tmp_path):
    """Coloured results have the images' names."""
    for kind in ("labelme", "coco"):
        path = annotate(kind, {"a.png": np.ones((4, 5), np.uint8)})
        (tmp_path / "img" / "a.png").rename(tmp_path / "moved.png")
        Image.new("RGB", (5, 4)).save(tmp_path / "out" / "a.png")
        with pytest.raises(UserError, match=r"a\.png"):
            convert(path)


def test_links_do_not_lead_astray(tmp_path):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "here").symlink_to(tmp_path / "far" / "away", target_is_directory=True)
    (tmp_path / "img").mkdir()
    Image.new("L", (3, 3)).save(tmp_path / "img" / "a.png")
    [result] = plan_results(tmp_path / "img", tmp_path / "here")
    annotations = make_annotations("labelme", tmp_path / "here", 0)
    with annotations.writing(NAMES):
        annotations.add(result, np.ones((3, 3), np.uint8))
    [path] = annotations.files_of(result)
    image = json.loads(path.read_text(encoding="utf-8"))["imagePath"]
    assert (path.parent.resolve() / image).is_file()


def test_the_class_list_keeps_the_ids(annotate):
    folder = annotate("labelme", {"a.png": random_mask(0)})
    lines = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    assert lines == list(NAMES[1:])


# Nothing is lost


def test_an_error_leaves_no_file(images, tmp_path):
    for kind, name in FILES.items():
        results = images({"a.png": random_mask(0), "b.png": random_mask(1)})
        annotations = make_annotations(kind, tmp_path / kind, 1, tmp_path / "img")
        with pytest.raises(KeyboardInterrupt), annotations.writing(NAMES):
            annotations.add(results[0], random_mask(0))
            raise KeyboardInterrupt
        left = [path.name for path in (tmp_path / kind / name).parent.iterdir()]
        assert left == ["classes.txt"]


def test_without_images_there_is_no_file(tmp_path):
    with make_annotations("coco", tmp_path, 1).writing(NAMES):
        pass
    assert not (tmp_path / FILES["coco"]).exists()


@pytest.mark.parametrize("kind", FILES)
def test_the_file_of_a_run_is_not_overwritten(annotate, kind):
    masks = {"a.png": random_mask(0)}
    path = annotate(kind, masks)
    with pytest.raises(UserError, match=f"{re.escape(str(path))} is there already, and nothing"):
        annotate(kind, masks)


def test_labelme_files_are_not_overwritten(annotate, images, tmp_path):
    masks = {"a.png": random_mask(0), "b.png": random_mask(1)}
    folder = annotate("labelme", masks)
    (folder / "b.json").write_text("corrected")
    with pytest.raises(UserError, match="2 of the annotation files are there already, such as"):
        annotate("labelme", masks)
    annotations = make_annotations("labelme", tmp_path / "out", 0)
    with annotations.writing(NAMES), pytest.raises(UserError, match="may hold corrections"):
        annotations.add(images(masks)[1], random_mask(1))
    assert (folder / "b.json").read_text() == "corrected"


def test_images_of_one_name_are_told_of(images, tmp_path):
    results = images({"a.png": random_mask(0), "sub/a.png": random_mask(1)})
    annotations = make_annotations("coco", tmp_path / "out", 0)
    with annotations.writing(NAMES):
        annotations.add(results[0], random_mask(0))
        with pytest.raises(UserError, match="names images without their folders, and there is"):
            annotations.add(results[1], random_mask(1))


def test_masks_of_other_weights_are_told_of(images, tmp_path):
    [result] = images({"a.png": np.full((4, 5), 9, np.uint8)})
    annotations = make_annotations("coco", tmp_path / "out", 0, tmp_path / "img")
    message = "holds the class id 9, but the weights have 6 classes. Segment the images anew"
    with annotations.writing(NAMES), pytest.raises(UserError, match=message):
        annotations.add(result, np.full((4, 5), 9, np.uint8))


def test_a_folder_holds_the_annotations_of_one_class_list(annotate):
    (annotate("labelme", {"a.png": random_mask(0)}) / "a.json").unlink()
    with pytest.raises(UserError, match=r"classes\.txt names other classes than these weights"):
        annotate("labelme", {"b.png": random_mask(1)}, names=("background", "x"))


# Settings and names


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "Background"), "Class 1 is named 'Background', which annotations take for"),
        (("a", "b", "__ignore__"), "Class 2 is named '__ignore__', which annotations take"),
        (("a", "b c", "b  c"), "Two classes are named 'b c'; annotations would make them one"),
        (("a", " "), "name_classes has the label ' '. Expected a name"),
    ],
)
@pytest.mark.parametrize("kind", ["labelme", "coco"])
def test_names_that_would_not_come_back_are_refused(tmp_path, names, message, kind):
    annotations = make_annotations(kind, tmp_path, 0)
    with pytest.raises(UserError, match=re.escape(message)), annotations.writing(names):
        pass
    assert not list(tmp_path.iterdir())


def test_names_that_xml_cannot_hold_are_refused(tmp_path):
    annotations = make_annotations("cvat", tmp_path, 0)
    message = r"The class 'a\\ufffe' has the character '\\ufffe', which XML files can't hold"
    with pytest.raises(UserError, match=message), annotations.writing(("b", "a\ufffe")):
        pass
    [result] = plan_results_of(tmp_path / "img", "a\x02.png")
    with pytest.raises(UserError, match=r"The image 'a\\x02\.png' has the character"):
        annotations.check_new([result])


def plan_results_of(folder, name):
    folder.mkdir()
    Image.new("L", (3, 3)).save(folder / name)
    return plan_results(folder, Path(f"{folder}_out"))


def test_bad_settings_are_refused():
    check_annotations("", 1, "video")
    with pytest.raises(UserError, match="annotations must be one of"):
        check_annotations("voc", 1, "predict")
    for tolerance in (-0.1, 101, float("nan")):
        message = f"annotation_tolerance must be 0 to 100 pixels; got {tolerance}"
        with pytest.raises(UserError, match=re.escape(message)):
            check_annotations("coco", tolerance, "predict")
    for mode in ("video", "fps", "export"):
        message = (
            f"annotations 'coco' are of images: mode must be predict or dir_predict; got '{mode}"
        )
        with pytest.raises(UserError, match=message):
            check_annotations("coco", 1, mode)

"""Names of strangers' files that lead out of the folders of the data."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import json_to_dataset
import voc_annotation
from errors import UserError
from utils.convert.annotated_images import ImageFinder
from utils.data.voc import read_samples


def make_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    return path


def make_labelme(folder, image_path, name="a"):
    folder.mkdir(parents=True, exist_ok=True)
    points = [[0, 0], [8, 0], [8, 8]]
    shape = {"label": "cat", "points": points, "shape_type": "polygon"}
    data = {"version": "5.0.0", "shapes": [shape], "imagePath": image_path, "imageData": None}
    data |= {"imageHeight": 8, "imageWidth": 8}
    (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")


def convert(tmp_path, annotations, **changes):
    target = tmp_path / "out"
    config = json_to_dataset.ConvertConfig(
        annotations=str(annotations), VOCdevkit_path=str(target), **changes
    )
    return json_to_dataset.main(config), target / "VOC2007"


@pytest.fixture
def secret(tmp_path):
    """An image that is none of the data."""
    return make_image(tmp_path / "private" / "secret.png")


@pytest.mark.parametrize(
    "name",
    [
        "../../../private/secret.png",
        "{}",
        "..\\..\\..\\private\\secret.png",
        "x/../../../../private/secret.png",
    ],
)
def test_an_image_path_that_leads_out_of_the_data_is_not_followed(tmp_path, secret, name):
    folder = tmp_path / "my" / "data" / "labelme"
    make_labelme(folder, name.format(secret))
    with pytest.raises(UserError) as caught:
        convert(tmp_path, folder)
    assert "lies outside of" in str(caught.value)
    assert "image_dir" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_others_are_converted(tmp_path, secret, capsys):
    folder = tmp_path / "my" / "data" / "labelme"
    make_labelme(folder, str(secret))
    make_labelme(folder, "b.png", "b")
    make_image(folder / "b.png")
    status, dataset = convert(tmp_path, folder)
    assert status == 1
    assert [path.name for path in (dataset / "JPEGImages").iterdir()] == ["b.png"]
    assert "secret.png' lies outside of" in capsys.readouterr().out


def test_image_dir_allows_it(tmp_path, secret):
    folder = tmp_path / "my" / "data" / "labelme"
    make_labelme(folder, "../../../private/secret.png")
    status, dataset = convert(tmp_path, folder, image_dir=str(secret.parent))
    assert status == 0
    assert (dataset / "JPEGImages" / "a.png").is_file()


@pytest.mark.parametrize("name", ["..\\images\\a.png", "../../images/a.png"])
def test_a_folder_near_that_of_the_annotations_is_of_the_data(tmp_path, name):
    folder = tmp_path / "my" / "data" / "labelme"
    make_labelme(folder, name)
    make_image((folder / name.replace("\\", "/")).resolve())
    assert convert(tmp_path, folder)[0] == 0


def test_image_dir_is_the_only_folder(tmp_path, secret):
    make_image(tmp_path / "images" / "a.png")
    finder = ImageFinder(str(tmp_path / "images"))
    assert finder.find("../private/a.png", []) == tmp_path / "images" / "a.png"
    for name in ("../private/secret.png", str(secret)):
        with pytest.raises(UserError, match="lies outside of"):
            finder.find(name, [])


def test_a_link_of_the_users_own_is_followed(tmp_path, secret):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").symlink_to(secret)
    finder = ImageFinder("", tmp_path / "images")
    assert finder.find("a.png", [tmp_path / "images"]) == tmp_path / "images" / "a.png"


@pytest.mark.parametrize("line", ["../../../private/secret", "{}", "../SegmentationClass/train_a",
                                  "../JPEGImages/../../../private/secret"])  # fmt: skip
def test_a_line_of_a_list_that_leads_out_of_the_dataset_names_nothing(
    voc_dir, secret, write_list, line
):
    line = line.format(secret)
    write_list(voc_dir, "train", ["train_b", line])
    with pytest.raises(UserError) as caught:
        for sample in read_samples(voc_dir, "train"):
            # A name alone may be meant, with a folder before it: then it is the dataset's own.
            assert sample.image_path.parent == voc_dir / "VOC2007" / "JPEGImages"
        raise UserError(repr(line))
    assert repr(line)[1:-1].split("/")[-1] in str(caught.value)


def test_what_a_conversion_writes_stays_in_its_folder(tmp_path):
    folder = tmp_path / "coco"
    make_image(folder / "images" / "a.png")
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 8, 0, 8, 8]]}
    data = {
        "images": [{"id": 1, "file_name": "../coco/images/../images/a.png"}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "../../cat"}],
    }
    (folder / "a.json").write_text(json.dumps(data))
    status, dataset = convert(tmp_path, folder)
    assert status == 0
    assert {path.name for path in tmp_path.iterdir()} == {"coco", "out"}
    assert {path.name for path in dataset.rglob("*.*")} == {"a.png", "classes.txt"}
    assert (dataset / "classes.txt").read_text() == "background\n../../cat\n"


def test_voc_annotation_reads_no_other_folder(voc_dir, tmp_path, write_list, secret):
    write_list(voc_dir, "train", ["../../../private/secret"])
    config = voc_annotation.AnnotationConfig(VOCdevkit_path=str(voc_dir), check_only=True)
    before = {path: path.stat().st_atime_ns for path in Path(secret).parent.iterdir()}
    assert voc_annotation.main(config) == 2
    assert {path: path.stat().st_atime_ns for path in Path(secret).parent.iterdir()} == before


@pytest.mark.parametrize("label", ["\x1b[2Jcat", "cat\x07", "\x00", "a\x9bb"])
def test_a_label_with_control_codes_gets_into_no_class_list(tmp_path, label):
    folder = tmp_path / "labelme"
    make_image(folder / "a.png")
    make_labelme(folder, "a.png")
    text = (folder / "a.json").read_text().replace('"cat"', json.dumps(label))
    (folder / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"has the label .*Expected a name") as caught:
        convert(tmp_path, folder)
    assert repr(label) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_name_of_100_000_letters_is_not_shown_whole(tmp_path):
    make_labelme(tmp_path / "labelme", "x" * 100_000)
    with pytest.raises(UserError) as caught:
        convert(tmp_path, tmp_path / "labelme")
    assert len(str(caught.value)) < 1000

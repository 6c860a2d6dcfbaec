"""The converter as users start it: folders of annotations in, a VOC folder out."""

import base64
import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from PIL import Image

import json_to_dataset
import voc_annotation
from errors import UserError
from json_to_dataset import ConvertConfig
from utils.config import load_config
from utils.convert.annotations import make_classes
from utils.convert.formats import CHOICES
from utils.data.masks import read_label_ids
from utils.labels import voc_palette

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "labelme"
SIZE = (20, 30)


@pytest.fixture
def labelme(tmp_path):
    """labelme(name, *labels): a file with a 5x5 square a label, side by side; its path."""

    def write(name, *labels, **fields):
        path = tmp_path / "json" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        Image.new("RGB", SIZE[::-1], (*name.encode()[:2], 0)).save(stream, "PNG")
        shapes = [
            {"label": label, "points": [[5 * n, 0], [5 * n + 4, 4]], "shape_type": "rectangle"}
            for n, label in enumerate(labels)
        ]
        data = base64.b64encode(stream.getvalue()).decode("ascii")
        content = {"version": "5.0.1", "shapes": shapes, "imageData": data} | fields
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def coco(tmp_path):
    """coco(folder, categories, *annotated): a COCO file and its images; its path.

    `annotated` are (file name, category id) with a 5x5 square at the upper left.
    """

    def write(folder, categories, *annotated, **fields):
        base = tmp_path / "coco" / folder
        base.mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for number, (name, category) in enumerate(annotated):
            Image.new("RGB", SIZE[::-1]).save(base / PureWindowsPath(name).name)
            images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
            square = [0, 0, 5, 0, 5, 5, 0, 5]
            annotations.append(
                {"image_id": number, "category_id": category, "segmentation": [square]} | fields
            )
        names = [{"id": key, "name": name} for key, name in categories.items()]
        content = {"images": images, "annotations": annotations, "categories": names}
        path = base / "_annotations.coco.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def convert(tmp_path):
    """convert(annotations, **settings): runs the script into tmp_path/VOCdevkit/VOC2007."""

    def run(annotations="json", **given):
        devkit = tmp_path / "VOCdevkit"
        json_to_dataset.main(
            ConvertConfig(
                annotations=str(tmp_path / annotations), VOCdevkit_path=str(devkit), **given
            )
        )
        return devkit / "VOC2007"

    return run


def names_of(folder):
    """The names of the images, which have masks of the same names."""
    names, masks = (
        sorted(Path(file).stem for file in os.listdir(folder / kind))
        for kind in ("JPEGImages", "SegmentationClass")
    )
    assert names == masks
    return names


def classes_of(folder):
    return (folder / "classes.txt").read_text(encoding="utf-8").split("\n")


def ids_of(folder, name):
    return read_label_ids(folder / "SegmentationClass" / f"{name}.png")


def refusal(convert, *args, **given):
    """The message of a conversion that is refused, and leaves nothing behind."""
    with pytest.raises(UserError) as caught:
        convert(*args, **given)
    return str(caught.value)


# labelme


def test_a_folder_of_labelme_files(labelme, convert, capsys):
    labelme("b.v2 猫.json", "dog", "cat")
    labelme("sub/a.JSON", "__ignore__", "bird", "_background_")
    labelme("empty.json")
    labelme(".ipynb_checkpoints/a.json", "hidden")
    folder = convert()
    assert classes_of(folder) == ["background", "bird", "cat", "dog", ""]
    assert names_of(folder) == ["a", "b.v2 猫", "empty"]
    assert ids_of(folder, "b.v2 猫")[4, :11].tolist() == [3] * 5 + [2] * 5 + [0]
    assert ids_of(folder, "a")[0, :11].tolist() == [255] * 5 + [1] * 5 + [0]
    assert not ids_of(folder, "empty").any()
    with Image.open(folder / "SegmentationClass" / "a.png") as mask:
        assert mask.mode == "P"
        assert mask.getpalette() == voc_palette(256).ravel().tolist()
    # 20 * 30 = 600 pixels per image; 25 a square.
    assert capsys.readouterr().out == (
        "Format: labelme, from 'shapes' in b.v2 猫.json.\n"
        "  id  images    share  class\n"
        "   0         3   94.44%  background\n"
        "   1         1    1.39%  bird\n"
        "   2         1    1.39%  cat\n"
        "   3         1    1.39%  dog\n"
        " 255         1    1.39%  void\n"
        f"3 images in {folder}. For train.py:\n\n"
        "    num_classes: int = 4\n"
        "    name_classes: tuple[str, ...] = ('background', 'bird', 'cat', 'dog')\n\n"
        "Next: python voc_annotation.py\n"
    )


def test_the_next_script_takes_the_result(labelme, convert):
    for name in "abc":
        labelme(f"{name}{name}.json", "cat")
    folder = convert()
    assert not voc_annotation.main(
        voc_annotation.AnnotationConfig(VOCdevkit_path=str(folder.parent))
    )
    lists = folder / "ImageSets" / "Segmentation"
    assert (lists / "trainval.txt").read_text(encoding="utf-8") == "aa\nbb\ncc\n"


def test_one_labelme_file(labelme, convert):
    labelme("a.json", "cat")
    assert names_of(convert("json/a.json")) == ["a"]


@pytest.mark.parametrize("workers", [1, 3])
def test_neither_order_nor_workers_change_the_result(workers, labelme, convert, tmp_path):
    names = [f"{number:02d}" for number in range(30)]
    for name in reversed(names):
        labelme(f"{name}.json", "zebra" if name < "15" else "ant", "cow")
    folder = convert(num_workers=workers)
    assert classes_of(folder) == ["background", "ant", "cow", "zebra", ""]
    firsts = [int(ids_of(folder, name)[0, 0]) for name in names]
    assert firsts == [3] * 15 + [1] * 15


def test_a_given_class_list(labelme, convert, tmp_path):
    (tmp_path / "list.txt").write_text("__ignore__\n_background_\nzebra\ncat\n")
    labelme("a.json", "cat", "zebra")
    folder = convert(classes=str(tmp_path / "list.txt"))
    assert classes_of(folder) == ["background", "zebra", "cat", ""]
    assert ids_of(folder, "a")[0, :10].tolist() == [2] * 5 + [1] * 5


def test_a_label_that_is_not_in_the_given_list(labelme, convert, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("cat\n")
    labelme("a.json", "cat")
    path = labelme("b.json", "cat", "catt")
    message = refusal(convert, classes=str(tmp_path / "list.txt"), strict=True)
    assert message == (
        f"{path} has the label 'catt', which is not in the class list: background, cat. Correct "
        "the label, or add it to the list."
    )
    assert names_of(convert(classes=str(tmp_path / "list.txt"))) == ["a"]
    assert capsys.readouterr().out.endswith(f":\n  {message}\n")


# COCO


def test_a_coco_file(coco, convert, capsys):
    coco("one", {7: "dog", 2: "cat"}, ("sub\\a.v2.png", 7), ("b.png", 2))
    folder = convert("coco/one/_annotations.coco.json")
    assert classes_of(folder) == ["background", "cat", "dog", ""]
    assert names_of(folder) == ["a.v2", "b"]
    assert np.count_nonzero(ids_of(folder, "a.v2") == 2) == 25
    assert np.count_nonzero(ids_of(folder, "b") == 1) == 25
    assert "iscrowd" not in capsys.readouterr().out


def test_the_parts_of_a_dataset_are_joined(coco, convert):
    """Roboflow writes a COCO file each for training, validation and test."""
    coco("train", {1: "cat", 2: "dog"}, ("a.png", 1), ("b.png", 2))
    coco("valid", {1: "cat", 2: "dog", 3: "ant"}, ("c.png", 3))
    folder = convert("coco")
    assert classes_of(folder) == ["background", "cat", "dog", "ant", ""]
    assert [ids_of(folder, name)[0, 0] for name in "abc"] == [1, 2, 3]


def test_parts_that_number_their_classes_apart(coco, convert):
    coco("a", {1: "dog", 2: "cat"}, ("a.png", 1))
    coco("b", {1: "cat", 2: "ant"}, ("b.png", 1))
    folder = convert("coco")
    assert classes_of(folder) == ["background", "dog", "ant", "cat", ""]
    assert [ids_of(folder, name)[0, 0] for name in "ab"] == [1, 3]


@pytest.mark.parametrize(
    ("crowd", "value", "note"),
    [
        ("auto", 255, "1 regions with iscrowd=1 became void (crowd='auto').\n"),
        ("class", 1, "1 regions with iscrowd=1 became their class (crowd='class').\n"),
    ],
)
def test_what_became_of_crowds_is_said(crowd, value, note, coco, convert, capsys):
    coco("one", {1: "cat"}, ("a.png", 1), iscrowd=1)
    folder = convert("coco", crowd=crowd)
    assert ids_of(folder, "a")[0, 0] == value
    assert note in capsys.readouterr().out


def test_boxes_are_filled_on_request(coco, convert):
    coco("one", {1: "cat"}, ("a.png", 1), segmentation=[], bbox=[0, 0, 2, 3])
    assert "has only a box" in refusal(convert, "coco")
    assert np.count_nonzero(ids_of(convert("coco", fill_boxes=True), "a")) == 6


def test_a_folder_of_images(coco, labelme, convert, tmp_path):
    path = coco("one", {1: "cat"}, ("a.png", 1))
    (tmp_path / "pictures").mkdir()
    (path.parent / "a.png").rename(tmp_path / "pictures" / "a.png")
    assert "names 1 images that are not there: a.png." in refusal(convert, "coco")
    folder = convert("coco", image_dir=str(tmp_path / "pictures"))
    assert names_of(folder) == ["a"]


# What is written, and what is not


BROKEN = {
    "when its turn comes": ({"imageHeight": 7}, "says that the image is "),
    "at first sight": ({"shapes": [{"label": ""}]}, "has the label ''. Expected a name."),
}


@pytest.mark.parametrize(("fields", "message"), BROKEN.values(), ids=BROKEN)
def test_nothing_is_left_after_an_error(fields, message, labelme, convert, tmp_path):
    labelme("a.json", "cat")
    labelme("b.json", "cat", **fields)
    before = sorted(tmp_path.rglob("*"))
    assert message in refusal(convert, strict=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_no_thread_outlives_an_error(labelme, convert):
    for number in range(40):
        labelme(f"{number:02}.json", "cat", imageHeight=7)
    with pytest.raises(UserError) as caught:
        convert(strict=True, num_workers=2)
    # While the error, and with it the frames that raised it, exist.
    assert not [one for one in threading.enumerate() if "PoolExecutor" in one.name]
    assert caught.value


@pytest.mark.parametrize(("fields", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_left_out_and_said(fields, message, labelme, convert, tmp_path, capsys):
    for name in ("a.json", "c.json"):
        labelme(name, "cat")
    labelme("b.json", "cat", **fields)
    config = ConvertConfig(annotations=str(tmp_path / "json"), VOCdevkit_path=str(tmp_path / "V"))
    assert json_to_dataset.main(config) == 1
    assert names_of(tmp_path / "V" / "VOC2007") == ["a", "c"]
    printed = capsys.readouterr().out
    assert "\n2 images in " in printed
    head, _, listed = printed.partition("\n1 left out (strict=True would stop at the first):\n")
    assert head
    assert message in listed
    assert str(tmp_path / "json" / "b.json") in listed


def test_if_only_images_without_classes_are_left_the_others_are_named(labelme, convert):
    labelme("a.json")
    path = labelme("b.json", "cat", shapes=[{"label": ""}])
    assert refusal(convert) == f"{path}, shape 1 has the label ''. Expected a name."


@pytest.mark.parametrize("count", [1, 2, 12])
def test_nothing_is_written_if_all_is_broken(count, labelme, convert, tmp_path):
    fields = [fields for fields, _ in BROKEN.values()]
    paths = [labelme(f"{n:02}.json", "cat", **fields[n % 2]) for n in range(count)]
    before = sorted(tmp_path.rglob("*"))
    message = refusal(convert)
    assert sorted(tmp_path.rglob("*")) == before
    if count == 1:
        assert message.startswith(f"{paths[0]} says that the image is")
        return
    lines = message.split("\n")
    assert lines[0] == "Nothing can be converted:"
    assert len([line for line in lines if line.startswith(f"  {tmp_path}")]) == min(count, 10)
    assert lines[11:] == (["  ... and 2 more"] if count == 12 else [])


def test_a_fresh_clone_is_filled_and_then_not_touched_again(labelme, convert, tmp_path):
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        readme = tmp_path / "VOCdevkit" / "VOC2007" / name / "README.md"
        readme.parent.mkdir(parents=True)
        readme.write_text("about")
    labelme("a.json", "cat")
    folder = convert()
    assert sorted(os.listdir(folder / "JPEGImages")) == ["README.md", "a.png"]
    assert os.listdir(folder.parent) == ["VOC2007"]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert "SegmentationClass holds 1 files already, such as a.png" in refusal(convert)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_another_class_list_is_kept(labelme, convert, tmp_path):
    folder = tmp_path / "VOCdevkit" / "VOC2007"
    folder.mkdir(parents=True)
    (folder / "classes.txt").write_text("cat\ndog\n")
    labelme("a.json", "cat")
    assert "names other classes than these annotations: background, cat." in refusal(convert)
    convert(classes=str(folder / "classes.txt"))
    assert classes_of(folder) == ["background", "cat", "dog", ""]


# Problems


def test_no_annotations(convert, tmp_path):
    assert refusal(convert, "gone") == (
        f"There is no file or folder {tmp_path / 'gone'}. Set annotations to a folder of "
        "annotation files, or to one such file."
    )
    (tmp_path / "json" / ".hidden").mkdir(parents=True)
    (tmp_path / "json" / ".hidden" / "a.json").touch()
    (tmp_path / "json" / "__MACOSX").mkdir()
    (tmp_path / "json" / "__MACOSX" / "a.json").touch()
    (tmp_path / "json" / "folder.json").mkdir()
    assert refusal(convert) == f"{tmp_path / 'json'} holds no files, nor do its subfolders."


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"shapes": 1}', '{"images": []}', "{"])
def test_a_json_file_of_something_else(content, labelme, convert, tmp_path, capsys):
    labelme("a.json", "cat")
    path = labelme("b.json")
    path.write_text(content)
    assert str(path) in refusal(convert, "json/b.json")
    assert names_of(convert()) == ["a"]
    listed = capsys.readouterr().out.partition("1 left out")[2].splitlines()
    assert listed[1].startswith(f"  {path} ")


def test_both_kinds_at_once(labelme, coco, convert, tmp_path):
    labelme("a.json", "cat")
    coco("../json/b", {1: "cat"}, ("b.png", 1))
    file = os.path.join("b", "_annotations.coco.json")
    assert refusal(convert) == (
        f"{tmp_path / 'json'} may be of 2 formats: labelme, from 'shapes' in a.json; COCO "
        f"instances, from 'images', 'annotations' and 'categories' in {file}. Set annotations "
        "to the files of one of them, or format to labelme or coco."
    )
    assert names_of(convert(format="coco")) == ["b"]


@pytest.mark.parametrize("names", [("x/a.json", "y/a.json"), ("x/a.json", "y/A.json")])
def test_two_files_for_one_name(names, labelme, convert):
    first, second = (labelme(name, "cat") for name in names)
    assert refusal(convert) == (
        f"{first} and {second} would both be written as {second.stem}. Rename one of the two."
    )


def test_two_images_for_one_name(coco, convert):
    path = coco("one", {1: "cat"}, ("x/a.png", 1), ("y/a.jpg", 1))
    message = refusal(convert, "coco")
    assert message.startswith(f"x/a.png in {path} and y/a.jpg in {path} would both be written as a")


@pytest.mark.parametrize("name", [".a.png", "a\nb.png"])
def test_a_name_that_no_list_can_hold(name, coco, convert):
    coco("one", {1: "cat"}, (name, 1))
    assert "which lists of images can't hold. Rename it." in refusal(convert, "coco")


def test_no_images(coco, convert):
    coco("one", {1: "cat"})
    assert refusal(convert, "coco") == "The annotations list no images."


def test_no_labels(labelme, convert):
    labelme("a.json", "__ignore__", "background")
    assert "no class besides the background: nothing to learn" in refusal(convert)


# Names


def test_one_label_in_two_forms_of_unicode_is_one_class(labelme, convert, capsys):
    labelme("a.json", "cafe\u0301", "caf\xe9")
    folder = convert()
    assert classes_of(folder) == ["background", "caf\xe9", ""]
    assert ids_of(folder, "a")[0, :10].tolist() == [1] * 10
    assert "capitals" not in capsys.readouterr().out


def test_classes_that_differ_in_capitals_are_two_and_said(labelme, convert, capsys):
    labelme("a.json", "Cat", "cat", "Dog")
    assert classes_of(convert()) == ["background", "Cat", "Dog", "cat", ""]
    assert (
        "\nClasses differ only in capitals: 'Cat' and 'cat'. If they are one, correct the labels "
        "and convert again.\n"
    ) in capsys.readouterr().out


def test_names_of_files_stay_as_they_are(labelme, convert):
    labelme("cafe\u0301.json", "cat")
    assert names_of(convert()) == ["cafe\u0301"]


def test_names_that_a_mac_takes_for_one(labelme, convert):
    labelme("cafe\u0301.json", "cat")
    labelme("caf\xe9.json", "cat")
    assert "would both be written as" in refusal(convert)


def test_a_guessed_encoding_is_said(labelme, convert, tmp_path, capsys):
    for name in ("a.json", "b.json"):
        path = labelme(name, "狗")
        path.write_bytes(path.read_text(encoding="utf-8").encode("gbk"))
    (tmp_path / "list.txt").write_bytes("狗\n".encode("gbk"))
    folder = convert(classes=str(tmp_path / "list.txt"))
    assert classes_of(folder) == ["background", "狗", ""]
    said = "is no UTF-8; it was read as GB18030. If names look wrong, save it as UTF-8.\n"
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'json' / 'a.json'} {said}So were 1 other files.\n" in printed
    assert f"{tmp_path / 'list.txt'} {said}" in printed


# Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"format": "cocoa"},
            f"format must be one of {', '.join(CHOICES)}; got 'cocoa'.",
        ),
        ({"crowd": "none"}, "crowd must be one of auto, void, class; got 'none'."),
        (
            {"unlabeled": "no"},
            "unlabeled must be one of auto, void, background; got 'no'.",
        ),
        ({"num_workers": -1}, "num_workers must be at least 0; got -1."),
    ],
)
def test_bad_settings(given, message):
    with pytest.raises(UserError) as caught:
        ConvertConfig(**given)
    assert str(caught.value) == message


def test_the_help_says_what_each_setting_means(capsys):
    with pytest.raises(SystemExit):
        load_config(ConvertConfig, ["--help"])
    listed = capsys.readouterr().out
    for setting in dataclasses.fields(ConvertConfig):
        assert f"--{setting.name} " in listed


def test_the_lines_to_paste_are_settings_of_train(labelme, convert, capsys):
    labelme("a.json", "it's", 'say "hi"', "back\\slash")
    convert()
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    pasted = {}
    for line in lines:
        if line.startswith(("num_classes", "name_classes")):
            exec(line, pasted)
    assert pasted["name_classes"] == make_classes(["back\\slash", "it's", 'say "hi"'])
    assert pasted["num_classes"] == 4


def test_as_a_script(labelme, tmp_path):
    def run(*options):
        return subprocess.run(
            [sys.executable, json_to_dataset.__file__, "--annotations", "json", *options],
            cwd=tmp_path,
            env=os.environ | {"PYTHONUTF8": "1"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    labelme("a.json", "猫")
    done = run()
    assert done.returncode == 0
    assert done.stderr == ""
    assert "'猫'" in done.stdout
    assert names_of(tmp_path / "VOCdevkit" / "VOC2007") == ["a"]
    labelme("b.json", "")
    done = run("--VOCdevkit_path", "second")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("b.json, shape 1 has the label ''. Expected a name.\n")
    assert names_of(tmp_path / "second" / "VOC2007") == ["a"]
    done = run("--VOCdevkit_path", "third", "--strict")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {Path('json', 'b.json')}, shape 1 has the label ''. ")
    assert not (tmp_path / "third").exists()
    done = run()
    assert done.returncode == 2
    masks = Path("VOCdevkit", "VOC2007", "SegmentationClass")
    assert done.stderr.startswith(f"error: {masks} holds 1 files already, such as a.png")


# A real file


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not here")
def test_a_real_labelme_file(convert):
    """One cat, version 3.16.7: the outline's area by Gauss' formula, and inside and outside."""
    folder = convert(DATA)
    assert classes_of(folder) == ["background", "cat", ""]
    mask = ids_of(folder, "1")
    assert mask.shape == (634, 950)
    content = json.loads((DATA / "1.json").read_text(encoding="utf-8"))
    points = np.array(content["shapes"][0]["points"])
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    length = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum()
    assert abs(np.count_nonzero(mask == 1) - area) < length
    assert mask[330, 400] == 1  # its nose
    assert mask[30, 330] == mask[500, 60] == mask[550, 850] == 0
    written = (folder / "JPEGImages" / "1.jpg").read_bytes()
    assert written == base64.b64decode(content["imageData"])

"""YOLO's segmentation text files, through the script."""

import brute_force
import numpy as np
import pytest
from conversions import convert, masks_in, picture, survives

import json_to_dataset
from errors import UserError
from utils.convert.yolo import read_yolo_labels

YAML = "train: images/train\nnc: 2\nnames:\n  0: cat\n  1: dog\n"
SIZE = (12, 16)


def random_outlines(seed, count=3):
    """[(class, [(x, y), ...])] in parts of the image."""
    generator = np.random.default_rng(seed)
    return [
        (int(generator.integers(0, 2)), generator.random((int(generator.integers(3, 7)), 2)))
        for _ in range(count)
    ]


def as_text(outlines):
    lines = [f"{c} {' '.join(f'{v:.6f}' for v in points.ravel())}" for c, points in outlines]
    return "\n".join(lines) + "\n"


def painted(outlines, shift=1):
    """Pixel by pixel; later outlines are on top."""
    mask = np.zeros(SIZE, int)
    for number, points in outlines:
        pixels = [(round(x, 6) * SIZE[1], round(y, 6) * SIZE[0]) for x, y in points.tolist()]
        mask[brute_force.polygon(pixels, SIZE)] = number + shift
    return mask.tolist()


def make(folder, layout="{kind}/{part}", parts=(("train", "ab"), ("val", "c"))):
    """A folder of images and text files; returns {name: mask}."""
    masks = {}
    for part, names in parts:
        for name in names:
            outlines = random_outlines(ord(name))
            picture(folder / layout.format(kind="images", part=part) / f"{name}.jpg", SIZE)
            text = folder / layout.format(kind="labels", part=part) / f"{name}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text(as_text(outlines))
            masks[name] = painted(outlines)
    (folder / "data.yaml").write_text(YAML)
    return masks


@pytest.mark.parametrize("layout", ["{kind}/{part}", "{part}/{kind}"])
def test_each_layout(tmp_path, capsys, layout):
    masks = make(tmp_path / "data", layout)
    assert convert(tmp_path / "data") == (0, masks, ["background", "cat", "dog"])
    printed = capsys.readouterr().out
    assert "Format: YOLO segmentation, from data.yaml and the text files in " in printed
    assert "no text file" not in printed


def test_a_flat_folder_with_classes_txt(tmp_path):
    folder = tmp_path / "data"
    masks = make(folder, "{kind}", [("", "ab")])
    (folder / "data.yaml").unlink()
    (folder / "classes.txt").write_text("cat\ndog\n")
    assert convert(folder) == (0, masks, ["background", "cat", "dog"])
    (folder / "classes.txt").rename(folder / "labels" / "classes.txt")
    assert convert(folder) == (0, masks, ["background", "cat", "dog"])


def test_names_that_are_no_utf_8(tmp_path, capsys):
    folder = tmp_path / "data"
    masks = make(folder)
    (folder / "data.yaml").write_bytes("names: [猫, 狗]".encode("gb18030"))
    assert convert(folder) == (0, masks, ["background", "猫", "狗"])
    assert "data.yaml is no UTF-8; it was read as GB18030." in capsys.readouterr().out


def test_the_yaml_file_alone(tmp_path):
    masks = make(tmp_path / "data")
    assert (
        json_to_dataset.main(
            json_to_dataset.ConvertConfig(
                annotations=str(tmp_path / "data" / "data.yaml"), VOCdevkit_path=str(tmp_path / "V")
            )
        )
        == 0
    )
    assert masks_in(tmp_path / "V" / "VOC2007") == masks


def test_two_sets_of_names(tmp_path):
    folder = tmp_path / "data"
    make(folder)
    (folder / "train").mkdir()
    (folder / "train" / "data.yaml").write_text(YAML)
    assert convert(folder)[0] == 0
    (folder / "train" / "data.yaml").write_text("names: [dog, cat]")
    with pytest.raises(UserError, match=r"data\.yaml and .*data\.yaml name different classes"):
        convert(folder)


def test_a_text_file_that_is_gone(tmp_path):
    with pytest.raises(UserError, match=r"none\.txt can't be read: .*No such file"):
        read_yolo_labels(tmp_path / "none.txt", {0: "cat"})


def test_a_background_among_the_names_is_id_0(tmp_path):
    folder = tmp_path / "data"
    make(folder)
    (folder / "data.yaml").write_text("names: [background, dog]")
    _, found, classes = convert(folder)
    assert classes == ["background", "dog"]
    assert found["a"] == painted(random_outlines(ord("a")), shift=0)


def test_images_without_a_text_file_are_background_and_counted(tmp_path, capsys):
    folder = tmp_path / "data"
    masks = make(folder)
    (folder / "labels" / "train" / "a.txt").unlink()
    (folder / "labels" / "train" / "b.txt").write_text("\n")
    picture(folder / "images" / "test" / "d.jpg")
    empty = np.zeros(SIZE, int).tolist()
    assert convert(folder)[:2] == (0, {"a": empty, "b": empty, "c": masks["c"]})
    printed = capsys.readouterr().out
    assert "1 images have no text file and became background." in printed
    assert "1 images in" in printed and "are left out: no folder labels belongs to" in printed


def test_text_files_without_an_image_may_be_those_of_images_without_one(tmp_path, capsys):
    folder = tmp_path / "data"
    masks = make(folder)
    path = folder / "labels" / "train" / "a.txt"
    path.rename(path.with_name("a1.txt"))
    assert convert(folder)[:2] == (1, {"b": masks["b"], "c": masks["c"]})
    printed = capsys.readouterr().out
    assert "a.jpg has no text file, while " in printed
    assert "became background" not in printed


def test_boxes_are_no_outlines(tmp_path, capsys):
    folder = tmp_path / "data"
    masks = make(folder)
    (folder / "labels" / "train" / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    status, found, _ = convert(folder)
    assert (status, found) == (1, {"b": masks["b"], "c": masks["c"]})
    assert "a.txt, line 1 is a box, no outline: a class and four numbers." in (
        capsys.readouterr().out
    )
    box = np.zeros(SIZE, int)
    box[3:9, 6:10] = 2  # centre (8, 6), 4 wide and 6 high
    status, found, _ = convert(folder, fill_boxes=True)
    assert (status, found) == (0, {**masks, "a": box.tolist()})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0 0 1 0 1 1", r"line 2: the class '2' is none of the numbers 0 to 1 that have names"),
        ("cat 0 0 1 0 1 1", r"line 2: the class 'cat' is none of the numbers 0 to 1"),
        ("0 0 0 1 0 1", "line 2 has 5 numbers behind the class. Expected x and y of at least"),
        ("0", "line 2 has 0 numbers behind the class"),
        ("0 0 0 1 0 1 1 0.9", "line 2 has 7 numbers behind the class"),
        ("0 0 0 20 0 1 1", "line 2 has the number '20'. Expected 0 to 1: x as part of the image"),
        ("0 0 0 1 nan 1 1", "line 2 has the number 'nan'. Expected 0 to 1"),
        ("0 0 0 1 a 1 1", "line 2 has the number 'a'. Expected 0 to 1"),
        ("0 0 0 1 -0.1 1 1", "line 2 has the number '-0.1'. Expected 0 to 1"),
    ],
)
def test_lines_that_are_no_outlines_leave_out_their_image(tmp_path, capsys, line, message):
    folder = tmp_path / "data"
    masks = make(folder)
    path = folder / "labels" / "train" / "a.txt"
    path.write_text(f"0 0 0 1 0 1 1\n{line}\n")
    with pytest.raises(UserError, match=message):
        convert(folder, strict=True)
    assert convert(folder)[:2] == (1, {"b": masks["b"], "c": masks["c"]})


def test_what_is_broken_or_alone_is_left_out(tmp_path, capsys):
    folder = tmp_path / "data"
    masks = make(folder, parts=[("train", "abcd")])
    (folder / "images" / "train" / "a.jpg").write_bytes(b"no image")
    (folder / "labels" / "train" / "b.txt").write_bytes(b"\xff")
    (folder / "images" / "train" / "c.jpg").unlink()
    assert convert(folder)[:2] == (1, {"d": masks["d"]})
    printed = capsys.readouterr().out
    assert "a.jpg can't be read: it is no image." in printed
    assert "b.txt is neither UTF-8, UTF-16 nor GB18030 text" in printed
    assert "c.txt belongs to no image of that name." in printed


def test_what_is_missing(tmp_path):
    folder = tmp_path / "data"
    masks = make(folder, "{kind}", [("", "ab")])
    (folder / "images").rename(tmp_path / "pictures")
    with pytest.raises(UserError, match=r"has no images\. Expected images/ and labels/"):
        convert(folder)
    assert convert(folder, image_dir=str(tmp_path / "pictures"))[1] == masks
    (tmp_path / "pictures").rename(folder / "images")
    (folder / "data.yaml").rename(tmp_path / "data.yaml")
    with pytest.raises(UserError, match=r"has neither a data\.yaml with names nor a classes\.txt"):
        convert(folder, format="yolo")
    (tmp_path / "data.yaml").rename(folder / "data.yaml")
    (folder / "labels").rename(tmp_path / "labels")
    with pytest.raises(UserError, match=r"has no text files in a folder labels\. Expected images"):
        convert(folder, format="yolo")


@pytest.mark.slow
def test_damaged_folders(tmp_path):
    results, refusals = survives(tmp_path / "data", make, (".txt", ".yaml"))
    assert results > 50 and refusals > 10
    assert results + refusals == 200

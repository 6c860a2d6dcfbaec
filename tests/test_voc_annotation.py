"""The whole script: lists, report and settings; nothing is written where there is a problem."""

import os
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import voc_annotation
from errors import UserError
from utils.config import load_config
from utils.data.split import make_folds, split_names
from utils.data.voc import read_list, read_samples
from utils.runs.summary import command
from voc_annotation import AnnotationConfig

SPLITS = ("train", "val", "trainval", "test")


def counts(lists):
    return tuple(len(lists[split]) for split in SPLITS)


def list_files(base):
    """{split: text} of the lists that exist."""
    folder = base / "VOC2007" / "ImageSets" / "Segmentation"
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}


@pytest.fixture
def folder(voc_dir):
    """voc_dir as it is before the split: without ImageSets."""
    for split in ("train", "val"):
        (voc_dir / "VOC2007" / "ImageSets" / "Segmentation" / f"{split}.txt").unlink()
    (voc_dir / "VOC2007" / "ImageSets" / "Segmentation").rmdir()
    (voc_dir / "VOC2007" / "ImageSets").rmdir()
    return voc_dir


@pytest.fixture
def add(folder, write_mask, write_image):
    """add(name): puts one more image with its mask into the folder."""

    def make(name, mask=((0, 1),), size=None, extension="png"):
        mask = np.array(mask, np.uint8)
        image = np.zeros((*(size or mask.shape), 3), np.uint8)
        write_image(folder / "VOC2007" / "JPEGImages" / f"{name}.{extension}", image)
        write_mask(folder / "VOC2007" / "SegmentationClass" / f"{name}.png", mask)

    return make


def run(base, **given):
    return voc_annotation.main(AnnotationConfig(VOCdevkit_path=str(base), **given))


# The whole script


def test_the_four_lists(folder):
    run(folder, trainval_percent=0.7, train_percent=0.5)
    lists = {split: text.splitlines() for split, text in list_files(folder).items()}
    assert set(lists) == set(SPLITS)
    assert counts(lists) == (2, 2, 4, 2)
    images = sorted(path.stem for path in (folder / "VOC2007" / "JPEGImages").iterdir())
    assert sorted(lists["train"] + lists["val"] + lists["test"]) == images
    assert sorted(lists["train"] + lists["val"]) == lists["trainval"]


def test_a_line_is_a_name(folder):
    run(folder, train_percent=1.0)
    path = folder / "VOC2007" / "ImageSets" / "Segmentation" / "train.txt"
    assert path.read_bytes() == b"train_a\ntrain_b\ntrain_c\ntrain_d\nval_a\nval_b\n"
    assert path.with_name("val.txt").read_bytes() == b""


def test_old_lists_are_replaced(voc_dir, write_list):
    write_list(voc_dir, "test", ["gone"])
    run(voc_dir)
    assert list_files(voc_dir)["test"] == ""
    assert counts({name: text.split() for name, text in list_files(voc_dir).items()}) == (
        5,
        1,
        6,
        0,
    )


def test_the_file_system_s_order_does_not_matter(folder, monkeypatch, rng):
    run(folder, seed=7)
    expected = list_files(folder)
    listdir = os.listdir
    orders = (sorted, lambda names: sorted(names)[::-1], rng.permutation)
    for order in orders:
        monkeypatch.setattr(os, "listdir", lambda path, order=order: list(order(listdir(path))))
        run(folder, seed=7)
        assert list_files(folder) == expected


def test_the_seed_and_the_shares_reach_the_split(folder):
    run(folder, seed=1, trainval_percent=0.5, train_percent=0.34)
    found = {name: text.splitlines() for name, text in list_files(folder).items()}
    names = [path.stem for path in (folder / "VOC2007" / "JPEGImages").iterdir()]
    assert found == split_names(names, 0.5, 0.34, 1)


@pytest.mark.parametrize("name", ["two words", "2024.01.02 v1.5", "猫和狗", "naïve", "a,b;c'd"])
def test_names_that_are_no_single_word(folder, add, name):
    add(name, extension="JPEG")
    run(folder, train_percent=1.0)
    assert name in list_files(folder)["train"].splitlines()
    assert name in [sample.name for sample in read_samples(folder, "train")]


def test_a_folder_without_voc2007(folder):
    run(folder / "VOC2007", train_percent=1.0)
    assert len(list_files(folder)["train"].splitlines()) == 6


def test_what_is_printed(folder, capsys):
    run(folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6 pairs of image and mask"
    assert [line.split() for line in lines[-6:-2]] == [
        ["train.txt", "5", "images"],
        ["val.txt", "1", "images"],
        ["trainval.txt", "6", "images"],
        ["test.txt", "0", "images"],
    ]
    assert lines[-2:] == [
        "note: 1 image to validate: scores of so few depend on which these are. In 5 folds every "
        "image validates once, in 5 trainings:",
        f"  python train.py --folds 5 --VOCdevkit_path {shlex.quote(str(folder))}",
    ]


@pytest.mark.parametrize(
    ("given", "commands"),
    [
        ({"trainval_percent": 0.5}, ["python train.py --folds 3"]),
        ({"trainval_percent": 0.34, "train_percent": 0.5}, ["python train.py --folds 2"]),
        ({"train_percent": 1.0}, []),  # none validates, which is said otherwise
        ({"folds": 2}, []),
        (
            {"group_by": "[a-z]$", "stratify": True},
            ["python voc_annotation.py --folds 5 --group_by '[a-z]$' --stratify",
             "python train.py --folds 5"],
        ),
    ],
)  # fmt: skip
def test_few_images_get_a_note_on_folds(folder, monkeypatch, capsys, given, commands):
    monkeypatch.chdir(folder.parent)
    run("VOCdevkit", **given)
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines if line.startswith("  python")] == commands
    assert any("to validate: scores of so few" in line for line in lines) is bool(commands)


def test_enough_images_get_no_note_on_folds(folder, add, capsys):
    for index in range(14):
        add(f"more_{index}", mask=((0, 1),) * (index + 1))  # no two are alike
    run(folder, train_percent=0.5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["test.txt", "0", "images"]
    run(folder, train_percent=0.55)
    assert "note: 9 images to validate" in capsys.readouterr().out


def test_settings_come_from_the_command_line(folder, monkeypatch):
    line = ["voc_annotation.py", "--VOCdevkit_path", str(folder), "--train_percent", "0.5"]
    monkeypatch.setattr(sys, "argv", line)
    voc_annotation.main()
    assert len(list_files(folder)["train"].splitlines()) == 3


def names_in(folder):
    return [path.stem for path in (folder / "VOC2007" / "JPEGImages").iterdir()]


def test_folds_are_written(folder, capsys):
    run(folder, folds=3, seed=2)
    assert capsys.readouterr().out.endswith("\nto train all: python train.py --folds 3\n")
    found = {name: text.splitlines() for name, text in list_files(folder).items()}
    assert found == make_folds(names_in(folder), 3, 2)
    assert len(found) == 6


def test_groups_stay_together(folder):
    run(folder, group_by="^[a-z]+", train_percent=0.6)
    assert list_files(folder)["train"].split() == ["train_a", "train_b", "train_c", "train_d"]
    assert list_files(folder)["val"].split() == ["val_a", "val_b"]


def test_stratified_lists(folder, add):
    for index in range(20):
        # No two sizes are alike, or the black images would be the same.
        add(f"x{index:02}", [[0, 1, 2, 3 if index < 2 else 0] + [0] * index])
    run(folder, stratify=True, train_percent=0.8)
    for split in ("train", "val"):
        assert len({"x00", "x01"} & set(list_files(folder)[split].split())) == 1


def test_check_only_leaves_the_lists(voc_dir, write_list):
    write_list(voc_dir, "val", ["val_b"])
    write_list(voc_dir, "test", [])
    before = list_files(voc_dir)
    assert run(voc_dir, check_only=True) == 0
    assert list_files(voc_dir) == before
    assert read_list(voc_dir, "val") == ["val_b"]


def test_a_report_that_can_not_be_written_is_a_note(folder, capsys):
    # Root may write into a read-only folder, but not into a file.
    (folder / "VOC2007" / "ImageSets").write_bytes(b"")
    assert run(folder, check_only=True) == 0
    assert "note: the report is not written: " in capsys.readouterr().err


def test_lists_may_lie_elsewhere(folder, tmp_path, capsys):
    lists = tmp_path / "new" / "my lists"
    before = sorted(folder.rglob("*"))
    assert run(folder, lists_dir=str(lists), seed=3) == 0
    assert sorted(folder.rglob("*")) == before  # nothing beside the data
    found = {path.stem: path.read_text("utf-8").split() for path in lists.glob("*.txt")}
    assert found == split_names(names_in(folder), 1.0, 0.9, 3)
    assert (lists / "check_report.json").is_file()
    train, val = (str(lists / f"{split}.txt") for split in ("train", "val"))
    printed = capsys.readouterr().out
    assert f"for train.py: train_list: str = {train!r}\n" in printed
    assert f"              val_list: str = {val!r}" in printed
    assert [sample.name for sample in read_samples(folder, train)] == found["train"]


def test_folds_elsewhere_name_the_first_two_lists(folder, tmp_path, capsys):
    run(folder, lists_dir=str(tmp_path / "lists"), folds=2)
    printed = capsys.readouterr().out
    assert f"train_list: str = {str(tmp_path / 'lists' / 'train_0.txt')!r}" in printed
    assert f"val_list: str = {str(tmp_path / 'lists' / 'val_0.txt')!r}" in printed
    lists = [f"--{name}_list={tmp_path / 'lists' / name}.txt" for name in ("train", "val")]
    assert f"to train all: {command('python', 'train.py', '--folds', 2, *lists)}\n" in printed


def test_lists_elsewhere_are_those_that_are_checked(voc_dir, tmp_path, capsys):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("train_a.jpg\n", "utf-8")
    assert run(voc_dir, lists_dir=str(tmp_path / "lists"), check_only=True) == 2
    assert "train.txt: 1 of 1 lines, such as 'train_a.jpg'. Names" in capsys.readouterr().out


@pytest.fixture
def no_scan(monkeypatch):
    """Fails a test that reads the data before it sees that the lists can't be written."""
    monkeypatch.setattr(voc_annotation, "scan_into", lambda *_: pytest.fail("the data is read"))


def test_a_dataset_that_is_read_only(folder, monkeypatch, no_scan):
    # Root may write into a read-only folder, so that it is asked for what would be said.
    monkeypatch.setattr(voc_annotation.os, "access", lambda *_: False)
    lists = folder / "VOC2007" / "ImageSets" / "Segmentation"
    with pytest.raises(UserError) as caught:
        run(folder)
    assert str(caught.value) == (
        f"The lists can't be written into {lists}: you may not write into {folder / 'VOC2007'}. "
        "Name another folder, such as --lists_dir lists, and give train.py the paths: "
        "--train_list lists/train.txt --val_list lists/val.txt. (--check_only writes no lists.)"
    )


def test_a_file_where_the_lists_should_go(folder, tmp_path, no_scan):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"written into .*: .*file is a file\. Name another fold"):
        run(folder, lists_dir=str(tmp_path / "file" / "lists"))


def test_lists_that_fail_late(folder, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(voc_annotation, "write_lists", refuse)
    with pytest.raises(UserError, match=r"written into .*: No space left on device\. Name anoth"):
        run(folder)


CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases aren't here")
@pytest.mark.parametrize(
    ("case", "status", "said"),
    [
        ("10_nfd", 0, "4 pairs of image and mask"),
        ("11_lists_that_match_nothing", 2, "train.txt: 2 of 2 lines, such as 'p0.png'. Names"),
    ],
)
def test_cases_of_users(tmp_path, capsys, case, status, said):
    shutil.copytree(CASES / case, tmp_path / case)
    assert run(tmp_path / case, check_only=True) == status
    printed = capsys.readouterr().out
    assert said in printed
    assert "never learnt" not in printed


# Problems


def test_a_folder_without_pairs(tmp_path):
    for name in ("JPEGImages", "SegmentationClass"):
        (tmp_path / "VOC2007" / name).mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        run(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'VOC2007'} holds no image with a mask. Put images into JPEGImages and "
        "PNG masks of the same names into SegmentationClass."
    )


@pytest.mark.parametrize("missing", ["JPEGImages", "SegmentationClass"])
def test_a_missing_folder(tmp_path, missing):
    for name in {"JPEGImages", "SegmentationClass"} - {missing}:
        (tmp_path / "VOC2007" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"here is no folder .*{missing}"):
        run(tmp_path)


@pytest.mark.parametrize("problem", ["broken mask", "colours", "broken image", "other size"])
@pytest.mark.parametrize("lists", [{}, {"train": "val_a\n", "val": "train_a\n"}])
def test_no_lists_are_written_when_there_is_a_problem(
    folder, add, write_list, capsys, problem, lists
):
    for split, text in lists.items():
        write_list(folder, split, text.split())
    path = folder / "VOC2007" / "SegmentationClass" / "val_b.png"
    if problem == "broken mask":
        path.write_bytes(b"no mask")
    elif problem == "colours":
        Image.new("RGB", (31, 90)).save(path)
    elif problem == "broken image":
        path = folder / "VOC2007" / "JPEGImages" / "val_b.jpg"
        path.write_bytes(b"no image")
    else:
        add("zebra", [[0, 1]], size=(2, 1))
        path = folder / "VOC2007" / "SegmentationClass" / "zebra.png"
    assert run(folder) == 2
    printed = capsys.readouterr()
    assert str(path) in printed.out
    assert printed.err.startswith(
        "error: The data has problems that make a training wrong, see above."
    )
    assert list_files(folder) == lists


def test_fix_and_check_only_exclude_each_other():
    with pytest.raises(UserError, match=r"^fix writes and check_only does not: give one of them"):
        AnnotationConfig(fix=True, check_only=True)


@pytest.mark.parametrize("name", ["trainval_percent", "train_percent"])
@pytest.mark.parametrize("value", [0.0, -0.1, 1.01, 90.0])
def test_shares_that_are_none_are_refused(name, value):
    with pytest.raises(UserError) as caught:
        AnnotationConfig(**{name: value})
    assert str(caught.value) == f"{name} is a share: above 0, at most 1; got {value}."


@pytest.mark.parametrize("name", ["trainval_percent", "train_percent"])
def test_a_share_is_a_number(name):
    with pytest.raises(UserError, match=f"^{name} must be a number; got nan"):
        AnnotationConfig(**{name: float("nan")})


@pytest.mark.parametrize("name", ["num_workers", "folds"])
def test_counts_below_zero_are_refused(name):
    with pytest.raises(UserError, match=rf"^{name} must be at least 0; got -1\.$"):
        load_config(AnnotationConfig, [f"--{name}", "-1"])


def test_classes_and_void_are_checked():
    with pytest.raises(UserError, match="num_classes must be"):
        AnnotationConfig(num_classes=1)
    with pytest.raises(UserError, match=r"ignore_labels must be 0 to 255; got 256\."):
        AnnotationConfig(ignore_labels=(256,))


@pytest.mark.parametrize(("percent", "said"), [(1.0, True), (0.5, False)])
def test_an_empty_list_for_validation_is_pointed_out(folder, capsys, percent, said):
    run(folder, train_percent=percent)
    assert ("note: val.txt is empty" in capsys.readouterr().out) == said

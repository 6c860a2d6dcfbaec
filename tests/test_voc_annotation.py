"""Splitting: exact counts, the same for the same names and seed, and nothing half done."""

import os
import sys
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import voc_annotation
from errors import UserError
from utils.config import load_config
from utils.voc import read_samples
from voc_annotation import AnnotationConfig, find_pairs, format_histogram, split_names

SPLITS = ("train", "val", "trainval", "test")


def names_of(count):
    return [f"picture {index}" for index in range(count)]


def counts(lists):
    return tuple(len(lists[split]) for split in SPLITS)


def list_files(base):
    """{split: text} of the lists that exist."""
    folder = base / "VOC2007" / "ImageSets" / "Segmentation"
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*"))}


@pytest.fixture
def folder(voc_dir):
    """voc_dir as it is before the split: without ImageSets."""
    for split in ("train", "val"):
        (voc_dir / "VOC2007" / "ImageSets" / "Segmentation" / f"{split}.txt").unlink()
    (voc_dir / "VOC2007" / "ImageSets" / "Segmentation").rmdir()
    (voc_dir / "VOC2007" / "ImageSets").rmdir()
    return voc_dir


@pytest.fixture
def add(folder, write_mask, write_picture):
    """add(name): puts one more picture with its mask into the folder."""

    def make(name, mask=((0, 1),), size=None, extension="png"):
        mask = np.array(mask, np.uint8)
        picture = np.zeros((*(size or mask.shape), 3), np.uint8)
        write_picture(folder / "VOC2007" / "JPEGImages" / f"{name}.{extension}", picture)
        write_mask(folder / "VOC2007" / "SegmentationClass" / f"{name}.png", mask)

    return make


def run(base, **given):
    voc_annotation.main(AnnotationConfig(VOCdevkit_path=str(base), **given))


# Counts


@pytest.mark.parametrize(
    ("count", "trainval_percent", "train_percent", "expected"),
    [
        # int(100 * 0.29) is 28, int(100 * 0.57) is 56: floats lie just below
        (100, 1.0, 0.29, (29, 71, 100, 0)),
        (100, 1.0, 0.57, (57, 43, 100, 0)),
        (100, 1.0, 0.58, (58, 42, 100, 0)),
        (100, 0.29, 1.0, (29, 0, 29, 71)),
        # 100 * 0.07 is 7.000000000000001, which must not become 8
        (100, 1.0, 0.07, (7, 93, 100, 0)),
        (100, 0.07, 1.0, (7, 0, 7, 93)),
        (100, 0.9, 0.9, (81, 9, 90, 10)),
        (100, 1, 1, (100, 0, 100, 0)),
        (1000, 1.0, 0.001, (1, 999, 1000, 0)),
        # Halves are rounded up, not to even: 0.5 * 5 = 2.5, then 0.5 * 3 = 1.5
        (5, 0.5, 0.5, (2, 1, 3, 2)),
        (10, 0.25, 1.0, (3, 0, 3, 7)),
        (10, 1.0, 0.25, (3, 7, 10, 0)),
        # Fraction(0.35) * 10 lies just below the half
        (10, 1.0, 0.35, (4, 6, 10, 0)),
        (10, 0.35, 1.0, (4, 0, 4, 6)),
        # At least one to train, and one to validate where there are two
        (1, 1.0, 0.9, (1, 0, 1, 0)),
        (1, 0.01, 0.01, (1, 0, 1, 0)),
        (2, 1.0, 0.9, (1, 1, 2, 0)),
        (2, 1.0, 0.01, (1, 1, 2, 0)),
        (2, 0.5, 0.9, (1, 0, 1, 1)),
        (2, 1.0, 1.0, (2, 0, 2, 0)),
        (3, 1.0, 0.9, (2, 1, 3, 0)),
        (3, 0.5, 0.5, (1, 1, 2, 1)),
        (4, 1.0, 0.9, (3, 1, 4, 0)),
        (4, 0.75, 0.67, (2, 1, 3, 1)),
        (100, 1.0, 0.999, (99, 1, 100, 0)),
    ],
)
def test_counts_are_exact(count, trainval_percent, train_percent, expected):
    assert counts(split_names(names_of(count), trainval_percent, train_percent, 0)) == expected


def rounded(value):
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


@given(st.integers(1, 200), st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 2**32))
def test_any_split(count, trainval_thousandths, train_thousandths, seed):
    """Counts as in decimal arithmetic; disjoint, complete and sorted lists."""
    names = names_of(count)
    lists = split_names(names, trainval_thousandths / 1000, train_thousandths / 1000, seed)
    trainval = max(rounded(Decimal(trainval_thousandths) / 1000 * count), 1)
    train = max(rounded(Decimal(train_thousandths) / 1000 * trainval), 1)
    if train == trainval > 1 and train_thousandths < 1000:
        train -= 1
    assert counts(lists) == (train, trainval - train, trainval, count - trainval)
    assert sorted(lists["train"] + lists["val"]) == lists["trainval"]
    assert sorted(lists["trainval"] + lists["test"]) == sorted(names)
    assert all(found == sorted(found) for found in lists.values())


def test_the_seed_decides():
    names = names_of(50)
    same = [split_names(names, 0.8, 0.8, seed=3) for _ in range(2)]
    assert same[0] == same[1]
    other = split_names(names, 0.8, 0.8, seed=4)
    assert all(other[split] != same[0][split] for split in SPLITS)


def test_the_split_is_random():
    """Every name gets into the validation of some seed: it is no block of the sorted list."""
    names = names_of(10)
    validated = {name for seed in range(100) for name in split_names(names, 1, 0.9, seed)["val"]}
    assert validated == set(names)


def test_a_split_stays_the_same_in_later_versions():
    lists = split_names(list("abcdefghij"), 0.8, 0.75, seed=0)
    assert {split: "".join(names) for split, names in lists.items()} == {
        "train": "bdefhi",
        "val": "ac",
        "trainval": "abcdefhi",
        "test": "gj",
    }


@given(st.permutations(names_of(12)))
def test_the_order_of_the_names_does_not_matter(names):
    assert split_names(names, 0.8, 0.8, 5) == split_names(names_of(12), 0.8, 0.8, 5)


# The whole script


def test_the_four_lists(folder):
    run(folder, trainval_percent=0.7, train_percent=0.5)
    lists = {split: text.splitlines() for split, text in list_files(folder).items()}
    assert set(lists) == set(SPLITS)
    assert counts(lists) == (2, 2, 4, 2)
    pictures = sorted(path.stem for path in (folder / "VOC2007" / "JPEGImages").iterdir())
    assert sorted(lists["train"] + lists["val"] + lists["test"]) == pictures
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
    masks = [Image.open(path) for path in (folder / "VOC2007" / "SegmentationClass").iterdir()]
    values = np.concatenate([np.array(mask).ravel() for mask in masks])
    table = [
        [str(value), f"{np.sum(values == value):,}", f"{np.mean(values == value):.2%}"]
        for value in (0, 1, 2, 255)
    ]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["value", "pixels", "share"]
    assert [line[:3] for line in lines[1:5]] == table
    assert lines[5][:6] == ["num_classes", "for", "these", "masks:", "3,", "if"]
    assert lines[6:] == [
        ["train.txt", "5", "pictures"],
        ["val.txt", "1", "pictures"],
        ["trainval.txt", "6", "pictures"],
        ["test.txt", "0", "pictures"],
    ]


def test_settings_come_from_the_command_line(folder, monkeypatch):
    line = ["voc_annotation.py", "--VOCdevkit_path", str(folder), "--train_percent", "0.5"]
    monkeypatch.setattr(sys, "argv", line)
    voc_annotation.main()
    assert len(list_files(folder)["train"].splitlines()) == 3


# The histogram


def histogram_of(**values):
    histogram = np.zeros(256, np.int64)
    for name, pixels in values.items():
        histogram[int(name.removeprefix("v"))] = pixels
    return histogram


def test_the_histogram_by_hand():
    assert format_histogram(histogram_of(v0=1_234_000, v1=500, v255=265_500)).splitlines() == [
        "value        pixels    share",
        "    0     1,234,000   82.27%",
        "    1           500    0.03%",
        "  255       265,500   17.70%  void (the default of ignore_labels)",
        "num_classes for these masks: 2, if 255 is void",
    ]


@pytest.mark.parametrize(
    ("values", "num_classes", "warning"),
    [
        ({"v0": 5, "v255": 5}, 1, "hold only 0 and 255. Change 255 to 1, or nothing is learnt."),
        ({"v0": 5}, 1, "warning: the masks hold only 0."),
        ({"v0": 5, "v2": 5}, 3, "warning: some ids below the largest never occur."),
        ({"v1": 5, "v2": 5}, 3, "warning: some ids below the largest never occur."),
        ({"v0": 5, "v128": 5, "v255": 1}, 129, "some ids below the largest never occur."),
        ({"v0": 5, "v1": 5, "v2": 1}, 3, None),
        ({"v0": 5, "v1": 5, "v255": 1}, 2, None),
    ],
)
def test_typical_mistakes_are_warned_of(values, num_classes, warning):
    lines = format_histogram(histogram_of(**values)).splitlines()
    if warning:
        assert warning in lines.pop()
    assert lines[-1] == f"num_classes for these masks: {num_classes}, if 255 is void"
    assert not any("warning" in line for line in lines)


def test_masks_of_void_alone_are_warned_of():
    assert "warning" in format_histogram(histogram_of(v255=5))


def test_a_0_255_folder_is_warned_of_on_the_whole_way(folder, add, capsys):
    for path in (folder / "VOC2007").glob("*/*"):
        path.unlink()
    add("binary", [[0, 255, 255]])
    run(folder)
    assert "Change 255 to 1, or nothing is learnt." in capsys.readouterr().out


# Faults


def test_partners_that_are_missing_are_listed(folder):
    for name in ("train_a", "val_b"):
        (folder / "VOC2007" / "JPEGImages" / f"{name}.jpg").unlink()
    (folder / "VOC2007" / "SegmentationClass" / "train_c.png").unlink()
    with pytest.raises(UserError) as caught:
        find_pairs(folder)
    assert str(caught.value).splitlines() == [
        "Pictures and masks pair by their name without extension (case counts). Alone are",
        "  1 pictures without a mask: train_c",
        "  2 masks without a picture: train_a, val_b",
        "Rename, add or remove these files.",
    ]


def test_only_the_first_five_are_listed(folder):
    for path in (folder / "VOC2007" / "SegmentationClass").iterdir():
        path.unlink()
    with pytest.raises(UserError) as caught:
        find_pairs(folder)
    assert str(caught.value).splitlines()[1] == (
        "  6 pictures without a mask: train_a, train_b, train_c, train_d, val_a, ..."
    )


@pytest.mark.xfail(strict=True, reason="masks that are no PNG are passed over without a word")
def test_masks_of_another_type_are_pointed_out(folder):
    masks = folder / "VOC2007" / "SegmentationClass"
    for path in list(masks.iterdir()):
        path.rename(path.with_suffix(".bmp"))
    with pytest.raises(UserError, match=r"(?i)png"):
        find_pairs(folder)


def test_pairs_are_sorted(folder):
    samples = find_pairs(folder)
    assert [sample.name for sample in samples] == [
        "train_a", "train_b", "train_c", "train_d", "val_a", "val_b",
    ]  # fmt: skip
    for sample in samples:
        assert sample.image_path.stem == sample.mask_path.stem == sample.name
        assert (sample.image_path.parent.name, sample.mask_path.parent.name) == (
            "JPEGImages",
            "SegmentationClass",
        )


def test_an_empty_dataset(tmp_path):
    for name in ("JPEGImages", "SegmentationClass"):
        (tmp_path / "VOC2007" / name).mkdir(parents=True)
        (tmp_path / "VOC2007" / name / "README.md").touch()
    with pytest.raises(UserError) as caught:
        run(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds no pictures and no masks. Put pictures into JPEGImages and PNG "
        "masks of the same names into SegmentationClass."
    )


@pytest.mark.parametrize("missing", ["JPEGImages", "SegmentationClass"])
def test_a_missing_folder(tmp_path, missing):
    for name in {"JPEGImages", "SegmentationClass"} - {missing}:
        (tmp_path / "VOC2007" / name).mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        run(tmp_path)
    assert f"there is no folder {tmp_path / 'VOC2007' / missing}." in str(caught.value).replace(
        "There", "there"
    )


def spoil(folder, add, fault):
    """Puts one fault into the folder; returns what its message must hold."""
    masks = folder / "VOC2007" / "SegmentationClass"
    if fault == "alone":
        (masks / "val_b.png").unlink()
        return "1 pictures without a mask: val_b"
    if fault == "broken mask":
        (masks / "val_b.png").write_bytes(b"no mask")
        return f"The mask {masks / 'val_b.png'} can't be read"
    if fault == "colours":
        Image.new("RGB", (31, 90)).save(masks / "val_b.png")
        return f"{masks / 'val_b.png'} is no class-id mask: it is a colo"
    if fault == "broken picture":
        path = folder / "VOC2007" / "JPEGImages" / "val_b.jpg"
        path.write_bytes(b"no picture")
        return f"The picture {path} can't be read"
    add("zebra", [[0, 1]], size=(2, 1))
    return "zebra.png is 1x2 pixels, but its mask"


@pytest.mark.parametrize(
    "fault", ["alone", "broken mask", "colours", "broken picture", "other size"]
)
@pytest.mark.parametrize("lists", [{}, {"train": "val_a\n", "val": "train_a\n"}])
def test_nothing_is_written_when_there_is_a_fault(folder, add, write_list, fault, lists):
    for split, text in lists.items():
        write_list(folder, split, text.split())
    message = spoil(folder, add, fault)
    with pytest.raises(UserError) as caught:
        run(folder)
    assert message in str(caught.value)
    assert list_files(folder) == lists
    assert (folder / "VOC2007" / "ImageSets").exists() == bool(lists)


@pytest.mark.parametrize("name", ["trainval_percent", "train_percent"])
@pytest.mark.parametrize("value", [0.0, -0.1, 1.01, 90.0, float("nan")])
def test_shares_that_are_none_are_refused(name, value):
    with pytest.raises(UserError) as caught:
        AnnotationConfig(**{name: value})
    assert str(caught.value) == f"{name} is a share: above 0, at most 1; got {value}."


def test_the_number_of_threads_is_checked():
    with pytest.raises(UserError, match=r"num_workers must be at least 1; got 0\."):
        load_config(AnnotationConfig, ["--num_workers", "0"])

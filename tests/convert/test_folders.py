"""Folders of images and of masks, found by their names."""

import pytest
from conversions import save

from utils.convert.folders import find_class_groups, find_groups
from utils.convert.source import Source


@pytest.fixture
def groups(tmp_path):
    """groups(*paths): makes images there; {key: (images, masks)} with both, and with one alone."""

    def run(*paths):
        for path in paths:
            save(tmp_path / "data" / path, [[0]])
        return [
            {group.key: (shown(group.images), shown(group.masks)) for group in side}
            for side in find_groups(Source(tmp_path / "data"))
        ]

    def shown(paths):
        return " ".join(path.relative_to(tmp_path / "data").as_posix() for path in paths)

    return run


@pytest.mark.parametrize(
    ("image", "mask", "key"),
    [
        ("images/a.png", "masks/a.png", ()),
        ("Images/a.png", "Masks/a.png", ()),
        ("img/a.png", "label/a.png", ()),
        ("imgs/a.png", "labels/a.png", ()),
        ("images/a.png", "ground_truth/a.png", ()),
        ("original/a.png", "GT/a.png", ()),
        ("train_images/a.png", "train_masks/a.png", ("train",)),
        ("train/images/a.png", "train/masks/a.png", ("train",)),
        ("images/train/a.png", "masks/train/a.png", ("train",)),
        ("images/train/a.png", "annotations/train/a.png", ("train",)),
        ("train/a.png", "train_masks/a.png", ("train",)),  # Carvana
        ("train/a.png", "trainannot/a.png", ("train",)),  # CamVid by SegNet
        ("a.png", "masks/a.png", ()),
        ("jpg_images/a.png", "png_masks/a.png", ("png",)),
        ("images/a.png", "masks/train/a.png", ()),  # a split, no class
        ("x/y/images/a.png", "x/y/masks/a.png", ("x", "y")),
        ("a.jpg", "a_mask.png", ()),
        ("train/a.jpg", "train/a_mask.png", ("train",)),  # Roboflow
        ("case 1/a_1.tif", "case 1/a_1_mask.tif", ("case 1",)),
        ("images/a_sat.png", "images/mask-a.png", ()),
    ],
)
def test_images_and_masks_find_each_other(groups, image, mask, key):
    assert groups(image, mask) == [{key: (image, mask)}, {}]


def test_several_groups(groups):
    both, single = groups(
        "train/images/a.png", "train/masks/a.png", "val/images/b.png", "val/masks/b.png",
        "test/images/c.png",
    )  # fmt: skip
    assert both == {
        ("train",): ("train/images/a.png", "train/masks/a.png"),
        ("val",): ("val/images/b.png", "val/masks/b.png"),
    }
    assert single == {("test",): ("test/images/c.png", "")}


def test_names_of_masks_count_only_where_nothing_else_is_annotated(groups, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.json").write_text("{}")
    assert groups("a.jpg", "a_mask.png") == [{}, {(): ("a.jpg a_mask.png", "")}]


def test_other_files_and_folders_do_not_count(groups, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("")
    (tmp_path / "data" / "info.pdf").write_text("")
    both, single = groups("images/a.png", "masks/a.png", "previews/a.png", "masks/.hidden.png")
    assert both == {(): ("images/a.png", "masks/a.png")}
    assert single == {}


@pytest.mark.parametrize(
    ("image", "mask", "key"),
    [
        ("images/a.png", "masks/cat/a.png", ()),
        ("images/train/a.png", "masks/train/cat/a.png", ("train",)),
        ("images/train/a.png", "masks/cat/train/a.png", ("train",)),
        ("train/images/a.png", "train/masks/cat/a.png", ("train",)),
    ],
)
def test_a_folder_for_each_class(groups, tmp_path, image, mask, key):
    groups(image, mask, mask.replace("cat", "dog"))
    found, others = find_class_groups(Source(tmp_path / "data"))
    assert [(group.key, name) for group, name in found] == [(key, "cat"), (key, "dog")]
    assert others == []


def test_masks_outside_the_folders_of_classes(groups, tmp_path):
    groups("images/a.png", "masks/cat/a.png", "masks/b.png")
    found, others = find_class_groups(Source(tmp_path / "data"))
    assert [name for _, name in found] == ["cat"]
    assert [path.name for path in others] == ["b.png"]

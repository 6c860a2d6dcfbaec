"""The images of a cross-validation: from lists that are there, or split here."""

import pytest

from errors import UserError
from utils.data.fold_lists import read_folds
from utils.data.split import make_folds

NAMES = ["train_a", "train_b", "train_c", "train_d", "val_a", "val_b"]


def read(voc_dir, folds=3, train_list="train", val_list="val", seed=0):
    """([(names that train, names that validate)], where they come from)."""
    samples, text = read_folds(voc_dir, train_list, val_list, folds, seed)
    return [tuple([one.name for one in side] for side in fold) for fold in samples], text


def write(write_list, voc_dir, folds, **changes):
    """Writes the lists of so many folds, with these in the place of some; {name: names}."""
    lists = make_folds(NAMES, folds, 3) | changes
    for name, names in lists.items():
        write_list(voc_dir, name, names)
    return lists


def test_without_lists_the_images_of_train_and_val_are_split(voc_dir):
    folds, text = read(voc_dir, seed=4)
    lists = make_folds(NAMES, 3, 4)
    assert folds == [(lists[f"train_{i}"], lists[f"val_{i}"]) for i in range(3)]
    assert sorted(name for _, val in folds for name in val) == NAMES
    assert text.startswith("6 images, split into 3 folds at random (seed 4). For groups that")
    assert read(voc_dir, seed=5)[0] != folds


def test_an_image_in_both_lists_counts_once(voc_dir, write_list):
    write_list(voc_dir, "val", ["train_a", "val_a", "val_b"])
    assert read(voc_dir, seed=4)[0] == read(voc_dir, seed=4)[0]
    assert sorted(name for _, val in read(voc_dir)[0] for name in val) == NAMES


def test_lists_of_voc_annotation_are_taken(voc_dir, write_list):
    lists = write(write_list, voc_dir, 3)
    folds, text = read(voc_dir)
    assert folds == [(lists[f"train_{i}"], lists[f"val_{i}"]) for i in range(3)]
    assert text == "Folds of the lists train_0 and val_0, train_1 and val_1, train_2 and val_2."


def test_lists_are_looked_for_beside_those_that_are_named(voc_dir, tmp_path):
    for name, names in make_folds(NAMES, 2, 3).items():
        path = tmp_path / "lists" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(names))
    paths = [str(tmp_path / "lists" / f"{name}.txt") for name in ("train", "val")]
    folds, text = read(voc_dir, 2, *paths)
    lists = make_folds(NAMES, 2, 3)
    assert folds == [(lists[f"train_{i}"], lists[f"val_{i}"]) for i in range(2)]
    assert str(tmp_path / "lists" / "train_0.txt") in text


def test_names_that_only_look_like_lists_of_folds(voc_dir, write_list):
    for name in ("train_extra", "train_01", "val_1b", "my_train_0"):
        write_list(voc_dir, name, ["train_a"])
    assert "split into 3 folds" in read(voc_dir)[1]


def test_lists_of_another_number_of_folds(voc_dir, write_list):
    write(write_list, voc_dir, 2)
    with pytest.raises(UserError, match=r"folds is 3, but .* holds the lists") as caught:
        read(voc_dir)
    assert str(caught.value).endswith(
        "holds the lists train_0, val_0, train_1, val_1. Set folds to 2, or remove these lists "
        "and run python voc_annotation.py --folds 3; without any, train.py splits the images at "
        "random."
    )


def test_a_list_without_its_partner(voc_dir, write_list):
    write(write_list, voc_dir, 3)
    (voc_dir / "VOC2007" / "ImageSets" / "Segmentation" / "val_1.txt").unlink()
    with pytest.raises(
        UserError, match=r"train_1, train_2, val_2\. To mend it, remove these lists"
    ):
        read(voc_dir)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_1": ["train_a"], "train_1": NAMES}, "'train_a' stands both in train_1 and in val_1"),
        (
            {
                "train_0": NAMES[1:], "val_0": NAMES[:1], "train_1": NAMES[1:],
                "val_1": NAMES[:1],
            },
            "'train_a' stands both in val_0 and in val_1, so that these are no folds",
        ),
    ],
)  # fmt: skip
def test_lists_that_are_no_folds(voc_dir, write_list, changes, message):
    write(write_list, voc_dir, 2, **changes)
    with pytest.raises(UserError, match=message):
        read(voc_dir, 2)


@pytest.mark.parametrize("folds", [7, 100])
def test_more_folds_than_images(voc_dir, folds):
    message = f"folds must be 2 up to the number of images, 6; got {folds}"
    with pytest.raises(UserError, match=message):
        read(voc_dir, folds)

"""What lists name, against what the dataset has."""

from pathlib import Path

import pytest

from utils.checking.listed import match_lists
from utils.data.voc import Sample

APART = "e\u0301"  # é as macOS writes it


@pytest.fixture
def match(tmp_path):
    """match(lists, images): of the images, those that don't begin with "bare" have masks."""

    def run(lists, images=("a.jpg", "b.jpg", "bare.jpg")):
        (tmp_path / "JPEGImages").mkdir()
        for name in images:
            (tmp_path / "JPEGImages" / name).touch()
        samples = [
            Sample(Path(name).stem, Path(name), Path("mask"))
            for name in images
            if not name.startswith("bare")
        ]
        return match_lists(tmp_path, lists, samples)

    return run


def test_lists_that_are_right(match):
    lists = {"train": ["b"], "val": [" a "], "trainval": ["b", "a"]}
    assert match(lists) == (lists | {"val": ["a"]}, [])


def test_names_are_given_as_the_samples_have_them(match):
    assert match({"train": ["é"]}, [f"{APART}.jpg"]) == ({"train": [APART]}, [])


def test_every_kind_of_fault_is_counted_by_itself(match):
    lines = ["a", "a.jpg", "b.jpg", "img/a", "A", "zebra", "b"]
    matched, problems = match({"train_0": lines})
    assert matched == {"train_0": ["a", "b"]}
    assert {kind for kind, _, _ in problems} == {"listed_without_image"}
    assert [(detail.partition(". ")[0], count) for _, detail, count in problems] == [
        ("train_0.txt: 2 of 7 lines, such as 'a.jpg'", 2),
        ("train_0.txt: 1 of 7 lines, such as 'img/a'", 1),
        ("train_0.txt: 1 of 7 lines, such as 'A'", 1),
        ("train_0.txt: 1 of 7 lines, such as 'zebra'", 1),
    ]


def test_a_list_that_names_nothing_is_none(match):
    matched, ((kind, _, count),) = match({"train": ["x", "y"], "val": ["a"]})
    assert matched == {"val": ["a"]}
    assert (kind, count) == ("listed_without_image", 2)


def test_only_lists_for_training_need_masks(match):
    matched, problems = match({"test": ["bare", "a"], "val": ["bare", "a"]})
    assert matched == {"test": ["a"], "val": ["a"]}
    assert problems == [("listed_without_mask", "val.txt: 1 of 2 lines, such as 'bare'", 1)]


def test_a_first_line_may_be_nearly_right(match):
    _, ((_, detail, _),) = match({"val": ["dogg"]}, ["dog.jpg"])
    assert detail.endswith("'dogg'. Did you mean 'dog.jpg'? Case and extension count.")

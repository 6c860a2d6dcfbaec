"""Labels: void, colours, class names."""

import numpy as np
import pytest

from errors import UserError
from utils.labels import (
    VOC_CLASSES,
    check_ignore_labels,
    class_names,
    moved_names,
    name_changes,
    note_of_alike_names,
    voc_palette,
)


@pytest.mark.parametrize("label", [-1, 256])
def test_labels_that_no_mask_can_hold_are_refused(label):
    with pytest.raises(UserError, match=rf"ignore_labels must be 0 to 255; got {label}\."):
        check_ignore_labels((0, label))
    check_ignore_labels((0, 255))


def test_the_palette_is_that_of_pascal_voc():
    assert [tuple(color) for color in voc_palette(21).tolist()] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128),
        (0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0),
        (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0),
        (0, 192, 0), (128, 192, 0), (0, 64, 128),
    ]  # fmt: skip


def test_all_256_colours_differ():
    palette = voc_palette(256)
    assert palette.dtype == np.uint8
    assert len({tuple(color) for color in palette.tolist()}) == 256
    assert tuple(palette[255].tolist()) == (224, 224, 192)  # VOC's border


def test_names():
    assert class_names(21) == VOC_CLASSES
    assert class_names(3) == ("background", "class_1", "class_2")
    assert class_names(2, ["nothing", "猫"]) == ("nothing", "猫")
    assert len(class_names(256)) == 256
    with pytest.raises(UserError) as caught:
        class_names(3, ["cat", "dog"])
    assert str(caught.value) == (
        "name_classes holds 2 names, but num_classes is 3. Name every class, the background too."
    )


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (["Cat", "dog", "cat"], "'Cat' and 'cat'"),
        (["cat", "dog", "cat"], "'cat' and 'cat'"),
        (["cat", "cat "], "'cat' and 'cat '"),
        (["é", "e\u0301"], "'é' and 'e\u0301'"),
        (["a", "b", "A", "B"], "'a' and 'A', 'b' and 'B'"),
    ],
)
def test_names_that_are_nearly_equal(names, alike):
    assert note_of_alike_names(names) == (
        f"note: class names that are equal or nearly so: {alike}. Are they one class?"
    )


def test_names_that_differ_need_no_note():
    assert note_of_alike_names(VOC_CLASSES) == note_of_alike_names(()) == ""


def test_changes_of_names():
    assert name_changes(("a", "b", "c"), ("a", "x", "y")) == "1 was 'b', is 'x'; 2 was 'c', is 'y'"
    assert name_changes(("a", "b"), ("a", "b")) == ""
    former, names = "abcd", "wxyz"
    assert name_changes(former, names, most=1) == "0 was 'a', is 'w', and 3 more"


@pytest.mark.parametrize(
    ("former", "names", "moved"),
    [
        ("abc", "abc", []),
        ("abc", "axy", []),
        ("abc", "acb", [("c", 2, 1), ("b", 1, 2)]),
        ("abc", "axb", [("b", 1, 2)]),
        ("aba", "aba", []),  # a name that stood twice may stand there again
        ("aba", "xba", []),
        ("aba", "xab", [("a", 0, 1), ("b", 1, 2)]),
        (("Cat", "dog"), ("x", " cat"), [(" cat", 0, 1)]),
        (("Cat", "dog"), ("cat", "dog "), []),
        (("\u00e9", "b"), ("x", "e\u0301"), [("e\u0301", 0, 1)]),
    ],
)
def test_names_that_stand_for_another_class(former, names, moved):
    assert moved_names(former, names) == moved

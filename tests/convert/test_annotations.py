"""The class list and the checks that labelme and COCO files share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from utils.convert.annotations import (
    check_points,
    class_id,
    clean_label,
    fixed_id,
    make_classes,
    read_class_list,
    read_json,
    shown,
)


@pytest.fixture
def class_list(tmp_path):
    """class_list(text): writes a class list; returns its path."""

    def write(text, encoding="utf-8"):
        path = tmp_path / "classes.txt"
        path.write_bytes(text.encode(encoding))
        return path

    return write


# JSON


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gbk"]
)
def test_json_in_many_encodings(encoding, tmp_path):
    path = tmp_path / "猫.json"
    path.write_bytes('{"label": "狗"}'.encode(encoding))
    assert read_json(path) == {"label": "狗"}


@pytest.mark.parametrize(
    "content",
    [b"", b"no JSON", b'{"shapes": [', b'{"a": "\xc3"}', b"[" * 100_000, b"1" + b"0" * 5000],
    ids=["empty", "text", "cut off", "no UTF-8", "deep", "long number"],
)
def test_a_file_that_is_no_json(content, tmp_path):
    path = tmp_path / "one.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"one\.json can't be read as JSON: .* Save or export it"):
        read_json(path)


def test_json_that_is_nested_too_deep(tmp_path):
    path = tmp_path / "one.json"
    path.write_bytes(b'{"shapes": ' + b"[" * 10_000 + b"]" * 10_000 + b"}")
    with pytest.raises(UserError, match=r"one\.json can't be read as JSON: it is nested too deep"):
        read_json(path)


def test_a_json_file_that_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"gone\.json can't be read as JSON"):
        read_json(tmp_path / "gone.json")


# Values in messages


def test_values_are_shown_as_they_are_but_short():
    assert shown("1") == "'1'"
    assert shown(1) == "1"
    assert shown([1, "a", None]) == "[1, 'a', None]"
    assert len(shown("x" * 10_000)) == 60
    assert len(shown(list(range(10_000)))) < 60
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "[[[[...]]]]"


# Points


def test_points():
    assert check_points([[1, 2.5], [-3, 100_000]], "x") == [(1, 2.5), (-3, 100_000)]
    assert check_points([], "x") == []


@pytest.mark.parametrize(
    "points",
    [
        None,
        5,
        "12",
        {"x": 1},
        [1, 2],
        [[1]],
        [[1, 2, 3]],
        [["1", 2]],
        [[True, 2]],
        [[None, 2]],
        [[float("nan"), 2]],
        [[1, float("inf")]],
        [[1, 100_001]],
        [[-(10**400), 1]],
    ],
    ids=str,
)
def test_what_are_no_points(points):
    with pytest.raises(UserError, match=r"^here has the point .* Expected \[x, y\], two numbers"):
        check_points(points, "here")


# Labels


def test_labels_are_trimmed():
    assert clean_label("  traffic \t light\n", "x") == "traffic light"


def test_a_label_has_one_form():
    """A Mac may write é as e and an accent."""
    assert clean_label("cafe\u0301", "x") == clean_label("caf\xe9", "x") == "caf\xe9"


@pytest.mark.parametrize("label", ["", "  ", None, 3, ["cat"], "\ud83d"])
def test_what_is_no_label(label):
    with pytest.raises(UserError, match=r"^a\.json has the label .*\. Expected a name\."):
        clean_label(label, "a.json")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("background", 0),
        ("_background_", 0),
        ("Background", 0),
        ("__ignore__", 255),
        ("ignore", None),
        ("_background", None),
        ("cat", None),
    ],
)
def test_labels_with_a_fixed_id(label, expected):
    assert fixed_id(label) == expected


def test_ids_count_from_the_background():
    classes = make_classes(["dog", "__ignore__", "cat", "_background_", "dog"])
    assert classes == ("background", "dog", "cat")
    labels = ("dog", "cat", "background", "_background_", "__ignore__")
    assert [class_id(label, classes, "x") for label in labels] == [1, 2, 0, 0, 255]


def test_a_label_that_is_not_in_the_list():
    with pytest.raises(UserError) as caught:
        class_id("catt", ("background", "cat", "dog"), "a/one.json")
    assert str(caught.value) == (
        "a/one.json has the label 'catt', which is not in the class list: background, cat, dog. "
        "Correct the label, or add it to the list."
    )


def test_no_class_at_all():
    with pytest.raises(UserError, match="no class besides the background: nothing to learn"):
        make_classes(["background", "__ignore__"])


def test_as_many_classes_as_a_mask_can_hold():
    names = [f"class {index}" for index in range(255)]
    assert class_id(names[253], make_classes(names[:254]), "x") == 254
    with pytest.raises(UserError, match="255 classes besides the background; a mask holds at mo"):
        make_classes(names)


@given(st.lists(st.sampled_from(["a", "b", "C", "d e", "background", "__ignore__"])))
def test_every_label_has_an_id_and_no_two_classes_share_one(labels):
    classes = make_classes(["always", *labels])
    ids = {label: class_id(label, classes, "x") for label in labels}
    real = [label for label in ids if fixed_id(label) is None]
    assert len({ids[label] for label in real} - {0, 255}) == len(real)
    assert all(classes[ids[label]] == label for label in real)


# The list as a file


@pytest.mark.parametrize(
    "text",
    [
        "cat\n traffic  light \n",
        "background\ncat\ntraffic light",
        "__ignore__\n_background_\ncat\n\ntraffic light\n",  # as labelme's own examples
        "cat\r\n__ignore__\r\ntraffic light\r\n",
        "\ufeffcat\ntraffic light\n",
    ],
)
def test_class_lists(text, class_list):
    assert read_class_list(class_list(text)) == ("background", "cat", "traffic light")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ndog\ncat\n", "names 'cat' twice. Remove one line."),
        ("background\ncat\n_background_\n", "names 'background' twice."),
        ("cat\nbackground\n", "names the background after other classes. Its id is 0"),
        ("", "There is no class besides the background"),
        ("background\n__ignore__\n", "There is no class besides the background"),
    ],
)
def test_bad_class_lists(text, message, class_list):
    with pytest.raises(UserError, match=message):
        read_class_list(class_list(text))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "gbk", "gb18030"])
def test_class_lists_in_other_encodings(encoding, class_list):
    assert read_class_list(class_list("cat\n狗\n", encoding)) == ("background", "cat", "狗")


def test_class_lists_that_cannot_be_read(class_list, tmp_path):
    for path in (tmp_path / "gone.txt", tmp_path, class_list("ÿ\n", "latin-1")):
        with pytest.raises(UserError, match=r"The class list .* can't be read: "):
            read_class_list(path)


# Control codes but for these are refused.
_LETTERS = st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\t\n\r")


@given(st.lists(st.text(_LETTERS, min_size=1).filter(str.strip), min_size=1))
def test_a_written_list_reads_the_same(tmp_path, labels):
    classes = make_classes(["cat", *(clean_label(label, "x") for label in labels)])
    path = tmp_path / "classes.txt"
    path.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    assert read_class_list(path) == classes

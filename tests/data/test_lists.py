"""Lists of names: any editor's text is read or refused by name, and wrong lines are explained."""

from pathlib import Path

import numpy as np
import pytest

from errors import UserError
from utils.data.lists import Fault, Names, can_list, read_lines, write_lines

LINES = ["猫和狗", "two words", "a.v2"]


def names(*files):
    return Names({Path(file).stem: Path("folder") / file for file in files})


@pytest.fixture
def read(tmp_path):
    def write_and_read(data):
        (tmp_path / "train.txt").write_bytes(data)
        return read_lines(tmp_path / "train.txt")

    return write_and_read


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_encodings_with_a_mark_and_all_line_ends(read, encoding, end, last):
    text = end.join(LINES) + (end if last else "")
    assert read(text.encode(encoding)) == LINES


def test_big_endian_with_a_mark(read):
    assert read(b"\xfe\xff" + "猫\n犬".encode("utf-16-be")) == ["猫", "犬"]


def test_blank_lines_are_no_names_and_inner_spaces_stay(read):
    assert read(b"\n a \n\n\t\r\n  b c\t\n") == [" a ", "  b c\t"]
    assert read(b"") == read(b"\n \r\n") == []


def test_characters_that_only_python_takes_for_line_ends_are_letters(read):
    assert read("a\u2028b\x0bc\x85d\n".encode()) == ["a\u2028b\x0bc\x85d"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "猫和狗\r\nx".encode("gbk"),
            r"train\.txt is not UTF-8 text \(.*\)\. It would begin with '猫和狗' in GBK",
        ),
        ("Köln\n".encode("cp1252"), r"It would begin with .*'Köln' in Windows-1252\. Save it as"),
        (b"\x81\n", r"train\.txt is not UTF-8 text \([^)]*\)\. Save it as UTF-8 in an editor, or"),
        ("a\nb\n".encode("utf-16-le"), r"it holds zero bytes, as UTF-16 without a mark does\. Sav"),
        (b"\xff\xfea\x00\n", r"train\.txt is not UTF-8 text \(.*\)"),  # half a letter
    ],
)
def test_texts_that_are_not_read(read, data, message):
    with pytest.raises(UserError, match=message):
        read(data)


def test_damaged_lists_are_read_or_refused(read):
    """Never another error, and every name that is read can be written again."""
    random = np.random.default_rng(0)
    sound = [text.encode(name) for name in ("utf-8", "utf-16", "gbk") for text in ("猫\r\na b\n",)]
    refused = 0
    for number in range(300):
        data = bytearray(sound[number % 3])
        for _ in range(random.integers(1, 4)):
            data[random.integers(len(data))] = random.integers(256)
        try:
            lines = read(bytes(data[: random.integers(len(data) + 1)]))
        except UserError:
            refused += 1
        else:
            assert all(can_list(line) for line in lines)
    assert 30 < refused < 270


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "val.txt"
    write_lines(path, LINES)
    assert path.read_bytes() == "猫和狗\ntwo words\na.v2\n".encode()
    assert read_lines(path) == LINES


@pytest.mark.parametrize(
    ("name", "can"),
    [
        ("a", True),
        (" 猫 b", True),
        ("a\nb", False),
        ("a\r", False),
        ("  ", False),
        ("\udce9", False),
    ],
)
def test_names_that_a_list_can_hold(tmp_path, name, can):
    assert can_list(name) == can
    try:
        write_lines(tmp_path / "a.txt", [name])
        survives = read_lines(tmp_path / "a.txt") == [name]
    except UnicodeEncodeError:
        survives = False
    assert survives == can


@pytest.mark.parametrize(
    ("line", "key"),
    [("dog", "dog"), (" dog\t", "dog"), ("e\u0301", "é"), ("é", "é"), ("Dog", None), ("", None)],
)
def test_names_are_found_in_any_unicode_form(line, key):
    assert names("dog.jpg", "é.jpg").find(line) == key


@pytest.mark.parametrize(
    ("line", "kind", "meant"),
    [
        ("dog.png", "extension", "dog"),
        ("dog.jpg ", "extension", "dog"),
        ("v1.5.png", "extension", "v1.5"),
        ("two words.tif", "extension", "two words"),
        ("JPEGImages/dog", "folder", "dog"),
        ("/data/VOC2007/JPEGImages/dog.jpg", "folder", "dog"),
        (r"C:\data\two words.jpg", "folder", "two words"),
        ("./v1.5", "folder", "v1.5"),
        ("dog  1", "class", "dog"),
        ("dog -1", "class", "dog"),
        ("two words  0", "class", "two words"),
        ("dog.jpg\t1", "class", "dog"),
        ("dog dog", "columns", "dog"),
        ("dog.jpg dog.png", "columns", "dog"),
        ("dog.jpg,dog_mask.png", "columns", "dog"),
        ("JPEGImages/dog.jpg;SegmentationClass/dog.png", "columns", "dog"),
        (r"JPEGImages\v1.5.jpg	SegmentationClass\v1.5.png", "columns", "v1.5"),
        ("images/dog.jpg labels/gt_dog.png", "columns", "dog"),
        ("DOG", "case", "dog.jpg"),
        ("img/Dog.JPG", "case", "dog.jpg"),
        ("CAFE\u0301", "case", "café.png"),
        ("dogg", "case", "dog.jpg"),
        ("zebra", "unknown", ""),
        ("dog and cat", "unknown", ""),
        ("dog 2", "case", "dog.jpg"),
    ],
)
def test_why_a_line_names_nothing(line, kind, meant):
    known = names("dog.jpg", "v1.5.jpg", "two words.jpg", "café.png")
    assert known.find(line) is None
    assert known.fault(line) == Fault(kind, meant)


@pytest.mark.parametrize(("line", "kind"), [("dogg", "unknown"), ("Dog", "case")])
def test_without_a_search_for_similar_names(line, kind):
    assert names("dog.jpg").fault(line, similar=False).kind == kind


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (Fault("extension", "a"), "Names stand without extension: write 'a'."),
        (Fault("folder", "a"), "Names stand without folder and extension: write 'a'."),
        (Fault("class", "a b"), "without a 1 or -1 of whether they hold a class: write 'a b'."),
        (Fault("columns", "a"), "A line is one name, of the image and of its mask: write 'a'."),
        (Fault("case", "a.jpg"), "Did you mean 'a.jpg'? Case and extension count."),
        (Fault("unknown"), "Add the file, or run voc_annotation.py to write the lists anew."),
    ],
)
def test_what_to_do(fault, advice):
    assert advice in fault.advice

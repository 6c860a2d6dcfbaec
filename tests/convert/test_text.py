"""Encodings of text files, and names that look alike."""

import pytest

from errors import UserError
from utils.convert.text import alike_note, encoding_note, one_form, read_text


@pytest.fixture
def file(tmp_path):
    """file(data): a file of these bytes."""

    def write(data):
        (tmp_path / "a.txt").write_bytes(data)
        return tmp_path / "a.txt"

    return write


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("gbk", "gb18030"),
        ("gb18030", "gb18030"),
    ],
)
def test_encodings(written, found, file):
    text = '{"a": "猫 é 犬"}\n'
    assert read_text(file(text.encode(written))) == (text, found)


def test_no_text_at_all_is_text(file):
    assert read_text(file(b"")) == ("", "utf-8")


@pytest.mark.parametrize("data", [b"caf\xff", b"\xff\xfe\x00", b"\xef\xbb\xbf\xff"])
def test_other_encodings_are_named_with_the_remedy(data, file):
    with pytest.raises(UserError, match=r"a\.txt is neither UTF-8, UTF-16 nor GB18030 text\. Save"):
        read_text(file(data))


def test_only_a_guess_is_noted():
    assert encoding_note("a.txt", "utf-16") == encoding_note("a.txt", "utf-8") == ""
    assert encoding_note("a.txt", "gb18030").startswith("a.txt is no UTF-8; it was read as GB180")


def test_one_form():
    assert one_form("e\u0301") == one_form("\xe9") == "\xe9"


def test_names_that_differ_in_capitals():
    assert alike_note(["cat", "dog"]) == ""
    assert alike_note(["Cat", "dog", "cat", "DOG", "CAT"]) == (
        "Classes differ only in capitals: 'Cat' and 'cat' and 'CAT', 'dog' and 'DOG'. If they are "
        "one, correct the labels and convert again."
    )

"""What the values of a set of masks stand for."""

import pytest

from errors import UserError
from utils.convert.mask_meaning import find_meaning

IDS = {value: value for value in range(255)}


def meaning(*values, known=None):
    return find_meaning([frozenset(one) for one in values], known)


def test_object_and_background():
    for values in ([{0, 255}, {0}, {255}], [{0, 255}], [{255}]):
        found = meaning(*values)
        assert found.ids == {0: 0, 255: 1}
        assert found.labels == ["foreground"]
        assert found.note == "0 is background, 255 the foreground."


def test_ids():
    assert meaning({0, 1}, {0}).labels == meaning({0}).labels == ["foreground"]
    found = meaning({0, 1, 2}, {3, 0})
    assert found.labels == ["class_1", "class_2", "class_3"]
    assert found.note == "The values of the masks are class ids, 0 to 3."
    assert found.ids == {0: 0, 1: 1, 2: 2, 3: 3, 255: 255}


def test_void_beside_ids():
    for values in ([{0, 1, 255}], [{0, 1, 255}, {0, 255}, {0, 1}], [{0, 2, 255}, {1}]):
        found = meaning(*values)
        assert found.ids[255] == 255
        assert found.note.endswith("; 255 is void.")


def test_one_damaged_mask_in_many_changes_nothing():
    assert meaning(*[{0, 255}] * 19, {0, 128, 255}).ids == {0: 0, 255: 1}
    assert meaning(*[{0, 1, 2}] * 19, set(range(256))).labels == ["class_1", "class_2"]
    assert meaning(*[{0, 1}] * 19, {0, 7}).labels == ["foreground"]


def test_a_class_list_allows_gaps_and_many_ids():
    assert len(meaning({0, 5, 9}, known=21).labels) == 20
    assert len(meaning({0, *range(150)}, known=151).labels) == 150
    assert meaning({0, 255}, known=2).ids == {0: 0, 255: 1}


@pytest.mark.parametrize(
    ("values", "known", "message"),
    [
        ([{0, 128}], None, "values 0, 128. Expected 0 and 255, or class ids 0, 1, 2, ... without"),
        (
            [{0, 1, 3}],
            None,
            r"0, 1, 3\. Expected .* without a gap \(2 is missing\), with 255 for void",
        ),
        ([{1, 2}], None, r"1, 2\. Expected .* without a gap \(0 is missing\), with 255 for void"),
        (
            [{0, 255}, {0, 1}],
            None,
            r"values 0, 1, 255\. .* without a gap, with 255 for void",
        ),  # is 255 void?
        ([{0, 255}, {0, 1, 2}], None, "hold the values 0, 1, 2, 255. Expected"),
        ([set(range(256))], None, "hold the values 0, 1, 2, 3, 4, 5 and 250 more. Expected"),
        ([{0, 255}] * 8 + [{0, 128, 255}], None, "hold the values 0, 128, 255. Expected"),
        ([{0, 9}], 5, "class ids 0 to 4, as the class list has 5, with 255 for void"),
        ([{0, 255}], 5, "class ids 0 to 4, as the class list has 5, with 255 for void"),
        ([{0, -1}], None, "hold the values -1, 0. Expected"),
        ([{0, 1000}], None, "hold the values 0, 1000. Expected"),
    ],
)
def test_what_is_not_guessed(values, known, message):
    with pytest.raises(UserError, match=message) as caught:
        meaning(*values, known=known)
    listed = "If they are ids, name all classes in a file and set classes to it."
    assert (listed in str(caught.value)) == (known is None)
    assert "voc_annotation.py --fix shows what the values may mean" in str(caught.value)

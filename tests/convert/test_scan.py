"""What is left out, and what is said when nothing is left."""

import pytest

from errors import UserError
from utils.convert.scan import Skipped, Skips, nothing_left


def test_errors_are_collected():
    skips = Skips()
    with skips.catching("a.json"):
        raise UserError("a.json is broken.")
    with skips.catching("b.json"):
        pass
    skips.add("c.json", "c.json is empty.")
    assert skips.found == [
        Skipped("a.json", "a.json is broken."),
        Skipped("c.json", "c.json is empty."),
    ]


def test_defects_of_the_program_are_not():
    with pytest.raises(KeyError), Skips().catching("a.json"):
        raise KeyError


def test_strict_raises_the_first():
    skips = Skips(strict=True)
    with pytest.raises(UserError, match=r"^first$"), skips.catching("a.json"):
        raise UserError("first")
    with pytest.raises(UserError, match=r"^second$"):
        skips.add("b.json", "second")


def test_when_nothing_is_left():
    assert str(nothing_left([])) == "The annotations list no images."
    assert str(nothing_left([Skipped("a", "a is bad.")])) == "a is bad."
    two = [Skipped("a", "a is bad."), Skipped("b", "b too.")]
    assert str(nothing_left(two)) == "Nothing can be converted:\n  a is bad.\n  b too."

"""Roboflow's list of what the values in masks stand for."""

import pytest

from errors import UserError
from utils.convert.source import Source
from utils.convert.value_names import read_value_names

HEAD = "Pixel Value, Class\n"


@pytest.fixture
def names(tmp_path):
    """names(**texts): the names that files _classes.csv in folders of these names give."""

    def run(**texts):
        for folder, text in {**texts, "other": "x"}.items():
            (tmp_path / folder).mkdir()
            name = "notes.csv" if folder == "other" else "_classes.csv"
            (tmp_path / folder / name).write_bytes(
                text if isinstance(text, bytes) else text.encode()
            )
        return read_value_names(Source(tmp_path))

    return run


def test_names_in_the_order_of_their_values(names):
    text = f'{HEAD}0, background\n1, cat\n2, "dog, small"\n'
    assert names(train=text, valid=text) == ["background", "cat", "dog, small"]


def test_no_file(names):
    assert names() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}0, a\n2, b\n", "has the line '2,b'. Expected '1, name': the values in order"),
        (f"{HEAD}0, a\n1\n", "has the line '1'. Expected '1, name'"),
        (f"{HEAD}0, a\n1, \n", "has the label ''. Expected a name"),
        (f"{HEAD}0, a\n1, a\n", "names 2 classes, 1 of them different. Expected two or more"),
        (HEAD, "names 0 classes, 0 of them different"),
        (b"\xff", "is neither UTF-8, UTF-16 nor GB18030 text"),
        (f'{HEAD}0, "{"a" * 200_000}', "can't be read: field larger than field limit"),
    ],
)
def test_what_is_refused(names, text, message):
    with pytest.raises(UserError, match=message):
        names(train=text)


def test_files_that_differ(names):
    with pytest.raises(UserError, match=r"_classes\.csv and .*\.csv name different classes"):
        names(train=f"{HEAD}0, a\n1, b\n", valid=f"{HEAD}0, a\n1, c\n")

"""What a kill leaves half-written goes at the next run, and nothing else does."""

import os
import time

import pytest

from utils import files
from utils.files import whole_file


@pytest.fixture(autouse=True)
def as_a_new_process(monkeypatch):
    monkeypatch.setattr(files, "_cleared", set())


def leave(path, age):
    path.write_text("half")
    then = time.time() - age
    os.utime(path, (then, then))


def write(path):
    with whole_file(path) as temporary:
        temporary.write_text("whole")


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", [".123-0123abcd.png", ".1-ffffffff.weights.h5", ".77-00000000"])
def test_what_an_old_kill_left_goes(tmp_path, name):
    leave(tmp_path / name, 2 * 3600)
    write(tmp_path / "a.png")
    assert names(tmp_path) == {"a.png"}


@pytest.mark.parametrize(
    ("name", "age"),
    [
        (".123-0123abcd.png", 60),  # another process may be writing it
        (".123-0123abcd.png", -9999),  # by a clock that goes wrong
        ("123-0123abcd.png", 9999),
        (".123-0123abc.png", 9999),
        (".123-0123ABCD.png", 9999),
        (".x-0123abcd.png", 9999),
        (".lock", 9999),
        (".hidden.png", 9999),
        ("mine.png", 9999),
    ],
)
def test_what_may_be_somebodys_stays(tmp_path, name, age):
    leave(tmp_path / name, age)
    write(tmp_path / "a.png")
    assert names(tmp_path) == {"a.png", name}


@pytest.mark.parametrize(("age", "stays"), [(2 * 3600, True), (25 * 3600, False)])
def test_a_folder_stays_for_a_day(tmp_path, age, stays):
    (tmp_path / ".123-0123abcd" / "JPEGImages").mkdir(parents=True)
    leave(tmp_path / ".123-0123abcd" / "JPEGImages" / "a.png", age)
    then = time.time() - age
    os.utime(tmp_path / ".123-0123abcd", (then, then))
    write(tmp_path / "a.png")
    assert names(tmp_path) == {"a.png", *([".123-0123abcd"] if stays else [])}


def test_a_link_of_such_a_name_stays(tmp_path):
    leave(tmp_path / "mine.png", 9999)
    (tmp_path / ".123-0123abcd.png").symlink_to(tmp_path / "mine.png")
    write(tmp_path / "a.png")
    assert names(tmp_path) == {".123-0123abcd.png", "mine.png", "a.png"}


def test_a_folder_is_looked_through_once_by_a_process(tmp_path):
    write(tmp_path / "a.png")
    leave(tmp_path / ".123-0123abcd.png", 9999)
    write(tmp_path / "b.png")
    assert ".123-0123abcd.png" in names(tmp_path)


def test_a_file_that_vanishes_meanwhile_is_no_error(tmp_path, monkeypatch):
    leave(tmp_path / ".123-0123abcd.png", 9999)

    def gone(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(files.os, "unlink", gone)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        write(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "whole"

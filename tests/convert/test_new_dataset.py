"""A dataset folder appears whole or not at all, and replaces nothing."""

import os
import stat
from pathlib import Path

import pytest

from errors import UserError
from utils.convert.new_dataset import building, check_class_file, check_target

FILES = {
    "classes.txt": "background\ncat\n",
    "JPEGImages/a.jpg": "x",
    "SegmentationClass/a.png": "y",
}
CLASSES = ("background", "cat")


@pytest.fixture
def target(tmp_path):
    """The folder to make, two levels below one that exists."""
    return tmp_path / "data" / "VOCdevkit" / "VOC2007"


@pytest.fixture
def clone(target):
    """The folder as a fresh clone has it."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (target / name).mkdir(parents=True)
        (target / name / "README.md").write_text(f"about {name}")
    return target


def fill(folder):
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def contents(folder):
    """{relative path: text} of all files, None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_new_folder(target, tmp_path):
    with building(target) as folder:
        fill(folder)
        assert not (tmp_path / "data").exists()
    found = contents(target)
    assert {name: text for name, text in found.items() if text is not None} == FILES
    assert os.listdir(tmp_path) == ["data"]
    assert os.listdir(target.parent) == ["VOC2007"]
    # The temporary folder was for one user only.
    (tmp_path / "other").mkdir()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_fresh_clone_keeps_its_readme_files(clone):
    before = contents(clone)
    with building(clone) as folder:
        fill(folder)
        assert contents(clone) == before
    assert contents(clone) == before | FILES
    assert os.listdir(clone.parent) == ["VOC2007"]


def test_a_linked_folder(clone, tmp_path):
    link = tmp_path / "link" / "VOC2007"
    link.parent.mkdir()
    link.symlink_to(clone)
    with building(link) as folder:
        fill(folder)
    assert link.is_symlink()
    assert (clone / "JPEGImages" / "a.jpg").read_text() == "x"


@pytest.mark.parametrize("error", [UserError, KeyboardInterrupt, OSError])
def test_an_error_leaves_nothing(error, target, tmp_path):
    with pytest.raises(error), building(target) as folder:
        fill(folder)
        raise error("stop")
    assert os.listdir(tmp_path) == []


def test_data_that_came_in_the_meantime_stay(clone):
    with pytest.raises(UserError, match="JPEGImages holds 1 files"), building(clone) as folder:
        fill(folder)
        (clone / "JPEGImages" / "b.jpg").touch()
    assert (clone / "JPEGImages" / "b.jpg").is_file()
    assert not (clone / "classes.txt").exists()


@pytest.mark.parametrize("step", range(5))
def test_an_error_in_the_last_steps_is_undone(step, clone, monkeypatch):
    before = contents(clone)
    rename, calls = Path.rename, []

    def fail_once(self, other):
        calls.append(self)
        if len(calls) == step + 1:
            raise OSError("disk gone")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OSError, match="disk gone"), building(clone) as folder:
        fill(folder)
    assert contents(clone) == before
    assert os.listdir(clone.parent) == ["VOC2007"]


@pytest.mark.parametrize("name", ["JPEGImages", "SegmentationClass"])
def test_a_folder_with_data_is_refused(name, clone):
    check_target(clone)
    check_target(clone.parent / "none")
    (clone / name / "b.jpg").touch()
    (clone / name / "a.jpg").touch()
    with pytest.raises(UserError) as caught:
        check_target(clone)
    assert str(caught.value) == (
        f"{clone / name} holds 2 files already, such as a.jpg, and nothing is overwritten. Move "
        "them away, or set another VOCdevkit_path."
    )


def test_another_class_list_is_not_overwritten(clone):
    path = clone / "classes.txt"
    check_class_file(clone, CLASSES, "")
    path.write_text("_background_\ncat\n")
    check_class_file(clone, CLASSES, "")
    path.write_text("dog\ncat\n")
    check_class_file(clone, CLASSES, str(path))
    with pytest.raises(UserError) as caught:
        check_class_file(clone, CLASSES, "")
    assert str(caught.value) == (
        f"{path} names other classes than these annotations: background, cat. Set classes to "
        "that file, or remove it."
    )

"""Shares of a folder: which image is in which, and that together they are the folder, once."""

import itertools
import math
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from made_networks import segment_folder
from stand_ins import FolderUnet, files_in, write_blocks

import predict
from errors import UserError
from predict import PredictConfig
from utils.config import run_script
from utils.prediction.parts import Part, parse_part

ROOT = Path(predict.__file__).parent

# What a setting means


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", (1, 1)), ("1/1", (1, 1)), ("3/16", (3, 16)), ("16/16", (16, 16)), ("02/3", (2, 3))],
)
def test_parts_are_read(text, expected):
    assert parse_part(text) == expected
    assert parse_part(text).is_whole == (expected == (1, 1))


@pytest.mark.parametrize(
    "text",
    ["0/16", "17/16", "3", "3/", "/16", "3/0", "0/0", "a/b", "-1/4", "1.5/4", "²/4", "3 of 4"],
)
def test_what_is_no_part_is_one_sentence(text, capsys):
    with pytest.raises(SystemExit) as caught:
        run_script(lambda: predict.main(PredictConfig(mode="dir_predict", part=text)))
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "error: part must be I/N, with I from 1 to N, such as 3/16 for the third of sixteen "
        f"shares; got {text!r}.\n"
    )


@pytest.mark.parametrize("mode", ["predict", "fps", "export"])
def test_parts_are_of_folders(mode):
    with pytest.raises(UserError) as caught:
        PredictConfig(mode=mode, part="1/2")
    assert str(caught.value) == f"part is of a folder: mode must be dir_predict; got {mode!r}."


# Shares


def test_shares_are_the_same_on_every_machine_and_in_every_version():
    """Half of a folder may be done when the program is replaced."""
    names = ("a.png", "sub/a.png", "sub/deep/b c.tif", "é.jpg", "猫.png", "\udcff.png")
    shares = [next(i for i in range(1, 17) if Part(i, 16).holds(name)) for name in names]
    assert shares == [7, 4, 3, 13, 10, 4]
    assert Part(13, 16).holds("e\u0301.jpg")  # as macOS writes the fourth


@pytest.mark.parametrize("count", [1, 2, 3, 16, 100])
def test_each_image_is_in_one_share_and_shares_are_balanced(count):
    names = [f"scan_{number // 100}/{number:06d}.png" for number in range(5000)]
    shares = [[name for name in names if Part(one + 1, count).holds(name)] for one in range(count)]
    assert sorted(itertools.chain(*shares)) == sorted(names)
    mean = len(names) / count
    # By chance, of a hundred shares none is 6 standard deviations off.
    assert all(abs(len(share) - mean) <= 6 * math.sqrt(mean) for share in shares)


# Runs, with a stand-in for the network


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Twelve images in the folder `in` and in one in it, and the stand-in."""
    monkeypatch.setattr("unet.Unet", FolderUnet)
    write_blocks(tmp_path / "in", 9)
    write_blocks(tmp_path / "in" / "sub", 3)
    return tmp_path


def move_results(folder, name):
    """Makes room for another run; returns the files of this one."""
    (folder / "out").rename(folder / name)
    return files_in(folder / name)


@pytest.mark.parametrize(
    "settings",
    [
        {"count": True, "confidence": True, "probabilities": "npz"},
        {"annotations": "coco", "count": True},
        {"annotations": "cvat"},
        {"annotations": "labelme"},
        {"annotations": "labels", "probabilities": "tif"},
        {"annotations": "geojson"},
    ],
    ids=str,
)
def test_four_parts_at_once_and_a_joining_run_are_one_run(images, settings, capsys):
    assert segment_folder(images, **settings) == 0
    expected = move_results(images, "whole")
    status = {}

    def work(number):
        status[number] = segment_folder(images, part=f"{number}/4", **settings)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert status == dict.fromkeys(range(1, 5), 0)
    joined = {"regions.csv", "instances_default.json", "annotations.xml"}
    alone = {name for name in expected if name.rpartition("/")[2] not in joined}
    assert set(files_in(images / "out")) == alone
    capsys.readouterr()
    assert segment_folder(images, resume=True, **settings) == 0
    assert capsys.readouterr().out.startswith("12 of 12 images have their results already.\n")
    assert files_in(images / "out") == expected


def test_parts_say_what_they_are_and_how_to_join_them(images, capsys):
    for number in (1, 2):
        assert segment_folder(images, part=f"{number}/2", count=True) == 0
    printed = capsys.readouterr().out.splitlines()
    counts = [int(line.split()[-2]) for line in printed if line.startswith("Part ")]
    assert sum(counts) == 12 and all(counts)
    assert printed[0] == f"Part 1/2 of {images / 'in'}: {counts[0]} images."
    assert f"{counts[0]} images are segmented; {images / 'out'} holds them." in printed
    assert printed[-1] == (
        "When all parts are done, the same command with --resume and without --part writes what "
        "the folder has once."
    )


def test_without_files_of_the_folder_there_is_nothing_to_join(images, capsys):
    assert segment_folder(images, part="1/2") == 0
    assert "When all parts are done" not in capsys.readouterr().out


def test_a_part_resumes_and_leaves_the_others_alone(images, capsys):
    segment_folder(images, part="1/2", annotations="labelme")
    done = files_in(images / "out")
    [first, *_] = sorted(path for path in (images / "out").rglob("*_mask.png"))
    first.unlink()
    capsys.readouterr()
    FolderUnet.read.clear()
    assert segment_folder(images, part="1/2", annotations="labelme", resume=True) == 0
    assert len(FolderUnet.read) == 1
    assert files_in(images / "out") == done


def test_images_that_come_later_move_none_to_another_part(images):
    for number in (1, 2, 3):
        segment_folder(images, part=f"{number}/3")
    write_blocks(images / "in", 20)  # the first nine are as before
    FolderUnet.read.clear()
    for number in (1, 2, 3):
        assert segment_folder(images, part=f"{number}/3", resume=True) == 0
    assert sorted(Path(name).name for name in FolderUnet.read) == [
        f"{number:03d}.png" for number in range(9, 20)
    ]


def test_a_part_without_images_is_done_at_once(images, monkeypatch, capsys):
    monkeypatch.setattr(predict, "load_unet", lambda config: pytest.fail("loaded"))
    empty = next(i for i in range(1, 1000) if not any(map(Part(i, 999).holds, names_of(images))))
    assert segment_folder(images, part=f"{empty}/999") == 0
    printed = capsys.readouterr().out
    assert printed == f"Part {empty}/999 of {images / 'in'}: 0 images.\n"


def names_of(folder):
    origin = folder / "in"
    return [path.relative_to(origin).as_posix() for path in origin.rglob("*.png")]


def test_a_broken_image_fails_its_part_and_is_in_no_joined_table(images, capsys):
    (images / "in" / "004.png").write_bytes(b"no image")
    assert segment_folder(images, count=True) == 1
    expected = move_results(images, "whole")
    status = [segment_folder(images, count=True, part=f"{number}/4") for number in range(1, 5)]
    assert sorted(status) == [0, 0, 0, 1]
    assert "004.png can't be read" in capsys.readouterr().err
    assert segment_folder(images, count=True, resume=True) == 1
    assert files_in(images / "out") == expected


# Processes


@pytest.mark.slow
def test_parts_in_processes_of_their_own_with_a_real_network(tmp_path, start_weights):
    """As jobs of an array: two of them at once, then one that joins."""
    weights = start_weights()
    write_blocks(tmp_path / "in", 10)

    def start(*arguments, save="parts"):
        command = [
            sys.executable, "predict.py", "--mode", "dir_predict", "--model_path", weights,
            "--dir_origin_path", str(tmp_path / "in"), "--dir_save_path", str(tmp_path / save),
            "--count", "--annotations", "coco", *arguments,
        ]  # fmt: skip
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    parts = [start("--part", f"{number}/2") for number in (1, 2)]
    assert [one.communicate(timeout=600) and one.returncode for one in parts] == [0, 0]
    others = [start("--resume"), start(save="whole")]
    assert [one.communicate(timeout=600) and one.returncode for one in others] == [0, 0]
    found = files_in(tmp_path / "parts")
    assert len(found) == 10 * 3 + 3  # the joined table, COCO's file, and its classes
    assert found == files_in(tmp_path / "whole")

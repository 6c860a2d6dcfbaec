"""Pipes, devices, sockets and links in circles where a file should be: an answer, and at once."""

import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import train
from errors import UserError
from utils.checking.scan import scan_pair
from utils.data.masks import read_label_ids
from utils.data.voc import Sample
from utils.files import check_regular
from utils.images.header import read_header
from utils.images.opening import open_image
from utils.images.reading import read_image, read_to_show
from utils.prediction.output_paths import ResultNames, plan_results
from utils.prediction.saving import refusing_long_names

ROOT = Path(train.__file__).parent
pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="it has no such files")


def make_pipe(path):
    os.mkfifo(path)


def make_device(path):
    path.symlink_to("/dev/zero")


def make_socket(path):
    # The path of a socket may be short only.
    short = Path("/tmp") / f".{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(short))
    shutil.move(short, path)


KINDS = {"a pipe": make_pipe, "a device": make_device, "a socket": make_socket}


def within(seconds, call):
    """What a call returns, or the exception that it raises; fails if it takes longer."""
    found = []

    def run():
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it waits for ever"
    return found[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "read", [read_image, read_to_show, open_image, read_header, read_label_ids, check_regular]
)
def test_every_reader_refuses_it_by_name(tmp_path, kind, read):
    path = tmp_path / "one.png"
    KINDS[kind](path)
    error = within(5, lambda: read(path))
    assert type(error) is UserError
    assert str(error) == f"{path} is {kind}. Expected a file: save the data as one."


@pytest.mark.parametrize("kind", KINDS)
def test_the_check_tells_of_it(tmp_path, kind):
    paths = tmp_path / "one.jpg", tmp_path / "one.png"
    for path in paths:
        KINDS[kind](path)
    facts = within(5, lambda: scan_pair(Sample("one", *paths)))
    assert f"{paths[0]} is {kind}" in facts.image_error
    assert facts.mask_error == "broken"
    assert f"{paths[1]} is {kind}" in facts.mask_detail


def test_files_links_to_them_and_what_is_not_there_pass(tmp_path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("a", "b", "loop", "missing", "."):
        assert check_regular(tmp_path / name) is None
    assert check_regular("a\0b") is None


def test_a_link_in_a_circle_is_one_image_that_fails(tmp_path):
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    names = ResultNames(tmp_path / "out", [loop, tmp_path / "a.jpg"])
    assert names.of(tmp_path / "a.jpg").drawn == tmp_path / "out" / "a.png"
    assert names.of(loop).drawn == tmp_path / "out" / "loop.png"
    assert [one.image for one in plan_results(tmp_path, tmp_path / "out")] == [loop]
    for read in (read_image, read_header, read_label_ids):
        with pytest.raises(UserError, match="Too many levels of symbolic links"):
            read(loop)


@pytest.mark.parametrize("kind", KINDS)
def test_voc_annotation_names_it_and_ends(voc_dir, tmp_path, kind):
    path = voc_dir / "VOC2007" / "JPEGImages" / "train_a.jpg"
    path.unlink()
    KINDS[kind](path)
    done = subprocess.run(
        [sys.executable, ROOT / "voc_annotation.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert f"train_a.jpg is {kind}" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_others_of_a_folder_are_read(tmp_path, write_image, kind):
    write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    KINDS[kind](tmp_path / "b.png")
    found = [within(5, lambda path=path: read_image(path)) for path in sorted(tmp_path.iterdir())]
    assert found[0].shape == (4, 4, 3)
    assert kind in str(found[1])


def test_a_name_that_is_too_long_for_results_is_that_images_problem_alone():
    too_long = OSError(errno.ENAMETOOLONG, "File name too long")
    expected = r"The name of a\.jpg is too long for its results\."
    with pytest.raises(UserError, match=expected), refusing_long_names("a.jpg"):
        raise too_long
    with pytest.raises(OSError, match="full"), refusing_long_names("a.jpg"):
        raise OSError(errno.ENOSPC, "full")

"""Result files: whole or not there."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from utils import files
from utils.files import whole_file, whole_folder, write_json

ROOT = Path(files.__file__).parents[1]


@pytest.fixture
def run(tmp_path):
    """run(code): starts Python on this code, in the project; returns the Popen."""

    def start(code):
        return subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


# Any file


def test_the_file_appears_at_the_end(tmp_path):
    path = tmp_path / "a" / "b" / "table.csv"
    with whole_file(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["table.csv"]


def test_the_old_file_is_replaced(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old, and longer")
    with whole_file(str(path)) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old, and longer"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("begun", [True, False])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, error, begun):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(error, match="in the middle"), whole_file(path) as temporary:
        if begun:
            temporary.write_text("half")
        raise error("in the middle")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_writer_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.png"):
        pass
    assert os.listdir(tmp_path) == []


def test_temporary_names_are_unique(tmp_path):
    path = tmp_path / "a.png"
    with whole_file(path) as first, whole_file(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # whose block ended last
    assert os.listdir(tmp_path) == ["a.png"]


def test_the_longest_name_that_file_systems_allow(tmp_path):
    path = tmp_path / ("n" * 251 + ".png")
    with whole_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_threads_that_write_one_file_do_not_mix(tmp_path):
    path = tmp_path / "a.txt"

    def write(letter):
        for _ in range(20):
            with whole_file(path) as temporary, open(temporary, "w") as file:
                for _ in range(50):
                    file.write(letter * 100)
                    file.flush()

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abc"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert path.read_text() in ("a" * 5000, "b" * 5000, "c" * 5000)
    for thread in threads:
        thread.join()
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there are no signals here")
def test_a_kill_in_the_middle_leaves_the_old_file_whole(tmp_path, run):
    path = tmp_path / "a.txt"
    path.write_text("old")
    process = run(
        "import sys, time\n"
        "from utils.files import whole_file\n"
        "with whole_file(sys.argv[1] + '/a.txt') as temporary:\n"
        "    temporary.write_text('half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    # What no program can remove after such an end is hidden, and in nobody's way.
    assert all(name.startswith(".") for name in os.listdir(tmp_path) if name != "a.txt")
    with whole_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_folder_that_can_t_be_made_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NotADirectoryError), whole_file(tmp_path / "file" / "sub" / "a.png"):
        pytest.fail("there is nowhere to write")


# Folders


@pytest.mark.parametrize("before", [False, True])
def test_a_folder_appears_whole_and_replaces_what_was_there(tmp_path, before):
    path = tmp_path / "a" / "model"
    if before:
        (path / "deep").mkdir(parents=True)
        (path / "deep" / "old.txt").write_text("old")
    with whole_folder(path) as new:
        new.mkdir()
        (new / "new.txt").write_text("new")
        assert path.exists() == before
    assert [file.name for file in path.rglob("*")] == ["new.txt"]
    assert os.listdir(path.parent) == ["model"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_failure_leaves_the_folder_that_was_there(tmp_path, begun):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(KeyError, match="in the middle"), whole_folder(path) as new:
        if begun:
            new.mkdir()
            (new / "half.txt").write_text("half")
        raise KeyError("in the middle")
    assert os.listdir(path) == ["old.txt"]
    assert os.listdir(tmp_path) == ["model"]


def test_a_writer_that_makes_no_folder_leaves_the_old_one(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(FileNotFoundError), whole_folder(path):
        pass
    assert os.listdir(path) == ["old.txt"]
    assert os.listdir(tmp_path) == ["model"]


def test_a_json_file(tmp_path):
    path = tmp_path / "new" / "results.json"
    values = {"name": "猫", "path": "broken \udcff name", "none": None}
    write_json(path, values)
    assert json.loads(path.read_bytes()) == values
    assert "猫" in path.read_text(encoding="utf-8")
    assert [one.name for one in path.parent.iterdir()] == ["results.json"]

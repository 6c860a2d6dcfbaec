"""The lock on a folder: one process at a time, freed however that one ends."""

import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import train
from utils.runs.lock import FolderLock

HOLDER = """
import sys, time
from utils.runs.lock import FolderLock

lock = FolderLock(sys.argv[1])
print(lock.held, flush=True)
time.sleep(120)
"""


@pytest.fixture
def other_process(tmp_path):
    """other_process(): starts one that takes the lock of `tmp_path`; (process, what it got)."""
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path)],
            cwd=Path(train.__file__).parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, process.stdout.readline().strip() == "True"

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_second_process_does_not_get_it(tmp_path, other_process):
    first = FolderLock(tmp_path)
    assert first.held
    assert other_process()[1] is False


def test_a_killed_process_frees_it(tmp_path, other_process):
    process, held = other_process()
    assert held
    assert not FolderLock(tmp_path).held
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert FolderLock(tmp_path).held


def test_it_is_free_after_its_release(tmp_path, other_process):
    first = FolderLock(tmp_path)
    first.release()
    assert not first.held
    assert other_process()[1] is True


def test_one_process_takes_it_once(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(str(tmp_path))
    assert (first.held, second.held) == (True, False)
    second.release()  # one that it does not hold: nothing happens
    assert not FolderLock(tmp_path).held
    first.release()
    assert FolderLock(tmp_path).held


def test_sent_to_another_process_it_is_none(tmp_path):
    lock = FolderLock(tmp_path)
    assert pickle.loads(pickle.dumps((lock, "run"))) == (None, "run")
    assert lock.held


def test_folders_have_locks_of_their_own(tmp_path):
    (tmp_path / "inner").mkdir()
    outer, inner = FolderLock(tmp_path), FolderLock(tmp_path / "inner")
    assert (outer.held, inner.held) == (True, True)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        FolderLock(tmp_path / "no")

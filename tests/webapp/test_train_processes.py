"""Trainings as processes: started, found again, never two in one place, and stopped."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from errors import UserError
from train import TrainConfig
from utils.runs.lock import FolderLock
from webapp import train_processes
from webapp.train_processes import (
    describe_command,
    find_processes,
    holder_of,
    read_command,
    start,
    stop,
)

PATIENCE = 120  # seconds
# In the place of train.py: it holds the folder's lock until it is asked to end.
STAND_IN = """\
import fcntl, pathlib, signal, sys
(folder,) = (word.partition("=")[2] for word in sys.argv if word.startswith("--save_dir="))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # it waits for sigwait
lock = open(pathlib.Path(folder) / ".lock", "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
print("ended by", signal.sigwait({signal.SIGTERM}), flush=True)
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="processes are found by /proc"
)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A script named as train.py is, which is started in its place."""
    path = tmp_path / "train.py"
    path.write_text(STAND_IN, encoding="utf-8")
    monkeypatch.setattr(train_processes, "_SCRIPT", path)
    return path


@pytest.fixture
def config(tmp_path):
    return TrainConfig(num_classes=3, save_dir=str(tmp_path / "my logs"))


@pytest.fixture
def begun(stand_in, config):
    """The output of a training that runs; it is ended after the test."""
    output = start(config)
    wait_for(lambda: "locked" in output.read_text())
    yield output
    if holder_of(output, find_processes()):
        stop(output)
    wait_for(lambda: not holder_of(output, find_processes()))


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_it_is_found_by_its_output_and_by_the_folder_it_holds(begun, config):
    (found,) = {holder_of(begun, find_processes()), holder_of(config.save_dir, find_processes())}
    assert found.number != os.getpid()
    assert os.getsid(found.number) == found.number  # nobody's terminal ends it
    assert holder_of(Path(config.save_dir).parent, find_processes()) is None


def test_its_output_begins_with_its_command(begun, config, tmp_path):
    first, second = begun.read_text().splitlines()
    assert first == f"$ python train.py --num_classes=3 '--save_dir={tmp_path}/my logs'"
    assert second == "locked"
    assert read_command(begun) == ["--num_classes=3", f"--save_dir={tmp_path}/my logs"]
    assert describe_command(config) == first.removeprefix("$ ")


def test_a_second_one_in_its_place_is_refused(begun, config):
    with pytest.raises(UserError, match=r"Another training is using .*my logs\. Wait for it"):
        start(config)
    assert len(list(Path(config.save_dir).glob("page_*.log"))) == 1


def test_two_starts_at_once_are_one(stand_in, config):
    """The second one comes before the first has got as far as its lock."""
    output = start(config)
    try:
        with pytest.raises(UserError, match="Another training"):
            start(config)
    finally:
        wait_for(lambda: "locked" in output.read_text())
        stop(output)
        wait_for(lambda: not holder_of(output, find_processes()))


def test_a_place_that_another_program_locks_is_refused(stand_in, config):
    Path(config.save_dir).mkdir()
    lock = FolderLock(config.save_dir)
    assert lock.held
    with pytest.raises(UserError, match="Another training is using"):
        start(config)
    lock.release()


def test_it_is_stopped_as_ctrl_c_would(begun, config):
    stop(Path(config.save_dir))
    wait_for(lambda: not holder_of(begun, find_processes()))
    wait_for(lambda: "ended by" in begun.read_text())  # it could put its files in order
    with pytest.raises(UserError, match="No training of this machine is using"):
        stop(begun)
    again = start(config)  # and its place is free
    wait_for(lambda: "locked" in again.read_text())
    stop(again)
    wait_for(lambda: not holder_of(again, find_processes()))


def test_other_programs_are_no_trainings_whatever_they_hold(tmp_path, begun):
    """Only what train.py itself holds may be stopped."""
    other = tmp_path / "other"
    other.mkdir()
    code = f"lock = open({str(other / '.lock')!r}, 'a'); print(1, flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"1\n"
        assert holder_of(other, find_processes()) is None
        with pytest.raises(UserError):
            stop(other)
        assert process.poll() is None
    finally:
        process.communicate(b"\n", timeout=PATIENCE)


def test_one_that_a_terminal_started_is_found_too(stand_in, config):
    Path(config.save_dir).mkdir()
    process = subprocess.Popen(
        [sys.executable, str(stand_in), f"--save_dir={config.save_dir}"], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"locked\n"
        assert holder_of(config.save_dir, find_processes()).number == process.pid
        with pytest.raises(UserError, match="Another training"):
            start(config)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def test_settings_that_were_typed_stay_typed(stand_in, config):
    output = start(dataclasses.replace(config, plan="auto"), {"width"})
    wait_for(lambda: "locked" in output.read_text())
    assert "--width=64" in read_command(output)
    stop(output)
    wait_for(lambda: not holder_of(output, find_processes()))


def test_an_output_without_a_command_has_none(tmp_path):
    (tmp_path / "page_1.log").write_text("Traceback\n")
    assert read_command(tmp_path / "page_1.log") is None


def test_without_proc_what_was_started_here_is_known(monkeypatch, tmp_path, begun):
    number = holder_of(begun, find_processes()).number
    monkeypatch.setattr(train_processes, "_PROC", tmp_path / "proc")
    assert holder_of(begun, find_processes()).number == number

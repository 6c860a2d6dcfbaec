"""How scripts end: by signals, and by errors of the system."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

import train
from utils.files import home_folder, whole_file
from utils.runs.state import find_states, read_state
from utils.script import Terminated, describe_os_error, run_script
from utils.video.process import process_video
from utils.video.writer import VideoFile

ROOT = Path(train.__file__).parent
unix = pytest.mark.skipif(sys.platform == "win32", reason="it has no such signals")

WRITER = """
import signal, sys, time
from utils.files import whole_file, whole_folder
from utils.script import run_script
if "ignore" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

def main():
    from pathlib import Path
    with whole_file("result.csv") as one, whole_folder(Path("folder")) as other:
        one.write_text("half")
        other.mkdir()
        (other / "half.txt").write_text("half")
        print("writing", flush=True)
        time.sleep(30 if "ignore" not in sys.argv else 1)

run_script(main)
"""


def writer(folder, *argv):
    """A script that has half-written a file and a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, *argv],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "writing\n"
    return process


@unix
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_leaves_what_was_there_and_nothing_half_written(tmp_path, name, status):
    (tmp_path / "result.csv").write_text("before")
    process = writer(tmp_path)
    begin = time.monotonic()
    process.send_signal(getattr(signal, name))
    _, message = process.communicate(timeout=20)
    assert time.monotonic() - begin < 10
    assert (process.returncode, message) == (status, f"stopped by {name}.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["result.csv"]
    assert (tmp_path / "result.csv").read_text() == "before"


@unix
def test_what_nohup_ignores_stays_ignored(tmp_path):
    process = writer(tmp_path, "ignore")
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 0
    assert (tmp_path / "folder" / "half.txt").read_text() == "half"


class Swallows:
    """Whose end swallows what is raised meanwhile, as code that C calls does."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


def swallow_in_except():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    except:  # noqa: E722 - as libraries have it
        pass


@unix
@pytest.mark.parametrize("swallow", [lambda: Swallows() and None, swallow_in_except])
def test_a_signal_that_is_swallowed_comes_again(swallow, capsys):
    def main():
        swallow()
        time.sleep(20)

    begin = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        run_script(main)
    assert ended.value.code == 143
    assert time.monotonic() - begin < 10
    assert capsys.readouterr().err == "stopped by SIGTERM.\n"
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    time.sleep(0.7)  # nothing comes any more


@unix
def test_what_cleans_up_has_time(capsys):
    cleaned = []

    def main():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(20)
        finally:
            time.sleep(1.5)
            cleaned.append(True)

    with pytest.raises(SystemExit) as ended:
        run_script(main)
    assert (ended.value.code, cleaned) == (143, [True])


@unix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_handlers_are_put_back(name, capsys):
    number = getattr(signal, name)

    def main():
        os.kill(os.getpid(), number)
        time.sleep(5)

    with pytest.raises(SystemExit) as ended:
        run_script(main)
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) == signal.SIG_DFL
    assert capsys.readouterr().err == f"stopped by {name}.\n"


def test_a_signal_is_an_interruption_for_all_who_wait_for_one():
    assert issubclass(Terminated, KeyboardInterrupt)
    assert Terminated(15).number == 15


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, " The disk is full: free some space, or write to another disk."),
        (errno.EROFS, " That disk is read-only: write to another folder."),
        (errno.EFBIG, " The file would be larger than what is allowed here (ulimit -f)."),
        (errno.EACCES, ""),
    ],
)
def test_a_write_that_fails_names_the_file_and_the_way_out(tmp_path, capsys, code, advice):
    path = tmp_path / "result.csv"
    path.write_text("before")

    def main():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise OSError(code, os.strerror(code))  # as a write does, without a name

    with pytest.raises(SystemExit) as ended:
        run_script(main)
    assert ended.value.code == 2
    expected = f"error: [Errno {code}] {os.strerror(code)}: {str(path)!r}"
    assert capsys.readouterr().err == f"{expected}{advice and '.' + advice}\n"
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("result.csv", "before")]


def test_a_renaming_that_fails_names_the_file(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError) as failed, whole_file(tmp_path / "there") as temporary:
        temporary.write_text("whole")
    assert str(failed.value).endswith(f": {str(tmp_path / 'there')!r}")


def test_another_files_name_stays(tmp_path):
    with pytest.raises(FileNotFoundError) as missing, whole_file(tmp_path / "a"):
        os.rename(tmp_path / "other", tmp_path / "another")
    assert os.fspath(missing.value.filename) == str(tmp_path / "other")
    assert "other'" in describe_os_error(missing.value)


@unix
def test_a_user_without_a_home_has_a_folder_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_folder() == tmp_path
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for an unknown number
    assert home_folder().is_dir()


@unix
def test_a_video_that_is_ended_by_a_signal_is_whole(tmp_path):
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    with VideoFile(source, 10) as file:
        for _ in range(30):
            file.write(np.zeros((48, 64, 3), np.uint8))
    drawn = []

    def draw(frame):
        drawn.append(frame)
        if len(drawn) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return frame

    with pytest.raises(SystemExit) as ended:
        run_script(lambda: process_video(draw, str(source), str(target)).frames)
    assert ended.value.code == len(drawn) < 30
    with av.open(str(target)) as container:
        assert len(list(container.decode(video=0))) == len(drawn)
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "out.mp4"}
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


TRAINING = """
import json, os, signal, sys
import train
from utils.config import run_script

values, at = json.loads(sys.argv[1]), int(sys.argv[2])
if at >= 0:
    import utils.runs.guards as guards
    after = guards.FiniteLoss.on_train_batch_end
    def end(self, batch, logs=None):
        after(self, batch, logs)
        if self._epoch == 2 and batch == at:
            os.kill(os.getpid(), signal.SIGTERM)
    guards.FiniteLoss.on_train_batch_end = end
run_script(lambda: train.main(train.TrainConfig(**values)))
"""


def train_as_process(config, at=-1):
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, json.dumps(train.to_json(config)), str(at)],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    lines = [line for line in done.stderr.splitlines() if not re.match(r"[IWE]\d{4} |WARN", line)]
    return done.returncode, lines


@unix
@pytest.mark.system
def test_a_training_that_is_ended_in_a_step_resumes_to_the_same_weights(train_config, tmp_path):
    whole, ended = train_config(), train_config(save_dir=tmp_path / "ended")
    assert train_as_process(whole)[0] == 0
    status, lines = train_as_process(ended, at=0)
    assert (status, lines[-1]) == (143, "stopped by SIGTERM.")
    (folder,) = (tmp_path / "ended").glob("loss_*")
    assert [epoch for epoch, _ in find_states(folder)] == [1]
    hidden = {path.name for path in (tmp_path / "ended").rglob(".*")}
    assert hidden <= {".lock", ".data_check.json"}
    assert train_as_process(ended)[0] == 0
    (other,) = Path(whole.save_dir).glob("loss_*")
    one, two = read_state(folder), read_state(other)
    assert one.epoch == two.epoch == 2
    for name in ("weights", "optimizer"):
        for array, expected in zip(one.arrays[name], two.arrays[name], strict=True):
            np.testing.assert_array_equal(array, expected)

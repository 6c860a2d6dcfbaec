"""How scripts end: by signals, and by errors of the system."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import train
from utils.files import whole_file
from utils.script import Terminated, describe_os_error, run_script

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
        (tmp_path / "other").read_bytes()
    assert missing.value.filename == str(tmp_path / "other")
    assert describe_os_error(missing.value).endswith("other'")

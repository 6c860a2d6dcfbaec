"""Standard streams that are closed, broken or full, and control codes in what is printed."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import train
from utils import terminal
from utils.terminal import Terminal, escape_controls

ROOT = Path(train.__file__).parent
LISTS = {"train.txt", "val.txt", "trainval.txt", "test.txt"}
unix = pytest.mark.skipif(sys.platform == "win32", reason="it has other streams")


def start(name, *argv, folder, closed=(), environment=None, **streams):
    """A script as a process, with these streams' numbers closed."""

    def close():
        for number in closed:
            os.close(number)

    return subprocess.Popen(
        [sys.executable, ROOT / f"{name}.py", *map(str, argv)],
        cwd=folder,
        preexec_fn=close,  # noqa: PLW1509 - no thread of ours runs
        env=os.environ | {"PYTHONUTF8": "1"} if environment is None else environment,
        **streams,
    )


def check(folder, closed=(), **streams):
    """Runs voc_annotation.py, which says much; (status, the lists that it wrote)."""
    lists = folder / "VOCdevkit" / "VOC2007" / "ImageSets" / "Segmentation"
    for path in lists.glob("*"):
        path.unlink()
    process = start("voc_annotation", folder=folder, closed=closed, **streams)
    assert process.wait(60) is not None
    return process.returncode, {path.name: path.read_bytes() for path in lists.glob("*.txt")}


def check_chinese(voc_dir, folder, environment):
    """(status, what it says) of voc_annotation.py where names are Chinese."""
    for part in ("JPEGImages", "SegmentationClass"):
        (path,) = (voc_dir / "VOC2007" / part).glob("train_a.*")
        path.rename(path.with_stem("猫"))
    (voc_dir / "VOC2007" / "JPEGImages" / "狗.png").write_bytes(b"")  # which is named
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environment
    process = start(
        "voc_annotation", folder=folder, environment=bare, stdout=-1, stderr=subprocess.STDOUT
    )
    said = process.communicate(timeout=60)[0].decode("utf-8")
    return process.returncode, said


# Streams


@unix
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_closed_streams_change_nothing(voc_dir, tmp_path, closed):
    expected = check(tmp_path, stdout=subprocess.DEVNULL)
    assert expected[0] == 0 and expected[1].keys() == LISTS
    assert check(tmp_path, closed, stdout=subprocess.DEVNULL) == expected


@unix
@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_mistake_has_its_status_whatever_is_closed(tmp_path, closed):
    process = start("voc_annotation", folder=tmp_path, closed=closed, stderr=subprocess.PIPE)
    message = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 2
    if 2 not in closed:
        assert message.startswith("error: No dataset in VOCdevkit_path 'VOCdevkit'")


@unix
def test_a_reader_that_has_gone_loses_no_work(voc_dir, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with open(tmp_path / "err", "wb") as err:
        status, lists = check(tmp_path, stdout=writer, stderr=err)
    os.close(writer)
    assert (status, lists.keys()) == (0, LISTS)
    assert (tmp_path / "err").read_text() == ""


@unix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device")
def test_output_on_a_full_disk_loses_no_work_and_is_told_of(voc_dir, tmp_path):
    with open("/dev/full", "wb") as full, open(tmp_path / "err", "wb") as err:
        status, lists = check(tmp_path, stdout=full, stderr=err)
    assert (status, lists.keys()) == (1, LISTS)
    assert (tmp_path / "err").read_text() == "note: no more output: No space left on device\n"


@unix
@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C"},
        {},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
def test_chinese_names_in_any_locale_without_home_and_terminal(voc_dir, tmp_path, environment):
    status, said = check_chinese(voc_dir, tmp_path, environment)
    assert status == 0, said
    assert "Traceback" not in said
    lists = voc_dir / "VOC2007" / "ImageSets" / "Segmentation"
    assert "猫" in (lists / "trainval.txt").read_text(encoding="utf-8").splitlines()


@unix
def test_names_that_are_read_as_ascii_by_order_are_refused_with_the_reason(voc_dir, tmp_path):
    order = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    before = set(voc_dir.rglob("*.txt"))
    status, said = check_chinese(voc_dir, tmp_path, order)
    assert status == 2
    assert said.startswith("note: file names are read as ascii here")
    assert "Set PYTHONUTF8=1" in said
    assert "Traceback" not in said
    assert set(voc_dir.rglob("*.txt")) == before


# Control codes

HOSTILE = "\x1b[2J\x1b]0;title\x07\x08\x9b1mname\u202egnp.exe"


@unix
def test_names_with_control_codes_are_shown_as_text(voc_dir, tmp_path):
    (voc_dir / "VOC2007" / "JPEGImages" / f"{HOSTILE}.png").write_bytes(b"no image")
    process = start("voc_annotation", folder=tmp_path, stdout=-1, stderr=subprocess.STDOUT)
    said = process.communicate(timeout=60)[0].decode("utf-8")
    assert r"\x1b[2J\x1b]0;title\x07\x08\x9b1mname\u202egnp.exe" in said
    assert not set(said) & set("\x1b\x07\x08\x9b\u202e")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 猫, ±, \t\n", "plain, 猫, ±, \t\n"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\x00b\x7fc\x85", "a\\x00b\\x7fc\\x85"),
        ("hidden\rerror: none", "hidden\\rerror: none"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\udcff", "\udcff"),  # what is no UTF-8 is the encoding's task
        # Of progress bars.
        ("\r 45%|████    | 9/20", "\r 45%|████    | 9/20"),
        ("\r          \r", "\r          \r"),
        ("\n\n\x1b[A\x1b[A", "\n\n\x1b[A\x1b[A"),
        ("\r 45% \x1b[2J", "\r 45% \\x1b[2J"),
    ],
)
def test_what_is_shown_of_control_codes(text, shown):
    assert escape_controls(text) == shown


class Stream(io.RawIOBase):
    """A raw stream on a number of its own, all of whose writes fail."""

    def __init__(self, path, code):
        self.file, self.code = open(path, "wb"), code  # noqa: SIM115

    def writable(self):
        return True

    def fileno(self):
        return self.file.fileno()

    def write(self, _):
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize(
    ("code", "told"), [(errno.EPIPE, 0), (errno.EIO, 0), (errno.ENOSPC, 1), (errno.EFBIG, 1)]
)
def test_a_stream_that_fails_is_told_of_once_unless_nobody_reads(tmp_path, capsys, code, told):
    stream = Terminal(io.TextIOWrapper(io.BufferedWriter(Stream(tmp_path / "x", code))))
    for _ in range(3):
        print("a line", file=stream, flush=True)
    assert capsys.readouterr().err == told * f"note: no more output: {os.strerror(code)}\n"
    assert bool(stream.error) == bool(told)


def test_letters_that_the_encoding_lacks_are_shown_by_their_numbers():
    raw = io.BytesIO()
    stream = Terminal(io.TextIOWrapper(raw, encoding="ascii", errors="strict"))
    assert print("猫 \udcff", file=stream, flush=True) is None
    assert raw.getvalue() == b"\\u732b \\udcff\n"


def test_a_test_or_a_notebook_keeps_its_streams(monkeypatch):
    mine = io.StringIO()
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, mine)
    terminal.prepare_streams()
    assert sys.stdin is sys.stdout is sys.stderr is mine

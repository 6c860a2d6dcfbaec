"""When frames are shown: what the source says is what the result says, read back by PyAV.

Tests `utils.video.source` and `utils.video.writer` through `utils.video.process`.
"""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from utils.video.process import process_video
from utils.video.source import open_source
from utils.video.writer import VideoFile

CASE = Path(__file__).resolve().parents[3] / "shared" / "cases" / "14_vfr.webm"
STEADY, SLOW = range(10), range(4)
# 0.3 s of 30 frames per second, then 4 per second, in milliseconds.
ODD = [round(1000 * n / 30) for n in STEADY] + [500 + 250 * n for n in SLOW]


def write(path, times, unit=Fraction(1, 1000), rate=30, codec="mpeg4", aspect=None):
    """A video of which frame n comes at times[n] units; the type of file is the path's end."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = 64, 48, "yuv420p"
        context.time_base = unit
        if aspect:
            context.sample_aspect_ratio = aspect
        for number, when in enumerate(times):
            pixels = np.full((48, 64, 3), 20 + 10 * (number % 20), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = when, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def copy(source, target, **options):
    process_video(np.copy, source, str(target), **options)
    return target


def times(path):
    """Seconds at which the frames of a file are shown, and how long it says that it lasts."""
    with av.open(str(path)) as container:
        shown = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        return shown, float(stream.duration * stream.time_base)


@pytest.mark.parametrize("end", ["mkv", "mp4"])
def test_an_unsteady_rate_stays(tmp_path, capsys, end):
    source = write(tmp_path / f"in.{end}", ODD)
    shown, duration = times(copy(source, tmp_path / "out.mp4"))
    # Matroska rounds to milliseconds, and 30 frames per second are brought back from that.
    assert shown == pytest.approx([milliseconds / 1000 for milliseconds in ODD], abs=0.0006)
    assert 1.25 < duration <= 1.25 + 0.26
    assert "ended early" not in capsys.readouterr().out


def test_the_times_are_exact_where_the_source_is(tmp_path):
    ticks = [0, 1, 7, 8, 3001, 3002, 9000, 9750]
    source = write(tmp_path / "in.mp4", ticks, Fraction(1, 15_000), 25)
    shown, _ = times(copy(source, tmp_path / "out.mp4"))
    assert shown == pytest.approx([tick / 15_000 for tick in ticks], abs=0.5 / 90_000)


def test_the_first_frame_is_at_0(tmp_path):
    source = write(tmp_path / "in.mkv", [5000, 5040, 5300])
    assert times(copy(source, tmp_path / "out.mp4"))[0] == pytest.approx([0, 0.04, 0.3], abs=0.001)


@pytest.mark.skipif(not CASE.is_file(), reason="the case isn't here")
def test_a_recording_of_a_screen(tmp_path, capsys):
    with av.open(str(CASE)) as container:
        expected = [float(frame.time) for frame in container.decode(video=0)]
    shown, duration = times(copy(str(CASE), tmp_path / "out.mp4"))
    assert shown == pytest.approx(expected, abs=0.0006)
    assert duration == pytest.approx(2.783, abs=0.01)
    assert "ended early" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(480, 480), (Fraction(60_000, 1001), Fraction(60_000, 1001)), (12.5, 12.5)],
)
def test_a_steady_rate_stays_exactly(tmp_path, rate, expected):
    rate = Fraction(rate)
    source = write(tmp_path / "in.mp4", range(24), 1 / rate, rate)
    target = copy(source, tmp_path / "out.mp4")
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == expected
        shown = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert shown == [number / rate for number in range(24)]


def test_a_steady_rate_that_was_rounded_is_steady_again(tmp_path):
    source = write(tmp_path / "in.mkv", [round(1000 * n / 30) for n in range(31)])
    shown, duration = times(copy(source, tmp_path / "out.mp4"))
    assert shown == pytest.approx([n / 30 for n in range(31)], abs=1e-9)
    assert duration == pytest.approx(31 / 30)


def test_a_rate_that_is_asked_for_wins(tmp_path):
    source = write(tmp_path / "in.mkv", ODD)
    shown, duration = times(copy(source, tmp_path / "out.mp4", fps=10.0))
    assert shown == pytest.approx([n / 10 for n in range(len(ODD))])
    assert duration == pytest.approx(len(ODD) / 10)


def test_a_file_without_times_runs_at_its_rate(tmp_path):
    plain = tmp_path / "in.m4v"  # a bare stream of frames
    source = write(plain, range(10), Fraction(1, 20), 20)
    video = open_source(source)
    seconds = [seconds for _, seconds in video]
    video.close()
    steps = np.diff(seconds)
    assert len(seconds) == 10 and (steps > 0).all()
    assert steps == pytest.approx([1 / video.fps] * 9, abs=0.001)


class Reset:
    """Stands for a cv2.VideoCapture whose times start anew in the middle."""

    def __init__(self):
        self.left = [0.0, 100.0, 200.0, 0.0, 100.0, 0.0, 900.0]
        self.now = 0.0

    def read(self):
        if not self.left:
            return False, None
        self.now = self.left.pop(0)
        return True, np.zeros((4, 4, 3), np.uint8)

    def get(self, wanted):
        known = {cv2.CAP_PROP_FPS: 10.0, cv2.CAP_PROP_POS_MSEC: self.now}
        return known.get(wanted, 0.0) if wanted != cv2.CAP_PROP_FRAME_COUNT else 7.0


def test_times_never_run_backwards(monkeypatch):
    monkeypatch.setattr("utils.video.source.cv2.VideoCapture", lambda *_: Reset())
    seconds = [seconds for _, seconds in open_source("0")]
    assert seconds == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.9])


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(16, 15), Fraction(1)])
def test_pixels_that_are_not_square_stay_so(tmp_path, aspect):
    source = write(tmp_path / "in.mp4", range(3), Fraction(1, 25), 25, aspect=aspect)
    for options in ({}, {"fps": 5.0}):
        with av.open(str(copy(source, tmp_path / "out.mp4", **options))) as container:
            assert container.streams.video[0].sample_aspect_ratio == aspect


@pytest.mark.parametrize(("turned", "expected"), [(0, (4, 3)), (90, (3, 4)), (180, (4, 3))])
def test_pixels_turn_with_the_image(monkeypatch, turned, expected):
    class Turned(Reset):
        def get(self, wanted):
            said = {
                cv2.CAP_PROP_SAR_NUM: 4.0,
                cv2.CAP_PROP_SAR_DEN: 3.0,
                cv2.CAP_PROP_ORIENTATION_META: float(turned),
            }
            return said.get(wanted) or super().get(wanted)

    monkeypatch.setattr("utils.video.source.cv2.VideoCapture", lambda *_: Turned())
    assert open_source("0").pixel_aspect == Fraction(*expected)


def test_a_live_source_keeps_the_clock(tmp_path):
    with VideoFile(tmp_path / "a.mp4") as file:
        for seconds in (50.0, 50.02, 50.5, 53.0):
            file.write(np.zeros((16, 16, 3), np.uint8), seconds)
    shown, duration = times(tmp_path / "a.mp4")
    assert shown == pytest.approx([0, 0.02, 0.5, 3.0])
    assert duration >= 3.0

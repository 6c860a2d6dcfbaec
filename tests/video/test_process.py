"""Videos: every frame in order, files that browsers play, and clean ends of all kinds.

Tests `utils.video.process`, and through it `utils.video.source` and `utils.video.writer`.
"""

import builtins
import re
import signal
import threading
import time

import av
import cv2
import numpy as np
import pytest

from errors import UserError
from utils.video import process as video
from utils.video.process import process_video
from utils.video.source import open_source
from utils.video.writer import VideoFile

COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (128, 64, 0), (220, 220, 0), (255, 255, 255)]


@pytest.fixture(autouse=True)
def usual_ctrl_c():
    """Ctrl-C as in a terminal: what runs in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    assert [thread for thread in left if not thread.daemon] == []  # tqdm's is a daemon


def numbered(number, size=(48, 64)):
    """A frame that says its number by its brightness."""
    return np.full((*size, 3), 20 + 6 * number, np.uint8)


def numbers(frames):
    return [round((float(frame.mean()) - 20) / 6) for frame in frames]


def read_all(path):
    """The RGB frames of a file, by PyAV."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def make_mp4(path, count=12, size=(48, 64), fps=10):
    with VideoFile(path, fps) as file:
        for number in range(count):
            file.write(numbered(number, size))
    return str(path)


def make_avi(path, count=12, fps=15):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for number in range(count):
        writer.write(numbered(number))
    writer.release()
    return str(path)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def boxes(data):
    """Names of the top-level boxes of an mp4 file."""
    found, position = [], 0
    while position < len(data):
        found.append(data[position + 4 : position + 8])
        position += int.from_bytes(data[position : position + 4], "big")
    return found


class Capture:
    """Stands for a cv2.VideoCapture: a frame each `pause` seconds, with the numbers in order."""

    def __init__(self, count, pause=0.0, fps=30.0, num_frames=-1, fails=False):
        self.left, self.pause, self.fps, self.fails = list(range(count)), pause, fps, fails
        self.num_frames, self.released = num_frames, False

    def read(self):
        time.sleep(self.pause)
        if not self.left and self.fails:
            raise RuntimeError("the driver broke down")
        return (True, numbered(self.left.pop(0))) if self.left else (False, None)

    def get(self, wanted):
        known = {cv2.CAP_PROP_FPS: self.fps, cv2.CAP_PROP_FRAME_COUNT: self.num_frames}
        return known.get(wanted, 0)  # as OpenCV says of what it doesn't know

    def release(self):
        self.released = True


@pytest.fixture
def capture(monkeypatch):
    """capture(...): what is opened next is this Capture."""

    def install(*args, **kwargs):
        stand_in = Capture(*args, **kwargs)
        monkeypatch.setattr(video.cv2, "VideoCapture", lambda *_: stand_in)
        return stand_in

    return install


@pytest.mark.parametrize("make, fps", [(make_mp4, 10), (make_avi, 15)])
def test_every_frame_goes_through_in_order_from_the_first(tmp_path, make, fps):
    source = make(tmp_path / ("in.mp4" if make is make_mp4 else "in.avi"))
    seen = []

    def invert(frame):
        assert frame.dtype == np.uint8 and frame.shape == (48, 64, 3)
        seen.append(frame)
        return 255 - frame

    result = process_video(invert, source, str(tmp_path / "out.mp4"))
    assert numbers(seen) == list(range(12))
    assert numbers(255 - frame for frame in read_all(tmp_path / "out.mp4")) == list(range(12))
    assert (result.frames, result.interrupted) == (12, False)
    assert 0 < result.seconds < 30
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == fps
        assert float(stream.duration * stream.time_base) == pytest.approx(12 / fps)


def test_the_last_line_says_what_was_done(tmp_path, capsys):
    target = tmp_path / "new" / "out.mp4"
    process_video(np.copy, make_mp4(tmp_path / "in.mp4"), str(target))
    pattern = (
        rf"12 frames in \d+\.\d s, \d+\.\d frames per second, saved {re.escape(str(target))}\n"
    )
    printed = capsys.readouterr()
    assert re.fullmatch(pattern, printed.out)
    assert printed.err == ""  # no bar but on a terminal


def test_the_file_is_what_browsers_play(tmp_path):
    path = tmp_path / "a.MP4"
    make_mp4(path, fps=30000 / 1001)
    assert boxes(path.read_bytes())[:2] == [b"ftyp", b"moov"]
    assert b"mdat" in boxes(path.read_bytes())
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        assert (str(stream.average_rate), stream.frames) == ("30000/1001", 12)
        assert (codec.colorspace, codec.color_range) == (1, 1)


@pytest.mark.parametrize("size", [(48, 64), (47, 64), (48, 63), (33, 17), (1, 1)])
def test_odd_sides_repeat_their_edge(tmp_path, size):
    ramp = np.linspace(40, 200, size[0] * size[1]).reshape(size).astype(np.uint8)
    frame = np.repeat(ramp[..., None], 3, axis=2)
    with VideoFile(tmp_path / "a.mp4", 25) as file:
        file.write(frame)
    (found,) = read_all(tmp_path / "a.mp4")
    expected = np.pad(frame, [(0, size[0] % 2), (0, size[1] % 2), (0, 0)], "edge").astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 3
    assert np.abs(found - expected).max() < 16


def test_colors_stay(tmp_path):
    frame = np.repeat(np.array([COLORS], np.uint8).repeat(32, axis=1), 32, axis=0)
    with VideoFile(tmp_path / "a.mp4", 25) as file:
        file.write(frame[:, ::-1][:, ::-1])  # not contiguous either way
    source = open_source(str(tmp_path / "a.mp4"))
    for found in (*(frame for frame, _ in source), *read_all(tmp_path / "a.mp4")):
        centres = found[16, 16::32].astype(int)
        assert np.abs(centres - COLORS).max() <= 4
    source.close()


def test_results_may_have_another_size(tmp_path):
    source = make_mp4(tmp_path / "in.mp4", 3)
    process_video(lambda frame: frame[:30, :20], source, str(tmp_path / "out.mp4"), fps=5.0)
    assert [frame.shape for frame in read_all(tmp_path / "out.mp4")] == [(30, 20, 3)] * 3
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].average_rate == 5


def test_a_size_that_changes_is_an_error(tmp_path):
    with (
        pytest.raises(UserError, match=r"width\) \(48, 64\) are followed by \(48, 62\)"),
        VideoFile(tmp_path / "a.mp4", 25) as file,
    ):
        file.write(numbered(0))
        file.write(numbered(1, (48, 62)))
    assert names_in(tmp_path) == []


def test_without_frames_there_is_no_file(tmp_path):
    with VideoFile(tmp_path / "a.mp4", 25):
        pass
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "fps, expected", [(0.0, 25), (float("nan"), 25), (90000.0, 25), (480.0, 480), (12.5, 12.5)]
)
def test_senseless_rates_become_25(capture, fps, expected):
    capture(1, fps=fps)
    assert open_source("0").fps == expected


def test_ctrl_c_keeps_what_was_done(tmp_path, capsys):
    source = make_mp4(tmp_path / "in.mp4")
    seen = []

    def draw(frame):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(frame)
        return frame

    result = process_video(draw, source, str(tmp_path / "out.mp4"))
    assert (result.frames, result.interrupted) == (5, True)
    assert numbers(read_all(tmp_path / "out.mp4")) == [0, 1, 2, 3, 4]
    assert names_in(tmp_path) == ["in.mp4", "out.mp4"]
    assert "ended early" not in capsys.readouterr().out


def test_an_impatient_second_ctrl_c_does_not_lose_the_file(tmp_path, monkeypatch):
    seen, encode = [], VideoFile._encode

    def draw(frame):
        seen.append(frame)
        if len(seen) == 5:
            signal.raise_signal(signal.SIGINT)
        return frame

    def finish(*args):
        if len(seen) == 5 and args[1] is None:
            signal.raise_signal(signal.SIGINT)
        return encode(*args)

    monkeypatch.setattr(VideoFile, "_encode", finish)
    source = make_avi(tmp_path / "in.avi")
    assert process_video(draw, source, str(tmp_path / "out.mp4"))[::2] == (5, True)
    assert numbers(read_all(tmp_path / "out.mp4")) == [0, 1, 2, 3, 4]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_third_ctrl_c_ends_it_at_once(tmp_path):
    def draw(frame):
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        pytest.fail("still running")

    source = make_mp4(tmp_path / "in.mp4")
    assert process_video(draw, source, str(tmp_path / "out.mp4"))[::2] == (0, True)
    assert names_in(tmp_path) == ["in.mp4"]


def test_in_another_thread_ctrl_c_is_left_alone(tmp_path):
    source, results = make_mp4(tmp_path / "in.mp4"), []
    thread = threading.Thread(
        target=lambda: results.append(process_video(np.copy, source, str(tmp_path / "out.mp4")))
    )
    thread.start()
    thread.join(20)
    assert results[0].frames == 12


def test_ctrl_c_before_the_first_frame_leaves_nothing(tmp_path, capsys):
    def draw(frame):
        raise KeyboardInterrupt

    source = make_mp4(tmp_path / "in.mp4")
    assert process_video(draw, source, str(tmp_path / "out.mp4")).frames == 0
    assert names_in(tmp_path) == ["in.mp4"]
    assert "saved" not in capsys.readouterr().out


def test_an_error_in_the_function_leaves_nothing(tmp_path):
    seen = []

    def draw(frame):
        seen.append(frame)
        return frame if len(seen) < 7 else 1 / 0

    with pytest.raises(ZeroDivisionError):
        process_video(draw, make_mp4(tmp_path / "in.mp4"), str(tmp_path / "out.mp4"))
    assert names_in(tmp_path) == ["in.mp4"]


def test_a_full_disk_is_an_oserror_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    source = make_mp4(tmp_path / "in.mp4")
    process_video(np.copy, source, str(tmp_path / "out.mp4"))
    size = (tmp_path / "out.mp4").stat().st_size
    (tmp_path / "out.mp4").unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 40, size // 2, size - 1):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            with pytest.raises(OSError, match="too large"):
                process_video(np.copy, source, str(tmp_path / "out.mp4"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert names_in(tmp_path) == ["in.mp4"]


def test_an_error_of_the_last_write_comes_out(tmp_path, monkeypatch):
    def write(*_):
        raise OSError("no space left")

    monkeypatch.setattr(VideoFile, "write", write)
    source = make_avi(tmp_path / "in.avi", 1)
    with pytest.raises(OSError, match="no space left"):
        process_video(np.copy, source, str(tmp_path / "out.mp4"))


def test_a_place_that_cannot_be_written(tmp_path):
    source = make_mp4(tmp_path / "in.mp4")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        process_video(np.copy, source, str(tmp_path / "file" / "out.mp4"))


def test_a_truncated_file_gives_what_it_has(tmp_path, capfd):
    whole = make_mp4(tmp_path / "whole.mp4", 30, (240, 320))
    data = (tmp_path / "whole.mp4").read_bytes()
    media = data.index(b"mdat")
    (tmp_path / "cut.mp4").write_bytes(data[: media + (len(data) - media) * 6 // 10])
    result = process_video(np.copy, str(tmp_path / "cut.mp4"), str(tmp_path / "out.mp4"))
    assert 0 < result.frames < 28
    found = numbers(read_all(tmp_path / "out.mp4"))
    assert found == list(range(30))[: result.frames]
    printed = capfd.readouterr()
    assert re.search(r"cut\.mp4 ended early: after [12]\.\d of 3\.0 seconds\. Is it", printed.out)
    assert printed.err == ""
    assert process_video(np.copy, whole, str(tmp_path / "out.mp4")).frames == 30


def test_sources_that_do_not_open(tmp_path, capfd):
    text = tmp_path / "text.mp4"
    text.write_text("no video at all")
    for source, message in [
        (str(text), r"text\.mp4 can't be read as a video: .*ffmpeg -i"),
        (str(tmp_path / "nothing.mp4"), "There is no file '.*nothing.mp4'. Expected: the path"),
        (str(tmp_path), "is a folder; expected: the path of a video"),
        ("97", "Camera 97 gives no image. It must be connected"),
        ("http://me:secret@127.0.0.1:9/a.mp4", r"The stream http://127\.0\.0\.1:9/a\.mp4 gives"),
    ]:
        with pytest.raises(UserError, match=message):
            open_source(source)
    assert capfd.readouterr().err == ""


def test_a_camera_that_opens_but_gives_no_frame(capture):
    camera = capture(0)
    with pytest.raises(UserError, match="Camera 0 gives no image"):
        open_source("0")
    assert camera.released
    with pytest.raises(UserError, match="Camera 0 gives no image"):
        process_video(np.copy, 0, "never.mp4")


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_mp4("cam 10:30.mp4", 2)
    assert process_video(np.copy, "cam 10:30.mp4", "out:1 ä.mp4").frames == 2
    assert len(read_all(tmp_path / "out:1 ä.mp4")) == 2


def test_of_a_camera_only_the_newest_frames_count(tmp_path, capture):
    camera = capture(30, pause=0.01)
    seen = []

    def slow(frame):
        seen.append(frame)
        time.sleep(0.1)
        return frame

    result = process_video(slow, "0", str(tmp_path / "out.mp4"))
    found = numbers(seen)
    assert found[0] == 0 and found[-1] == 29
    assert found == sorted(set(found)) and len(found) <= 10
    assert result.frames == len(found)
    assert camera.released
    with av.open(str(tmp_path / "out.mp4")) as container:  # as long as it took: 0.3 s
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert len(times) == len(found)
    assert times[0] == 0 and 0.2 < times[-1] < 2


def test_of_a_file_none_is_dropped_however_slow(tmp_path):
    def slow(frame):
        time.sleep(0.02)
        return frame

    result = process_video(slow, make_mp4(tmp_path / "in.mp4"), str(tmp_path / "out.mp4"))
    assert result.frames == 12


def test_a_video_behind_a_url_is_not_live(capture):
    capture(3, num_frames=3)
    assert not open_source("http://host/video.mp4").live
    capture(3)
    assert open_source("rtsp://host/camera").live


def test_times_that_are_equal_are_moved_apart(tmp_path):
    with VideoFile(tmp_path / "a.mp4") as file:
        for number, seconds in enumerate([7.0, 7.0, 7.5, 7.5004, 9.0]):
            file.write(numbered(number), seconds)
    with av.open(str(tmp_path / "a.mp4")) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 0.001, 0.5, 0.501, 2.0])


def test_an_error_of_the_source_comes_out(tmp_path, capture):
    for num_frames in (-1, 5):  # live, and not
        camera = capture(3, pause=0.01, num_frames=num_frames, fails=True)
        with pytest.raises(RuntimeError, match="the driver broke down"):
            process_video(np.copy, "0", str(tmp_path / "out.mp4"))
        assert camera.released
        assert names_in(tmp_path) == []


def test_ctrl_c_at_a_camera_that_never_ends(tmp_path, capture):
    camera = capture(100_000, pause=0.001)

    def draw(frame, seen=[]):  # noqa: B006
        seen.append(frame)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return frame

    assert process_video(draw, "0", str(tmp_path / "out.mp4")).frames == 3
    assert camera.released
    assert len(read_all(tmp_path / "out.mp4")) == 3


def test_arguments_that_make_no_sense(tmp_path, monkeypatch):
    source = make_mp4(tmp_path / "in.mp4", 1)
    (tmp_path / "folder.mp4").mkdir()
    monkeypatch.setattr(video, "has_display", lambda: False)
    for arguments, message in [
        ({}, "There would be no result: name an .mp4 file"),
        ({"save_path": "a.avi"}, "saved as an .mp4 file; got 'a.avi'"),
        ({"save_path": str(tmp_path / "folder.mp4")}, "saved as an .mp4 file; got '.*folder.mp4'"),
        ({"save_path": "a.mp4", "fps": 0}, "fps must be above 0 and at most 1000; got 0"),
        ({"save_path": "a.mp4", "fps": 1001.0}, "fps must be .* got 1001"),
        ({"save_path": f"{tmp_path}/./in.mp4"}, "in.mp4 is the source itself"),
        ({"show": True}, "There is no display for a window"),
    ]:
        with pytest.raises(UserError, match=message):
            process_video(np.copy, source, **arguments)


def test_pyav_that_is_missing(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_av(name, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    source = make_mp4(tmp_path / "in.mp4", 1)
    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(UserError, match="pip install av"):
        process_video(np.copy, source, str(tmp_path / "out.mp4"))


@pytest.fixture
def screen(monkeypatch):
    """screen(keys, visible): a stand-in for OpenCV's windows; gives the list of shown images."""

    def install(keys, visible=1.0):
        shown, pressed = [], iter(keys)
        monkeypatch.setattr(video, "has_display", lambda: True)
        monkeypatch.setattr(video.cv2, "imshow", lambda _, image: shown.append(image.copy()))
        monkeypatch.setattr(video.cv2, "waitKey", lambda _: next(pressed, -1))
        monkeypatch.setattr(video.cv2, "getWindowProperty", lambda *_: visible)
        monkeypatch.setattr(video.cv2, "destroyAllWindows", lambda: shown.append("closed"))
        return shown

    return install


def test_the_window_shows_results_until_the_end(tmp_path, screen):
    shown = screen([-1, ord("x")])
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    source = make_mp4(tmp_path / "in.mp4", 3)
    assert process_video(lambda _: red, source, show=True)[::2] == (3, False)
    assert shown.pop() == "closed"
    assert [image[0, 0].tolist() for image in shown] == [[0, 0, 255]] * 3  # OpenCV wants BGR


@pytest.mark.parametrize("keys, visible", [([-1, ord("q")], 1.0), ([-1, 27 + 256], 1.0), ([], 0.0)])
def test_the_user_may_end_it_at_the_window(tmp_path, screen, keys, visible):
    shown = screen(keys, visible)
    source = make_mp4(tmp_path / "in.mp4")
    result = process_video(np.copy, source, str(tmp_path / "out.mp4"), show=True)
    assert result.interrupted
    assert result.frames == len(shown) - 1 == len(keys or [0])
    assert len(read_all(tmp_path / "out.mp4")) == result.frames


def test_opencv_without_windows(tmp_path, screen, monkeypatch):
    screen([])

    def refuse(*_):
        raise cv2.error("not implemented")

    monkeypatch.setattr(video.cv2, "imshow", refuse)
    with pytest.raises(UserError, match="can't show a window; save to a file"):
        process_video(np.copy, make_mp4(tmp_path / "in.mp4", 1), show=True)


def test_a_display_is_needed_on_linux(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not video.has_display()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert video.has_display()
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delenv("WAYLAND_DISPLAY")
    assert video.has_display()

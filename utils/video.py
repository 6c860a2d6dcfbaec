"""Videos, cameras and streams, frame by frame through a function, into an mp4 file.

Frames are uint8 (H, W, 3) RGB. Sound is not carried over.
"""

import os
import re
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from errors import UserError
from utils.files import whole_file

# Read when FFmpeg is first used. It would complain about a damaged file line after line.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_FALLBACK_FPS, _MOST_FPS = 25.0, 240.0
_TIMEOUT = 10_000  # milliseconds without a frame after which a stream has ended
_WINDOW = "q or Esc ends"  # title


class VideoResult(NamedTuple):
    """Frames that went through the function; the time; whether Ctrl-C, q or Esc ended it."""

    frames: int
    seconds: float
    interrupted: bool


class VideoSource:
    """Iterable over the frames of an open `cv2.VideoCapture`, of which `first` was read already.

    Attributes:
        num_frames: int as the file says, or None: a stream doesn't know.
        fps: float, frames a second; 25 where the source gives no sensible number.
        live: bool, whether it shows what happens now, so that old frames are of no use.
    """

    def __init__(self, capture, first, is_file):
        self._capture, self._first = capture, first
        count, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        self.num_frames = int(count) if count > 0 else None
        self.fps = fps if 0 < fps <= _MOST_FPS else _FALLBACK_FPS
        self.live = not is_file and self.num_frames is None

    def __iter__(self):
        frame, self._first = self._first, None
        while frame is not None:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            frame = self._capture.read()[1]

    def close(self):
        self._capture.release()


def open_source(source):
    """Opens a video file, a camera or a stream.

    Args:
        source: str: the path of a file, the number of a camera ("0"), or a URL (rtsp://...).

    Returns:
        VideoSource; to be closed.

    Raises:
        UserError: if it can't be opened or gives no frame.
    """
    level = cv2.utils.logging.getLogLevel()
    if "OPENCV_LOG_LEVEL" not in os.environ:  # its warnings say less than the message below
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        if source.isdecimal():
            capture = cv2.VideoCapture(int(source))
        elif "://" in source:
            limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
            options = [value for limit in limits for value in (limit, _TIMEOUT)]
            capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, options)
        else:
            # FFmpeg takes what stands before a colon for a protocol, unless a slash is first.
            capture = cv2.VideoCapture(os.path.abspath(source))
        first = capture.read()[1]
    finally:
        cv2.utils.logging.setLogLevel(level)
    if first is None:
        capture.release()
        raise UserError(_why_not(source))
    return VideoSource(capture, first, os.path.isfile(source))


def _why_not(source):
    if source.isdecimal():
        return (
            f"Camera {source} gives no picture. It must be connected and not in use by another "
            "program; the first camera is 0."
        )
    if "://" in source:
        return (
            f"The stream {re.sub('//[^/]*@', '//', source)} gives no picture. Check its address, "
            "name, password and the network, and whether a player such as VLC opens it."
        )
    if not os.path.exists(source):
        return (
            f"There is no file {source!r}. Expected: the path of a video, the number of a camera "
            "such as 0, or the address of a stream such as rtsp://..."
        )
    if os.path.isdir(source):
        return f"{source} is a folder; expected: the path of a video file."
    return (
        f"{source} can't be read as a video: it is something else, damaged or unfinished. If a "
        f"player opens it, convert it: ffmpeg -i {source} -c:v libx264 converted.mp4"
    )


class VideoFile:
    """Writes an mp4 file (H.264, yuv420p) that browsers and players open.

    For a `with` statement: the file gets its name when that ends without an error and a frame
    was written. Odd sides grow by a pixel, as H.264 wants: the last row or column is repeated.

    Args:
        path: str or Path.
        fps: float, frames a second; None: each frame comes with its time.

    Raises:
        UserError: if PyAV is not installed.
    """

    def __init__(self, path, fps=None):
        try:
            import av
        except ImportError:
            raise UserError("PyAV, which writes videos, is missing: pip install av") from None
        self._av, self._path, self._timed = av, Path(path), fps is None
        # The limit gives 30000/1001 for 29.97003.
        self._rate = Fraction(fps or _FALLBACK_FPS).limit_denominator(1001)
        self._unit = Fraction(1, 1000) if self._timed else 1 / self._rate
        self._files = ExitStack()
        self._stream = self._size = self._start = None
        self._free = 0  # the smallest time, in units, that no frame has yet

    def write(self, frame, seconds=None):
        """Appends a frame.

        Args:
            frame: uint8 (H, W, 3), the same size each time.
            seconds: float, its time since any moment; counts only without `fps`.

        Raises:
            OSError: if the file can't be written.
            UserError: if the size changes.
        """
        size = frame.shape[:2]
        if self._stream is None:
            self._open(size)
            self._start = seconds
        if size != self._size:
            raise UserError(
                f"{self._path}: frames of (height, width) {self._size} are followed by {size}, "
                "but those of a video must be of one size. Process the parts one by one."
            )
        if self._timed:
            self._free = max(self._free, round((seconds - self._start) / self._unit))
        frame = np.pad(frame, [(0, size[0] % 2), (0, size[1] % 2), (0, 0)], "edge")
        picture = self._av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
        )
        picture.pts, picture.time_base = self._free, self._unit
        self._free += 1
        self._encode(picture)

    def _open(self, size):
        self._size = size
        temporary = os.path.abspath(self._files.enter_context(whole_file(self._path)))
        # The index goes to the front: browsers start to play before they have it all.
        container = self._av.open(temporary, "w", "mp4", options={"movflags": "+faststart"})
        self._files.enter_context(container)
        # Nearly the same picture for little work: the processor is needed for the network.
        options = {"crf": "20", "preset": "veryfast"}
        self._stream = container.add_stream("libx264", self._rate, options=options)
        codec = self._stream.codec_context
        codec.height, codec.width = size[0] + size[0] % 2, size[1] + size[1] % 2
        codec.pix_fmt, codec.time_base = "yuv420p", self._unit
        # BT.709, limited range, by FFmpeg's numbers: else players guess by the size.
        codec.color_primaries = codec.color_trc = codec.colorspace = codec.color_range = 1

    def _encode(self, picture):
        self._stream.container.mux(self._stream.encode(picture))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        with self._files:
            if error is not None:
                raise error  # so that the temporary file is removed
            if self._stream is not None:
                self._encode(None)  # what the encoder still holds


def process_video(draw, source, save_path="", fps=None, show=False):
    """Sends each frame of a video through a function, and saves or shows the results.

    Every frame of a file is processed. Of a camera or stream only the newest is, and without
    `fps` the saved video runs at the speed at which things happened.

    Args:
        draw: callable, uint8 (H, W, 3) RGB -> a new uint8 (H', W', 3), always of one size.
        source: str, as in `open_source`.
        save_path: str, an .mp4 file; empty: nothing is saved.
        fps: float, frames a second of the saved video; None: as the source.
        show: bool, whether to show the results in a window, where q or Esc ends it.

    Returns:
        VideoResult. After Ctrl-C too: what was processed is kept.

    Raises:
        UserError: for arguments that make no sense, or a source that can't be read.
        OSError: if the file can't be written. It is left out then, as after an error in `draw`.
    """
    _check(source, save_path, fps, show)
    with ExitStack() as closed:
        video = closed.enter_context(closing(open_source(source)))
        start = time.monotonic()
        if show:
            closed.callback(cv2.destroyAllWindows)
        rate = fps or (None if video.live else video.fps)
        with VideoFile(save_path, rate) if save_path else nullcontext() as file:
            frames, interrupted = _draw_all(draw, video, file, show)
    result = VideoResult(frames, time.monotonic() - start, interrupted)
    speed = frames / max(result.seconds, 1e-9)
    end = f", saved {save_path}" if save_path and frames else ""
    print(f"{frames} frames in {result.seconds:.1f} s, {speed:.1f} frames a second{end}")
    if not interrupted and frames < 0.95 * (video.num_frames or 0):
        print(f"{source} ended early: it should have {video.num_frames} frames. Is it whole?")
    return result


def _check(source, save_path, fps, show):
    if not save_path and not show:
        raise UserError(
            "There would be no result: name an .mp4 file to save to, or ask for a window (show)."
        )
    if fps is not None and not 0 < fps <= _MOST_FPS:
        raise UserError(f"fps must be above 0 and at most {_MOST_FPS:g}; got {fps:g}.")
    if save_path and (Path(save_path).suffix.lower() != ".mp4" or os.path.isdir(save_path)):
        raise UserError(f"A video is saved as an .mp4 file; got {save_path!r}. Change its end.")
    if save_path and os.path.realpath(source) == os.path.realpath(save_path):
        raise UserError(f"{save_path} is the source itself. Save under another name.")
    if show and not has_display():
        raise UserError("There is no display for a window. Save to an .mp4 file instead.")


def has_display():
    """Whether a window can be opened here."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _draw_all(draw, source, file, show):
    """Returns (frames that went through `draw`, whether the user ended it)."""
    done, written = 0, None
    frames = (_newest if source.live else _ahead)(source)
    bar = tqdm(desc="Video", total=source.num_frames, disable=None, leave=False, unit=" frames")
    with closing(frames), ThreadPoolExecutor(1) as writer, bar:
        try:
            for frame, seconds in frames:
                result = draw(frame)
                if file:
                    if written:
                        written.result()
                    written = writer.submit(file.write, result, seconds)
                done += 1
                bar.update()
                if show and not _show(result):
                    return done, True
        except KeyboardInterrupt:
            return done, True
        finally:
            if written:
                written.result()
    return done, False


def _ahead(source):
    """Yields (frame, time), every one; the next is read while the caller works."""
    frames = iter(source)
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, frames, None)
        while (frame := upcoming.result()) is not None:
            upcoming = reader.submit(next, frames, None)
            yield frame, time.monotonic()


def _newest(source):
    """Yields (frame, time), the newest each time; a thread reads on and drops older ones."""
    slot, arrived, ended = deque(maxlen=1), threading.Event(), threading.Event()

    def read():
        try:
            for frame in source:
                slot.append((frame, time.monotonic()))
                arrived.set()
                if ended.is_set():
                    break
        finally:
            ended.set()
            arrived.set()

    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(read)
        try:
            last = False
            while not last:
                arrived.wait()
                arrived.clear()
                last = ended.is_set()  # asked before the slot is, or the last frame may be lost
                if slot:
                    yield slot.popleft()
        finally:
            ended.set()
        reading.result()  # raises what ended it, if it was an error


def _show(image):
    """Shows an image; returns whether the user wants more."""
    try:
        cv2.imshow(_WINDOW, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error as error:  # its build for servers has no windows
        raise UserError(f"OpenCV can't show a window; save to a file instead. {error}") from None
    key = cv2.waitKey(1) & 0xFF
    closed = cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) < 1
    return not (closed or key in (ord("q"), 27))

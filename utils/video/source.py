"""Videos, cameras and streams, opened and read frame by frame: uint8 (H, W, 3) RGB."""

import os
import re
import time
from fractions import Fraction

import cv2

from errors import UserError

# Read when FFmpeg is first used. It would complain about a damaged file line after line.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

FALLBACK_FPS, MOST_FPS = 25.0, 1000.0
_TIMEOUT = 10_000  # milliseconds without a frame after which a stream has ended


class VideoSource:
    """Iterable over (frame, seconds) of an open `cv2.VideoCapture`, whose `first` was read already.

    The seconds grow from frame to frame: when the file shows the frame, or of a live source when
    the frame came (`time.monotonic`).

    Attributes:
        num_frames: int as the file says, or None: a stream doesn't know. Some types of file know
            only how long they are; then it is that times `fps`.
        fps: float, usual frames per second; 25 where the source gives no sensible number.
        live: bool, whether it shows what happens now, so that old frames are of no use.
        pixel_aspect: Fraction, width of a pixel over its height.
    """

    def __init__(self, capture, first, is_file):
        self._capture, self._first = capture, first
        count, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        self.num_frames = int(count) if count > 0 else None
        self.fps = fps if 0 < fps <= MOST_FPS else FALLBACK_FPS
        self.live = not is_file and self.num_frames is None
        self.pixel_aspect = _pixel_aspect(capture)

    def __iter__(self):
        frame, self._first = self._first, None
        seconds = None
        while frame is not None:
            seconds = time.monotonic() if self.live else self._time(seconds)
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), seconds
            frame = self._capture.read()[1]

    def _time(self, before):
        """When the file shows the frame that was read last, in seconds."""
        milliseconds = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        seconds = milliseconds / 1000
        # Some types of file round to whole milliseconds, so that a steady rate would stumble.
        steady = round(seconds * self.fps) / self.fps
        if abs(milliseconds - round(milliseconds)) < 1e-6 and abs(steady - seconds) < 0.000501:
            seconds = steady
        # Where a file has no times, all are 0.
        return seconds if before is None or seconds > before else before + 1 / self.fps

    def close(self):
        self._capture.release()


def _pixel_aspect(capture):
    """Width of a pixel over its height, as a Fraction; 1 where nothing sensible is said."""
    over, under = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    if over < 1 or under < 1:
        return Fraction(1)
    aspect = Fraction(int(over), int(under))
    # OpenCV turns the frames, and not what it says of their pixels.
    return 1 / aspect if capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90 else aspect


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
            f"Camera {source} gives no image. It must be connected and not in use by another "
            "program; the first camera is 0."
        )
    if "://" in source:
        return (
            f"The stream {re.sub('//[^/]*@', '//', source)} gives no image. Check its address, "
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

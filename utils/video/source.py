"""Videos, cameras and streams, opened and read frame by frame: uint8 (H, W, 3) RGB."""

import os
import re

import cv2

from errors import UserError

# Read when FFmpeg is first used. It would complain about a damaged file line after line.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

FALLBACK_FPS, MOST_FPS = 25.0, 240.0
_TIMEOUT = 10_000  # milliseconds without a frame after which a stream has ended


class VideoSource:
    """Iterable over the frames of an open `cv2.VideoCapture`, of which `first` was read already.

    Attributes:
        num_frames: int as the file says, or None: a stream doesn't know.
        fps: float, frames per second; 25 where the source gives no sensible number.
        live: bool, whether it shows what happens now, so that old frames are of no use.
    """

    def __init__(self, capture, first, is_file):
        self._capture, self._first = capture, first
        count, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        self.num_frames = int(count) if count > 0 else None
        self.fps = fps if 0 < fps <= MOST_FPS else FALLBACK_FPS
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

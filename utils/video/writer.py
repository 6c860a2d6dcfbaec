"""An mp4 file that browsers and players open, written frame by frame."""

import os
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np

from errors import UserError
from utils.files import whole_file
from utils.video.source import FALLBACK_FPS


class VideoFile:
    """Writes an mp4 file (H.264, yuv420p) that browsers and players open.

    For a `with` statement: the file gets its name when that ends without an error and a frame
    was written. Odd sides grow by a pixel, as H.264 wants: the last row or column is repeated.

    Args:
        path: str or Path.
        fps: float, steady frames per second; None: each frame comes with its time.
        usual_fps: float, the rate that most of those times keep, so that they are exact; None:
            none is known, and times count to the millisecond.
        pixel_aspect: Fraction, width of a pixel over its height.

    Raises:
        UserError: if PyAV is not installed.
    """

    def __init__(self, path, fps=None, usual_fps=None, pixel_aspect=1):
        try:
            import av
        except ImportError:
            raise UserError("PyAV, which writes videos, is missing: pip install av") from None
        self._av, self._path, self._timed = av, Path(path), fps is None
        # The limit gives 30000/1001 for 29.97003.
        self._rate = Fraction(fps or usual_fps or FALLBACK_FPS).limit_denominator(1001)
        self._unit = Fraction(1, 1000) if self._timed else 1 / self._rate
        if self._timed and usual_fps:
            self._unit = _fine_unit(self._rate)
        self._pixel_aspect = pixel_aspect
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
        image = self._av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
        )
        image.pts, image.time_base = self._free, self._unit
        self._free += 1
        self._encode(image)

    def _open(self, size):
        self._size = size
        temporary = os.path.abspath(self._files.enter_context(whole_file(self._path)))
        # The index goes to the front: browsers start to play before they have it all.
        container = self._av.open(temporary, "w", "mp4", options={"movflags": "+faststart"})
        self._files.enter_context(container)
        # Nearly the same image for little work: the processor is needed for the network.
        options = {"crf": "20", "preset": "veryfast"}
        if self._timed:
            # Frames sent out of order would, at an unsteady rate, shorten the file's duration.
            options["bf"] = "0"
        self._stream = container.add_stream("libx264", self._rate, options=options)
        codec = self._stream.codec_context
        codec.height, codec.width = size[0] + size[0] % 2, size[1] + size[1] % 2
        codec.pix_fmt, codec.time_base = "yuv420p", self._unit
        codec.sample_aspect_ratio = self._pixel_aspect
        # BT.709, limited range, by FFmpeg's numbers: else players guess by the size.
        codec.color_primaries = codec.color_trc = codec.colorspace = codec.color_range = 1

    def _encode(self, image):
        self._stream.container.mux(self._stream.encode(image))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        with self._files:
            if error is not None:
                raise error  # so that the temporary file is removed
            if self._stream is not None:
                self._encode(None)  # what the encoder still holds


def _fine_unit(rate):
    """A unit of time of at most 1/90000 s, of which a frame lasts a whole number."""
    return Fraction(1, rate.numerator * -(-90_000 // rate.numerator))

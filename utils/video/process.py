"""A video, camera or stream through a function, frame by frame, into an mp4 file or a window.

Frames are uint8 (H, W, 3) RGB. Sound is not carried over.
"""

import os
import signal
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import cv2
from tqdm import tqdm

from errors import UserError
from utils.messages import say
from utils.script import end_by_signal
from utils.video.source import MOST_FPS, open_source
from utils.video.writer import VideoFile

_WINDOW = "q or Esc ends"  # title


class VideoResult(NamedTuple):
    """Frames that went through the function; the time; whether Ctrl-C, q or Esc ended it."""

    frames: int
    seconds: float
    interrupted: bool


def process_video(draw, source, save_path="", fps=None, show=False):
    """Sends each frame of a video through a function, and saves or shows the results.

    Every frame of a file is processed and, without `fps`, shown at the same moment as in the
    file, be its rate steady or not. Of a camera or stream only the newest is processed, and
    without `fps` the saved video runs at the speed at which things happened.

    Args:
        draw: callable, uint8 (H, W, 3) RGB -> a new uint8 (H', W', 3), always of one size.
        source: str, as in `open_source`; the number of a camera may be an int.
        save_path: str, an .mp4 file; empty: nothing is saved.
        fps: float, steady frames per second of the saved video; None: as the source.
        show: bool, whether to show the results in a window, where q or Esc ends it.

    Returns:
        VideoResult. After Ctrl-C too: what was processed is kept.

    Raises:
        UserError: for arguments that make no sense, or a source that can't be read.
        OSError: if the file can't be written. It is left out then, as after an error in `draw`.
    """
    source = str(source)
    _check(source, save_path, fps, show)
    with ExitStack() as closed:
        video = closed.enter_context(closing(open_source(source)))
        start = time.monotonic()
        presses = closed.enter_context(_noted_interrupts())
        if show:
            closed.callback(cv2.destroyAllWindows)
        usual = None if video.live else video.fps
        target = VideoFile(save_path, fps, usual, video.pixel_aspect) if save_path else None
        with target or nullcontext() as file:
            frames, reached, interrupted = _draw_all(draw, video, file, show, presses)
    result = VideoResult(frames, time.monotonic() - start, interrupted)
    speed = frames / max(result.seconds, 1e-9)
    end = f", saved {save_path}" if save_path and frames else ""
    say(f"{frames} frames in {result.seconds:.1f} s, {speed:.1f} frames per second{end}")
    if not interrupted:
        _warn_of_early_end(source, video, frames, reached)
    return result


def _warn_of_early_end(source, video, frames, reached):
    """Says that a file gave less than it should, both in frames and in seconds.

    Frames alone prove nothing: where the rate isn't steady, their number may be a guess.
    """
    count = video.num_frames or 0
    if frames < 0.95 * count and reached * video.fps + 1 < 0.95 * count:
        say(
            f"{source} ended early: after {reached:.1f} of {count / video.fps:.1f} seconds. "
            "Is it whole?"
        )


def _check(source, save_path, fps, show):
    if not save_path and not show:
        raise UserError(
            "There would be no result: name an .mp4 file to save to, or ask for a window (show)."
        )
    if fps is not None and not 0 < fps <= MOST_FPS:
        raise UserError(f"fps must be above 0 and at most {MOST_FPS:g}; got {fps:g}.")
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


@contextmanager
def _noted_interrupts():
    """Gives a list that grows with each Ctrl-C or SIGTERM, in place of the exception.

    That could come while the file is being finished, and an impatient second one often does.
    The third raises KeyboardInterrupt all the same.
    """
    presses = []

    def note(*_):
        presses.append(True)
        if len(presses) > 2:
            raise KeyboardInterrupt

    # Others' handlers stay, and only the main thread may set any.
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: end_by_signal}
    main = threading.current_thread() is threading.main_thread()
    ours = {one: usual[one] for one in usual if main and signal.getsignal(one) is usual[one]}
    for one in ours:
        signal.signal(one, note)
    try:
        yield presses
    finally:
        for one, handler in ours.items():
            signal.signal(one, handler)


def _draw_all(draw, source, file, show, presses):
    """Returns (frames that went through `draw`, the last one's time, whether the user ended it)."""
    done, reached, written = 0, 0.0, None
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
                done, reached = done + 1, seconds
                bar.update()
                if presses or (show and not _show(result)):
                    return done, reached, True
        except KeyboardInterrupt:
            return done, reached, True
        finally:
            if written:
                written.result()
    return done, reached, False


def _ahead(source):
    """Yields every (frame, seconds); the next is read while the caller works."""
    frames = iter(source)
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, frames, None)
        while (frame := upcoming.result()) is not None:
            upcoming = reader.submit(next, frames, None)
            yield frame


def _newest(source):
    """Yields the newest (frame, seconds) each time; a thread reads on and drops older ones."""
    slot, arrived, ended = deque(maxlen=1), threading.Event(), threading.Event()

    def read():
        try:
            for frame in source:
                slot.append(frame)
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

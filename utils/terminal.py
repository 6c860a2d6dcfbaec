"""Standard input and output as a script finds them: closed, broken, full, or of few letters.

What is printed may come from files of strangers: class names, labels, file names. None of it
reaches the terminal as a control code, which could clear the screen or hide lines.
"""

import errno
import io
import os
import re
import sys

# Without tab and line feed; the last two ranges turn the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What progress bars write: a return at the start or end, and steps up as a text of their own.
_BAR = re.compile("(?P<start>\r?)(?P<text>.*?)(?P<end>\r?)", re.DOTALL)
_UP = re.compile("\n*(\x1b\\[A)+")
_LEFT = (errno.EPIPE, errno.EIO)  # nobody reads any more: head has its line, a terminal is closed


class Terminal(io.TextIOWrapper):
    """Standard output or error: shows control codes as text, and never ends a run.

    Letters that the encoding lacks are shown as `\\u732b`. Where nothing can be written any
    more, the rest goes nowhere: a training of days does not end because its log is full, or
    because who read it has gone.

    Args:
        stream: `io.TextIOWrapper` whose place it takes; None: it was closed from the start.

    Attributes:
        error: OSError of a write, if something was lost that somebody could have wanted; or None.
    """

    def __init__(self, stream):
        self.error = None
        self._former = stream  # which would close the file when it is collected
        if stream is None:
            nowhere = open(os.devnull, "wb")  # noqa: SIM115 - open as long as we run
            super().__init__(nowhere, encoding="utf-8")
            return
        stream.flush()
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text):
        """Writes a text; returns its length."""
        try:
            super().write(escape_controls(text))
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self):
        """Flushes what was written."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if error.errno in _LEFT or self.error:
            return
        self.error = error
        if self is not sys.stderr:
            print(f"note: no more output: {error.strerror}", file=sys.stderr)


def escape_controls(text):
    """The text with control codes as `\\x1b`, but for those by which progress bars are drawn."""
    if not _CONTROL.search(text) or _UP.fullmatch(text):
        return text
    parts = _BAR.fullmatch(text)
    shown = _CONTROL.sub(lambda code: code[0].encode("unicode_escape").decode(), parts["text"])
    return parts["start"] + shown + parts["end"]


def prepare_streams():
    """Puts a `Terminal` in the place of standard output and error, and opens what is closed.

    A closed number would go to the next file that is opened, such as weights, and what libraries
    print would land there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - open as long as we run
    elif sys.stdin is sys.__stdin__:
        sys.stdin.reconfigure(errors="surrogateescape")  # paths need not be UTF-8
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # What stands in its place already is not ours: a test, a notebook.
        if stream is None or (stream is getattr(sys, f"__{name}__") and _is_plain(stream)):
            setattr(sys, name, Terminal(stream))
    if sys.getfilesystemencoding() != "utf-8":
        print(
            f"note: file names are read as {sys.getfilesystemencoding()} here, so that other "
            "letters in them can't be understood. Set PYTHONUTF8=1 if there are any.",
            file=sys.stderr,
        )


def _is_plain(stream):
    return type(stream) is io.TextIOWrapper

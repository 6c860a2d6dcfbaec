"""What the rooms below the scripts have to say: through `logging`, printed by scripts.

All messages go to one logger, `unet_keras`. A program that uses the project as a library decides
as usual what becomes of them; left alone, Python shows the notes on standard error and drops the
rest. Where the settings of a script are made, both are printed: messages on standard output,
notes on standard error.
"""

import logging
import sys

LOGGER = logging.getLogger("unet_keras")


def say(text: object) -> None:
    """Reports how the work goes: level INFO."""
    LOGGER.info("%s", text)


def note(text: object) -> None:
    """Tells of something that should be known or mended: level WARNING, "note: " in scripts."""
    LOGGER.warning("%s", text)


def print_messages(alone: bool = False) -> None:
    """From now on the messages are printed, and notes as "note: ..."; once, however often called.

    Args:
        alone: whether the process is a script's own, so that nobody else's handlers, such as a
            library's, show the messages a second time.
    """
    if not any(isinstance(handler, _Printer) for handler in LOGGER.handlers):
        LOGGER.addHandler(_Printer())
    if LOGGER.level == logging.NOTSET:
        LOGGER.setLevel(logging.INFO)
    if alone:
        LOGGER.propagate = False


def in_script() -> bool:
    """Whether the process is a script's own, as `print_messages` was told."""
    return not LOGGER.propagate


class _Printer(logging.Handler):
    """Prints, to whatever standard output and error are by then."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            print(f"note: {text}", file=sys.stderr)
        else:
            print(text, flush=True)  # what a child prints must not come before it

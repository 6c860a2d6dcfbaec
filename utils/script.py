"""How a script runs and ends: one message for a mistake, a status, and no half-written file."""

import errno
import os
import signal
import sys
import threading
from contextlib import contextmanager

from errors import RunError, UserError
from utils.terminal import Terminal, prepare_streams

_ADVICE = {
    errno.ENOSPC: "The disk is full: free some space, or write to another disk.",
    errno.EDQUOT: "Your share of the disk is used up: free some space, or write to another disk.",
    errno.EFBIG: "The file would be larger than what is allowed here (ulimit -f).",
    errno.EROFS: "That disk is read-only: write to another folder.",
}


class Terminated(KeyboardInterrupt):
    """The system asks the process to end: what Ctrl-C leaves whole, this leaves whole.

    Args:
        number: of the signal.
    """

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def run_script(main):
    """Runs a script's `main()`: a user's mistake is one message and exit status 2.

    A run that failed otherwise (RunError) is one message and status 1. An int that `main`
    returns is the exit status; whatever else it returns is not. Ended by Ctrl-C or a signal,
    it is 128 and the signal's number, as of all programs.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up chatter
    prepare_streams()
    try:
        with _ended_by_signals():
            status = main()
        message, status = "", status if isinstance(status, int) else 0
    except UserError as error:
        message, status = f"error: {error}", 2
    except OSError as error:
        message, status = f"error: {describe_os_error(error)}", 2
    except RunError as error:
        message, status = f"error: {error}", 1
    except Terminated as end:
        message, status = f"stopped by {signal.Signals(end.number).name}.", 128 + end.number
    except KeyboardInterrupt:
        message, status = "stopped.", 130
    if message:
        print(message, file=sys.stderr)
    sys.exit(_finish_output(status))


def describe_os_error(error):
    """What the system says, and what to do where that is known."""
    advice = _ADVICE.get(error.errno)
    return f"{error}. {advice}" if advice else str(error)


def _finish_output(status):
    """The status; 1 where all went well but for output that is lost."""
    sys.stdout.flush()
    lost = isinstance(sys.stdout, Terminal) and sys.stdout.error
    return status or (1 if lost else 0)


@contextmanager
def _ended_by_signals():
    """Raises Terminated where a signal would have ended the process at once.

    Files that are being written then go, and threads end. Ignored signals (nohup) and those that
    somebody handles already stay as they are.
    """

    def end(number, _):
        raise Terminated(number)

    ours = []
    if threading.current_thread() is threading.main_thread():
        every = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
        ours = [one for one in every if one and signal.getsignal(one) == signal.SIG_DFL]
    for one in ours:
        signal.signal(one, end)
    try:
        yield
    finally:
        for one in ours:
            signal.signal(one, signal.SIG_DFL)

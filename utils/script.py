"""How a script runs and ends: one message for a mistake, a status, and no half-written file."""

import errno
import os
import signal
import sys
import threading
from contextlib import contextmanager
from functools import partial

from errors import RunError, UserError
from utils.messages import print_messages
from utils.terminal import Terminal, prepare_streams

_ADVICE = {
    errno.ENOSPC: "The disk is full: free some space, or write to another disk.",
    errno.EDQUOT: "Your share of the disk is used up: free some space, or write to another disk.",
    errno.EFBIG: "The file would be larger than what is allowed here (ulimit -f).",
    errno.EROFS: "That disk is read-only: write to another folder.",
}


_AGAIN = 0.5  # seconds after which a signal that was swallowed is raised again
_PATIENCE = 40  # times so long, in which files are put in order


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
    print_messages(alone=True)
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


def end_by_signal(number, _):
    """Handles a signal that would have ended the process at once: raises Terminated."""
    if hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL:
        signal.signal(signal.SIGALRM, partial(_insist, number, [_PATIENCE]))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
    raise Terminated(number)


def _insist(number, left, *_):
    """Raises Terminated again, unless it is still on its way through what cleans up.

    Called from C, or within a bare `except`, Python code may have swallowed it.
    """
    left[0] -= 1
    if left[0] > 0 and isinstance(sys.exc_info()[1], Terminated):
        return
    left[0] = _PATIENCE
    raise Terminated(number)


def _stop_insisting():
    handler = signal.getsignal(signal.SIGALRM) if hasattr(signal, "SIGALRM") else None
    if getattr(handler, "func", None) is _insist:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


@contextmanager
def _ended_by_signals():
    """Raises Terminated where a signal would have ended the process at once.

    Files that are being written then go, and threads end. Ignored signals (nohup) and those that
    somebody handles already stay as they are.
    """
    ours = []
    if threading.current_thread() is threading.main_thread():
        every = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
        ours = [one for one in every if one and signal.getsignal(one) == signal.SIG_DFL]
    for one in ours:
        signal.signal(one, end_by_signal)
    former, sys.unraisablehook = sys.unraisablehook, _hide_terminated
    try:
        yield
    finally:
        _stop_insisting()
        for one in ours:
            signal.signal(one, signal.SIG_DFL)
        sys.unraisablehook = former


def _hide_terminated(swallowed):
    if not isinstance(swallowed.exc_value, Terminated):  # which comes again
        sys.__unraisablehook__(swallowed)

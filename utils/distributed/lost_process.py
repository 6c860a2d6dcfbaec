"""How a process of a training on several machines ends when another one is gone."""

import atexit
import ctypes
import os
import signal
import sys

from errors import UserError

LOST = (
    "Another process of this training has ended (its own message says why), or can't be reached. "
    "Start all of them again: they resume after the last finished epoch."
)
_kept = []


def end_at_exit(error):
    """Has this process end at once when Python exits, as what waits for the others would hang.

    JAX says goodbye to all other processes first, for minutes if they don't answer. The others
    see the connection close instead, and end as well.

    Args:
        error: the exception that ends the program, which decides the status.
    """
    status = 2 if isinstance(error, (UserError, OSError)) else 1
    status = 130 if isinstance(error, KeyboardInterrupt) else status

    def end():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    atexit.register(end)  # what is registered last runs first


def end_on_abort():
    """Has an abort end the process with status 1 and the message above.

    A thread of JAX aborts the process as soon as process 0 is gone, where Python can catch
    nothing and even its signal handlers don't run.
    """
    if os.name != "posix" or _kept:
        return

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def handle(_number):
        os.write(2, f"error: {LOST}\n".encode())
        os._exit(1)

    _kept.append(handle)  # C holds no reference
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype = ctypes.c_void_p
    set_handler(signal.SIGABRT, handle)

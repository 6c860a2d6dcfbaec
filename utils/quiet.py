"""Other libraries' chatter, kept from the terminal."""

import os
import tempfile
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quiet():
    """Keeps what is printed inside, by Python and by C++, from the terminal.

    An exception passes, with the end of the chatter as a note: it may say why.
    """
    try:
        chatter = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
    except OSError:  # a full disk: what is done inside may not need it
        yield
        return
    with chatter:
        kept = [os.dup(1), os.dup(2)]
        try:
            os.dup2(chatter.fileno(), 1)
            os.dup2(chatter.fileno(), 2)
            with redirect_stdout(chatter), redirect_stderr(chatter), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except Exception as error:
            chatter.flush()
            chatter.seek(0)
            error.add_note(chatter.read()[-2000:])
            raise
        finally:
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)
                os.close(copy)

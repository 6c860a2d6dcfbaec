"""Evaluations as processes of their own: get_miou.py, and what it prints."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import get_miou
from errors import UserError
from utils.config import to_arguments

LOG = "evaluation.log"  # what get_miou.py prints, in its folder
_SCRIPT = Path(get_miou.__file__)
_OURS = {LOG, "results.json"}  # of which a folder with an earlier evaluation has one
_PERIOD = 0.5  # seconds
_SHOWN = 100_000  # characters of the output, the last ones


class Evaluations:
    """The evaluations that this page has started, at most one in a folder."""

    def __init__(self):
        self._lock = threading.Lock()
        self._running = {}  # {folder: Popen}

    def follow(self, config):
        """Runs get_miou.py. It goes on to its end even if nobody asks for more.

        Args:
            config: `get_miou.MiouConfig`.

        Yields:
            (str, all that was printed so far; int, the exit status, or None before the end).

        Raises:
            UserError: if the folder holds other things, or another evaluation writes into it.
            OSError: if it can't be written.
        """
        folder = Path(config.miou_out_path)
        process = self._start(folder, to_arguments(config))
        status, text = None, None
        while status is None:
            former, text = text, _read(folder / LOG)
            if text != former:
                yield text, None
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(_PERIOD)
        yield _read(folder / LOG), status

    def stop(self, folder):
        """Ends the evaluation in a folder, if one is running."""
        process = self._running.get(Path(folder).resolve())
        if process is not None and process.poll() is None:
            process.terminate()

    def _start(self, folder, arguments):
        with self._lock:
            running = self._running.get(folder.resolve())
            if running is not None and running.poll() is None:
                raise UserError(
                    f"Another evaluation is writing into {folder}. Wait for it to end, or name "
                    "another miou_out_path."
                )
            if folder.is_dir() and any(folder.iterdir()) and not _OURS & set(os.listdir(folder)):
                raise UserError(
                    f"{folder} holds other things than an evaluation. Name a new folder, such as "
                    f"{folder / 'evaluation'}."
                )
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / LOG, "w", encoding="utf-8") as log:
                process = subprocess.Popen(
                    [sys.executable, str(_SCRIPT), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {"PYTHONUNBUFFERED": "1"},
                )
            self._running[folder.resolve()] = process
        threading.Thread(target=process.wait, daemon=True).start()  # else it stays as a zombie
        return process


def _read(path):
    return path.read_text("utf-8", errors="replace")[-_SHOWN:]

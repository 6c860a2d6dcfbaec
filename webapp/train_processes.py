"""Trainings as processes: those that run on this machine, a new one, and the end of one.

A training belongs to nobody's page: it has a session of its own, and its output goes to a file. So
it is found again by what the system knows of it: its command line, and the files it has open, the
lock in its run's folder and that output among them. Where there is no /proc, those that this
process started are known, by their output alone.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import train
from errors import UserError
from utils.config import to_arguments
from utils.runs.lock import FolderLock
from utils.runs.summary import command

LOGS = "page_*.log"
_PROC = Path("/proc")
_SCRIPT = Path(train.__file__)
_PROMPT = "$ "  # before the command, in the first line of an output
_starting = threading.Lock()
_children = {}  # {output: Popen} of those that this process started


class TrainingProcess(NamedTuple):
    """A running train.py.

    Attributes:
        number: int, of the process.
        held: frozenset of Path, the folders whose lock it holds, and the page's outputs that it
            writes.
    """

    number: int
    held: frozenset


def find_processes():
    """list of TrainingProcess, those of this user, the oldest first."""
    if not _PROC.is_dir():
        return [
            TrainingProcess(child.pid, frozenset({output.resolve()}))
            for output, child in _children.items()
            if child.poll() is None
        ]
    numbers = sorted(int(path.name) for path in _PROC.iterdir() if path.name.isdecimal())
    return [TrainingProcess(number, _held_by(number)) for number in numbers if _is_training(number)]


def _is_training(number):
    """Whether the command line of a process is train.py's, or that of the installed command."""
    try:
        words = (_PROC / str(number) / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended meanwhile
        return False
    program, *names = (Path(os.fsdecode(word)).name for word in words[:3])
    script = names[:1] == [_SCRIPT.name] or names == ["unet-keras", _SCRIPT.stem]
    return program.startswith("python") and script


def _held_by(number):
    """The folders and outputs that a process holds, none of somebody else's process."""
    held = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(_PROC / str(number) / "fd"):
            with contextlib.suppress(OSError):
                path = Path(os.readlink(entry.path))
                if path.name == ".lock":
                    held.add(path.parent)
                elif path.match(LOGS):
                    held.add(path)
    return frozenset(held)


def holder_of(path, processes):
    """The first of some TrainingProcess that holds a folder or an output, or None."""
    path = Path(path).resolve()
    return next((one for one in processes if path in one.held), None)


def describe_command(config):
    """The command line that trains with these settings, as one may type it."""
    return command("python", _SCRIPT.name, *to_arguments(config))


def start(config, typed=()):
    """Starts train.py; it outlives this process.

    Args:
        config: its settings.
        typed: as for `utils.config.to_arguments`.

    Returns:
        Path of the file that its output goes to, in save_dir.

    Raises:
        UserError: if another training uses save_dir.
        OSError: if save_dir can't be written.
    """
    save_dir = Path(config.save_dir)
    arguments = to_arguments(config, typed)
    save_dir.mkdir(parents=True, exist_ok=True)
    with _starting:
        _refuse_second(save_dir)
        output = save_dir / time.strftime(LOGS.replace("*", "%Y_%m_%d_%H_%M_%S"))
        with open(output, "a", encoding="utf-8") as file:
            file.write(f"{_PROMPT}{shlex.join(['python', _SCRIPT.name, *arguments])}\n")
            file.flush()
            child = subprocess.Popen(
                [sys.executable, str(_SCRIPT), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        _children[output] = child
    threading.Thread(target=child.wait, daemon=True).start()  # else it stays as a zombie
    return output


def _refuse_second(save_dir):
    lock = FolderLock(save_dir)
    free = lock.held
    lock.release()
    whole = save_dir.resolve()  # and one that has only begun holds no lock yet
    begun = any(path.parent == whole for one in find_processes() for path in one.held)
    if begun or not free:
        raise UserError(
            f"Another training is using {save_dir}. Wait for it to end, or stop it; or give "
            "another save_dir."
        )


def read_command(output):
    """The arguments in the first line of an output, a list of str; None if it has none."""
    with open(output, encoding="utf-8", errors="replace") as file:
        line = file.readline()
    return shlex.split(line.removeprefix(_PROMPT))[2:] if line.startswith(_PROMPT) else None


def stop(*paths):
    """Asks the training that holds one of some folders and outputs to end, as Ctrl-C does.

    Its last finished epoch is saved then. SIGTERM, because SIGINT is ignored by what a shell
    started in its background.

    Raises:
        UserError: if there is none.
    """
    processes = find_processes()
    found = [one for path in paths if (one := holder_of(path, processes))]
    try:
        if not found:
            raise ProcessLookupError
        os.kill(found[0].number, signal.SIGTERM)
    except ProcessLookupError:
        raise UserError(f"No training of this machine is using {paths[-1]} any more.") from None

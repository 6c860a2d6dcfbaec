"""Runs of train.py as the page shows them: which there are, how far they are, how they go on.

What is read is what a run leaves in its folder, and the output of those that a page has started.
"""

import contextlib
import csv
import dataclasses
import functools
import itertools
from pathlib import Path
from typing import NamedTuple

from errors import UserError
from train import TrainConfig
from utils.config import load_config, typed_settings
from utils.runs.state import find_states, read_state
from utils.runs.summary import best_row
from webapp.served import Served
from webapp.train_processes import LOGS, find_processes, holder_of, read_command

# Panels of `utils.runs.callbacks.RunLog`'s history that are followed: {title: {curve: column}}.
CURVES = {
    "Loss": {"training": "loss", "validation": "val_loss"},
    "Mean IoU": {"training (augmented)": "batch_miou", "validation": "val_miou"},
}

_PATTERNS = ("loss_*", "*/loss_*", "*/fold_*/loss_*")  # of runs, within the served folders
_OUTPUTS = (LOGS, f"*/{LOGS}")
_TAIL, _LINES = 2**14, 24  # bytes of an output, at most, and lines that are shown
_NAMING = 2**16  # bytes from its start in which it names the folder of its run


class Entry(NamedTuple):
    """A run, or a training that has none yet.

    Attributes:
        path: Path, the run's folder, or the file with the output of what has not come so far.
        running: bool.
    """

    path: Path
    running: bool


def list_entries(served, processes):
    """list of Entry, what runs first, then the newest.

    Args:
        served: `webapp.served.Served`.
        processes: list of `webapp.train_processes.TrainingProcess`.
    """
    runs = [path for path in _find(served, _PATTERNS) if _has_begun(path)]
    outputs = _find(served, _OUTPUTS)
    newest = {max(one for one in outputs if one.parent == each.parent) for each in outputs}
    # One that came to no run is of interest as long as it runs, or nothing was tried since.
    pending = [
        path
        for path in outputs
        if (path in newest or holder_of(path, processes)) and not find_run(path)
    ]
    busy = _in_use(processes)
    entries = [Entry(path, path.resolve() in busy) for path in (*runs, *pending)]
    return sorted(entries, key=lambda entry: (not entry.running, -_changed(entry.path)))


def _in_use(processes):
    """What trainings hold, and the runs that their outputs name: a lock goes before its process."""
    held = {path for process in processes for path in process.held}
    named = {find_run(path) for path in held if path.is_file()}
    return held | {run.resolve() for run in named if run}


def _find(served, patterns):
    """The paths of the served folders that match, without those that links lead out of them."""
    found = {}
    for folder in served.folders:
        for path in itertools.chain.from_iterable(map(folder.glob, patterns)):
            with contextlib.suppress(UserError):
                found.setdefault(served.resolve(str(path)), path)
    return list(found.values())


def _changed(path):
    try:
        return path.stat().st_mtime
    except OSError:  # it has gone meanwhile
        return 0.0


def select(served, entries, chosen):
    """The Entry of a path, or of the run that has come of it; None if there is none."""
    known = {str(entry.path): entry for entry in entries}
    if chosen in known or not chosen or not Path(chosen).match(LOGS):
        return known.get(chosen)
    with contextlib.suppress(UserError):
        run = find_run(served.resolve(chosen))
        return next((one for one in entries if run and one.path.samefile(run)), None)


def find_entry(served: Served, chosen):
    """(Entry, Path of its output or None) of a path that a visitor chose.

    Raises:
        UserError: if no training is there.
    """
    entry = select(served, list_entries(served, find_processes()), chosen)
    if entry is None:
        raise UserError(f"There is no training {chosen}. Choose one of the list.")
    return entry, entry.path if entry.path.is_file() else find_output(entry.path)


def _has_begun(folder):
    """Whether a folder is that of a run which has got as far as its first epoch."""
    return (folder / "settings.json").is_file() or (folder / "history.csv").is_file()


def find_run(output):
    """The folder of the run that an output names, the last of several; None if there is none."""
    text = _read(output, _NAMING)
    for line in reversed(text.splitlines()):
        if line.startswith("All settings: "):
            folder = Path(line.removeprefix("All settings: ")).parent
            return folder if folder.is_dir() else None
    return None


def find_output(folder):
    """The newest output that names a run's folder; None if no page has started it."""
    outputs = [path for place in (folder.parent, folder.parent.parent) for path in place.glob(LOGS)]
    named = [path for path in outputs if f"{folder.name}/" in _read(path, _NAMING)]
    return max(named, key=lambda path: path.name, default=None)


def _read(path, size, from_end=False):
    """A part of a file as text; "" where there is no such file."""
    try:
        with open(path, "rb") as file:
            if from_end:
                file.seek(max(path.stat().st_size - size, 0))
            return file.read(size).decode("utf-8", errors="replace")
    except OSError:
        return ""


def read_tail(output):
    """The end of an output, of each line what a terminal would show of it at last."""
    lines = _read(output, _TAIL, from_end=True).rstrip().split("\n")
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines[-_LINES:])


def read_history(folder):
    """list of dict, a row for each epoch, with the numbers of `utils.runs.callbacks.RunLog`."""
    try:
        with open(folder / "history.csv", newline="", encoding="utf-8") as file:
            return [
                {name: float(value) for name, value in row.items()} for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError):  # none yet, or none of ours
        return []


def describe(entry, output):
    """How far a training is, as a sentence or two.

    Args:
        entry: Entry.
        output: Path of its output, or None.
    """
    tail = read_tail(output).splitlines() if output else []
    if entry.path == output:
        if entry.running:
            return "Starting: the data are checked and the network is built."
        return _error_of(tail) or next(
            (line for line in reversed(tail) if line), "It left no word."
        )
    rows = read_history(entry.path)
    parts = [_describe_state(entry, rows)]
    if best := best_row(rows, "val_miou", max):
        parts.append(f"Best validation mIoU {best['val_miou']:.1%}, epoch {best['epoch']:.0f}.")
    if entry.running and (line := _progress_of(tail)):
        parts.append(line)
    elif error := _error_of(tail):
        parts.append(error)
    return "\n".join(parts)


def _describe_state(entry, rows):
    if entry.running:
        return f"Running: {_count(len(rows))}."
    state = read_newest_state(entry.path)
    if state is None:
        return "It ended before its first epoch was saved, so it can't be resumed."
    # The history may be an epoch ahead of what was saved.
    how = "Finished" if state.facts["finished"] else "Interrupted"
    return f"{how}: {_count(state.epoch)}."


def _count(epochs):
    return f"{epochs} epochs are done" if epochs != 1 else "1 epoch is done"


def _error_of(lines):
    """The last words of a training that failed, of which only the first line says "error"."""
    begins = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    return "\n".join(lines[begins[-1] :]).strip() if begins else ""


def _progress_of(lines):
    return next((line for line in reversed(lines) if line.startswith("epoch ")), "")


def read_newest_state(folder):
    """The `utils.runs.state.State` of a run, without arrays; None if it has none."""
    states = find_states(folder)
    return _read_state(folder, states[0][1].stat().st_mtime_ns) if states else None


@functools.lru_cache(maxsize=32)
def _read_state(folder, _changed):
    """Once only: a state's checksum is that of all its weights, and takes its time."""
    return read_state(folder, with_arrays=False)


def can_resume(entry):
    """Whether a run was interrupted after an epoch."""
    state = None if entry.running or entry.path.is_file() else read_newest_state(entry.path)
    return state is not None and not state.facts["finished"]


def settings_to_resume(folder, output):
    """The settings with which an interrupted run goes on.

    Args:
        folder: Path of the run.
        output: Path of its output, whose command is taken; None: what its state holds is.

    Returns:
        (TrainConfig, names of the settings that were typed).
    """
    arguments = read_command(output) if output else None
    if arguments is not None:
        config = load_config(TrainConfig, arguments)
        return dataclasses.replace(config, resume="auto"), typed_settings(config)
    state = read_newest_state(folder)
    if state is None:
        raise UserError(f"{folder} can't be resumed: it has no state that can be read.")
    stored = state.facts["run"]["settings"]
    names = {one.name for one in dataclasses.fields(TrainConfig)}
    known = {name: value for name, value in stored.items() if name in names}
    return TrainConfig(**(known | {"resume": "auto"})), ()

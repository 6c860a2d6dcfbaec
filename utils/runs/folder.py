"""Folders of training runs: a new one, or one that resumes.

    save_dir/loss_<date>/    a run: settings, history, curves, weights, state
    save_dir/*.weights.h5    the newest run's best and last weights, under names that stay

Each run holds a lock on its folder, and one run at a time that on save_dir: only it puts its
weights there. So runs at the same time don't mix.
"""

import contextlib
import os
import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from errors import UserError
from utils.files import TEMPORARY, whole_file
from utils.messages import say
from utils.runs.lock import FolderLock
from utils.runs.state import State, find_states, read_state

_AHEAD = 300  # seconds by which clocks of machines that share a folder may differ
_BEFORE_AN_EPOCH = re.compile(r"\.lock|settings\.json|plan\.txt|events\.out\.tfevents\..*")
_ATTEMPTS = 3
_CLEARING = 0.1  # seconds in which a process clears a folder
_OLD = 3600  # seconds after which no process still writes a temporary file


class Run(NamedTuple):
    """A run's folder, in use by this process.

    Attributes:
        folder: Path.
        state: State to resume from, with arrays; None for a new run.
        public: Path of save_dir, if this run puts its weights there too; else None.
        locks: what keeps other processes away, while it is referred to.
    """

    folder: Path
    state: State | None
    public: Path | None
    locks: tuple


def open_run(save_dir, resume, find_changes, wants_more):
    """Chooses the folder: that of an interrupted run, which resumes, or a new one.

    Resumes the newest run that no process is using, if its state is there and it is
    not finished, or finished with fewer epochs than are wanted now.

    Args:
        save_dir: str or Path.
        resume: "auto", or "never" for a new run in any case.
        find_changes: callable from a State (without arrays) to a list of texts, what has
            changed since in a way that keeps the run from resuming.
        wants_more: callable from the State of a finished run to whether it should be trained
            on. It may raise UserError.

    Returns:
        Run.

    Raises:
        UserError: if the newest run is unfinished, but something has changed; or its states are
            damaged and no other resumes.
        OSError: if save_dir can't be written.
    """
    save_dir = Path(save_dir)
    save_dir.mkdir(parents=True, exist_ok=True)
    public_lock = FolderLock(save_dir)
    public = save_dir if public_lock.held else None
    clear_dead_runs(save_dir)
    if public:
        remove_temporaries(save_dir, shared=True)
    else:
        say(f"Another training is using {save_dir}: weights of this one stay in its own folder.")
    found = _find_interrupted(save_dir, find_changes, wants_more) if resume == "auto" else None
    if found:
        folder, lock = found
        remove_temporaries(folder)
        state = read_state(folder)
        say(f"Resuming {folder} after epoch {state.epoch}.")
    else:
        (folder, lock), state = _make_locked_folder(save_dir), None
    return Run(folder, state, public, (public_lock, lock))


def _find_interrupted(save_dir, find_changes, wants_more):
    """(folder, its lock) of the run to resume, or None."""
    refusal = broken = None
    folders = sorted(save_dir.glob("loss_*"), key=_age)
    if folders and -_age(folders[0]) > (time.time() + _AHEAD) * 1e9:
        say(
            f"note: by this machine's clock {folders[0]} is of the future, so that which run is "
            "the newest can't be told. If another than it should resume, move it away."
        )
    for folder in folders:
        if not find_states(folder):
            continue
        lock = FolderLock(folder)
        state = read_state(folder, with_arrays=False) if lock.held else None
        if state is None:  # in use, or damaged
            broken = broken or (folder if lock.held else None)
            lock.release()
            continue
        changes = find_changes(state)
        finished = state.facts["finished"]
        more = finished and not changes and wants_more(state)
        if not changes and (not finished or more):
            return folder, lock
        lock.release()
        if finished:
            if not refusal:
                say(f"{folder} is finished, with {state.epoch} epochs. This is a new run.")
            break  # earlier ones were abandoned when that one was started
        refusal = refusal or (folder, state.epoch, changes)
    if refusal:
        folder, epoch, changes = refusal
        raise UserError(
            f"{folder} was interrupted after epoch {epoch} and can't resume, because something "
            f"has changed: {'; '.join(changes)}. Change it back to resume, or start anew with "
            "resume=never (its files stay)."
        )
    if broken:
        raise UserError(
            f"{broken} can't resume, because none of its state files can be read. Its files stay: "
            "put back a copy of its newest state_ep....h5 if you have one; or start anew with "
            f"--resume never, from its weights with --model_path {broken}/"
            "last_epoch_weights.weights.h5."
        )
    return None


def newest_run(save_dir):
    """The run that was begun or went on last, of those with a state.

    Returns:
        (its folder, its `State` without arrays), or (None, None) if there is none.
    """
    for folder in sorted(Path(save_dir).glob("loss_*"), key=_age):
        if find_states(folder) and (state := read_state(folder, with_arrays=False)):
            return folder, state
    return None, None


def _age(folder):
    return -folder.stat().st_mtime_ns


def make_run_folder(save_dir):
    """Makes a folder of its own for a run, named by the time."""
    stamp = time.strftime("loss_%Y_%m_%d_%H_%M_%S")
    for attempt in range(1, 1000):
        folder = Path(save_dir) / (stamp if attempt == 1 else f"{stamp}_{attempt}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise OSError(f"{save_dir} holds a thousand runs of this second.")


def _make_locked_folder(save_dir):
    """(folder, its lock) of a new run; anew where another process has cleared it meanwhile."""
    for _ in range(_ATTEMPTS):
        folder = make_run_folder(save_dir)
        try:
            lock = FolderLock(folder)
        except FileNotFoundError:
            continue
        if not lock.held:
            time.sleep(_CLEARING)  # or the file system knows no locks, and nobody clears
        if (folder / ".lock").exists():
            return folder, lock
    raise OSError(f"{folder} vanished while it was made. Does another process clear {save_dir}?")


def clear_dead_runs(save_dir):
    """Removes what killed runs left half-written, and folders of those that saved nothing.

    A run is dead if its lock is free. A folder that holds anything but what a run writes before
    its first epoch is over is kept.
    """
    for folder in Path(save_dir).glob("loss_*"):
        if not (folder / ".lock").is_file():  # of an earlier version, or none of ours
            continue
        lock = FolderLock(folder)
        if not lock.held:
            continue
        remove_temporaries(folder)
        paths = list(folder.iterdir())
        if all(path.is_file() and _BEFORE_AN_EPOCH.fullmatch(path.name) for path in paths):
            lock.release()  # Windows removes no open file
            for path in paths:
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another process is in it
                folder.rmdir()
        lock.release()


def discard(run):
    """Removes the folder of a new run that came to nothing, if it holds nothing."""
    if run.state is None and {path.name for path in run.folder.iterdir()} == {".lock"}:
        run.locks[1].release()
        (run.folder / ".lock").unlink()
        run.folder.rmdir()


def remove_temporaries(folder, shared=False):
    """Removes what a killed process left half-written; the folder must be locked.

    Args:
        folder: Path.
        shared: bool, whether processes without the lock write there, all but weights: their
            files are left unless they are old.
    """
    for path in Path(folder).glob(".*"):
        left = TEMPORARY.fullmatch(path.name) and (not shared or _is_old(path))
        if path.suffix == ".h5" or left:
            path.unlink(missing_ok=True)


def _is_old(path):
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > _OLD
    return False


def publish(path, target):
    """Gives a file a second name, atomically: a link where the file system has them."""
    with whole_file(target) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copy2(path, temporary)


def withdraw(target):
    """Removes a published name of an earlier run, if that run's folder still has the file."""
    target = Path(target)
    for path in target.parent.glob(f"loss_*/{target.name}"):
        old, new = path.stat(), target.stat() if target.exists() else None
        if new and (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns):
            target.unlink()
            return

"""Cross-validation: train.py --folds 5 trains five networks, each validated on other images.

    save_dir/fold_0/    a run of its own: lists, weights, loss_<date>/
    save_dir/folds.csv  the scores of all, their mean and deviation; folds.json, folds.png

Each fold is a process of its own, the same script with other lists: its memory is free again
when it ends, and whatever ends it leaves the others alone. Needs no Keras.
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from errors import UserError
from training.resuming import changes_since, to_json
from utils.config import to_arguments, typed_settings
from utils.data.fold_lists import read_folds
from utils.data.lists import write_lines
from utils.data.voc import Samples
from utils.distributed.job import count_tf_workers, read_job
from utils.messages import say
from utils.runs.fold_scores import format_folds, read_fold, write_folds
from utils.runs.folder import newest_run
from utils.runs.lock import FolderLock
from utils.runs.resume import describe_run, wants_more
from utils.script import Terminated

_PATIENCE = 10.0  # seconds in which a fold ends that has got the same Ctrl-C


class Fold(NamedTuple):
    """One training of a cross-validation.

    Attributes:
        folder: Path, what is its save_dir.
        samples: `utils.data.voc.Samples`.
    """

    folder: Path
    samples: Samples


def check_folds(folds):
    """Raises UserError unless there are folds to compare, or none are asked for."""
    if folds < 0 or folds == 1:
        raise UserError(
            "folds must be at least 2, so that each image trains and validates, or 0 for one "
            f"training; got {folds}."
        )


def train_folds(config, script):
    """Trains the folds that are not finished yet, one after the other, and sums up all.

    Args:
        config: the settings of train.py, with `folds` of 2 or more.
        script: str or Path of train.py.

    Returns:
        int, exit status: 0, or that of a fold that failed.

    Raises:
        UserError: for lists that make no folds, and where an interrupted fold can't go on.
    """
    folds, where_from = _find_folds(config)
    # What can't go on is known before the hours that the folds before it take.
    finished = [_is_finished(fold, _settings_of(fold, folds, config)) for fold in folds]
    for fold in folds:
        fold.folder.mkdir(parents=True, exist_ok=True)
        _lock(fold.folder).release()  # a fold may outlive the process that started it
    lock = _lock(Path(config.save_dir))
    say(where_from)
    if config.time_limit:
        share = config.time_limit / config.folds
        say(f"Each fold has {share:.3g} of the {config.time_limit:g} minutes.")
    for fold, done in zip(folds, finished, strict=True):
        counts = f"{len(fold.samples.train)} images train, {len(fold.samples.val)} validate"
        note = "; finished already." if done else ""
        say(f"\n=== {fold.folder}: {counts}{note}")
        if done:
            continue
        # What was typed counts for a plan, and the copy does not know it.
        arguments = to_arguments(_settings_of(fold, folds, config), typed_settings(config))
        if status := _train(fold, [sys.executable, str(script), *arguments]):
            again = "same command" if config.resume == "auto" else "command without resume=never"
            say(f"\n{fold.folder} broke off, see above. The {again} goes on with it.")
            return status
    lock.release()
    _sum_up(folds, Path(config.save_dir))
    return 0


def _sum_up(folds, save_dir):
    scores = [read_fold(fold.folder) for fold in folds]
    write_folds(scores, save_dir)
    say("\n" + format_folds(scores, save_dir))


def _find_folds(config):
    """(list of Fold, where their images come from, for the user)."""
    if read_job(os.environ) or count_tf_workers(os.environ) > 1:
        raise UserError(
            "folds are trained on one machine, and the environment names several. Unset its "
            "variables, or train each fold by itself: --train_list train_0 --val_list val_0."
        )
    samples, where_from = read_folds(
        config.VOCdevkit_path, config.train_list, config.val_list, config.folds, config.seed
    )
    save_dir = Path(config.save_dir)
    folds = [Fold(save_dir / f"fold_{index}", one) for index, one in enumerate(samples)]
    known = {fold.folder for fold in folds}
    others = sorted({run.parent for run in save_dir.glob("fold_*/loss_*")} - known)
    if others:  # by the pattern that names the weights of all folds, theirs would be taken too
        raise UserError(
            f"folds is {config.folds}, but {save_dir} holds the runs of others: "
            f"{', '.join(path.name for path in others)}. Move them away, or give another save_dir."
        )
    return folds, where_from


def _settings_of(fold, folds, config):
    """The settings of one fold. All have the first one's plan, so that they can be compared."""
    changes = {
        "folds": 0,
        "time_limit": config.time_limit / config.folds,
        "save_dir": str(fold.folder),
        "train_list": str(fold.folder / "train.txt"),
        "val_list": str(fold.folder / "val.txt"),
    }
    if config.plan != "off" and fold is not folds[0]:
        _, state = newest_run(folds[0].folder)
        if state and state.facts.get("plan"):
            changes |= {"plan": "off", **state.facts["plan"]}
    return dataclasses.replace(config, **changes)


def _is_finished(fold, config):
    """Whether a fold is finished with these settings.

    Raises:
        UserError: if it was interrupted and can't go on with them.
    """
    folder, state = (None, None) if config.resume == "never" else newest_run(fold.folder)
    if state is None:
        return False
    described = describe_run(to_json(config), *fold.samples)
    changes = changes_since(state, config, described)
    if state.facts["finished"]:
        return not changes and not wants_more(state, config)
    if changes:
        raise UserError(
            f"{folder} was interrupted after epoch {state.epoch} and can't resume, because "
            f"something has changed: {'; '.join(changes)}. Change it back to resume, or give "
            "another save_dir, or start all folds anew with resume=never (the files stay)."
        )
    return False


def _train(fold, words):
    """Trains one fold in a process of its own, by this command; returns its exit status."""
    for name, samples in zip(("train", "val"), fold.samples, strict=True):
        write_lines(fold.folder / f"{name}.txt", [sample.name for sample in samples])
    process = subprocess.Popen(words)
    try:
        status = process.wait()
    except KeyboardInterrupt as stop:
        _end(process, stop)
        raise
    return status if status >= 0 else 128 - status


def _end(process, stop):
    """Has a fold end as this process is to: by a signal of its own, unless it has got the same."""
    try:
        if isinstance(stop, Terminated):
            process.send_signal(stop.number)
        else:
            process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:  # Ctrl-C reaches both, kill -INT only this one
        process.terminate()
    try:
        process.wait(3 * _PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _lock(folder):
    """A `FolderLock` that is held; raises UserError where another process holds it."""
    lock = FolderLock(folder)
    if not lock.held:
        raise UserError(
            f"Another training is using {folder}. Wait for it to end, or end it; or give another "
            "save_dir."
        )
    return lock

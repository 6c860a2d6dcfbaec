"""The whole state of a training run as one file, so that the run can resume from it.

`state_ep0012.h5` holds the state after 12 epochs: arrays (weights, optimizer) and facts
(epoch, settings, best scores, history) as JSON. The last two are kept, and of a finished run
the last. Behind the HDF5 content, which ends before it, a checksum of all of it stands.
"""

import hashlib
import io
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from utils.files import whole_file
from utils.messages import say

_SUM = b"unet-keras sum\0\0"  # and 32 bytes; files of earlier versions end without it
_SUM_LENGTH = len(_SUM) + 32
_PART = 2**20  # bytes that are read at a time
_NAME = re.compile(r"state_ep(\d+)\.h5")


class State(NamedTuple):
    """A run after some epochs.

    Attributes:
        epoch: int, epochs done, over both phases.
        facts: dict of what JSON can hold, with `finished`, a bool.
        arrays: dict from a name to a list of arrays.
    """

    epoch: int
    facts: dict
    arrays: dict


def save_state(folder, state):
    """Writes a State into a run's folder, whole or not at all; removes those before the last."""
    folder = Path(folder)
    path = folder / f"state_ep{state.epoch:04d}.h5"
    content = io.BytesIO()  # HDF5 itself crashes the process where a disk is full
    with h5py.File(content, "w") as file:
        file.attrs["facts"] = json.dumps(state.facts)
        file.attrs["checksum"] = "blake2b, behind the content"
        for name, arrays in state.arrays.items():
            group = file.create_group(name)
            for index, array in enumerate(arrays):
                group.create_dataset(str(index), data=np.asarray(array))
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content.getbuffer())
        file.write(_SUM + hashlib.blake2b(content.getbuffer(), digest_size=32).digest())
        file.flush()
        os.fsync(file.fileno())
    kept = 1 if state.facts["finished"] else 2
    for epoch, older in find_states(folder)[kept:]:
        if epoch < state.epoch:
            older.unlink(missing_ok=True)


def find_states(folder):
    """[(epoch, Path)] of a run's state files, the newest first."""
    found = []
    for path in Path(folder).glob("state_ep*.h5"):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append((int(match[1]), path))
    return sorted(found, reverse=True)


def read_state(folder, with_arrays=True):
    """Reads the newest state of a run's folder that is whole.

    Args:
        folder: str or Path.
        with_arrays: bool; False reads the facts alone.

    Returns:
        State, or None if the folder has none.
    """
    for epoch, path in find_states(folder):
        try:
            has_sum = _check_sum(path)
            with h5py.File(path, "r") as file:
                if "checksum" in file.attrs and not has_sum:
                    raise ValueError("Its end is cut off.")
                facts = json.loads(file.attrs["facts"])
                names = list(file) if with_arrays else []
                arrays = {
                    name: [file[name][str(index)][()] for index in range(len(file[name]))]
                    for name in names
                }
            if not isinstance(facts["finished"], bool):
                raise ValueError("It does not say whether the run is finished.")
            return State(epoch, facts, arrays)
        except Exception:  # h5py raises all kinds for a file that is damaged
            # A disk may lose what it said it had written; the one before is there for that.
            say(f"{path} is broken and is passed over.")
    return None


def _check_sum(path):
    """Whether a file ends with a checksum; raises ValueError if that differs."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END) - _SUM_LENGTH
        file.seek(max(size, 0))
        end = file.read()
        if not end.startswith(_SUM):
            return False  # of an earlier version, or cut off
        file.seek(0)
        digest, left = hashlib.blake2b(digest_size=32), size
        while left:
            part = file.read(min(left, _PART))
            digest.update(part)
            left -= len(part)
    if digest.digest() != end[len(_SUM) :]:
        raise ValueError("Its checksum differs.")
    return True

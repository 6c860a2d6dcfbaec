"""What trials of engines have found on this machine, in Keras' folder of the user. No Keras."""

import importlib.metadata
import json
import os
import platform
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nets.processor import hardware_names
from training.engine import Engine, parse_engine
from training.engine_trial import Outcome
from utils.files import home_folder, write_json
from utils.parallel import worker_count


def notes_path():
    """Path of the file that keeps what was measured."""
    return keras_folder() / "unet_training_engines.json"


def keras_folder():
    """Path of Keras' folder of the user."""
    return Path(os.environ.get("KERAS_HOME") or home_folder() / ".keras")


def write_outcome(key, outcome):
    """Notes an Outcome; where that is not possible, it is measured again."""
    note = {"engine": str(outcome.engine), "seconds": outcome.seconds, "failed": outcome.failed}
    with suppress(OSError):
        write_json(notes_path(), _read_notes() | {key: note})


def _read_notes():
    with suppress(OSError, ValueError, TypeError, RecursionError):
        return dict(json.loads(notes_path().read_text(encoding="utf-8")))
    return {}


def read_outcome(key):
    """The `training.engine_trial.Outcome` that is noted; None without one, or for what is none."""
    note = _read_notes().get(key)
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        seconds = {str(name): float(value) for name, value in note["seconds"].items()}
        return Outcome(parse_engine(note["engine"]), seconds, bool(note["failed"]))
    return None


def note_key(network, batch_size, usual, changes):
    """What a trial is good for: this machine, these versions, this network, size and batch."""
    machine = (
        platform.node(), platform.machine(), hardware_names()[0], f"{worker_count(0)} processors",
    )  # fmt: skip
    versions = [f"{name} {_version(name)}" for name in ("tensorflow", "keras")]
    described = [
        network.backbone, f"width {network.width}", f"decoder {network.decoder_width}",
        network.decoder_norm, f"{network.num_classes} classes", f"{network.in_channels} channels",
        "x".join(map(str, network.input_shape)), f"batch {batch_size}", network.precision,
        *(["recompute"] if network.recompute else ()),
    ]  # fmt: skip
    tried = ", ".join(str(replace(Engine(), **change)) for change in changes)
    return " | ".join((*machine, *versions, *described, f"{usual}: {tried}"))


def _version(package):
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return "of another package"

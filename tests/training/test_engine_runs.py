"""Whole runs and their engines: stored, kept, measured for real, and ended with the run."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import train
from nets.unet import Unet
from training.network import build_network
from training.settings import NetworkSettings
from utils.runs.callbacks import EpochOfDataset
from utils.runs.state import read_state, save_state

PROJECT = Path(train.__file__).parent


def folder_of(settings):
    (folder,) = Path(settings.save_dir).glob("loss_*")
    return folder


def layout(path):
    """{name: (shape, type)} of all that a weights file holds."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, one: (
                found.update({name: (one.shape, one.dtype)})
                if isinstance(one, h5py.Dataset)
                else None
            )
        )
    return found


@pytest.mark.parametrize("start", [False, True], ids=["from scratch", "from a file"])
def test_both_forms_of_the_decoder_start_from_the_same_weights(start, start_weights):
    settings = NetworkSettings(
        num_classes=3, width=8, val_input_shape=(32, 32), precision="float32"
    )
    path = start_weights() if start else ""
    models = [build_network(settings, path, fused=fused)[0] for fused in (True, False)]
    fused, plain = (model.get_weights() for model in models)
    for one, other in zip(fused, plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [model.get_layer("decoder1_conv1").fused for model in models] == [True, False]


@pytest.mark.usefixtures("quick")
def test_an_engine_is_stored_with_the_run_and_changes_no_file(train_config, tmp_path):
    # Adam would make steps of the same size of what rounding leaves of a gradient.
    options = {"optimizer_type": "sgd", "freeze_train": False, "save_period": 0}
    runs = [
        train_config(engine=engine, save_dir=tmp_path / engine, **options)
        for engine in ("fixed", "three_layers")
    ]
    for settings in runs:
        train.main(settings)
        folder = folder_of(settings)
        saved = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        assert saved["engine"] == read_state(folder).facts["engine"] == settings.engine
    files = [{path.name for path in folder_of(settings).rglob("*.h5")} for settings in runs]
    assert files[0] == files[1]
    paths = [folder_of(settings) / "last_epoch_weights.weights.h5" for settings in runs]
    assert layout(paths[0]) == layout(paths[1])
    one, other = (read_state(folder_of(settings)).arrays["weights"] for settings in runs)
    for array, expected in zip(one, other, strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("quick")
def test_a_run_that_resumes_ends_with_the_weights_of_its_engine(
    train_config, tmp_path, monkeypatch
):
    options = {"freeze_train": False, "eval_flag": False, "save_period": 0}
    whole = train_config(engine="three_layers", save_dir=tmp_path / "whole", **options)
    train.main(whole)
    begun = train_config(engine="three_layers", save_dir=tmp_path / "begun", **options)
    begin = EpochOfDataset.on_epoch_begin

    def interrupt_the_second(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EpochOfDataset, "on_epoch_begin", interrupt_the_second)
        train.main(begun)
    built = []

    def build(*args, fused=True, **kwargs):
        built.append(fused)
        return Unet(*args, fused=fused, **kwargs)

    monkeypatch.setattr("nets.unet.Unet", build)
    train.main(train_config(engine="auto", save_dir=tmp_path / "begun", **options))
    assert built == [False]
    one, other = (read_state(folder_of(settings)) for settings in (whole, begun))
    assert one.epoch == other.epoch == 2
    assert other.facts["engine"] == "three_layers"
    for name in ("weights", "optimizer"):
        for array, expected in zip(one.arrays[name], other.arrays[name], strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.usefixtures("quick")
def test_a_run_of_an_earlier_version_goes_on_as_it_began(train_config):
    options = {"freeze_train": False, "eval_flag": False, "save_period": 0}
    settings = train_config(**options)
    train.main(settings)
    folder = folder_of(settings)
    state = read_state(folder)
    assert state.facts.pop("engine") == "fixed"  # which earlier versions did not write
    del state.facts["run"]["settings"]["engine"]
    save_state(folder, state)
    train.main(train_config(unfreeze_epoch=3, engine="three_layers", **options))
    assert read_state(folder).epoch == 3
    assert read_state(folder).facts["engine"] == "fixed"


# Real trials, in processes of their own: TensorFlow is loaded here.

TRAIN = """
import json, sys
from training import engine_choice, engine_trial
from utils.config import run_script
engine_choice._LONG = 0  # seconds
engine_choice.uses_onednn = lambda: False
import train
values = json.loads(sys.argv[1])
run_script(lambda: train.main(train.TrainConfig(**values)))
"""


def start(settings, keras_home):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_"))
    }
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, json.dumps(train.to_json(settings))],
        cwd=PROJECT,
        env=environment | {"KERAS_HOME": str(keras_home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.system
def test_a_real_run_is_measured_and_the_next_takes_its_note(train_config, tmp_path):
    lines, engines = [], []
    for number in range(2):
        settings = train_config(save_dir=tmp_path / str(number), freeze_train=False)
        process = start(settings, tmp_path / "keras")
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, out
        (line,) = (line for line in out.splitlines() if line.startswith("engine: "))
        lines.append(line)
        engines.append(read_state(folder_of(settings)).facts["engine"])
    path = tmp_path / "keras" / "unet_training_engines.json"
    ((key, note),) = json.loads(path.read_text(encoding="utf-8")).items()
    assert engines == [note["engine"]] * 2
    assert key.endswith("32x32 | batch 2 | float32 | fixed: onednn, three_layers")
    assert not note["failed"]
    assert re.search(rf"measured in \d+ s, noted in {re.escape(str(path))}\)\.$", lines[0])
    assert lines[1] == re.sub(r"measured in \d+ s, ", "", lines[0])


def trials_of(number):
    """The numbers of the trials that a process has begun and that have not ended.

    It has other children too, when packages that it imports ask what machine this is.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            command = (path / "cmdline").read_bytes()  # nothing of those that have ended
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == number and b"training.engine_steps" in command:
            found.append(int(path.name))
    return found


@pytest.mark.system
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="not Linux")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_trial_ends_with_its_run(train_config, tmp_path, number):
    process = start(train_config(), tmp_path / "keras")
    deadline = time.monotonic() + 120
    while not (trials := trials_of(process.pid)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}.get(number, -number), out
    assert "Traceback" not in out
    while any(Path(f"/proc/{trial}").exists() for trial in trials):  # they see their input end
        assert time.monotonic() < deadline + 120
        time.sleep(0.1)
    assert not (tmp_path / "keras" / "unet_training_engines.json").exists()

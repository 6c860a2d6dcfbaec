"""Several devices and several processes: the weights of one device, and ends that are clear."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import train
from errors import RunError, UserError
from utils.distributed.devices import Devices
from utils.distributed.distribution import is_lost, open_devices
from utils.distributed.job import Job, read_job
from utils.runs.state import find_states, read_state

PROJECT = Path(train.__file__).parent
NAMES = [f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")]


def job(*values):
    """The environment of a process; None: not set."""
    return {name: value for name, value in zip(NAMES, values, strict=True) if value is not None}


# What the environment says


def test_a_job_is_read_from_the_variables_of_keras():
    assert read_job({}) is None
    assert read_job(job("10.0.0.1:1234", "2", "1")) == Job("10.0.0.1:1234", 2, 1)
    assert read_job(job("a:1,b:2,c:3", "3", "0")) == Job("a:1", 3, 0)
    assert read_job(job("a:1", "1", "0")) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("a:1", None, None), r"KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_"),
        ((None, "2", "0"), r"several machines KERAS_DISTRIBUTION_JOB_ADDRESSES must be set too"),
        (("a:1", "2", "2"), r"PROCESS_ID must be 0 to .*; got 2, 2 and a:1\."),
        (("a:1", "2", "-1"), r"PROCESS_ID must be 0 to .*; got -1, 2 and a:1\."),
        (("a:1", "two", "0"), r"PROCESS_ID must be 0 to .*; got 0, two and a:1\."),
        (("a:1,b:1", "3", "0"), r"or one per process; got 0, 3 and a:1,b:1\."),
        (("a", "2", "0"), r"must name a port, as in 10\.0\.0\.1:1234; got a\."),
    ],
)
def test_a_job_that_can_not_be_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        read_job(job(*values))


CLUSTER = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'


@pytest.mark.parametrize("variables", [job("a:1", "2", "1"), {"TF_CONFIG": CLUSTER}])
def test_tensorflow_is_refused_on_several_machines(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(UserError, match=r"issues/20585\)\. .* set KERAS_BACKEND=jax"),
        open_devices(1),
    ):
        pass


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"cluster": {"worker": ["a:1"]}}'])
def test_another_tf_config_is_no_matter(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with open_devices(1) as devices:
        assert (devices.count, devices.processes, devices.chief) == (1, 1, True)


def test_more_devices_than_there_are_are_refused():
    with (
        pytest.raises(UserError, match=r"devices is 99, but this machine has \d+ \(.*:0"),
        open_devices(99),
    ):
        pass


def test_backends_without_distribution_are_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(UserError, match=r"the backend is torch\. .* devices=1"), open_devices(2):
        pass


# One device


def test_one_device_changes_nothing():
    devices = Devices()
    assert devices.total is None
    assert devices.gather("value") == ["value"]
    assert devices.from_chief(lambda: "value") == "value"
    with devices.scope(), devices.alone():
        devices.check("unfreeze_batch_size", 7, accumulate_steps=3)


@pytest.mark.parametrize(
    ("count", "size", "advice"), [(2, 5, "Take 4 or 6."), (4, 3, "Take 4."), (4, 9, "Take 8 or 12")]
)
def test_a_batch_that_devices_can_not_share_is_refused(count, size, advice):
    devices = Devices()
    devices.count = count
    with pytest.raises(
        UserError, match=f"^unfreeze_batch_size is {size}, which {count} .*{advice}"
    ):
        devices.check("unfreeze_batch_size", size)
    devices.check("unfreeze_batch_size", 2 * count)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("Gloo AllGather failed: Connection closed by peer [10.0.0.2]:1"), True),
        (ValueError("UNKNOWN: Gloo AllGather failed: Read error"), True),
        (RuntimeError("UNAVAILABLE: Failed to send RPC to coordination service"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), False),
        (UserError("connection.jpg can't be read"), False),
        (RunError("connection"), False),
    ],
)
def test_what_shows_that_another_process_is_gone(error, lost):
    assert is_lost(error) is lost


# Trainings, as processes of their own: devices can be made up only before a backend starts


@pytest.fixture
def settings(voc_dir, write_list):
    """Options of a tiny training whose last batch is odd, in validation even."""
    write_list(voc_dir, "train", ["train_a", "train_b", "train_c"])
    write_list(voc_dir, "pair", ["train_a", "train_b"])
    return {
        "VOCdevkit_path": str(voc_dir),
        "num_classes": 3,
        "model_path": "",
        "input_shape": (32, 32),
        "width": 4,
        "precision": "float32",
        "unfreeze_epoch": 2,
        "eval_period": 1,
        "save_period": 0,
        "init_lr": 1e-3,
    }


@pytest.fixture(scope="module")
def jax_environment(tmp_path_factory):
    """The environment of a process on JAX; what one has compiled, others need not."""
    return os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


BEGIN = """
import sys
from pathlib import Path
import train
from errors import UserError
from utils.runs import callbacks

def run(name, **changes):
    train.main(train.TrainConfig(**(settings | {"save_dir": f"{folder}/{name}"} | changes)))

def refuse(text, **changes):
    try:
        run("refused", **changes)
    except UserError as error:
        assert text in str(error), error
        assert not list(Path(folder, "refused").glob("loss_*"))
    else:
        raise AssertionError("was not refused")

def run_in_two(name, **changes):
    "A training that Ctrl-C interrupts as its second epoch begins, and that goes on."
    begin = callbacks.EpochOfDataset.on_epoch_begin
    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        begin(self, epoch, logs)
    callbacks.EpochOfDataset.on_epoch_begin = interrupt
    try:
        run(name, **changes)
    except KeyboardInterrupt:
        callbacks.EpochOfDataset.on_epoch_begin = begin
    else:
        raise AssertionError("was not interrupted")
    run(name, **changes)
"""
MIRRORED = """
import tensorflow
(cpu,) = tensorflow.config.list_physical_devices("CPU")
half = tensorflow.config.LogicalDeviceConfiguration()
tensorflow.config.set_logical_device_configuration(cpu, [half, half])
run("one")
run_in_two("two", devices=2)
focal = {"focal_loss": True, "dice_loss": False, "border_weight": 10.0}
run("focal", **focal)
run("focal_two", devices=0, **focal)
# Two images: what an odd batch is filled up with would count in batch normalization.
resnet = {"backbone": "resnet50", "train_list": "pair"}
# A small rate: over few pixels, batch normalization makes rounding errors grow with each step.
# Were it not of the whole batch, its statistics would differ at any rate.
resnet |= {"input_shape": (64, 64), "ema_momentum": 0.9, "optimizer_type": "sgd"}
resnet["init_lr"] = 1e-5
run("resnet", **resnet)
run("resnet_two", devices=2, **resnet)
refuse("can't share equally: it counts", devices=2, unfreeze_batch_size=3)
refuse("Set accumulate_steps to 1", devices=2, accumulate_steps=2)
"""
SHARDED = """
run("one")
run_in_two("two", devices=2)
run("recomputed", recompute=True)
refuse("can't share equally: it counts", devices=2, unfreeze_batch_size=3)
averaged = {"ema_momentum": 0.9, "border_weight": 10.0}
run("averaged", **averaged)
run("averaged_two", devices=2, **averaged)
run("bfloat16", precision="mixed_bfloat16")
run_in_two("bfloat16_two", precision="mixed_bfloat16")
"""


def run_script(script, settings, folder, environment):
    begin = f"settings, folder = {settings!r}, {str(folder)!r}\n{BEGIN}"
    done = subprocess.run(
        [sys.executable, "-c", begin + script],
        cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def arrays(save_dir):
    (folder,) = Path(save_dir).glob("loss_*")
    found = read_state(folder).arrays
    return found["weights"] + found["optimizer"]


def assert_equal_arrays(folder, one, other, tolerance=1e-5):
    pairs = zip(arrays(folder / one), arrays(folder / other), strict=True)
    for expected, found in pairs:
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def scores(folder, name):
    (path,) = (folder / name).glob("loss_*/history.csv")
    return np.genfromtxt(path, delimiter=",", names=True)


def assert_equal_scores(folder, one, other):
    one, other = scores(folder, one), scores(folder, other)
    for name in ("loss", "batch_miou", "val_miou", "val_loss"):
        np.testing.assert_allclose(other[name], one[name], rtol=0, atol=1e-4)


@pytest.mark.system
def test_two_devices_of_tensorflow_train_as_one(settings, tmp_path):
    out = run_script(MIRRORED, settings, tmp_path, os.environ)
    assert out.count("after epoch 1.") == 1
    assert_equal_arrays(tmp_path, "one", "two")
    assert_equal_scores(tmp_path, "one", "two")
    assert_equal_arrays(tmp_path, "focal", "focal_two")
    assert_equal_arrays(tmp_path, "resnet", "resnet_two")


@pytest.mark.system
def test_two_devices_of_jax_train_as_one(settings, tmp_path, jax_environment):
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    out = run_script(SHARDED, settings, tmp_path, jax_environment | two)
    assert out.count("after epoch 1.") == 2
    assert_equal_arrays(tmp_path, "one", "two")
    assert_equal_scores(tmp_path, "one", "two")
    assert_equal_arrays(tmp_path, "one", "recomputed")
    assert_equal_arrays(tmp_path, "averaged", "averaged_two")
    assert_equal_arrays(tmp_path, "bfloat16", "bfloat16_two")


def options(settings):
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in settings.items()
    }
    return [f"--{name}={text}" for name, text in texts.items()]


@pytest.fixture
def start(settings, tmp_path, jax_environment):
    """start(): both processes of a training on the loopback address, each with its own files.

    Its first argument is a dict of what process 1 alone has otherwise.
    """
    started = []

    def begin(of_second=None, **changes):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        processes = []
        for process in (0, 1):
            values = settings | changes | ((process and of_second) or {})
            values["save_dir"] = tmp_path / f"save{process}"
            processes.append(
                subprocess.Popen(
                    [sys.executable, PROJECT / "train.py", *options(values)],
                    cwd=tmp_path,
                    env=jax_environment | job(address, "2", str(process)),
                    stdout=open(tmp_path / f"out{process}", "wb"),  # noqa: SIM115
                    stderr=open(tmp_path / f"err{process}", "wb"),  # noqa: SIM115
                )
            )
        started.extend(processes)
        return processes

    yield begin
    for process in started:
        process.kill()
        process.wait()


def epochs_done(save_dir):
    return max(
        (epoch for run in save_dir.glob("loss_*") for epoch, _ in find_states(run)), default=0
    )


@pytest.mark.system
@pytest.mark.skipif(sys.platform == "win32", reason="JAX trains on several machines on Linux")
def test_two_processes_train_as_one_whichever_is_killed(start, settings, tmp_path, jax_environment):
    epochs = 16  # some are done before a kill comes
    for killed in (1, 0):
        processes = start(unfreeze_epoch=epochs)
        before, deadline = epochs_done(tmp_path / "save0"), time.monotonic() + 300
        while epochs_done(tmp_path / "save0") < before + 2:
            assert time.monotonic() < deadline
            assert processes[0].poll() is None, (tmp_path / "err0").read_text()
            time.sleep(0.02)
        processes[killed].kill()
        other = 1 - killed
        assert processes[other].wait(30) == 1
        message = (tmp_path / f"err{other}").read_text()
        assert "error: Another process of this training has ended" in message
        assert "Traceback" not in message
    processes = start(unfreeze_epoch=epochs)
    assert [process.wait(300) for process in processes] == [0, 0], (tmp_path / "err0").read_text()
    out = (tmp_path / "out0").read_text()
    assert re.search(r"Resuming .* after epoch \d+\.", out)
    assert f"epoch {epochs}/{epochs}: loss" in out
    lines = (tmp_path / "out1").read_text().splitlines()
    assert [line for line in lines if not line.startswith("[Gloo]")] == []  # JAX's own
    assert not (tmp_path / "save1").exists()
    run_script('run("one")', settings | {"unfreeze_epoch": epochs}, tmp_path, jax_environment)
    assert_equal_arrays(tmp_path, "one", "save0")
    assert_equal_scores(tmp_path, "one", "save0")


@pytest.mark.system
@pytest.mark.skipif(sys.platform == "win32", reason="JAX trains on several machines on Linux")
def test_two_processes_with_different_settings_are_refused(start, tmp_path):
    processes = start({"init_lr": 0.5})
    assert [process.wait(200) for process in processes] == [2, 2]
    for process in (0, 1):
        message = (tmp_path / f"err{process}").read_text()
        assert "error: All processes must train the same, but init_lr is 0.001 in pro" in message
        assert "process 0, 0.5 in process 1. Start all with" in message
        assert not list(tmp_path.glob("save*/loss_*"))

"""Weights files in the served folders."""

import os

import pytest

from errors import UserError
from webapp.served import Served
from webapp.weights import describe, find_weights


def touch(path, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    os.utime(path, (seconds, seconds))
    return path


def test_the_newest_training_comes_first_and_of_each_the_best(tmp_path):
    logs, models = tmp_path / "logs", tmp_path / "model_data"
    expected = [
        touch(logs / "new" / "best_epoch_weights.weights.h5", 30),
        touch(logs / "new" / "last_epoch_weights.weights.h5", 90),
        touch(models / "other.pth", 60),
        touch(logs / "old" / "best_epoch_weights.weights.h5", 10),
        touch(logs / "old" / "ep002.weights.h5", 20),
    ]
    found = find_weights(Served((logs, models, tmp_path / "missing"), 100))
    assert found == [path.as_posix() for path in expected]


def test_what_is_no_trained_network_is_left_out(tmp_path):
    for name in (
        "state_ep0001.h5", "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "loss.csv",
        "vgg16-397923af.pth", ".hidden/best.weights.h5", "VOC2007/JPEGImages/a.h5",
    ):  # fmt: skip
        touch(tmp_path / name, 1)
    assert find_weights(Served((tmp_path,), 100)) == []


def test_weights_are_described(made_weights):
    assert describe(made_weights) == (
        "3 classes: a, b, c. Encoder vgg; images of three channels, at 32x48 (height x width)."
    )


def test_a_broken_file_is_said_to_be_one(tmp_path):
    path = tmp_path / "broken.weights.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(UserError, match=r"broken\.weights\.h5 is not a weights file, or is broken"):
        describe(path)
    with pytest.raises(UserError, match="No weights file"):
        describe(tmp_path / "missing.weights.h5")

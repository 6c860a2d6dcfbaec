"""Files from elsewhere that can't be used: one clear message, and nothing runs that they hold."""

import importlib.util
import pickle
import re
import zipfile

import h5py
import numpy as np
import pytest
import tf_keras
import torch
from other_networks import keras_2_unet, torch_unet

from errors import UserError
from nets.unet import Unet
from nets.weights.description import Description
from nets.weights.storage import LOADED, NOT_IN_MODEL, load_weights, open_weights, save_weights

DESCRIPTION = Description(3, "vgg", (32, 32), ("a", "b", "c"), width=4)


@pytest.fixture(scope="module")
def keras_2_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "unet.h5"
    keras_2_unet(tf_keras, 3, "vgg").save_weights(path)
    return path


@pytest.fixture
def copy(keras_2_file, tmp_path):
    path = tmp_path / "copy.h5"
    path.write_bytes(keras_2_file.read_bytes())
    return path


def refuse(path, pattern):
    with pytest.raises(UserError, match=pattern) as caught:
        open_weights(path).infer()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


class Bomb:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["unet.h5", "unet.weights.h5", "unet.keras", "unet"])
def test_a_zip_archive(name, tmp_path):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("model.weights.h5", b"weights")
    refuse(tmp_path / name, r"is a zip archive, as \.keras files are\. Expected weights alone")


def test_half_a_zip_archive(tmp_path):
    (tmp_path / "unet.h5").write_bytes(b"PK\x03\x04" + bytes(100))
    refuse(tmp_path / "unet.h5", "is a zip archive")


@pytest.mark.parametrize("name", ["unet.h5", "unet.weights.h5", "unet.pkl"])
def test_a_pickle_is_not_opened(name, tmp_path):
    made = tmp_path / "made"
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(made)))
    refuse(tmp_path / name, "looks like a Python pickle, which may run any code")
    assert not made.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["unet.pth", "unet.pt"])
def test_code_in_a_pytorch_file_does_not_run(name, zipped, tmp_path):
    made = tmp_path / "made"
    torch.save({"a": Bomb(made)}, tmp_path / name, _use_new_zipfile_serialization=zipped)
    refuse(tmp_path / name, r"can't be read as PyTorch weights \(.+\)\. Expected a state dict")
    assert not made.exists()
    pickled = tmp_path / "plain.pth"
    pickled.write_bytes(pickle.dumps(Bomb(made)))
    refuse(pickled, "can't be read as PyTorch weights")
    assert not made.exists()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_pytorch_file(share, zipped, tmp_path):
    path = tmp_path / "unet.pth"
    torch.save(torch_unet(3).state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refuse(path, "can't be read as PyTorch weights")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>" * 50, bytes(1000)])
@pytest.mark.parametrize("name", ["unet.pth", "unet.h5"])
def test_something_else_under_the_name(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, "is not a weights file, or is broken")


@pytest.mark.parametrize("value", [[torch.zeros(1)], torch.zeros(3), {"epoch": 3}, {}])
def test_a_pytorch_file_without_a_state_dict(value, tmp_path):
    torch.save(value, tmp_path / "unet.pth")
    refuse(tmp_path / "unet.pth", "holds no state dict")


def test_a_pytorch_network_with_resnet50(tmp_path):
    torch.save({"resnet.conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "unet.pth")
    refuse(tmp_path / "unet.pth", "with ResNet50, which strides and pads differently")


def test_another_pytorch_network(tmp_path):
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "unet.pth")
    refuse(tmp_path / "unet.pth", r"holds another network: its layers are weight, bias, \.\.\.")


def test_half_a_pytorch_network(tmp_path):
    state = torch_unet(3).state_dict()
    del state["up_concat3.conv2.weight"]
    torch.save(state, tmp_path / "unet.pth")
    stored = open_weights(tmp_path / "unet.pth")
    model = Unet((32, 32, 3), 3, width=4, upsampling="bilinear", unit_range=True)
    with pytest.raises(UserError, match=r"decoder2_conv2 +not in the file"):
        load_weights(model, stored)


def test_pytorch_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    torch.save(torch_unet(3).state_dict(), tmp_path / "unet.pth")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refuse(tmp_path / "unet.pth", "PyTorch is not installed. Run: pip install -r requirements-to")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_keras_2_file(share, copy):
    content = copy.read_bytes()
    copy.write_bytes(content[: int(share * len(content))])
    refuse(copy, "is not a weights file, or is broken")


@pytest.mark.parametrize("shape", [(10**6, 10**6), (3, 3, 3, 10**12), (1,) * 32])
def test_an_absurd_shape(shape, copy):
    with h5py.File(copy, "a") as file:
        group = file["block1_conv1"]
        name = group.attrs["weight_names"][0]
        del group[name]
        group.create_dataset(name, shape, "float32")
    refuse(copy, "is broken: .* far more than the file holds")


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.attrs.update(layer_names=np.array([b"block1_conv1", b"gone"])),
        lambda file: file.attrs.update(layer_names=np.array([1.5, 2])),
        lambda file: file.attrs.update(layer_names=3),
        lambda file: file["block1_conv1"].attrs.update(weight_names=np.array([b"gone"])),
        lambda file: file["block1_conv1"].attrs.pop("weight_names"),
    ],
)
def test_keras_2_files_whose_names_lead_nowhere(change, copy):
    with h5py.File(copy, "a") as file:
        change(file)
    with pytest.raises(UserError) as caught:
        load_whole(copy)
    assert str(copy) in str(caught.value)


def load_whole(path):
    stored = open_weights(path)
    facts = stored.infer()
    return load_weights(Unet((32, 32, 3), facts["num_classes"], width=facts["width"]), stored)


def test_a_classifier_of_keras(tmp_path):
    """It starts as the encoder does, and goes on otherwise."""
    inputs = tf_keras.Input((32, 32, 3))
    x = tf_keras.layers.Conv2D(4, 3, padding="same", name="block1_conv1")(inputs)
    x = tf_keras.layers.Dense(2, name="predictions")(tf_keras.layers.Flatten()(x))
    tf_keras.Model(inputs, x).save_weights(tmp_path / "classifier.h5")
    report = load_weights(
        Unet((32, 32, 3), 2, width=4), tmp_path / "classifier.h5", allow_mismatch=True
    )
    assert report.layers(LOADED) == ["block1_conv1"]
    assert report.layers(NOT_IN_MODEL) == ["predictions"]
    # An encoder alone lacks the decoder; that this lacks most of the encoder is told.
    assert "Warning: beside the head, 13 layers do not fit" in str(report)


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_classes", 4), ("width", 8), ("in_channels", 1), ("backbone", "resnet50")],
)
def test_a_description_that_contradicts_the_layers(name, value, tmp_path):
    path = tmp_path / "unet.weights.h5"
    model = Unet((32, 32, 3), 3, width=4)
    described = DESCRIPTION.to_json() | {name: value}
    save_weights(model, path, Description.from_json(described))
    refuse(path, rf"is broken: it says {name} {re.escape(repr(value))}, but its layers have")


def test_a_description_with_an_unknown_backbone(tmp_path):
    path = tmp_path / "unet.weights.h5"
    save_weights(
        Unet((32, 32, 3), 3, width=4), path, Description(3, "alexnet", (32, 32), ("a", "b", "c"))
    )
    refuse(path, "its description can't be read")

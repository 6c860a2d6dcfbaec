"""Weights files that are damaged or made to harm: one clear message, little memory, no code."""

import io
import os
import pickle
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import tf_keras
import torch

from errors import UserError
from nets.unet import Unet
from nets.weights.description import Description
from nets.weights.storage import load_weights, open_weights, save_weights


@pytest.fixture(scope="module")
def network():
    return Unet((32, 32, 3), 3, width=1)


@pytest.fixture(scope="module")
def content(network, tmp_path_factory):
    """The bytes of a good file."""
    path = tmp_path_factory.mktemp("good") / "unet.weights.h5"
    save_weights(network, path, Description(3, "vgg", (32, 32), ("a", "b", "c"), width=1))
    return path.read_bytes()


@pytest.fixture
def path(content, tmp_path):
    path = tmp_path / "unet.weights.h5"
    path.write_bytes(content)
    return path


def refusal(path):
    with pytest.raises(UserError) as caught:
        open_weights(path).infer()
    text = str(caught.value)
    assert text.isprintable() and str(path) in text
    return text


# HDF5


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bits_are_refused_or_change_numbers_alone(network, content, path, seed):
    places = [index for index in range(len(content) - 4)
              if content[index : index + 4] in (b"TREE", b"HEAP", b"SNOD", b"\x89HDF")]  # fmt: skip
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(30):
        damaged = bytearray(content)
        for place in rng.choice(places, 2):
            damaged[min(place + rng.integers(600), len(damaged) - 1)] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            stored = open_weights(path)
            stored.infer()
            load_weights(network, stored, allow_mismatch=True)
        except UserError:
            refused += 1
    assert refused > 3


def test_a_file_that_inflates_is_refused_before_it_takes_memory(path):
    with h5py.File(path, "a") as file:  # 400 MB of zeros in about 0.4 MB
        options = {"chunks": (2**20,), "compression": "gzip"}
        file.create_dataset("layers/more/vars/0", 10**8, "float32", fillvalue=0, **options)
    assert "far more than the file holds" in refusal(path)


def test_many_names_of_one_array_are_counted_each(path):
    with h5py.File(path, "a") as file:
        group = file.create_group("layers/more/vars")
        group["0"] = np.zeros(2**21, np.float32)
        for index in range(1, 40):
            group[str(index)] = group["0"]  # a hard link
    assert "far more than the file holds" in refusal(path)


def test_a_chunk_counts_as_a_whole(path):
    with h5py.File(path, "a") as file:
        group = file.create_group("layers/more/vars")
        group.create_dataset("0", (4,), "float32", maxshape=(None,), chunks=(2**28,))
    assert "far more than the file holds" in refusal(path)


@pytest.mark.parametrize("link", ["external", "soft"])
def test_links_are_not_followed(path, tmp_path, link):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones(3)
    with h5py.File(path, "a") as file:
        group = file.create_group("layers/more/vars")
        group["0"] = (
            h5py.ExternalLink(other, "/secret") if link == "external" else h5py.SoftLink("/layers")
        )
    assert "/layers/more/vars/0 is a link, which weights files have none of." in refusal(path)


def test_arrays_that_lie_in_other_files_are_not_read(path, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(12))
    with h5py.File(path, "a") as file:
        file.create_dataset(
            "layers/more/vars/0", 3, "float32", external=[(str(tmp_path / "raw"), 0, 12)]
        )
    assert "lies in another file, which those of weights never do." in refusal(path)


def test_arrays_of_something_else_than_numbers(path):
    with h5py.File(path, "a") as file:
        file.create_dataset("layers/more/vars/0", data=["text"], dtype=h5py.string_dtype())
    assert "holds object. Expected arrays of numbers." in refusal(path)


def test_names_that_come_twice(tmp_path):
    path = tmp_path / "unet.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"block1_conv1", b"block1_conv1"])
        file.create_group("block1_conv1").attrs["weight_names"] = np.array([b"a"])
    assert "layer_names names something twice" in refusal(path)


def test_names_without_end(tmp_path):
    path = tmp_path / "unet.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["layer_names"] = np.zeros(2**16 + 1, "S1")
    assert "layer_names has the shape (65537,)" in refusal(path)


def test_code_in_a_whole_model_of_keras_2_does_not_run(tmp_path):
    made = tmp_path / "made"
    inputs = tf_keras.Input((32, 32, 3))
    x = tf_keras.layers.Conv2D(4, 3, padding="same", name="block1_conv1")(inputs)
    x = tf_keras.layers.Lambda(lambda x, path=str(made): (open(path, "w"), x)[1])(x)  # noqa: SIM115
    path = tmp_path / "model.h5"
    with warnings.catch_warnings(action="ignore"):
        tf_keras.Model(inputs, x).save(path)
    assert made.exists()  # the layer was called once, when the model was made
    made.unlink()
    assert list(open_weights(path).layers) == ["block1_conv1"]
    assert not made.exists()


# PyTorch


class Code:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Code(), "it holds posix.system, which is code and not weights"),
        (torch.nn.Linear(2, 2), "it holds torch.nn.modules.linear.Linear, which is code and not"),
    ],
)
def test_a_refused_pickle_says_why_without_pytorch_s_advice(tmp_path, value, reason, zipped):
    path = tmp_path / "unet.pth"
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    text = refusal(path)
    assert f"can't be read as PyTorch weights ({reason}" in text
    for advice in ("weights_only", "allowlist", "options", "trust", "[1m"):
        assert advice not in text


def test_damage_is_told_in_one_line(tmp_path):
    path = tmp_path / "unet.pth"
    path.write_bytes(b"\x80\x02garbage\x00\xff" * 5)
    assert "(it is damaged, or something else wrote it)" in refusal(path)
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, buffer)
    path.write_bytes(buffer.getvalue()[:300])
    assert "weights_only" not in refusal(path)
    with warnings.catch_warnings(action="error"):
        path.write_bytes(pickle.dumps({"a": Code()}, protocol=4))
        refusal(path)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "unet.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(10**6))
    assert "its archive is compressed, as PyTorch's never are" in refusal(path)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1).expand(10**6, 10**6), "is broken: the shape of 'a' is (1000000, 1000000)"),
        (torch.eye(3).to_sparse(), "'a' is a sparse_coo tensor. Expected a dense one of real"),
        (torch.zeros(3, dtype=torch.complex64), "'a' is a complex tensor"),
    ],
)
def test_tensors_that_are_no_arrays_of_numbers(tmp_path, tensor, message):
    path = tmp_path / "unet.pth"
    torch.save({"a": tensor}, path)
    assert message in refusal(path)


def test_names_that_are_no_text(tmp_path):
    path = tmp_path / "unet.pth"
    torch.save({1: torch.zeros(3)}, path)
    assert "holds no state dict" in refusal(path)

import json
import re

import h5py
import keras
import numpy as np
import pytest

from errors import UserError
from nets.unet import Unet
from nets.weights.description import Description
from nets.weights.storage import (
    DIFFERS,
    LOADED,
    NOT_IN_FILE,
    NOT_IN_MODEL,
    load_weights,
    open_weights,
    save_weights,
)

DESCRIPTION = Description(
    num_classes=3,
    backbone="vgg",
    input_shape=(32, 48),
    name_classes=("background", "Café", "ネコ"),
    width=8,
    ignore_labels=(255, 7),
)
ATTRIBUTE = "unet_keras"


def tiny_unet(num_classes=3):
    return Unet((None, None, 3), num_classes, width=8)


def chain(*names, filters=2):
    """A network of one convolution a name."""
    x = inputs = keras.Input((8, 8, 2))
    for name in names:
        x = keras.layers.Conv2D(filters, 3, padding="same", name=name)(x)
    return keras.Model(inputs, x)


def chain_without_weights():
    inputs = keras.Input((8, 8, 2))
    return keras.Model(inputs, keras.layers.ReLU()(inputs))


@pytest.fixture(scope="module")
def network():
    """Shared by the tests that only read it."""
    return tiny_unet()


@pytest.fixture(scope="module")
def network_file(network, tmp_path_factory):
    """A good file of `network`; tests that damage it work on a copy."""
    path = tmp_path_factory.mktemp("weights") / "unet.weights.h5"
    save_weights(network, path, DESCRIPTION)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "unet.weights.h5"


@pytest.fixture
def copy(network_file, path):
    path.write_bytes(network_file.read_bytes())
    return path


def assert_equal_weights(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def message_of(path, text):
    """Matches a whole message that names the file; `text` is a regular expression."""
    return f"^{re.escape(str(path))}{text}$"


# A good file


def test_round_trip(network, network_file):
    other = tiny_unet()
    assert not np.array_equal(other.get_weights()[0], network.get_weights()[0])
    report = load_weights(other, network_file)
    assert_equal_weights(other.get_weights(), network.get_weights())
    # 13 convolutions in the encoder, 8 in the decoder, 1 in the head
    assert len(report.layers(LOADED)) == 13 + 8 + 1
    assert (report.layers(DIFFERS), report.layers(NOT_IN_FILE), report.layers(NOT_IN_MODEL)) == (
        [],
        [],
        [],
    )
    assert str(report) == (
        f"Weights of {network_file} (weights of this project):\n"
        "  block1_conv1 to head_conv (22)  loaded"
    )


def test_description_comes_back(network_file):
    description = open_weights(network_file).description
    assert description == DESCRIPTION
    assert description.name_classes == ("background", "Café", "ネコ")
    assert description.versions == {
        "keras": keras.__version__,
        "backend": keras.config.backend(),
        "h5py": h5py.__version__,
    }


def test_plain_keras_reads_the_file(network, network_file):
    other = tiny_unet()
    other.load_weights(network_file)
    assert_equal_weights(other.get_weights(), network.get_weights())


def test_plain_keras_files_load(network, path):
    network.save_weights(path)
    assert open_weights(path).description is None
    other = tiny_unet()
    load_weights(other, path)
    assert_equal_weights(other.get_weights(), network.get_weights())


def train_one_step(model):
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((1, 8, 8, 2)), np.zeros((1, 8, 8, 2)))


def test_the_optimizer_of_a_trainer_stays_out_of_the_file(path):
    model = chain("a", "b")
    trainer = keras.Model(model.inputs, model.outputs)
    train_one_step(trainer)
    save_weights(model, path, DESCRIPTION)
    with h5py.File(path) as file:
        assert "optimizer" not in file
    other = chain("a", "b")
    load_weights(other, path)
    assert_equal_weights(other.get_weights(), trainer.get_weights())


def test_a_plain_keras_file_with_an_optimizer_loads(path):
    model = chain("a", "b")
    train_one_step(model)
    model.save_weights(path)
    with h5py.File(path) as file:
        assert "optimizer" in file
    other = chain("a", "b")
    report = load_weights(other, path)
    assert report.layers(NOT_IN_MODEL) == []
    assert_equal_weights(other.get_weights(), model.get_weights())


def test_layers_are_found_by_name_not_by_order(path):
    source, target = chain("a", "b", "c"), chain("c", "a", "b")
    save_weights(source, path, DESCRIPTION)
    assert load_weights(target, path).layers(LOADED) == ["c", "a", "b"]
    for name in "abc":
        assert_equal_weights(
            target.get_layer(name).get_weights(), source.get_layer(name).get_weights()
        )


# Saving


def test_saving_makes_the_folder_and_leaves_only_the_file(network, tmp_path):
    folder = tmp_path / "new" / "folder"
    for _ in range(2):  # the second time over the first
        save_weights(network, folder / "unet.weights.h5", DESCRIPTION)
        assert [entry.name for entry in folder.iterdir()] == ["unet.weights.h5"]


def test_saving_takes_a_string(network, path):
    save_weights(network, str(path), DESCRIPTION)
    assert open_weights(str(path)).description == DESCRIPTION


def test_saving_never_writes_into_the_old_file(network_file, copy, tmp_path):
    # A second name for the old file sees what happens to its content.
    old = tmp_path / "old"
    old.hardlink_to(copy)
    save_weights(tiny_unet(), copy, DESCRIPTION)
    assert old.read_bytes() == network_file.read_bytes()


def test_saving_replaces_the_old_file(network, copy):
    changed = tiny_unet()
    save_weights(changed, copy, DESCRIPTION)
    other = tiny_unet()
    load_weights(other, copy)
    assert_equal_weights(other.get_weights(), changed.get_weights())
    assert not np.array_equal(other.get_weights()[0], network.get_weights()[0])


@pytest.mark.parametrize("name", ["unet.h5", "unet.keras", "unet", "unet.weights.h5.bak"])
def test_other_suffixes_are_refused(network, tmp_path, name):
    message = f"A weights file's name must end in .weights.h5; got {name!r}."
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        save_weights(network, tmp_path / "folder" / name, DESCRIPTION)
    assert list(tmp_path.iterdir()) == []


def test_failed_description_keeps_the_old_file(network, network_file, copy):
    unwritable = Description(3, "vgg", (32, 32), (object(),))
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_weights(network, copy, unwritable)
    assert copy.read_bytes() == network_file.read_bytes()
    assert list(copy.parent.iterdir()) == [copy]


def test_failed_writing_keeps_the_old_file(network, network_file, copy, monkeypatch):
    def half(target):
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(network, "save_weights", half)
    with pytest.raises(OSError, match="No space left"):
        save_weights(network, copy, DESCRIPTION)
    assert copy.read_bytes() == network_file.read_bytes()
    assert list(copy.parent.iterdir()) == [copy]


# Files that do not fit. Each refusal must leave the network as it was.


def refuse(model, path, match, **options):
    """Expects a refusal; returns its message."""
    before = model.get_weights()
    with pytest.raises(UserError, match=match) as caught:
        load_weights(model, path, **options)
    assert_equal_weights(model.get_weights(), before)
    return str(caught.value)


def test_another_class_count_is_refused(network_file):
    message = refuse(tiny_unet(num_classes=5), network_file, "does not fit this network")
    assert message.splitlines() == [
        f"{network_file} does not fit this network.",
        f"Weights of {network_file} (weights of this project):",
        "  block1_conv1 to decoder4_conv2 (21)  loaded",
        "  head_conv                            shape differs: [(1, 1, 8, 5), (5,)] here, "
        "[(1, 1, 8, 3), (3,)] in the file",
    ]


def test_another_class_count_loads_when_allowed(network, network_file):
    model = tiny_unet(num_classes=5)
    head = model.get_layer("head_conv").get_weights()
    report = load_weights(model, network_file, allow_mismatch=True)
    assert report.layers(LOADED) == [
        layer.name for layer in network.layers if layer.weights and layer.name != "head_conv"
    ]
    assert report.layers(DIFFERS) == ["head_conv"]
    assert report.unexpected == []
    assert "Warning" not in str(report)
    assert (report.layers(NOT_IN_FILE), report.layers(NOT_IN_MODEL)) == ([], [])
    assert_equal_weights(model.get_layer("head_conv").get_weights(), head)
    for name in report.layers(LOADED):
        assert_equal_weights(
            model.get_layer(name).get_weights(), network.get_layer(name).get_weights()
        )


def test_layers_missing_on_either_side_are_listed(path):
    source, target = chain("a", "b"), chain("b", "c", "d")
    save_weights(source, path, DESCRIPTION)
    report_lines = [
        f"Weights of {path} (weights of this project):",
        "  b           loaded",
        "  c to d (2)  not in the file",
        "  a           not in the network",
        "Warning: beside the head, 3 layers do not fit: is this file of another network?",
    ]
    message = refuse(target, path, "does not fit this network")
    assert message.splitlines()[1:] == report_lines

    kept = [target.get_layer(name).get_weights() for name in "cd"]
    report = load_weights(target, path, allow_mismatch=True)
    assert (report.layers(LOADED), report.layers(NOT_IN_FILE), report.layers(NOT_IN_MODEL)) == (
        ["b"],
        ["c", "d"],
        ["a"],
    )
    assert str(report).splitlines() == report_lines
    assert_equal_weights(target.get_layer("b").get_weights(), source.get_layer("b").get_weights())
    for name, weights in zip("cd", kept, strict=True):
        assert_equal_weights(target.get_layer(name).get_weights(), weights)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (("a", "b"), ("a",)),  # only in the file
        (("a",), ("a", "b")),  # only in the network
    ],
)
def test_one_missing_layer_is_refused(path, source, target):
    save_weights(chain(*source), path, DESCRIPTION)
    refuse(chain(*target), path, message_of(path, r" does not fit this network\.[\s\S]*"))


@pytest.mark.parametrize(
    "make_target",
    [lambda: chain("x", "y"), lambda: chain("a", "b", filters=5), chain_without_weights],
    ids=["other names", "other shapes", "no weights"],
)
def test_a_file_that_fits_no_layer_is_refused_even_when_mismatch_is_allowed(path, make_target):
    save_weights(chain("a", "b"), path, DESCRIPTION)
    refuse(
        make_target(),
        path,
        message_of(path, r" does not fit this network\.\nWeights of [\s\S]*"),
        allow_mismatch=True,
    )


# Files that are none, or broken


def missing(path):
    pass


def a_folder(path):
    path.mkdir()


def garbage(path):
    path.write_bytes(b"<html>404 Not Found</html>" * 100)


def empty(path):
    path.touch()


def hdf5_of_something_else(path):
    with h5py.File(path, "w") as file:
        file["temperature"] = np.arange(5)


NO_FILE = r"^No weights file {path}\. Train first, or give the path of one\.$"
BROKEN = r"^{path} is not a weights file, or is broken \(.+\)\. Expected a \.weights\.h5 .*again\.$"
NOT_KERAS = (
    r"^{path} is an HDF5 file, but holds no Keras weights\. Expected a \.weights\.h5 file\.$"
)


@pytest.mark.parametrize(
    ("make", "pattern"),
    [
        (missing, NO_FILE),
        (a_folder, NO_FILE),
        (garbage, BROKEN),
        (empty, BROKEN),
        (hdf5_of_something_else, NOT_KERAS),
    ],
)
def test_what_is_no_weights_file_is_refused(path, make, pattern):
    make(path)
    pattern = pattern.format(path=re.escape(str(path)))
    refuse(chain("a"), path, pattern)
    refuse(chain("a"), path, pattern, allow_mismatch=True)
    with pytest.raises(UserError, match=pattern):
        open_weights(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(copy, share):
    content = copy.read_bytes()
    copy.write_bytes(content[: int(share * len(content))])
    pattern = BROKEN.format(path=re.escape(str(copy)))
    refuse(tiny_unet(), copy, pattern)
    with pytest.raises(UserError, match=pattern):
        open_weights(copy)


@pytest.mark.parametrize("allow_mismatch", [False, True])
def test_an_unreadable_layer_is_refused(path, allow_mismatch):
    """One flipped byte in the last layer's kernel, which a checksum guards."""
    model = chain("a", "b")
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        groups = [layer["vars"] for layer in file["layers"].values()]
        group = next(group for group in groups if group.attrs["name"] == "b")
        kernel, name = group["0"][()], group.name
        del group["0"]
        group.create_dataset("0", data=kernel, chunks=kernel.shape, fletcher32=True)
        offset = group["0"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)

    pattern = message_of(path, rf" is broken: {re.escape(name)} can't be read \(.+\)\.")
    refuse(chain("a", "b"), path, pattern, allow_mismatch=allow_mismatch)


# Broken descriptions


GOOD = {
    "num_classes": 3,
    "backbone": "vgg",
    "input_shape": [32, 32],
    "name_classes": ["a", "b", "c"],
    "width": 8,
    "ignore_labels": [255],
    "versions": {"keras": "3"},
}


def write_description(path, text):
    with h5py.File(path, "a") as file:
        file.attrs[ATTRIBUTE] = text


def test_the_description_that_the_next_tests_break_is_good(copy):
    write_description(copy, json.dumps(GOOD))
    assert open_weights(copy).description == Description(
        3, "vgg", (32, 32), ("a", "b", "c"), 8, ignore_labels=(255,), versions={"keras": "3"}
    )


@pytest.mark.parametrize(
    "text",
    [
        *["", json.dumps(GOOD)[:-1], "null", "[]", "{}", np.arange(3)],
        *[json.dumps({k: v for k, v in GOOD.items() if k != key}) for key in GOOD],
        *[json.dumps(GOOD | {"num_classes": value}) for value in ("many", None)],
        *[json.dumps(GOOD | {key: 3}) for key in ("input_shape", "name_classes", "versions")],
    ],
)
def test_an_unreadable_description_is_refused(copy, text):
    write_description(copy, text)
    pattern = r": its description can't be read \(.+\)\. Train or save it again\."
    with pytest.raises(UserError, match=message_of(copy, pattern)):
        open_weights(copy)


def test_a_file_without_layer_names_is_refused_with_the_way_out(copy):
    """Early releases of Keras 3 numbered the layers and left their names out."""
    with h5py.File(copy, "a") as file:
        for layer in file["layers"].values():
            if "vars" in layer:
                layer["vars"].attrs.pop("name", None)
    refuse(tiny_unet(), copy, "does not name its layers: an early Keras 3 wrote it")


def test_a_layer_that_is_no_group_is_no_layer(network, copy):
    with h5py.File(copy, "a") as file:
        file["layers"]["odd"] = [1, 2, 3]
    target = tiny_unet()
    load_weights(target, copy)
    assert_equal_weights(network.get_weights(), target.get_weights())


def test_layers_that_are_no_group_are_refused(path):
    with h5py.File(path, "w") as file:
        file["layers"] = [1, 2, 3]
    refuse(tiny_unet(), path, "holds no Keras weights")


def test_an_infinite_class_count_is_refused(copy):
    write_description(copy, json.dumps(GOOD | {"num_classes": float("inf")}))
    with pytest.raises(UserError, match="description can't be read"):
        open_weights(copy)

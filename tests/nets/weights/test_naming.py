"""New names for the classes of trained weights, for one use and in the file."""

import dataclasses
import os

import h5py
import keras
import numpy as np
import pytest

from errors import UserError
from nets.unet import build
from nets.weights import naming
from nets.weights.description import Description
from nets.weights.naming import describe_names, renamed, write_names
from nets.weights.storage import load_weights, open_weights, save_weights

NAMES = ("background", "cell", "猫")
DESCRIPTION = Description(3, "vgg", (32, 48), NAMES, 4, (7, 255), precision="float32")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return build(DESCRIPTION)


@pytest.fixture
def weights(network, tmp_path):
    path = tmp_path / "tiny.weights.h5"
    save_weights(network, path, DESCRIPTION)
    return path


def datasets(path):
    """{name: bytes} of every array in the file."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, one: found.update(
                {name: one[()].tobytes()} if isinstance(one, h5py.Dataset) else {}
            )
        )
    return found


def test_new_names_describe_the_same_network():
    used = renamed(DESCRIPTION, ["nothing", "cell", "cat"], "x.weights.h5")
    assert used == dataclasses.replace(DESCRIPTION, name_classes=("nothing", "cell", "cat"))
    assert describe_names(DESCRIPTION, used) == (
        "Classes are named as name_classes says: 0 was 'background', is 'nothing'; 2 was '猫', is "
        "'cat'."
    )
    assert describe_names(DESCRIPTION, DESCRIPTION) == describe_names(None, used) == ""


@pytest.mark.parametrize(
    ("names", "moves"),
    [
        (("background", "猫", "cell"), "'猫' to class 1, not 2, 'cell' to class 2, not 1"),
        (("background", "tree", "Cell "), "'Cell ' to class 2, not 1"),
        (("cell", "cell", "x"), "'cell' to class 0, not 1"),
    ],
)
def test_names_that_change_places_are_refused(names, moves):
    with pytest.raises(UserError) as caught:
        renamed(DESCRIPTION, names, "x.weights.h5")
    assert str(caught.value) == (
        f"name_classes gives {moves} as in x.weights.h5. Names don't change what a class is. Keep "
        "the order of the training: background, cell, 猫. If it is the file whose names are wrong: "
        "python summary.py --model_path x.weights.h5 --name_classes ... --write_names"
    )


def test_another_number_of_names_is_refused(weights):
    for change in (lambda names: renamed(DESCRIPTION, names, weights),
                   lambda names: write_names(weights, names)):  # fmt: skip
        with pytest.raises(UserError, match="name_classes holds 2 names, but num_classes is 3"):
            change(("a", "b"))


def test_names_are_written_and_nothing_else_changes(weights, network):
    before = datasets(weights)
    told = write_names(weights, ("nothing", "cell", "cat"))
    assert told.splitlines() == [
        f"{weights}: 0 was 'background', is 'nothing'; 2 was '猫', is 'cat'.",
        "Its weights are as they were. Other files of the same run keep their names.",
    ]
    assert datasets(weights) == before and len(before) > 40
    stored = open_weights(weights)
    assert stored.description == dataclasses.replace(
        DESCRIPTION, name_classes=("nothing", "cell", "cat")
    )
    loaded = build(DESCRIPTION)
    load_weights(loaded, stored)
    for ours, theirs in zip(loaded.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    loaded.load_weights(weights)  # plain Keras reads it too
    assert os.listdir(weights.parent) == [weights.name]


def test_names_that_change_places_are_written_with_a_warning(weights):
    told = write_names(weights, ("background", "猫", "cell"))
    assert "WARNING: names of the file went to other classes." in told
    assert "The former order was: background,cell,猫" in told
    assert open_weights(weights).description.name_classes == ("background", "猫", "cell")
    # And back.
    write_names(weights, NAMES)
    assert open_weights(weights).description == DESCRIPTION
    assert "the names are those it had" in write_names(weights, NAMES)


def test_a_link_of_a_runs_folder_keeps_its_names(weights):
    linked = weights.with_name("of_the_run.weights.h5")
    os.link(weights, linked)
    write_names(weights, ("a", "b", "c"))
    assert open_weights(linked).description.name_classes == NAMES


def test_a_file_without_a_description_is_refused(network, tmp_path):
    path = tmp_path / "plain.weights.h5"
    network.save_weights(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"plain\.weights\.h5 \(Keras 3 weights\) has no place for"):
        write_names(path, ("a", "b", "c"))
    assert path.read_bytes() == before


def test_a_write_that_fails_leaves_the_file(weights, monkeypatch):
    before = weights.read_bytes()

    def fail(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(naming.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_names(weights, ("a", "b", "c"))
    assert weights.read_bytes() == before
    assert os.listdir(weights.parent) == [weights.name]

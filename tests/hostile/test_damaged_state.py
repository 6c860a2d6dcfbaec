"""A run's state that is damaged, cut off or made otherwise: never used, always named."""

import json
import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import train
from errors import UserError
from training.optimization import restore
from utils.runs.folder import open_run
from utils.runs.resume import find_missing
from utils.runs.state import State, find_states, read_state, save_state

MUTATIONS = 200
PICTURES = {name: {"count": 4, "names": "ab"} for name in ("train", "val")}
FACTS = {
    "finished": False,
    "run": {"settings": {"unfreeze_epoch": 9}, "pictures": PICTURES},
    "description": {"num_classes": 3},
    "policy": "float32",
    "callbacks": {"patience": {"waited": 0}, "checkpoints": {}, "log": {"rows": []}},
}


def make_state(epoch):
    arrays = [np.random.default_rng(epoch).normal(size=(5, 7)).astype(np.float32)]
    return State(epoch, FACTS, {"weights": arrays * 3, "optimizer": arrays})


@pytest.fixture
def folder(tmp_path):
    """A run's folder with the states of two epochs."""
    for epoch in (1, 2):
        save_state(tmp_path, make_state(epoch))
    return tmp_path


def test_a_state_that_is_damaged_in_one_place_gives_way_to_the_one_before(folder, capsys):
    path = folder / "state_ep0002.h5"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.choice(len(whole), MUTATIONS, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        found = read_state(folder)
        assert found.epoch == 1, place
        np.testing.assert_array_equal(
            found.arrays["weights"][0], make_state(1).arrays["weights"][0]
        )
        assert read_state(folder, with_arrays=False) == (1, FACTS, {})
    assert capsys.readouterr().out == 2 * MUTATIONS * f"{path} is broken and is passed over.\n"
    path.write_bytes(whole)
    assert read_state(folder).epoch == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[:-20],
        lambda whole: whole[:-48],  # just the checksum is gone
        lambda whole: whole[:-49],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole + b"x",
        lambda whole: whole[48:],
        lambda whole: b"",
        lambda whole: bytes(len(whole)),
        lambda whole: b"garbage" * 999,
    ],
)
def test_a_state_that_is_cut_off_or_garbage_gives_way(folder, change):
    path = folder / "state_ep0002.h5"
    path.write_bytes(change(path.read_bytes()))
    assert read_state(folder).epoch == 1


def earlier_state(folder, facts):
    """A file as earlier versions wrote it, without a checksum."""
    with h5py.File(folder / "state_ep0003.h5", "w") as file:
        file.attrs["facts"] = facts
        file.create_group("weights").create_dataset("0", data=np.ones(3))


def test_a_state_of_an_earlier_version_is_read(folder):
    earlier_state(folder, json.dumps(FACTS))
    found = read_state(folder)
    assert found.epoch == 3
    np.testing.assert_array_equal(found.arrays["weights"][0], np.ones(3))


@pytest.mark.parametrize(
    "facts", ["[]", "{}", "null", "3", '{"finished": "no"}', "[" * 100_000, b"\xff\xfe", "{"]
)
def test_facts_that_are_none_give_way(folder, facts):
    earlier_state(folder, facts)
    assert read_state(folder).epoch == 2


@pytest.mark.parametrize("path", ["run", "run/settings", "run/pictures/val", "description",
                                  "policy", "callbacks", "callbacks/log"])  # fmt: skip
@pytest.mark.parametrize("value", [None, [], 3])
def test_what_a_state_lacks_is_named(path, value):
    facts = json.loads(json.dumps(FACTS))
    *parents, name = path.split("/")
    part = facts
    for parent in parents:
        part = part[parent]
    part[name] = value
    missing = find_missing(facts)
    assert f"its state lacks {path}" in missing
    assert all(one.startswith(f"its state lacks {path}") for one in missing)
    assert find_missing(FACTS) == []


def open_and_leave(save_dir, changes=()):
    return open_run(save_dir, "auto", lambda _: list(changes), lambda _: False)


def test_a_run_whose_states_are_all_broken_is_named_and_kept(tmp_path):
    run = open_and_leave(tmp_path)
    folder = run.folder
    for epoch in (1, 2):
        save_state(folder, make_state(epoch))
    (folder / "last_epoch_weights.weights.h5").write_text("weights")
    del run  # its process ends
    for _, path in find_states(folder):
        path.write_bytes(path.read_bytes()[:-100])
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError) as caught:
        open_and_leave(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{folder} can't resume, because none of its state files can be")
    assert "--resume never" in message
    assert f"--model_path {folder}/last_epoch_weights.weights.h5" in message
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert list(tmp_path.glob("loss_*")) == [folder]
    new = open_run(tmp_path, "never", lambda _: [], lambda _: False)
    assert new.folder != folder


def test_a_clock_that_was_set_back_is_told_of(tmp_path, capsys):
    run = open_and_leave(tmp_path)
    folder = run.folder
    save_state(folder, make_state(1))
    del run
    then = time.time() + 86400
    os.utime(folder, (then, then))
    assert open_and_leave(tmp_path).folder == folder
    said = capsys.readouterr().out
    assert said.startswith(f"note: by this machine's clock {folder} is of the future")
    os.utime(folder)
    assert open_and_leave(tmp_path).folder == folder
    assert "note" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({}, "'weights'"),
        ({"weights": [np.zeros(3)]}, "of another shape"),
    ],
)
def test_arrays_of_another_network_are_refused(arrays, reason):
    def give(values):
        raise ValueError("of another\nshape")

    with pytest.raises(UserError) as caught:
        restore(give, arrays, "weights")
    assert str(caught.value) == (
        "The run can't resume: the part 'weights' of its state is not of this network "
        f"({reason}). Start anew with --resume never, from its last_epoch_weights.weights.h5 with "
        "--model_path; its files stay."
    )


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.facts.pop("description"), "its state lacks description"),
        (lambda state: state.facts.update(description={"num_classes": 3}), "'description'"),
        (lambda state: state.arrays.pop("optimizer"), "the part 'optimizer'"),
        (lambda state: state.arrays["optimizer"].pop(), "the part 'optimizer'"),
        (lambda state: state.arrays["weights"].reverse(), "the part 'weights'"),
    ],
)
def test_a_training_does_not_resume_from_half_a_state(train_config, change, says):
    config = train_config(freeze_train=False, unfreeze_epoch=1, eval_flag=False)
    train.main(config)
    (folder,) = Path(config.save_dir).glob("loss_*")
    state = read_state(folder)
    state.facts["finished"] = False
    change(state)
    save_state(folder, state)
    before = {path: path.read_bytes() for path in folder.glob("*.h5")}
    more = train_config(freeze_train=False, unfreeze_epoch=2, eval_flag=False)
    with pytest.raises(UserError) as caught:
        train.main(more)
    assert says in str(caught.value)
    assert "never" in str(caught.value)
    assert {path: path.read_bytes() for path in folder.glob("*.h5")} == before

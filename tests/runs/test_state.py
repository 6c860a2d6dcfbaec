"""The state of a run as a file: what goes in comes out, and no problem loses the one before."""

import math

import h5py
import numpy as np
import pytest

from utils.runs.state import State, find_states, read_state, save_state


def state(epoch, finished=False, **facts):
    arrays = {
        "weights": [np.arange(600, dtype=np.float32).reshape(20, 30) + epoch, np.zeros(0)],
        "optimizer": [np.array(epoch, np.int64), *(np.float16([index]) for index in range(11))],
        "nothing": [],
    }
    return State(epoch, {"finished": finished, **facts}, arrays)


def assert_same(found, expected):
    assert (found.epoch, found.facts) == (expected.epoch, expected.facts)
    assert found.arrays.keys() == expected.arrays.keys()
    for name, arrays in expected.arrays.items():
        assert len(found.arrays[name]) == len(arrays)
        for one, other in zip(found.arrays[name], arrays, strict=True):
            np.testing.assert_array_equal(one, other)
            assert (one.dtype, one.shape) == (other.dtype, other.shape)


def epochs(folder):
    return [epoch for epoch, _ in find_states(folder)]


def test_what_goes_in_comes_out(tmp_path):
    facts = {"best": math.inf, "rows": [{"loss": 0.1 + 0.2}], "names": ["Bär", "猫"], "none": None}
    saved = state(7, **facts)
    save_state(tmp_path, saved)
    assert [path.name for path in tmp_path.iterdir()] == ["state_ep0007.h5"]
    assert_same(read_state(str(tmp_path)), saved)


def test_facts_alone(tmp_path):
    save_state(tmp_path, state(7, best=1.5))
    assert read_state(tmp_path, with_arrays=False) == State(7, {"finished": False, "best": 1.5}, {})


def test_numbers_that_are_not_in_the_facts(tmp_path):
    save_state(tmp_path, state(1, lowest=-math.inf, missing=math.nan))
    facts = read_state(tmp_path).facts
    assert facts["lowest"] == -math.inf
    assert math.isnan(facts["missing"])


def test_the_last_two_are_kept_and_of_a_finished_run_the_last(tmp_path):
    kept = []
    for epoch in (1, 2, 3, 4):
        save_state(tmp_path, state(epoch, finished=epoch == 4))
        kept.append(epochs(tmp_path))
    assert kept == [[1], [2, 1], [3, 2], [4]]
    save_state(tmp_path, state(5))  # a finished run that goes on
    assert epochs(tmp_path) == [5, 4]


def test_other_files_are_let_be(tmp_path):
    others = ["state_ep1.h5.bak", "state_epx.h5", "last_epoch_weights.weights.h5", ".7-ab.h5"]
    for name in others:
        (tmp_path / name).write_text("mine")
    save_state(tmp_path, state(3))
    save_state(tmp_path, state(4, finished=True))
    assert epochs(tmp_path) == [4]
    assert {path.name for path in tmp_path.iterdir()} == {*others, "state_ep0004.h5"}


def test_the_order_is_that_of_numbers(tmp_path):
    for epoch in (9999, 10000):
        save_state(tmp_path, state(epoch))
    assert epochs(tmp_path) == [10000, 9999]
    assert read_state(tmp_path).epoch == 10000


def test_a_folder_without_a_state(tmp_path):
    assert find_states(tmp_path) == find_states(tmp_path / "no") == []
    assert read_state(tmp_path) is None


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.3, 0.7, 0.999])
def test_a_file_that_is_cut_off_is_passed_over(tmp_path, share, capsys):
    save_state(tmp_path, state(1))
    save_state(tmp_path, state(2))
    newest = tmp_path / "state_ep0002.h5"
    whole = newest.read_bytes()
    newest.write_bytes(whole[: int(len(whole) * share)])
    assert_same(read_state(tmp_path), state(1))
    assert capsys.readouterr().out == f"{newest} is broken and is passed over.\n"
    (tmp_path / "state_ep0001.h5").write_bytes(b"")
    assert read_state(tmp_path) is None


def test_a_file_without_facts_or_with_a_gap_is_passed_over(tmp_path):
    for epoch in (5, 6):
        save_state(tmp_path, state(epoch))
    with h5py.File(tmp_path / "state_ep0006.h5", "a") as file:
        del file["optimizer"]["5"], file.attrs["checksum"]  # which would tell
    assert_same(read_state(tmp_path), state(5))
    with h5py.File(tmp_path / "state_ep0006.h5", "a") as file:
        del file.attrs["facts"]
    assert_same(read_state(tmp_path), state(5))
    with h5py.File(tmp_path / "state_ep0006.h5", "a") as file:
        file.attrs["facts"] = "{'no': json"
    assert_same(read_state(tmp_path), state(5))


class Unreadable:
    """An array that can't be had, in the middle of a file."""

    def __array__(self, *args, **kwargs):
        raise MemoryError("no room for an array")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda new: new.arrays["optimizer"].insert(3, Unreadable()), MemoryError),
        (lambda new: new.facts.update(model=object()), TypeError),
    ],
)
def test_a_save_that_fails_leaves_those_before(tmp_path, change, error):
    for epoch in (1, 2):
        save_state(tmp_path, state(epoch))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    new = state(3)
    change(new)
    with pytest.raises(error):
        save_state(tmp_path, new)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_same_epoch_again_takes_the_place_of_the_first(tmp_path):
    save_state(tmp_path, state(2))
    save_state(tmp_path, state(2, best=3.0))
    assert epochs(tmp_path) == [2]
    assert_same(read_state(tmp_path), state(2, best=3.0))

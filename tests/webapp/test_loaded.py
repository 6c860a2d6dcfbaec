"""Which networks stay loaded."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from errors import UserError
from webapp.loaded import Loaded


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(b"1")
    return paths


def make_loader():
    calls = []

    def load(path, **settings):
        calls.append((path.name, settings))
        return object()

    return calls, load


def test_a_network_is_loaded_once_for_the_same_settings(files):
    calls, load = make_loader()
    loaded = Loaded(load=load)
    first = loaded.get(files[0], tta="h", tile=None)
    assert loaded.get(files[0], tile=None, tta="h") is first
    assert loaded.get(files[0], tta="none", tile=None) is not first
    assert calls == [("a", {"tta": "h", "tile": None}), ("a", {"tta": "none", "tile": None})]


def test_the_one_used_longest_ago_goes(files):
    calls, load = make_loader()
    loaded = Loaded(most=2, load=load)
    for index in (0, 1, 0, 2, 0, 1):  # c drives out b
        loaded.get(files[index])
    assert [name for name, _ in calls] == ["a", "b", "c", "b"]


def test_a_file_that_was_written_anew_is_loaded_anew(files):
    calls, load = make_loader()
    loaded = Loaded(load=load)
    loaded.get(files[0])
    os.utime(files[0], (1, 1))
    loaded.get(files[0])
    assert len(calls) == 2


def test_two_at_once_wait_for_one_loading(files):
    started, go, calls = threading.Event(), threading.Event(), []

    def load(path):
        calls.append(path)
        started.set()
        assert go.wait(60)
        return object()

    loaded = Loaded(load=load)
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(loaded.get, files[0]) for _ in range(2)]
        assert started.wait(60)
        go.set()
        assert found[0].result(60) is found[1].result(60)
    assert len(calls) == 1


def test_a_file_that_can_not_be_loaded_leaves_nothing(files):
    def load(path):
        raise UserError("No.")

    loaded = Loaded(load=load)
    for _ in range(2):
        with pytest.raises(UserError, match="No"):
            loaded.get(files[0])

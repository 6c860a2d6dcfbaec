"""Engines by name, and TensorFlow's environment."""

import sys

import pytest

from errors import UserError
from training import engine
from training.engine import (
    ONEDNN,
    THREADS,
    Engine,
    check_engine,
    engine_of_environment,
    is_loaded,
    parse_engine,
    set_environment,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """environment(**variables): sets these; TensorFlow counts as not loaded."""
    for name in (ONEDNN, THREADS):
        monkeypatch.setenv(name, "")  # so that what a test sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.setattr(engine, "is_loaded", lambda: False)

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fixed", Engine()),
        ("onednn", Engine(onednn=True)),
        ("no_onednn", Engine(onednn=False)),
        ("three_layers", Engine(fused=False)),
        ("threads_16", Engine(threads=16)),
        ("onednn,threads_2,three_layers", Engine(True, 2, False)),
    ],
)
def test_a_text_names_an_engine_and_back(text, expected):
    assert parse_engine(text) == expected
    assert str(expected) == text


def test_order_spaces_and_what_is_usual_anyway_do_not_matter():
    assert parse_engine("three_layers, onednn") == Engine(onednn=True, fused=False)
    assert parse_engine("fused") == Engine()
    assert parse_engine("onednn,onednn") == Engine(onednn=True)


@pytest.mark.parametrize("text", ["", "mkl", "onednn,", "threads_0", "threads_", "auto,fused"])
def test_an_unknown_engine_is_refused(text):
    with pytest.raises(UserError) as caught:
        check_engine(text)
    assert str(caught.value) == (
        "engine must be auto, fixed, or some of onednn, no_onednn, fused, three_layers, threads_4 "
        f"(any number), with commas between them; got {text!r}."
    )


@pytest.mark.parametrize("text", ["onednn,no_onednn", "three_layers,fused", "threads_2,threads_4"])
def test_an_engine_that_contradicts_itself_is_refused(text):
    with pytest.raises(UserError, match=f"engine is '{text}', which contradicts itself. Take out"):
        check_engine(text)


def test_auto_passes_the_check():
    check_engine("auto")


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("three_layers", {}),
        ("onednn,threads_3", {ONEDNN: "1", THREADS: "3"}),
        ("no_onednn", {ONEDNN: "0"}),
    ],
)
def test_the_environment_says_what_the_engine_is(text, variables):
    wanted = parse_engine(text)
    assert set_environment(wanted) == []
    assert wanted.environment == variables
    found = engine_of_environment()
    assert (found.onednn, found.threads, found.fused) == (wanted.onednn, wanted.threads, True)


@pytest.mark.parametrize(
    ("value", "onednn"),
    [("1", True), ("TRUE", True), ("0", False), ("False", False), ("", None), ("yes", None)],
)
def test_values_are_read_as_tensorflow_reads_them(environment, value, onednn):
    environment(TF_ENABLE_ONEDNN_OPTS=value, TF_NUM_INTRAOP_THREADS="many")
    assert engine_of_environment() == Engine(onednn=onednn)


def test_what_the_user_set_stays(environment):
    environment(TF_ENABLE_ONEDNN_OPTS="0")
    assert set_environment(Engine(onednn=True, threads=2)) == [ONEDNN]
    assert engine_of_environment() == Engine(onednn=False, threads=2)
    environment(TF_ENABLE_ONEDNN_OPTS="True")  # the same in another spelling
    assert set_environment(Engine(onednn=True, threads=2)) == []


def test_nothing_is_set_once_tensorflow_is_loaded(monkeypatch):
    monkeypatch.setattr(engine, "is_loaded", lambda: True)
    assert set_environment(Engine(onednn=True)) == [ONEDNN]
    assert engine_of_environment() == Engine()


@pytest.mark.parametrize("name", ["tensorflow", "keras"])
def test_a_loaded_backend_is_noticed(monkeypatch, name):
    for other in ("tensorflow", "keras"):
        monkeypatch.delitem(sys.modules, other, raising=False)
    assert not is_loaded()
    monkeypatch.setitem(sys.modules, name, pytest)
    assert is_loaded()

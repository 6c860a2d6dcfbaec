"""What is printed inside is kept from the terminal; errors are not."""

import os

import pytest

from utils.quiet import quiet


def test_chatter_is_silenced_and_an_error_is_not(capfd):
    with quiet():
        print("python")
        os.write(1, b"native")
        os.write(2, b"native")
    with pytest.raises(ZeroDivisionError) as caught, quiet():
        os.write(2, b"the reason\n")
        print("a line")
        raise ZeroDivisionError
    assert {"the reason", "a line"} <= set("".join(caught.value.__notes__).splitlines())
    assert capfd.readouterr() == ("", "")
    os.write(1, b"out")
    os.write(2, b"err")
    assert capfd.readouterr() == ("out", "err")


def test_without_room_for_the_chatter_it_is_let_through(capfd, monkeypatch):
    def full(*_, **__):
        raise FileNotFoundError("No usable temporary directory")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with quiet():
        os.write(1, b"native")
    assert capfd.readouterr().out == "native"
    with pytest.raises(ZeroDivisionError), quiet():
        raise ZeroDivisionError

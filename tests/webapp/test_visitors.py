"""Visitors keep to themselves, and leave nothing."""

from types import SimpleNamespace

import pytest

from errors import UserError
from webapp.visitors import Visitors


def request(number):
    return SimpleNamespace(session_hash=number)


def test_each_has_a_folder_that_can_not_be_guessed(tmp_path):
    visitors = Visitors(tmp_path)
    first, second = visitors.of(request("a")), visitors.of(request("b"))
    assert visitors.of(request("a")) is first
    assert first.folder != second.folder
    assert all(
        len(one.folder.name) == 64 and one.folder.parent == tmp_path for one in (first, second)
    )


def test_new_results_take_the_place_of_the_old(tmp_path):
    visitor = Visitors(tmp_path).of(request("a"))
    old = visitor.new_folder()
    (old / "mask.png").write_bytes(b"1")
    new = visitor.new_folder()
    assert new.is_dir()
    assert not old.exists()
    assert new.parent == visitor.folder


def test_who_leaves_takes_all_but_what_others_sent_too(tmp_path):
    visitors = Visitors(tmp_path)
    first, second = visitors.of(request("a")), visitors.of(request("b"))
    own, shared = tmp_path / "own.png", tmp_path / "shared.png"
    own.write_bytes(b"1")
    shared.write_bytes(b"1")
    first.uploads = {str(own), str(shared)}
    second.uploads = {str(shared)}
    kept = second.new_folder()
    gone = first.new_folder()
    visitors.end(request("a"))
    assert not gone.exists() and not first.folder.exists() and not own.exists()
    assert kept.exists() and shared.exists()
    visitors.end(request("a"))  # who is gone already
    visitors.end(request("b"))
    assert not shared.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_request_of_no_page_is_refused(tmp_path):
    with pytest.raises(UserError, match="Only the page itself"):
        Visitors(tmp_path).of(request(None))

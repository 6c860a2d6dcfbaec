"""Folders of runs: which one goes on, who may show its weights, and second names of files."""

import os
import time
from pathlib import Path

import pytest

from errors import UserError
from utils.runs import folder as runs
from utils.runs.folder import (
    clear_dead_runs,
    discard,
    make_run_folder,
    newest_run,
    open_run,
    publish,
    remove_temporaries,
    withdraw,
)
from utils.runs.lock import FolderLock
from utils.runs.state import State, save_state


def nothing_changed(state):
    return []


def epochs(wanted):
    """Whether so many epochs are more than a run had."""
    return lambda state: wanted > state.facts["run"]["settings"]["unfreeze_epoch"]


def save(folder, epoch, finished=False, epochs=10):
    """Leaves a state in a run's folder, as a run of `epochs` does."""
    run = {"settings": {"unfreeze_epoch": epochs}}
    save_state(folder, State(epoch, {"finished": finished, "run": run}, {"weights": [epoch]}))


def left_run(save_dir, epoch, age=0, **facts):
    """The folder of a run that was begun `age` seconds ago and that no process is in."""
    run = open_run(save_dir, "never", nothing_changed, epochs(10))
    save(run.folder, epoch, **facts)
    then = time.time() - age
    os.utime(run.folder, (then, then))
    return run.folder


def files(folder):
    return {path.name for path in Path(folder).iterdir() if path.is_file()} - {".lock"}


# Choosing


def test_a_new_run(tmp_path):
    run = open_run(str(tmp_path / "a" / "logs"), "auto", nothing_changed, epochs(10))
    assert run.folder.parent == run.public == tmp_path / "a" / "logs"
    assert (files(run.folder), run.state) == (set(), None)


def test_an_interrupted_run_goes_on(tmp_path, capsys):
    folder = left_run(tmp_path, 4)
    (folder / ".12-ab.h5").write_text("half")
    (tmp_path / ".12-cd.h5").write_text("half")
    run = open_run(tmp_path, "auto", nothing_changed, epochs(10))
    assert (run.folder, run.state.epoch, run.state.arrays["weights"]) == (folder, 4, [4])
    assert capsys.readouterr().out == f"Resuming {folder} after epoch 4.\n"
    assert (files(folder), files(tmp_path)) == ({"state_ep0004.h5"}, set())


def test_the_newest_of_two_goes_on(tmp_path):
    older, newer = left_run(tmp_path, 4, age=20), left_run(tmp_path, 2, age=10)
    assert open_run(tmp_path, "auto", nothing_changed, epochs(10)).folder == newer != older


def test_never_begins_anew(tmp_path):
    folder = left_run(tmp_path, 4)
    run = open_run(tmp_path, "never", nothing_changed, epochs(10))
    assert run.folder != folder
    assert run.state is None


@pytest.mark.parametrize(("wanted", "goes_on"), [(10, False), (9, False), (11, True)])
def test_a_finished_run_goes_on_if_more_epochs_are_wanted(tmp_path, wanted, goes_on):
    folder = left_run(tmp_path, 10, finished=True)
    run = open_run(tmp_path, "auto", nothing_changed, epochs(wanted))
    assert (run.folder == folder) is (run.state is not None) is goes_on


def test_what_lies_before_a_finished_run_was_given_up(tmp_path):
    left_run(tmp_path, 4, age=20)
    left_run(tmp_path, 10, age=10, finished=True)
    assert open_run(tmp_path, "auto", nothing_changed, epochs(10)).state is None


def test_a_run_killed_before_its_first_epoch_is_passed_over(tmp_path):
    folder = left_run(tmp_path, 4, age=20)
    open_run(tmp_path, "never", nothing_changed, epochs(10))
    broken = left_run(tmp_path, 1)
    (broken / "state_ep0001.h5").write_text("")
    assert open_run(tmp_path, "auto", nothing_changed, epochs(10)).folder == folder


def test_changes_are_named_and_nothing_is_begun(tmp_path):
    folder = left_run(tmp_path, 4)
    with pytest.raises(UserError) as caught:
        open_run(tmp_path, "auto", lambda state: ["a was 1, is 2", "b was 3, is 4"], epochs(10))
    assert str(caught.value) == (
        f"{folder} was interrupted after epoch 4 and can't resume, because something has "
        "changed: a was 1, is 2; b was 3, is 4. Change it back to resume, or start anew with "
        "resume=never (its files stay)."
    )
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]
    assert (
        open_run(tmp_path, "auto", nothing_changed, epochs(10)).folder == folder
    )  # and it is free


def test_an_older_run_goes_on_where_the_newest_can_not(tmp_path):
    older, newer = left_run(tmp_path, 4, age=20), left_run(tmp_path, 2, age=10)
    run = open_run(tmp_path, "auto", lambda state: ["x"] if state.epoch == 2 else [], epochs(10))
    assert run.folder == older != newer


# Two at once


def test_a_run_that_is_in_use_is_never_gone_on_with(tmp_path):
    first = open_run(tmp_path, "auto", nothing_changed, epochs(10))
    save(first.folder, 4)
    second = open_run(tmp_path, "auto", nothing_changed, epochs(10))
    assert second.folder != first.folder
    assert second.state is None
    folder = first.folder
    del first, second  # their processes end
    assert open_run(tmp_path, "auto", nothing_changed, epochs(10)).folder == folder


def test_the_second_run_is_told_and_shows_no_weights(tmp_path, capsys):
    first = open_run(tmp_path, "auto", nothing_changed, epochs(10))
    (tmp_path / ".1-first.h5").write_text("the first run is writing it")
    assert capsys.readouterr().out == ""
    second = open_run(tmp_path, "auto", nothing_changed, epochs(10))
    assert (first.public, second.public) == (tmp_path, None)
    assert capsys.readouterr().out == (
        f"Another training is using {tmp_path}: weights of this one stay in its own folder.\n"
    )
    assert files(tmp_path) == {".1-first.h5"}


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(runs.time, "strftime", lambda form: "loss_2026_01_31_12_00_00")
    names = [make_run_folder(tmp_path / "logs").name for _ in range(3)]
    stamp = "loss_2026_01_31_12_00_00"
    assert names == [stamp, f"{stamp}_2", f"{stamp}_3"]


def test_a_thousand_runs_of_a_second_are_too_many(tmp_path, monkeypatch):
    def taken(self, *args, **kwargs):
        raise FileExistsError

    monkeypatch.setattr(runs.Path, "mkdir", taken)
    with pytest.raises(OSError, match="holds a thousand runs of this second"):
        make_run_folder(tmp_path)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "logs").write_text("mine")
    with pytest.raises(OSError, match="logs"):
        open_run(tmp_path / "logs", "auto", nothing_changed, epochs(10))
    assert (tmp_path / "logs").read_text() == "mine"


# Giving up


def test_a_new_run_that_is_discarded_leaves_nothing(tmp_path):
    run = open_run(tmp_path, "auto", nothing_changed, epochs(10))
    discard(run)
    assert list(tmp_path.iterdir()) == [tmp_path / ".lock"]


def test_a_run_that_holds_something_is_not_discarded(tmp_path):
    new = open_run(tmp_path, "never", nothing_changed, epochs(10))
    (new.folder / "notes.txt").write_text("mine")
    discard(new)
    assert files(new.folder) == {"notes.txt"}
    folder = left_run(tmp_path, 4)
    discard(open_run(tmp_path, "auto", nothing_changed, epochs(10)))
    assert files(folder) == {"state_ep0004.h5"}


# Files


def no_link(*args, **kwargs):
    raise OSError("this file system has no links")


def test_temporaries_are_removed_and_nothing_else(tmp_path):
    for name in (".12-ab.h5", ".data_check.json", "last.weights.h5", ".lock"):
        (tmp_path / name).write_text("")
    (tmp_path / "loss_1").mkdir()
    (tmp_path / "loss_1" / ".12-ab.h5").write_text("of another run")
    remove_temporaries(tmp_path)
    assert files(tmp_path) == {".data_check.json", "last.weights.h5"}
    assert files(tmp_path / "loss_1") == {".12-ab.h5"}


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(runs.os, "link", no_link)
    path, target = tmp_path / "a.h5", tmp_path / "b" / "c.h5"
    path.write_text("first")
    publish(path, target)
    publish(path, target)  # the same again, which a link may not be replaced by
    assert target.read_text() == "first"
    assert target.samefile(path) is links
    assert files(target.parent) == {"c.h5"}
    path.unlink()
    path.write_text("second")
    assert target.read_text() == "first"
    publish(path, target)
    assert target.read_text() == "second"


def test_a_second_name_of_nothing_leaves_the_former(tmp_path):
    (tmp_path / "c.h5").write_text("former")
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "a.h5", tmp_path / "c.h5")
    assert files(tmp_path) == {"c.h5"}
    assert (tmp_path / "c.h5").read_text() == "former"


@pytest.mark.parametrize("links", [True, False])
def test_an_older_runs_second_name_is_withdrawn(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(runs.os, "link", no_link)
    (tmp_path / "loss_1").mkdir()
    (tmp_path / "loss_2").mkdir()
    (tmp_path / "loss_1" / "best.h5").write_text("other")
    (tmp_path / "loss_2" / "best.h5").write_text("this one")
    publish(tmp_path / "loss_2" / "best.h5", tmp_path / "best.h5")
    withdraw(tmp_path / "best.h5")
    assert files(tmp_path) == set()
    assert (tmp_path / "loss_2" / "best.h5").read_text() == "this one"
    withdraw(tmp_path / "best.h5")  # not there any more: nothing happens


def test_a_file_that_is_nowhere_else_is_not_withdrawn(tmp_path):
    (tmp_path / "loss_1").mkdir()
    (tmp_path / "loss_1" / "best.h5").write_text("other")
    (tmp_path / "best.h5").write_text("of a version before")
    withdraw(tmp_path / "best.h5")
    assert (tmp_path / "best.h5").read_text() == "of a version before"


# What killed runs left


def dead_run(save_dir, *names):
    """A run's folder whose lock is free, with empty files of these names."""
    folder = make_run_folder(save_dir)
    FolderLock(folder).release()
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("settings.json", "plan.txt", "events.out.tfevents.1764.host.12.v2"),
        (".77-0a1b2c3d.weights.h5", ".77-0a1b2c3e.json"),
    ],
)
def test_a_new_run_clears_what_dead_ones_left(tmp_path, names):
    for _ in range(3):
        dead_run(tmp_path, *names)
    run = open_run(tmp_path, "auto", nothing_changed, epochs(10))
    assert files(run.folder) == set()  # it may bear the name of a dead one
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [run.folder.name]


@pytest.mark.parametrize("name", ["last_epoch_weights.weights.h5", "state_ep0001.h5", "notes.txt"])
def test_a_dead_run_that_saved_something_is_kept(tmp_path, name):
    folder = dead_run(tmp_path, name, "settings.json", ".77-0a1b2c3d.weights.h5")
    clear_dead_runs(tmp_path)
    assert files(folder) == {name, "settings.json"}


def test_a_run_that_lives_is_left_alone(tmp_path):
    folder = make_run_folder(tmp_path)
    lock = FolderLock(folder)
    temporary = folder / ".77-0a1b2c3d.weights.h5"
    temporary.touch()
    clear_dead_runs(tmp_path)
    assert temporary.exists()
    lock.release()
    clear_dead_runs(tmp_path)
    assert not folder.exists()


def test_folders_without_a_lock_are_none_of_a_dead_run(tmp_path):
    folder = tmp_path / "loss_of_mine"
    folder.mkdir()
    (folder / "settings.json").touch()
    clear_dead_runs(tmp_path)
    assert files(folder) == {"settings.json"}


def test_beside_weights_only_old_temporaries_go_from_a_shared_folder(tmp_path):
    names = (".77-0a1b2c3d.json", ".77-0a1b2c3d.csv", ".77-0a1b2c3d.weights.h5", ".data_check.json")
    for name in names:
        (tmp_path / name).touch()
    two_hours_ago = time.time() - 7200
    for name in (names[1], names[3]):
        os.utime(tmp_path / name, (two_hours_ago, two_hours_ago))
    remove_temporaries(tmp_path, shared=True)
    assert files(tmp_path) == {".77-0a1b2c3d.json", ".data_check.json"}


def test_a_new_run_after_a_finished_one_says_so(tmp_path, capsys):
    folder = left_run(tmp_path, 10, finished=True)
    open_run(tmp_path, "auto", nothing_changed, epochs(10))
    assert f"{folder} is finished, with 10 epochs. This is a new run." in capsys.readouterr().out


def test_a_folder_that_vanishes_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    made = []

    def make(save_dir):
        made.append(make_run_folder(save_dir))
        if len(made) == 1:
            made[0].rmdir()
        return made[-1]

    monkeypatch.setattr(runs, "make_run_folder", make)
    run = open_run(tmp_path, "never", nothing_changed, epochs(10))
    assert run.folder == made[1]
    assert run.locks[1].held


def test_a_folder_that_never_stays_is_an_error(tmp_path, monkeypatch):
    def make(save_dir):
        folder = make_run_folder(save_dir)
        folder.rmdir()
        return folder

    monkeypatch.setattr(runs, "make_run_folder", make)
    with pytest.raises(OSError, match=r"vanished while it was made. Does another process clear"):
        open_run(tmp_path, "never", nothing_changed, epochs(10))


def test_where_no_lock_can_be_had_a_run_has_a_folder_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(FolderLock, "_try", lambda self: False)
    run = open_run(tmp_path, "never", nothing_changed, epochs(10))
    assert run.folder.is_dir() and not run.locks[1].held
    assert list(tmp_path.glob("loss_*")) == [run.folder]


def test_the_newest_run_that_has_a_state(tmp_path):
    assert newest_run(tmp_path) == (None, None)
    left_run(tmp_path, 3, age=100)
    newest = left_run(tmp_path, 5, age=50, finished=True)
    make_run_folder(tmp_path)  # has nothing yet
    folder, state = newest_run(tmp_path)
    assert folder == newest
    assert (state.epoch, state.facts["finished"], state.arrays) == (5, True, {})

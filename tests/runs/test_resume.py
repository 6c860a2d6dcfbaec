"""Runs that go on: after a kill, Ctrl-C or the last epoch, with equal results."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import quick_training, tiny_training

import train
from errors import UserError
from nets.weights.storage import open_weights
from utils.data.voc import Sample
from utils.runs import callbacks
from utils.runs.resume import (
    check_same,
    describe_run,
    find_changes,
    rename_best,
    update_facts,
)
from utils.runs.state import find_states, read_state

ROOT = Path(train.__file__).parent


TINY = {"width": 4, "unfreeze_epoch": 5, "freeze_epoch": 50, "eval_period": 2}


@pytest.fixture
def config(train_config, quick):
    """config(**changes): settings of a tiny training in float32."""
    return partial(train_config, **TINY)


@pytest.fixture
def train_until(monkeypatch):
    """train_until(epoch, config): trains until Ctrl-C when that epoch (from 0) begins."""

    def run(epoch, config):
        begin = callbacks.EpochOfDataset.on_epoch_begin

        def on_epoch_begin(self, now, logs=None):
            if now == epoch:
                raise KeyboardInterrupt
            begin(self, now, logs)

        with monkeypatch.context() as patch:
            patch.setattr(callbacks.EpochOfDataset, "on_epoch_begin", on_epoch_begin)
            with pytest.raises(KeyboardInterrupt):
                train.main(config)

    return run


def run_folders(config):
    return sorted(path for path in Path(config.save_dir).glob("loss_*") if path.is_dir())


def final_weights(config):
    """The arrays of the newest run's last state."""
    newest = max(run_folders(config), key=lambda folder: folder.stat().st_mtime_ns)
    state = read_state(newest)
    return state.arrays["weights"] + state.arrays["optimizer"]


def assert_equal_weights(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, make_voc):
    """The weights of a run of five epochs that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    settings = tiny_training(make_voc(folder / "VOCdevkit"), folder / "logs", **TINY)
    with quick_training():
        train.main(settings)
    return final_weights(settings)


def test_a_run_goes_on_and_ends_as_if_undisturbed(config, train_until, uninterrupted, capsys):
    settings = config()
    train_until(2, settings)
    train_until(3, settings)
    train.main(settings)
    (folder,) = run_folders(settings)
    assert f"Resuming {folder} after epoch 3." in capsys.readouterr().out
    assert_equal_weights(final_weights(settings), uninterrupted)
    epochs = [line.split(",")[0] for line in (folder / "history.csv").read_text().split()]
    assert epochs == ["epoch", "1", "2", "3", "4", "5"]


def test_averaged_weights_go_on_too(config, train_until, tmp_path, start_weights):
    """In both phases; in each the average starts anew from the weights, however it began."""
    options = {
        "model_path": start_weights(width=4),
        "freeze_epoch": 2,
        "unfreeze_epoch": 4,
        "ema_momentum": 0.7,
    }
    whole = config(**options, save_dir=str(tmp_path / "whole"))
    train.main(whole)
    settings = config(**options)
    for epoch in (1, 2, 3):
        train_until(epoch, settings)
    train.main(settings)
    assert_equal_weights(final_weights(settings), final_weights(whole))
    for name in ("best_epoch_weights", "last_epoch_weights"):
        loaded = [
            open_weights(Path(one.save_dir) / f"{name}.weights.h5").layers
            for one in (settings, whole)
        ]
        for layer, arrays in loaded[0].items():
            assert_equal_weights(arrays, loaded[1][layer])


def test_more_epochs_may_be_wanted_later(config, capsys):
    train.main(config(unfreeze_epoch=2))
    train.main(config(unfreeze_epoch=4))
    (folder,) = run_folders(config())
    assert read_state(folder).epoch == 4
    assert f"Resuming {folder} after epoch 2." in capsys.readouterr().out


def test_after_the_last_epoch_the_same_command_trains_anew(config):
    train.main(config(unfreeze_epoch=1))
    before = {path: path.read_bytes() for path in run_folders(config())[0].glob("*.h5")}
    train.main(config(unfreeze_epoch=1))
    assert len(run_folders(config())) == 2
    assert {path: path.read_bytes() for path in before} == before


def test_never_starts_anew_and_keeps_the_old_files(config, train_until):
    train_until(2, config())
    (old,) = run_folders(config())
    before = {path.name: path.read_bytes() for path in old.glob("*.*")}
    train.main(config(resume="never", unfreeze_epoch=1, eval_flag=False))
    assert {path.name: path.read_bytes() for path in old.glob("*.*")} == before
    (new,) = set(run_folders(config())) - {old}
    public = Path(config().save_dir)
    for name in ("best_epoch_weights", "last_epoch_weights"):
        name = f"{name}.weights.h5"
        assert (public / name).read_bytes() == (new / name).read_bytes()
    # The old run's would be taken for the new run's.
    assert (old / "lowest_loss_weights.weights.h5").exists()
    assert (public / "lowest_loss_weights.weights.h5").read_bytes() == (
        new / "lowest_loss_weights.weights.h5"
    ).read_bytes()


def test_what_ctrl_c_says_holds(config, train_until, capsys):
    train_until(0, config(resume="never"))
    assert "No epoch was finished, so that nothing can be resumed." in capsys.readouterr().out
    train_until(1, config(resume="never"))
    assert "the same command with --resume auto." in capsys.readouterr().out
    folder = run_folders(config())[-1]
    train_until(2, config(resume="auto"))
    out = capsys.readouterr().out
    assert f"Resuming {folder} after epoch 1." in out
    assert "The same command resumes after the last finished epoch." in out


def test_a_run_of_an_earlier_version_has_one_best_file_again(config, train_until):
    """There the lowest loss named best_epoch_weights, and the mIoU a file of its own."""
    train_until(2, config())  # the second epoch is scored
    (folder,) = run_folders(config())
    public = Path(config().save_dir)
    names = [f"{name}_weights.weights.h5" for name in ("best_epoch", "lowest_loss", "best_miou")]
    best, lowest, miou = (folder / name for name in names)
    content = best.read_bytes()
    for path in (best, public / best.name):
        os.replace(path, path.with_name(miou.name))
    for path in (lowest, public / lowest.name):
        os.replace(path, path.with_name(best.name))
    train.main(config())
    for one in (folder, public):
        assert {path.name for path in one.glob("*_weights.weights.h5")} == {
            best.name, lowest.name, "last_epoch_weights.weights.h5",
        }  # fmt: skip
    with open(folder / "history.csv", encoding="utf-8") as file:
        scores = [float(row["val_miou"]) for row in csv.DictReader(file)]
    assert (best.read_bytes() == content) is (scores[1] >= max(scores[3:]))


def test_former_names_are_given_up_whatever_a_kill_left(tmp_path):
    names = ("best_epoch", "lowest_loss", "best_miou")
    best, lowest, miou = (tmp_path / f"{name}_weights.weights.h5" for name in names)
    best.write_text("by loss")
    rename_best(tmp_path)  # today's, or without scores
    assert best.read_text() == "by loss" and not lowest.exists()
    miou.write_text("by mIoU")
    rename_best(tmp_path)
    rename_best(tmp_path)
    assert (best.read_text(), lowest.read_text()) == ("by mIoU", "by loss")
    best.rename(miou)  # between the two renames
    rename_best(tmp_path)
    assert (best.read_text(), lowest.read_text()) == ("by mIoU", "by loss")
    assert not miou.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_lr": 5e-4, "seed": 3}, "init_lr was 0.001, is 0.0005; seed was 11, is 3"),
        ({"input_shape": (48, 32)}, r"input_shape was \[32, 32\], is \[48, 32\]"),
        ({"unfreeze_epoch": 2}, "unfreeze_epoch is 2, but 2 epochs are done"),
        ({"unfreeze_batch_size": 4}, "unfreeze_batch_size was 2, is 4"),
    ],
)
def test_changes_that_break_a_run_are_named(config, train_until, changes, message):
    train_until(2, config())
    with pytest.raises(UserError, match=f"after epoch 2 and can't resume.*{message}.*resume=never"):
        train.main(config(**changes))
    (folder,) = run_folders(config())  # nothing new was begun
    assert read_state(folder).epoch == 2


def test_other_images_break_a_run(config, train_until, voc_dir, write_list):
    train_until(1, config())
    write_list(voc_dir, "train", ["train_a", "train_b"])
    with pytest.raises(UserError, match=r"training images have changed \(there were 4, now .* 2\)"):
        train.main(config())


def test_what_does_not_matter_may_change(config, train_until, uninterrupted):
    train_until(2, config())
    train.main(config(num_workers=1, cache_gb=0.1, save_period=0, eval_period=3))
    assert_equal_weights(final_weights(config()), uninterrupted)


def test_a_broken_state_is_passed_over(config, train_until, uninterrupted, capsys):
    train_until(3, config())
    (folder,) = run_folders(config())
    (epoch, newest), (before, _) = find_states(folder)
    assert (epoch, before) == (3, 2)
    newest.write_bytes(newest.read_bytes()[:1000])
    train.main(config())
    assert f"{newest} is broken" in capsys.readouterr().out
    assert_equal_weights(final_weights(config()), uninterrupted)


def test_the_number_format_is_that_of_the_beginning(config, train_until, monkeypatch):
    wanted, policies = [], {"auto": "mixed_bfloat16"}

    def choose(precision, said):
        wanted.append((precision, said))
        return policies.get(precision, precision), ""

    monkeypatch.setattr("training.network.choose_precision", choose)
    settings = config(precision="auto", unfreeze_epoch=2, eval_flag=False)
    train_until(1, settings)
    policies["auto"] = "float32"  # another choice today
    train.main(settings)
    (folder,) = run_folders(settings)
    assert read_state(folder).facts["policy"] == "mixed_bfloat16"
    assert wanted == [("auto", "as set"), ("mixed_bfloat16", "as in the run")]


SCRIPT = """
import json, os, signal, sys
import train

settings, save_to_die_in = json.loads(sys.argv[1]), int(sys.argv[2])
saves, replace = 0, os.replace
def replace_or_die(source, target):
    global saves
    saves += "state_ep" in str(target)
    if save_to_die_in and saves == save_to_die_in:
        os.truncate(source, os.path.getsize(source) // 2)  # as if not yet written whole
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = replace_or_die
train.main(train.TrainConfig(**settings))
"""


def start(settings, save_to_die_in=0):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(settings), str(save_to_die_in)],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.system
def test_kills_at_any_moment_change_nothing(config, tmp_path, start_weights):
    changes = {"model_path": start_weights(width=4), "freeze_epoch": 3, "unfreeze_epoch": 8}
    train.main(config(save_dir=str(tmp_path / "whole"), **changes))
    settings = config(**changes)
    values = train.to_json(settings)
    # In the middle of the second save, while the encoder is frozen.
    process = start(values, save_to_die_in=2)
    assert process.wait() == -signal.SIGKILL
    (folder,) = run_folders(settings)
    assert read_state(folder).epoch == 1
    assert list(folder.glob(".*.h5"))  # the half-written one
    kills = 1
    moment = random.Random(0)
    while True:
        process = start(values)
        known = find_states(folder)
        while process.poll() is None and find_states(folder) == known and kills < 4:
            time.sleep(0.01)
        time.sleep(moment.uniform(0, 0.4))
        if kills < 4 and process.poll() is None:
            process.kill()
            kills += 1
            assert process.wait() in (-signal.SIGKILL, 0)
        else:
            assert process.wait() == 0, process.stderr.read().decode()
        if read_state(folder).epoch == 8:
            break
    assert run_folders(settings) == [folder]
    assert_equal_weights(
        final_weights(settings), final_weights(config(save_dir=str(tmp_path / "whole")))
    )
    assert not list(folder.glob(".*.h5")) and not list(folder.parent.glob(".*.h5"))
    for path in folder.glob("*.weights.h5"):
        assert open_weights(path).description.num_classes == 3


# What is compared


def describe(**settings):
    samples = [Sample("a", Path("a.jpg"), Path("a.png"))]
    return describe_run({"unfreeze_epoch": 10, "num_classes": 3} | settings, samples, samples)


def test_nothing_has_changed():
    assert find_changes(describe(), describe(), 4, [0]) == []


def test_batch_sizes_may_change_where_a_phase_begins():
    before, now = describe(unfreeze_batch_size=4), describe(unfreeze_batch_size=2)
    assert find_changes(before, now, 5, [0, 5]) == []
    assert find_changes(before, now, 6, [0, 5]) == ["unfreeze_batch_size was 4, is 2"]


def test_a_setting_that_is_new_counts_as_a_change():
    assert find_changes(describe(), describe(mixup=1), 4, [0]) == ["mixup was None, is 1"]


def test_machines_that_train_the_same_may_have_folders_of_their_own():
    check_same([describe(save_dir="a", num_workers=2), describe(save_dir="b", num_workers=8)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_lr": 0.2}, "init_lr is 0.1 in process 0, 0.2 in process 1"),
        ({"unfreeze_epoch": 9}, "unfreeze_epoch is 10 in process 0, 9 in process 1"),
    ],
)
def test_machines_that_train_otherwise_are_refused(changes, message):
    runs = [describe(init_lr=0.1), describe(**({"init_lr": 0.1} | changes))]
    with pytest.raises(UserError, match=f"^All processes must train the same, but {message}. St"):
        check_same(runs)


def test_machines_that_train_on_other_images_are_refused():
    other = describe_run(describe()["settings"], [], [])
    with pytest.raises(UserError, match="but process 1 has other images than process 0"):
        check_same([describe(), other])


# Runs of earlier versions


def earlier(**settings):
    """The facts of a run whose version knew neither decoder_norm nor "start"."""
    return {"run": describe(**({"model_path": "imagenet"} | settings))}


def test_a_run_of_an_earlier_version_gets_what_it_did_not_know():
    now = describe(model_path="auto", decoder_norm="none")
    facts, note = update_facts(earlier(), now)
    assert facts["start"] == "imagenet"
    assert find_changes(facts["run"], now, 4, [0]) == []
    assert "earlier version" in note and "sizes of up to 500" in note and "--resume never" in note


def test_a_run_from_scratch_of_an_earlier_version_is_told_of_the_loss_alone():
    facts, note = update_facts(earlier(model_path=""), describe(model_path=""))
    assert facts["start"] == ""
    assert "instead of logits" in note and "500" not in note


def test_what_an_earlier_version_said_still_counts():
    facts, _ = update_facts(earlier(num_classes=4), describe(model_path="auto"))
    assert find_changes(facts["run"], describe(model_path="auto"), 4, [0]) == [
        "num_classes was 4, is 3"
    ]
    facts, _ = update_facts(earlier(), describe(model_path=""))
    assert facts["start"] == "imagenet"


def test_a_run_of_now_stays_as_it_is():
    facts = {"run": describe(), "start": ""}
    assert update_facts(facts, describe(num_classes=5)) == (facts, "")


def test_a_clock_and_epochs_do_not_change_places():
    epochs, twelve, thirty = (describe(time_limit=minutes) for minutes in (0.0, 12.0, 30.0))
    assert find_changes(epochs, twelve, 4, [0]) == ["time_limit was 0, is 12"]
    assert find_changes(twelve, epochs, 4, [0]) == ["time_limit was 12, is 0"]
    assert find_changes(twelve, thirty, 99, [0]) == []  # the clock counts no epochs


def test_a_run_before_there_was_a_setting_went_without_it():
    facts = {"run": describe(), "start": ""}
    updated, note = update_facts(facts, describe(rotation=0.0, time_limit=0.0))
    assert note == ""
    assert find_changes(updated["run"], describe(rotation=0.0, time_limit=0.0), 4, [0]) == []
    updated, _ = update_facts(facts, describe(rotation=5.0))
    assert find_changes(updated["run"], describe(rotation=5.0), 4, [0]) == [
        "rotation was 0.0, is 5.0"
    ]


def test_a_run_before_there_were_border_weights_went_without_them():
    facts = {"run": describe(), "start": ""}
    now = describe(border_weight=0.0, border_sigma=5.0)
    updated, _ = update_facts(facts, now)
    assert find_changes(updated["run"], now, 4, [0]) == []
    weighed = describe(border_weight=10.0, border_sigma=5.0)
    assert find_changes(updated["run"], weighed, 4, [0]) == ["border_weight was 0.0, is 10.0"]


def test_an_earlier_run_goes_on_with_a_word(config, train_until, capsys):
    settings = config(unfreeze_epoch=2)
    train_until(1, settings)
    (folder,) = run_folders(settings)
    for _, path in find_states(folder):
        with h5py.File(path, "a") as file:
            facts = json.loads(file.attrs["facts"])
            del facts["start"], facts["run"]["settings"]["decoder_norm"]
            del facts["description"]["decoder_norm"], facts["description"]["stride_in_3x3"]
            file.attrs["facts"] = json.dumps(facts)
            del file.attrs["checksum"]
    train.main(settings)
    assert run_folders(settings) == [folder]
    assert "This run began with an earlier version" in capsys.readouterr().out
    assert read_state(folder).epoch == 2

"""The training script: settings, phases, files, and what it survives."""

import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import SIZES
from keras.callbacks import LambdaCallback
from PIL import Image

import get_miou
import predict
import train
from errors import RunError, UserError
from nets.unet import Unet
from nets.weights.storage import load_weights, open_weights
from train import TrainConfig
from training import loop
from training.settings import SHIPPED
from utils.config import format_settings, run_script
from utils.data.borders import BorderWeights
from utils.data.voc import Samples, read_samples
from utils.runs.folder import open_run
from utils.runs.lr_schedule import learning_rate
from utils.runs.state import find_states, read_state

PROJECT = Path(train.__file__).parent


@pytest.fixture
def config(train_config):
    return train_config


def read_history(save_dir):
    """The rows of the one run in a folder."""
    (path,) = Path(save_dir).glob("loss_*/history.csv")
    return rows_of(path.parent)


def rows_of(folder):
    with open(folder / "history.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_weights(path, num_classes=3, width=8):
    model = Unet((32, 32, 3), num_classes, width=width)
    load_weights(model, path)
    return {weight.path: weight.numpy() for weight in model.weights}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 1}, "num_classes must be 2 to 255"),
        ({"input_shape": (0, 512)}, r"at least 1 pixel high and wide; got \(0, 512\)"),
        ({"val_input_shape": (100, -1)}, r"at least 1 pixel high and wide; got \(100, -1\)"),
        ({"backbone": "alexnet"}, "backbone must be one of vgg, resnet50, .*; got 'alexnet'"),
        ({"backbone": "xception"}, "backbone 'xception' can't serve: its layer block1_conv1"),
        ({"decoder_width": -1}, "decoder_width must be 0"),
        ({"precision": "float8"}, "precision must be one of auto"),
        ({"name_classes": ("a", "b")}, "name_classes holds 2 names, but num_classes is 3"),
        ({"ignore_labels": (300,)}, "ignore_labels must be 0 to 255; got 300"),
        ({"optimizer_type": "lion"}, "optimizer_type must be one of adam, sgd; got 'lion'"),
        ({"lr_decay_type": "exp"}, "lr_decay_type must be one of cos, step; got 'exp'"),
        ({"cls_weights": (1.0, 2.0)}, "cls_weights holds 2 numbers, but num_classes is 3"),
        ({"min_lr": 1.0}, "0 < min_lr <= init_lr; got min_lr=1.0, init_lr=0.001"),
        ({"init_lr": -1.0}, "0 < min_lr <= init_lr"),
        ({"init_epoch": 2}, "no epoch to train: init_epoch is 2"),
        ({"unfreeze_batch_size": 0}, "unfreeze_batch_size must be at least 1; got 0"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0; got -0.1"),
        ({"scale": (0.0, 2.0)}, "scale must be"),
        ({"accumulate_steps": 0}, "accumulate_steps must be at least 1; got 0"),
        ({"early_stopping_patience": -1}, "early_stopping_patience must be at least 0; got -1"),
        ({"cache_gb": -1.0}, "cache_gb must be at least 0; got -1.0"),
        ({"resume": "yes"}, "resume must be one of auto, never; got 'yes'"),
        ({"cls_weights": "even"}, "cls_weights must be one of balanced; got 'even'"),
        ({"input_shape": 512}, "input_shape must be int,int; got 512"),
        ({"decoder_norm": "layer"}, "decoder_norm must be one of none, batch, group; got 'layer'"),
        ({"border_weight": -1.0}, "border_weight must be at least 0; got -1.0"),
        ({"border_sigma": 0.0}, "border_sigma is a distance in pixels and must be above 0"),
        (
            {"border_weight": 10.0, "ignore_labels": (0, 255)},
            "border_weight 10 weighs the background .* ignore_labels holds 0",
        ),
        ({"decoder_norm": "batch", "recompute": True}, "recompute saves nothing with decoder_norm"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config, changes, message):
    with pytest.raises(UserError, match=message):
        config(**changes)


def test_settings_as_shipped_are_known():
    """What is printed of the settings is what differs from these."""
    assert format_settings(TrainConfig(), SHIPPED).endswith(" settings are as shipped.")
    assert SHIPPED.keys() <= {field.name for field in dataclasses.fields(TrainConfig)}


def test_class_names_that_are_nearly_equal_get_a_note(config, capsys):
    with pytest.raises(UserError, match="There is no list"):
        train.main(config(name_classes=("nothing", "Cat", "cat"), val_list="nowhere"))
    assert "equal or nearly so: 'Cat' and 'cat'. Are they one class?\n" in capsys.readouterr().out


def test_a_training_from_scratch_leaves_what_it_promises(config, capsys):
    settings = config(name_classes=("ground", "cell", "core"), val_input_shape=(48, 64))
    train.main(settings)
    save_dir = Path(settings.save_dir)
    (run,) = save_dir.glob("loss_*")
    names = {path.name for path in run.glob("*.weights.h5")}
    (numbered,) = (name for name in names if name.startswith("ep"))
    assert names - {numbered} == {
        "best_epoch_weights.weights.h5",
        "last_epoch_weights.weights.h5",
        "lowest_loss_weights.weights.h5",
    }
    assert {path.name for path in save_dir.glob("*.h5")} == names - {numbered}
    for name in names - {numbered}:
        assert (save_dir / name).read_bytes() == (run / name).read_bytes()
    assert [path.name for path in run.glob("state_*")] == ["state_ep0002.h5"]
    rows = read_history(save_dir)
    assert numbered == (
        f"ep002-loss{float(rows[1]['loss']):.3f}-val_loss{float(rows[1]['val_loss']):.3f}"
        ".weights.h5"
    )
    description = open_weights(save_dir / "last_epoch_weights.weights.h5").description
    assert description.num_classes == 3
    assert description.input_shape == (48, 64)
    assert description.name_classes == ("ground", "cell", "core")
    saved = json.loads((run / "settings.json").read_text())
    assert (saved["num_classes"], saved["init_lr"]) == (3, 1e-3)
    assert {"curves.png", "history.csv"} <= {path.name for path in run.iterdir()}
    assert list(run.rglob("events.out.tfevents*"))
    out = capsys.readouterr().out
    assert "\n  num_classes      3\n" in out and "init_epoch " not in out
    assert f"\nAll settings: {run / 'settings.json'}\n" in out
    assert "freeze_train is skipped" in out
    assert "python predict.py --model_path" in out


def test_border_weights_are_in_the_first_batchs_loss_and_not_in_validation(config, monkeypatch):
    """Against cross-entropy in float64, over that batch and the untrained network's logits."""
    losses, expected = [], []
    fit = loop.fit

    def log_loss(trainer, images, masks, extra=0.0):
        logits = np.asarray(trainer.predict_on_batch(images), np.float64)
        p = np.exp(logits - logits.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        of_class = np.take_along_axis(p, (masks % 255)[..., None].astype(int), axis=-1)[..., 0]
        return np.mean(((1 + extra) * -np.log(of_class))[masks != 255])

    def watch(trainer, train_set, val_set, epochs, lead, callbacks, **options):
        train_set.set_epoch(0)
        images, masks, border = train_set[0]
        np.testing.assert_array_equal(border, [BorderWeights(10.0, 2.0)(mask) for mask in masks])
        expected.append(log_loss(trainer, images, masks, border))
        assert expected[0] > 1.01 * log_loss(trainer, images, masks)
        record = LambdaCallback(on_train_batch_end=lambda _, logs: losses.append(logs["loss"]))
        done = fit(trainer, train_set, val_set, epochs, lead, [*callbacks, record], **options)
        images, masks = val_set[0]
        expected.append(log_loss(trainer, images, masks))
        return done

    monkeypatch.setattr(loop, "fit", watch)
    settings = config(
        border_weight=10.0, border_sigma=2.0, dice_loss=False, unfreeze_epoch=1, eval_flag=False
    )
    train.main(settings)
    assert losses[0] == pytest.approx(expected[0], rel=1e-5)
    (row,) = read_history(settings.save_dir)
    assert float(row["val_loss"]) == pytest.approx(expected[1], rel=1e-4)
    (saved,) = Path(settings.save_dir).glob("loss_*/settings.json")
    assert json.loads(saved.read_text())["border_weight"] == 10.0


@pytest.mark.usefixtures("quick")
def test_the_history_holds_the_schedule_and_the_scores(config):
    settings = config(unfreeze_epoch=4, eval_period=3)
    train.main(settings)
    rows = read_history(settings.save_dir)
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    rates = [learning_rate(epoch, 4, 1e-3, 1e-5) for epoch in range(4)]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx(rates, rel=1e-5)
    # Scored every third epoch, and the last.
    assert [np.isnan(float(row["val_miou"])) for row in rows] == [True, True, False, False]
    assert all(0 <= float(row["batch_miou"]) <= 1 and float(row["loss"]) > 0 for row in rows)


@pytest.mark.usefixtures("quick")
def test_scores_can_be_switched_off(config):
    settings = config(eval_flag=False)
    train.main(settings)
    assert all(np.isnan(float(row["val_miou"])) for row in read_history(settings.save_dir))
    best, lowest = (
        (Path(settings.save_dir) / f"{name}_weights.weights.h5").read_bytes()
        for name in ("best_epoch", "lowest_loss")
    )
    assert best == lowest


@pytest.mark.usefixtures("quick")
def test_the_result_does_not_depend_on_the_number_of_workers(config, tmp_path):
    results = []
    for workers in (1, 3):
        settings = config(num_workers=workers, save_dir=str(tmp_path / str(workers)))
        train.main(settings)
        results.append(read_weights(tmp_path / str(workers) / "last_epoch_weights.weights.h5"))
    for path, values in results[0].items():
        np.testing.assert_allclose(values, results[1][path], atol=1e-6, err_msg=path)


@pytest.mark.usefixtures("quick")
def test_the_frozen_phase_trains_the_decoder_only(config, tmp_path, start_weights):
    start = start_weights()
    options = {"model_path": start, "eval_flag": False}
    second = config(**options, freeze_epoch=2, save_dir=str(tmp_path / "second"))
    train.main(second)
    before = read_weights(start)
    after = read_weights(tmp_path / "second" / "last_epoch_weights.weights.h5")
    moved = {path.split("/")[0] for path in before if (before[path] != after[path]).any()}
    assert moved
    assert not any(name.startswith("block") for name in moved)
    third = config(**options, freeze_epoch=1, save_dir=str(tmp_path / "third"))
    train.main(third)
    after = read_weights(tmp_path / "third" / "last_epoch_weights.weights.h5")
    assert (before["block1_conv1/kernel"] != after["block1_conv1/kernel"]).any()


@pytest.mark.usefixtures("quick")
def test_fine_tuning_to_other_classes_says_what_was_loaded(config, start_weights, capsys):
    train.main(config(num_classes=4, model_path=start_weights(), unfreeze_epoch=1))
    out = capsys.readouterr().out
    assert "  block1_conv1 to decoder4_conv2 (21)  loaded\n" in out
    differs = "shape differs: [(1, 1, 8, 4), (4,)] here, [(1, 1, 8, 3), (3,)] in the file"
    assert re.search(rf"\n  head_conv +{re.escape(differs)}\n", out)
    assert "Warning" not in out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 16}, "width is 16, but .* holds width 8"),
        ({"backbone": "resnet50"}, "backbone is 'resnet50', but .* holds backbone 'vgg'"),
        ({"decoder_norm": "group"}, "decoder_norm is 'group', but .* holds decoder_norm 'none'"),
        ({"decoder_width": 16}, "decoder_width is 16, but .* holds decoder_width 0. Set decoder_w"),
    ],
)
def test_a_setting_that_contradicts_the_weights_is_refused(config, start_weights, changes, message):
    with pytest.raises(UserError, match=message):
        train.main(config(model_path=start_weights(), **changes))


@pytest.mark.usefixtures("quick")
def test_names_of_the_weights_file_are_kept_in_fine_tuning(config, tmp_path, start_weights):
    names = ("ground", "cell", "core")
    train.main(config(model_path=start_weights(name_classes=names), unfreeze_epoch=1))
    description = open_weights(tmp_path / "logs" / "last_epoch_weights.weights.h5").description
    assert description.name_classes == names


@pytest.mark.usefixtures("quick")
def test_a_head_for_other_names_is_noted_or_started_anew(config, start_weights, capsys, tmp_path):
    options = {
        "model_path": start_weights(name_classes=("ground", "cell", "core")),
        "name_classes": ("ground", "core", "tree"),
        "unfreeze_epoch": 1,
        "init_lr": 1e-30,
        "optimizer_type": "sgd",
        "eval_flag": False,
    }
    before = read_weights(options["model_path"])["head_conv/kernel"]
    for new_head in (False, True):
        save_dir = tmp_path / str(new_head)
        train.main(config(**options, new_head=new_head, save_dir=str(save_dir)))
        after = read_weights(save_dir / "last_epoch_weights.weights.h5")["head_conv/kernel"]
        assert np.array_equal(before, after) is not new_head
        out = capsys.readouterr().out
        told = (
            "its classes have other names: 1 was 'cell', is 'core'; 2 was 'core', is 'tree'. If "
            "these are other classes, not other names, start it anew with --new_head."
        )
        assert (told in out) is not new_head
        assert ("The head starts anew (new_head)" in out) is new_head
    same = options | {"name_classes": ("ground", "cell", "core"), "save_dir": str(tmp_path / "s")}
    train.main(config(**same))
    assert "other names" not in capsys.readouterr().out


def test_a_broken_image_is_named_and_nothing_is_overwritten(config, voc_dir):
    settings = config()
    kept = Path(settings.save_dir) / "last_epoch_weights.weights.h5"
    kept.parent.mkdir()
    kept.write_bytes(b"from an earlier run")
    image = next((voc_dir / "VOC2007" / "JPEGImages").glob("train_c.*"))
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(UserError, match=r"image .*train_c.* can't be read"):
        train.main(settings)
    assert kept.read_bytes() == b"from an earlier run"


@pytest.mark.usefixtures("quick")
def test_a_training_beside_another_leaves_its_files_alone(config, capsys):
    settings = config(unfreeze_epoch=1)
    first = open_run(
        settings.save_dir,
        "never",
        lambda state: [],
        lambda state: state.facts["run"]["settings"]["unfreeze_epoch"] < 9,
    )
    kept = first.public / "last_epoch_weights.weights.h5"
    kept.write_bytes(b"of the first")
    train.main(settings)
    assert kept.read_bytes() == b"of the first"
    assert [path.name for path in first.public.glob("*.h5")] == [kept.name]
    assert not list(first.folder.glob("*.h5"))
    (second,) = set(first.public.glob("loss_*")) - {first.folder}
    assert {"last_epoch_weights.weights.h5", "best_epoch_weights.weights.h5"} <= {
        path.name for path in second.glob("*.h5")
    }
    out = capsys.readouterr().out
    assert f"Another training is using {settings.save_dir}: weights of this one stay" in out
    # What it advises to do next is meant for its own weights.
    assert f"--model_path {second / 'best_epoch_weights.weights.h5'}" in out


@pytest.mark.usefixtures("quick")
def test_an_early_stop_is_the_end_of_a_run(config, capsys):
    # Steps of 1e-30 change no float32 weight, so that the validation loss never falls.
    settings = config(
        unfreeze_epoch=9,
        early_stopping_patience=1,
        optimizer_type="sgd",
        init_lr=1e-30,
        momentum=0.0,
        eval_flag=False,
    )
    train.main(settings)
    assert [row["epoch"] for row in read_history(settings.save_dir)] == ["1", "2"]
    assert "Stopped early. In 1 epochs the validation loss did not fall" in capsys.readouterr().out
    (folder,) = Path(settings.save_dir).glob("loss_*")
    assert [epoch for epoch, _ in find_states(folder)] == [2]
    assert read_state(folder).facts["finished"] is True
    assert (
        open_run(
            settings.save_dir,
            "auto",
            lambda state: [],
            lambda state: state.facts["run"]["settings"]["unfreeze_epoch"] < 9,
        ).state
        is None
    )
    assert (
        open_run(
            settings.save_dir,
            "auto",
            lambda state: [],
            lambda state: state.facts["run"]["settings"]["unfreeze_epoch"] < 10,
        ).folder
        == folder
    )


@pytest.mark.usefixtures("quick")
def test_settings_of_the_rate_and_the_class_weights_reach_the_training(config, capsys):
    settings = config(
        scale_lr_by_batch=True,
        accumulate_steps=2,
        cls_weights="balanced",
        unfreeze_epoch=3,
        eval_flag=False,
    )
    train.main(settings)
    rows = read_history(settings.save_dir)
    # Batches of 2 times 2 steps, where the rate is meant for 16 images.
    rates = [learning_rate(epoch, 3, 1e-3 * 4 / 16, 1e-5 * 4 / 16) for epoch in range(3)]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx(rates, rel=1e-5)
    out = capsys.readouterr().out
    assert "Learning rates for 4 images per step: 0.00025 to 2.5e-06." in out
    assert "Balanced class weights: " in out


@pytest.mark.parametrize(
    ("words", "expected"), [("balanced", (1.0, 1.0, 1.0)), ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0))]
)
def test_balanced_class_weights_are_counted_in_the_training_masks(
    config, voc_dir, write_mask, words, expected
):
    for name in SIZES:  # thirds
        mask = np.repeat(np.arange(3, dtype=np.uint8), 4).reshape(3, 4)
        write_mask(voc_dir / "VOC2007" / "SegmentationClass" / f"{name}.png", mask)
    samples = read_samples(voc_dir, "train")
    settings = train.count_class_weights(config(cls_weights=words).parts, Samples(samples, []))
    assert settings.cls_weights == pytest.approx(expected)


@pytest.mark.usefixtures("quick")
def test_two_accumulated_steps_equal_one_of_twice_the_images(
    config, voc_dir, tmp_path, rng, write_image, write_mask
):
    # Without void, each image counts the same in the mean of a batch.
    for name in SIZES:
        ids = rng.integers(0, 3, (2, 2)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
        image = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
        write_image(voc_dir / "VOC2007" / "JPEGImages" / f"{name}.jpg", image)
        write_mask(voc_dir / "VOC2007" / "SegmentationClass" / f"{name}.png", ids)
    results = []
    for batch, steps in ((4, 1), (2, 2), (2, 1)):
        settings = config(
            unfreeze_batch_size=batch,
            accumulate_steps=steps,
            unfreeze_epoch=1,
            optimizer_type="sgd",
            init_lr=1.0,
            dice_loss=False,
            jitter=0.0,
            scale=(1.0, 1.0),
            eval_flag=False,
            save_dir=str(tmp_path / f"{batch}x{steps}"),
        )
        train.main(settings)
        (folder,) = Path(settings.save_dir).glob("loss_*")
        results.append(np.concatenate([w.ravel() for w in read_state(folder).arrays["weights"]]))
    whole, accumulated, two_steps = results
    np.testing.assert_allclose(accumulated, whole, rtol=0, atol=1e-5)
    assert np.abs(two_steps - whole).max() > 1e-3


# What stops a training


def contents(folder):
    """{path: bytes} of what a run has learnt so far."""
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.suffix == ".h5"}


@pytest.fixture
def before_epoch(monkeypatch):
    """before_epoch(epoch, action): what happens when that epoch (from 0) begins.

    A rate that `action` returns is taken for that epoch's.
    """

    def patch(epoch, action):
        def rate(now, *args):
            return (now == epoch and action()) or learning_rate(now, *args)

        monkeypatch.setattr("training.settings.learning_rate", rate)

    return patch


def run(settings, capsys):
    """Trains as a script does; (status, what it says on stderr)."""
    with pytest.raises(SystemExit) as stopped:
        run_script(lambda: train.main(settings))
    return stopped.value.code, capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_a_loss_that_is_no_number_keeps_the_epochs_before(
    config, before_epoch, monkeypatch, capsys
):
    settings = config(unfreeze_epoch=3)
    kept = {}

    def no_number():
        kept.update(contents(settings.save_dir))
        return float("nan")

    before_epoch(1, no_number)
    status, message = run(settings, capsys)
    assert status == 1
    assert re.fullmatch(
        r"error: The loss is not a number \((nan|inf)\) in epoch 2, step 2 of 2\. Nothing of "
        r"epoch 2 is saved; the weights of epochs before it are kept\. The batch: "
        r".*train_.\.jpg, .*train_.\.jpg\. Lower init_lr, .*\n",
        message,
    )
    assert len(kept) == 7  # last and best by both scores, each twice, and a state
    assert contents(settings.save_dir) == kept
    (folder,) = Path(settings.save_dir).glob("loss_*")
    assert read_state(folder).epoch == 1
    monkeypatch.undo()
    train.main(settings)  # goes on
    assert [row["epoch"] for row in read_history(settings.save_dir)] == ["1", "2", "3"]
    assert read_state(folder).epoch == 3


@pytest.mark.slow
def test_a_dataset_that_goes_away_in_the_middle(config, voc_dir, before_epoch, capsys):
    settings = config(unfreeze_epoch=3)
    before_epoch(1, lambda: shutil.rmtree(voc_dir))
    status, message = run(settings, capsys)
    assert status == 2
    assert message.startswith("error: ")
    assert f"the folder {voc_dir} is gone. Is the disk with the dataset still there?" in message
    assert message.count("\n") == 1
    assert [row["epoch"] for row in read_history(settings.save_dir)] == ["1"]
    for path in Path(settings.save_dir).rglob("*.weights.h5"):
        assert read_weights(path)


FULL = """
import json, resource, sys
import train, training.settings
from utils.config import run_script

values, limit = json.loads(sys.argv[1]), int(sys.argv[2])
learning_rate = training.settings.learning_rate
def fill_disk(epoch, *args):
    if epoch == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return learning_rate(epoch, *args)
training.settings.learning_rate = fill_disk
run_script(lambda: train.main(train.TrainConfig(**values)))
"""


@pytest.mark.system
@pytest.mark.skipif(sys.platform == "win32", reason="it has no such limits")
@pytest.mark.parametrize(
    ("share", "epochs"),
    [
        # More than the weights, but the state holds Adam's two moments too: three times as
        # much. The second epoch's weights and history come before its state.
        (1.5, ["1", "2"]),
        # Less than the weights, which come before the history.
        (0.5, ["1"]),
    ],
)
def test_a_full_disk_keeps_the_epochs_before(config, share, epochs):
    settings = config(unfreeze_epoch=3, width=4, eval_flag=False)
    limit = int(share * 4 * Unet((32, 32, 3), 3, width=4).count_params())
    done = subprocess.run(
        [sys.executable, "-c", FULL, json.dumps(train.to_json(settings)), str(limit)],
        cwd=PROJECT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if not re.match(r"WARNING|[IW]\d{4} ", line)]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    assert "File too large" in lines[0]
    save_dir = Path(settings.save_dir)
    (folder,) = save_dir.glob("loss_*")
    assert [epoch for epoch, _ in find_states(folder)] == [1]
    assert [row["epoch"] for row in rows_of(folder)] == epochs
    assert not list(save_dir.rglob(".*.h5"))
    for path in save_dir.rglob("*.weights.h5"):
        assert read_weights(path, width=4)
    train.main(settings)
    assert read_state(folder).epoch == 3
    assert [row["epoch"] for row in rows_of(folder)] == ["1", "2", "3"]


@pytest.mark.system
def test_a_kill_at_any_moment_leaves_every_finished_file_loadable(config, tmp_path):
    settings = config(unfreeze_epoch=1000)
    folder = Path(settings.save_dir)
    names = "VOCdevkit_path num_classes model_path input_shape width precision unfreeze_epoch"
    arguments = [f"--save_dir={folder}", "--save_period=1", "--eval_period=1"]
    for name in names.split():
        value = getattr(settings, name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else value
        arguments.append(f"--{name}={text}")
    process = subprocess.Popen(
        [sys.executable, PROJECT / "train.py", *arguments],
        cwd=tmp_path,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("loss_*/ep0*.weights.h5")):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(np.random.default_rng(0).uniform(0, 1.5))
    process.send_signal(signal.SIGKILL)
    process.wait()
    files = [path for path in folder.rglob("*.weights.h5") if not path.name.startswith(".")]
    assert len(files) >= 6  # in the run's folder, and beside it
    for path in files:
        assert open_weights(path).description.num_classes == 3
        assert read_weights(path)


def test_memory_that_runs_out_is_one_message_with_what_to_try(config, monkeypatch, capsys):
    def fit(*_, **__):
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr("training.loop.fit", fit)
    with pytest.raises(RunError, match=r"Memory ran out at batch size 4\. Try batch size 2 with"):
        train.main(config(unfreeze_batch_size=4))
    assert re.search(r"Memory: about \d+\.\d GB for batch size 4 at 32x32", capsys.readouterr().out)


@pytest.mark.slow
def test_recomputing_activations_changes_no_weights(config, tmp_path, monkeypatch):
    # What it does to the process' allocator is for a process of its own.
    monkeypatch.setattr("train.return_free_memory", lambda: None)
    weights = []
    for recompute in (False, True):
        settings = config(recompute=recompute, save_dir=str(tmp_path / str(recompute)))
        train.main(settings)
        weights.append(read_weights(Path(settings.save_dir) / "last_epoch_weights.weights.h5"))
    kept, recomputed = weights
    for name in kept:
        np.testing.assert_allclose(recomputed[name], kept[name], rtol=0, atol=1e-5)


def write_channels(voc_dir, count):
    """Replaces images by such that only the last channel tells their classes apart."""
    folder = voc_dir / "VOC2007"
    for path in sorted((folder / "JPEGImages").iterdir()):
        with Image.open(folder / "SegmentationClass" / f"{path.stem}.png") as image:
            mask = np.array(image)
        rng = np.random.default_rng(len(mask))
        pixels = rng.integers(28_000, 36_000, (*mask.shape, count)).astype(np.uint16)
        pixels[..., -1] = np.choose(np.where(mask == 255, 0, mask), (30_000, 3_000, 60_000))
        path.unlink()
        if count == 1:
            Image.fromarray(pixels[..., 0]).save(path.with_suffix(".png"))
        else:
            tifffile.imwrite(
                path.with_suffix(".tif"), pixels, photometric="minisblack", planarconfig="contig"
            )


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 5])
def test_channels_from_images_to_scores(config, voc_dir, tmp_path, count, monkeypatch):
    monkeypatch.setattr(
        "utils.runs.callbacks.plot_curves", lambda *_: None
    )  # half of an epoch's time
    write_channels(voc_dir, count)
    made = config(
        in_channels=count, unfreeze_epoch=28, eval_period=28, save_period=0, init_lr=4e-3,
        jitter=0.1, scale=(0.9, 1.2), value=0.05,
    )  # fmt: skip
    train.main(made)
    weights = Path(made.save_dir) / "last_epoch_weights.weights.h5"
    assert open_weights(weights).description.in_channels == count
    scores = get_miou.main(
        get_miou.MiouConfig(
            model_path=str(weights),
            VOCdevkit_path=str(voc_dir),
            precision="float32",
            miou_out_path=str(tmp_path / "miou"),
        )
    )
    # Untrained, or blind for the last channel, a network scores a third at most.
    assert scores.miou > 0.5
    (image,) = (voc_dir / "VOC2007" / "JPEGImages").glob("val_a.*")
    options = {"model_path": str(weights), "precision": "float32"}
    out = tmp_path / "out"
    predicted = predict.PredictConfig(image=(str(image),), dir_save_path=str(out), **options)
    assert predict.main(predicted) == 0
    with Image.open(out / "val_a.png") as opened:
        assert (opened.mode, opened.size) == ("RGB", (64, 48))


def test_images_with_other_channels_are_named_before_training(config):
    with pytest.raises(
        UserError, match="images with other channels than the network takes: 6"
    ) as caught:
        train.main(config(in_channels=5))
    assert "train_a.jpg can be read with in_channels 1 or 3, but in_channels is 5" in str(
        caught.value
    )


def test_no_channels_are_refused(config):
    with pytest.raises(UserError, match="in_channels must be at least 1; got 0"):
        config(in_channels=0)

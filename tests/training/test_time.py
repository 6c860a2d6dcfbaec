"""Trainings that go by the clock, and by a plan."""

import csv
import json
import time
from pathlib import Path

import pytest

import get_miou
import train
from errors import UserError
from training.plan import Machine
from utils.runs.state import read_state

AS_SHIPPED = {"input_shape": (512, 512), "unfreeze_epoch": 100, "init_lr": 1e-4}


@pytest.fixture
def config(train_config, monkeypatch):
    monkeypatch.setattr("training.loop._AFTERWARDS", 0.1)
    return train_config


def rows_of(settings):
    (history,) = Path(settings.save_dir).glob("loss_*/history.csv")
    with open(history, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def state_of(settings):
    (folder,) = Path(settings.save_dir).glob("loss_*")
    return read_state(folder)


@pytest.mark.usefixtures("quick")
def test_a_run_ends_on_time_validated_and_at_its_last_rate(config, capsys):
    settings = config(time_limit=0.15, min_lr=1e-5, unfreeze_epoch=2)
    begin = time.monotonic()
    train.main(settings)
    assert time.monotonic() - begin < 9 + 3
    rows = rows_of(settings)
    assert len(rows) > 2  # the clock decides, not the epochs
    last = rows[-1]
    assert last["val_loss"] != "nan" and last["val_miou"] != "nan"
    assert float(last["learning_rate"]) < 3e-5
    assert max(float(row["learning_rate"]) for row in rows) > 5e-4
    assert state_of(settings).facts["finished"] is True
    out = capsys.readouterr().out
    assert "From epoch 1 on, for about 0.1 minutes: all layers" in out
    assert "of 0.15 min: loss" in out
    train.main(settings)  # finished: a new run
    assert len(list(Path(settings.save_dir).glob("loss_*"))) == 2


@pytest.mark.usefixtures("quick")
def test_the_frozen_phase_has_its_share_of_the_time(config, start_weights, capsys):
    settings = config(
        time_limit=0.15, model_path=start_weights(), freeze_train=True, freeze_epoch=1
    )
    train.main(settings)
    out = capsys.readouterr().out
    frozen, whole = out.index(": encoder frozen ("), out.index(": all layers, batch size")
    assert frozen < whole
    assert "\nepoch 1, 0.0" in out[frozen:whole]
    assert "\nepoch " in out[whole:]


@pytest.mark.usefixtures("quick")
def test_a_run_that_was_stopped_has_the_time_that_is_left(config, monkeypatch, capsys):
    settings = config(time_limit=0.15)
    monkeypatch.setattr("utils.runs.progress.Progress.on_epoch_end", _interrupt_after(2))
    with pytest.raises(KeyboardInterrupt):
        train.main(settings)
    monkeypatch.undo()
    monkeypatch.setattr("training.loop._AFTERWARDS", 0.1)
    monkeypatch.setattr("keras.Model.run_eagerly", property(lambda self: True, lambda *_: None))
    before = state_of(settings).facts["callbacks"]["limit"]["seconds"]
    begin = time.monotonic()
    train.main(settings)
    assert time.monotonic() - begin < 9 - before + 3
    assert "Resuming" in capsys.readouterr().out
    state = state_of(settings)
    assert state.facts["finished"] is True
    assert before < state.facts["callbacks"]["limit"]["seconds"] < 9 + 3
    assert [int(row["epoch"]) for row in rows_of(settings)] == list(range(1, state.epoch + 1))


def _interrupt_after(epochs):
    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == epochs:
            raise KeyboardInterrupt

    return on_epoch_end


def test_a_limit_below_one_validation_begins_nothing(config):
    settings = config(time_limit=1e-3)
    with pytest.raises(UserError, match=r"leaves nothing to train in. Set time_limit to at least"):
        train.main(settings)
    assert not list(Path(settings.save_dir).glob("loss_*"))


@pytest.fixture
def machine(monkeypatch):
    measured = Machine(per_pixel=1e-5, per_step=0.01, width=32)
    monkeypatch.setattr("training.planning.measure_machine", lambda *_: measured)


@pytest.mark.usefixtures("quick", "machine")
def test_a_plan_is_shown_saved_and_followed(config, capsys):
    settings = config(plan="auto", time_limit=0.25, crops_per_image=2, **AS_SHIPPED)
    train.main(settings)
    out = capsys.readouterr().out
    (folder,) = Path(settings.save_dir).glob("loss_*")
    table = (folder / "plan.txt").read_text(encoding="utf-8")
    assert table in out
    assert "Plan for 4 images of about" in table
    stored = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert stored["width"] == 8  # that of the settings, which are no longer as shipped
    assert "  width                8" in table
    assert stored["input_shape"] != [512, 512]
    assert f"  input_shape          {','.join(map(str, stored['input_shape']))}" in table
    assert read_state(folder).facts["plan"]["input_shape"] == stored["input_shape"]


@pytest.mark.usefixtures("quick")
def test_a_run_that_resumes_keeps_its_plan(config, monkeypatch):
    slow, fast = (Machine(per_pixel=value, per_step=0.01, width=32) for value in (1e-4, 1e-9))
    monkeypatch.setattr("training.planning.measure_machine", lambda *_: slow)
    settings = config(plan="auto", time_limit=0.25, crops_per_image=2, **AS_SHIPPED)
    with monkeypatch.context() as patch:
        patch.setattr("utils.runs.progress.Progress.on_epoch_end", _interrupt_after(1))
        with pytest.raises(KeyboardInterrupt):
            train.main(settings)
    plan = state_of(settings).facts["plan"]
    monkeypatch.setattr("training.planning.measure_machine", lambda *_: fast)
    train.main(settings)
    assert state_of(settings).facts["plan"] == plan


@pytest.mark.usefixtures("machine")
def test_a_plan_of_nothing_leaves_nothing(config, voc_dir, write_list):
    write_list(voc_dir, "train", ["train_a"])
    settings = config(plan="auto")
    with pytest.raises(UserError, match="plan=auto needs at least 2 training images"):
        train.main(settings)
    assert not list(Path(settings.save_dir).glob("loss_*"))


@pytest.mark.usefixtures("quick")
def test_large_images_are_validated_and_predicted_in_windows(config, voc_dir):
    settings = config(val_input_shape=(96, 128), val_window=(48, 64), unfreeze_epoch=1)
    train.main(settings)
    (row,) = rows_of(settings)
    assert row["val_loss"] != "nan" and row["val_miou"] != "nan"
    scores = get_miou.main(
        get_miou.MiouConfig(
            model_path=f"{settings.save_dir}/last_epoch_weights.weights.h5",
            VOCdevkit_path=str(voc_dir),
            miou_out_path=f"{settings.save_dir}/miou_out",
            precision="float32",
        )
    )
    assert scores.miou == pytest.approx(float(row["val_miou"]), abs=1e-3)


@pytest.mark.parametrize(
    ("window", "message"),
    [((0, 64), "at least 1 pixel"), ((64, 64), r"val_window \(64, 64\) is larger than val_input_")],
)
def test_windows_that_do_not_fit_are_refused(config, window, message):
    with pytest.raises(UserError, match=message):
        config(val_input_shape=(48, 64), val_window=window).parts  # noqa: B018


@pytest.mark.usefixtures("quick", "machine")
def test_a_plan_takes_the_width_of_the_weights(config, start_weights, capsys):
    train.main(
        config(plan="auto", time_limit=0.25, model_path=start_weights(), **AS_SHIPPED, width=64)
    )
    assert "  width                8" in capsys.readouterr().out
